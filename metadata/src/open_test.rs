//! Against a plain list: the same sums, the same finds, in whatever order segments come and go.

use proptest::prelude::*;

use super::*;

fn holding(used_bytes: u64, room_bytes: u64) -> Holding {
    Holding { count: 1, usable_bytes: 100, used_bytes, room_bytes, usable_bytes_max: 100 }
}

#[test]
fn none_is_found_where_there_is_none() {
    let mut open = Open::default();
    assert_eq!((open.nth(0), open.at_used_byte(0), open.next_that(0, |_| true)), (None, None, None));
    open.set(7, holding(0, 10));
    assert_eq!((open.nth(0), open.nth(1), open.at_used_byte(0)), (Some(7), None, None));
    assert_eq!(open.next_that(0, |h| h.room_bytes >= 11), None);
    open.remove(7);
    open.remove(7);
    assert_eq!((open.len(), open.all()), (0, Holding::default()));
}

/// A place that has become free is taken before the tree grows.
#[test]
fn places_are_taken_again() {
    let mut open = Open::default();
    for ix in 0..1000 {
        open.set(ix, holding(1, 1));
        open.remove(ix);
    }
    assert_eq!(open.places(), 1);
}

proptest! {
    #[test]
    fn agrees_with_a_plain_list(steps in prop::collection::vec((0_u32..24, 0_u64..9, 0_u64..9, any::<bool>()), 1..200)) {
        let (mut open, mut plain) = (Open::default(), BTreeMap::new());
        for (ix, used, room, goes) in steps {
            if goes {
                open.remove(ix);
                plain.remove(&ix);
            } else {
                open.set(ix, holding(used, room));
                plain.insert(ix, holding(used, room));
            }
            prop_assert!(open.iter().eq(plain.iter().map(|(ix, holding)| (*ix, *holding))));
            prop_assert_eq!(open.all(), plain.values().fold(Holding::default(), |sum, holding| sum.with(*holding)));
            for least in 0..9 {
                let mut found = Vec::new();
                let mut from = 0;
                while let Some((place, ix)) = open.next_that(from, |holding| holding.room_bytes >= least) {
                    prop_assert!(place >= from);
                    from = place + 1;
                    found.push(ix);
                }
                found.sort_unstable();
                let fit = plain.iter().filter(|(_, holding)| holding.room_bytes >= least).map(|(ix, _)| *ix);
                prop_assert_eq!(found, fit.collect::<Vec<_>>());
            }
            let mut listed: Vec<_> = (0..open.len()).filter_map(|nth| open.nth(nth)).collect();
            listed.sort_unstable();
            prop_assert!(listed.iter().eq(plain.keys()));
            let mut bytes: BTreeMap<u32, u64> = BTreeMap::new();
            (0..open.all().used_bytes).for_each(|nth| *bytes.entry(open.at_used_byte(nth).unwrap()).or_default() += 1);
            prop_assert!(bytes.into_iter().eq(plain.iter().map(|(ix, h)| (*ix, h.used_bytes)).filter(|(_, used)| *used > 0)));
        }
    }
}
