//! Many segments: what a step or a call costs does not grow with them, and what is wanted is found among them.

use understudy_metadata::{Config, LedgerOp, Refusal, SegmentId, SegmentSpec, SegmentState, Settings};

use crate::support::{Primary, config, memory, placed, refusal};

fn id(n: u16) -> SegmentId {
    let mut id = [0xff; 16];
    id[..2].copy_from_slice(&n.to_le_bytes());
    SegmentId(id)
}

fn spec(n: u16, size: u64) -> SegmentSpec<'static> {
    SegmentSpec { id: id(n), base: u64::from(n) << 20, ..memory(1, "many", size) }
}

fn mount(primary: &Primary, who: u8, numbers: std::ops::Range<u16>, size: u64) {
    let specs: Vec<_> = numbers.map(|n| spec(n, size)).collect();
    let results = primary.state.mount(&primary.call(who), &specs).unwrap().results;
    assert!(results.iter().all(|result| result.is_ok_and(|mounted| !mounted.kept)));
}

fn count_of(primary: &Primary, op: LedgerOp) -> usize {
    let is_it = |entry: &&oplog::Entry| (entry.domain, entry.op_type) == (oplog::DomainId::ENGINE, op as u8);
    primary.entries().iter().filter(is_it).count()
}

#[test]
fn a_client_with_many_segments_expires_in_steps() {
    let primary =
        Primary::with(Config { settings: Settings { client_ttl_ms: 10_000, ..config().settings }, ..config() });
    mount(&primary, 1, 0..1000, 4096);
    primary.put(1, "a", 64);
    primary.pass(10_000);
    primary.state.step(primary.now()).unwrap();
    let living = primary.state.segments(|info| info.is_living()).results.len();
    assert!((1000 - 2 * 256..=1000 - 256).contains(&living), "{living} of 1000 are left after one step");
    primary.step();
    assert_eq!(count_of(&primary, LedgerOp::ClientExpire), 4);
    assert_eq!((primary.lookup("a"), primary.state.segments(|info| info.is_living()).results.len()), (None, 0));
    primary.step_to_the_end();
    assert_eq!((primary.state.totals().segments, primary.state.totals().clients), (0, 0));
}

/// What is not going yet when its client comes back is kept.
#[test]
fn a_client_that_comes_back_keeps_what_has_not_gone() {
    let primary =
        Primary::with(Config { settings: Settings { client_ttl_ms: 10_000, ..config().settings }, ..config() });
    mount(&primary, 1, 0..1000, 4096);
    primary.pass(10_000);
    primary.state.step(primary.now()).unwrap();
    assert!(!primary.heartbeat(1));
    let specs: Vec<_> = (0..1000).map(|n| spec(n, 4096)).collect();
    let results = primary.state.remount(&primary.call(1), &specs).unwrap().results;
    let kept = results.iter().filter(|result| result.unwrap().kept).count();
    assert!(kept > 0 && kept < 1000, "{kept} of 1000 are kept");
    assert!(primary.heartbeat(1));
    primary.step();
    let mounted = primary.state.segments(|info| info.state == SegmentState::Mounted).results.len();
    assert_eq!(mounted, 1000, "the others are back, empty");
}

#[test]
fn a_full_segment_is_found_beside_many_empty_ones() {
    let primary = Primary::with(Config {
        settings: Settings { eviction_high_watermark: 0.2, eviction_ratio: 0.1, ..config().settings },
        ..config()
    });
    mount(&primary, 1, 0..400, 64);
    let full = SegmentSpec { name: "full", ..spec(500, 400 * 64) };
    primary.mount(1, full).unwrap();
    let mut there = placed(1, 0);
    there.placement.preferred = vec!["full"];
    for n in 0..300 {
        primary.put_as(1, &there, &n.to_string(), 64);
    }
    assert_eq!(primary.step().objects_evicted, 220, "from 300 to 80 of 800");
}

/// What drains goes by itself: it is neither evicted nor counted.
#[test]
fn a_draining_segment_is_no_matter_of_eviction() {
    let primary = Primary::with(Config {
        settings: Settings { eviction_high_watermark: 0.5, eviction_ratio: 0.1, ..config().settings },
        ..config()
    });
    mount(&primary, 1, 0..1, 6400);
    for n in 0..90 {
        primary.put(1, &n.to_string(), 64);
    }
    primary.state.unmount(&primary.call(1), 60_000, &[id(0)]).unwrap();
    mount(&primary, 1, 1..2, 6400);
    primary.put(1, "other", 64);
    assert_eq!(primary.step().objects_evicted, 0);
    for n in 0..50 {
        primary.put(1, &format!("other{n}"), 64);
    }
    assert_eq!(primary.step().objects_evicted, 11, "51 of 100 were used where there is a choice");
    assert!((0..90).all(|n| primary.keys().contains(&n.to_string())));
}

#[test]
fn the_last_free_place_is_found_and_then_there_is_none() {
    let primary = Primary::new();
    mount(&primary, 1, 0..300, 64);
    let places = (0..300).map(|n| primary.put(1, &n.to_string(), 64).places[0].segment);
    let places: std::collections::BTreeSet<_> = places.collect();
    assert_eq!(places.len(), 300);
    assert_eq!(refusal(primary.start(1, "one too many", 1)), Refusal::NoSpace);
    primary.remove("217").unwrap();
    assert!(primary.start(1, "again", 1).is_ok());
    let wide = placed(2, 0);
    assert_eq!(refusal(primary.start_as(1, &wide, "two", 1)), Refusal::NoSpace);
}
