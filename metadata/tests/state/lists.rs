//! Lists of keys: pages, filters, and what an answer waits for.

use understudy_metadata::{CallRefused, Going, ListKeys, Pace, Page, PageStart, Pin, Placement, PutStart};

use crate::support::{Primary, config, memory, placed};

const ALL: ListKeys<'static> = ListKeys { tenant: "", prefix: b"", regex: "", limit: 10_000 };

fn with_keys(count: u32) -> Primary {
    let primary = Primary::with(config());
    primary.mount(1, memory(1, "m1", 1 << 20)).unwrap();
    (0..count).for_each(|n| drop(primary.put(1, &format!("k/{n:04}"), 1)));
    primary
}

fn pages(primary: &Primary, what: &ListKeys<'_>) -> Vec<Page> {
    let mut pages = vec![primary.state.list_keys(what, None).unwrap()];
    while let Some(next) = pages[pages.len() - 1].next.clone() {
        pages.push(primary.state.list_keys(what, Some(&next)).unwrap());
    }
    pages
}

fn keys(pages: &[Page]) -> Vec<String> {
    let keys = pages.iter().flat_map(|page| &page.keys);
    keys.map(|info| String::from_utf8(info.key.to_vec()).unwrap()).collect()
}

#[test]
fn pages_of_every_size_give_each_key_once() {
    let primary = with_keys(300);
    for limit in [1, 2, 7, 299, 300, 301, 10_000] {
        let pages = pages(&primary, &ListKeys { limit, ..ALL });
        assert!(pages.iter().all(|page| page.keys.len() <= limit));
        let mut keys = keys(&pages);
        assert_eq!(keys.len(), 300, "limit {limit}");
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 300, "limit {limit}");
    }
}

#[test]
fn keys_that_stay_are_listed_once_while_others_come_and_go() {
    let primary = with_keys(200);
    let mut seen = Vec::new();
    let mut next: Option<PageStart> = None;
    for round in 0.. {
        let page = primary.state.list_keys(&ListKeys { limit: 10, ..ALL }, next.as_ref()).unwrap();
        seen.extend(keys(std::slice::from_ref(&page)));
        primary.put(1, &format!("new/{round}"), 1);
        let _ = primary.remove(&format!("k/{:04}", 150 + round));
        match page.next {
            Some(start) => next = Some(start),
            None => break,
        }
    }
    for n in 0..150 {
        let key = format!("k/{n:04}");
        assert_eq!(seen.iter().filter(|other| **other == key).count(), 1, "{key}");
    }
}

#[test]
fn prefix_and_pattern_both_hold() {
    let primary = with_keys(100);
    primary.put(1, "other/0001", 1);
    assert_eq!(keys(&pages(&primary, &ListKeys { prefix: b"k/", ..ALL })).len(), 100);
    assert_eq!(keys(&pages(&primary, &ListKeys { regex: "1$", ..ALL })).len(), 11);
    assert_eq!(keys(&pages(&primary, &ListKeys { prefix: b"k/", regex: "1$", limit: 3, ..ALL })).len(), 10);
    assert_eq!(keys(&pages(&primary, &ListKeys { prefix: b"nothing", ..ALL })).len(), 0);
    assert_eq!(keys(&pages(&primary, &ListKeys { tenant: "nobody", ..ALL })).len(), 0);
}

#[test]
fn a_key_is_listed_with_what_is_known_of_it() {
    let primary = Primary::with_two_segments();
    let mut how = placed(2, 0);
    how.pin = Pin::Hard;
    primary.put_as(1, &how, "whole", 100);
    primary.start(1, "open", 50).unwrap();
    let page = primary.state.list_keys(&ALL, None).unwrap();
    let info = |key: &str| page.keys.iter().find(|info| *info.key == *key.as_bytes()).unwrap();
    assert_eq!((info("whole").size, info("whole").replicas, info("whole").complete), (100, 2, true));
    assert_eq!(info("whole").pin, Pin::Hard);
    assert_eq!((info("open").size, info("open").replicas, info("open").complete), (50, 0, false));
    primary.unmount(1, 1, 0).unwrap();
    let page = primary.state.list_keys(&ALL, None).unwrap();
    assert_eq!(page.keys.iter().find(|info| *info.key == *b"whole").unwrap().replicas, 1);
    assert!(page.wait_seq >= primary.state.position().seq, "the unmount is what it shows");
}

#[test]
fn an_answer_waits_for_what_it_shows() {
    let primary = with_keys(3);
    let before = primary.state.list_keys(&ALL, None).unwrap().wait_seq;
    assert_eq!(before, primary.state.position().seq);
    let seq = |primary: &Primary| primary.state.position().seq;
    primary.put(1, "a", 1);
    let put = seq(&primary);
    assert_eq!(primary.lookup_in("", "a").1, put);
    primary.pin("a", Pin::Hard).unwrap();
    assert_eq!(primary.lookup_in("", "a").1, seq(&primary));
    primary.pin("a", Pin::None).unwrap();
    primary.pass(10_000);
    primary.remove("a").unwrap();
    let removed = seq(&primary);
    primary.put(1, "b", 1);
    let (seen, wait) = primary.lookup_in("", "a");
    assert_eq!(seen, None);
    assert!(wait >= removed, "the removal may still be taken back");
    let refused = primary.state.remove(&primary.call(1), false, &[b"a"]).unwrap();
    assert_eq!(refused.position.seq, seq(&primary));
}

#[test]
fn a_page_token_from_anywhere_is_harmless() {
    let primary = with_keys(10);
    for (shard, after) in [(0, vec![0xff; 5000]), (1023, vec![]), (1024, vec![]), (u16::MAX, vec![1])] {
        let from = PageStart { shard, after: after.into() };
        assert!(primary.state.list_keys(&ALL, Some(&from)).unwrap().keys.len() <= 10);
    }
}

/// A lookup of many keys takes its time. What has moved meanwhile into a segment that was mounted
/// meanwhile was there all along.
#[test]
fn a_long_lookup_finds_what_has_moved_into_a_segment_that_is_newer_than_it() {
    let primary = with_keys(2);
    let turns = std::cell::Cell::new(0);
    let move_it = || {
        primary.mount(1, memory(2, "m2", 4096)).unwrap();
        let how = PutStart { replace: true, ..placed(1, 0) };
        let placement = Placement { preferred: vec!["m2"], ..how.placement.clone() };
        let put = primary.start_as(1, &PutStart { placement, ..how }, "k/0001", 2).unwrap();
        assert_eq!(put.places[0].address, 2 << 32, "it lies in the new segment");
        primary.end(1, "k/0001", put.put).unwrap();
        primary.unmount(1, 1, 0).unwrap();
    };
    // All are looked at once before the first is looked up.
    let keys = ["k/0000", "k/0001"].iter().map(|key| {
        turns.set(turns.get() + 1);
        if turns.get() == 4 {
            move_it();
        }
        key.as_bytes()
    });
    let mut sizes = Vec::new();
    let wait_seq = primary.state.lookup("", keys, primary.now(), |found| sizes.push(found.map(|found| found.size())));
    assert_eq!(sizes, [Some(1), Some(2)]);
    assert!(wait_seq.unwrap().wait_seq >= primary.state.position().seq - 1, "it waits for the end of the put");
}

/// Lets so many questions pass, and then says the last word.
struct Asked {
    left: u32,
    last: Going,
}

impl Pace for Asked {
    fn begin(&mut self) {}

    fn going(&mut self) -> Going {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 { self.last } else { Going::On }
    }

    fn pause(&mut self) {}
}

#[test]
fn pages_that_end_when_time_is_up_give_each_key_once() {
    let primary = with_keys(3000);
    for (left, regex) in [(1, ""), (40, "0$"), (500, "[0-9]")] {
        let what = ListKeys { regex, ..ALL };
        let mut keys_of_all = Vec::new();
        let (mut next, mut pages) = (None, 0);
        loop {
            let pace = &mut Asked { left, last: Going::TimeIsUp };
            let page = primary.state.list_keys_at(&what, next.as_ref(), pace).unwrap();
            keys_of_all.extend(keys(std::slice::from_ref(&page)));
            pages += 1;
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        let expected = if regex == "0$" { 300 } else { 3000 };
        assert_eq!(keys_of_all.len(), expected, "{regex:?}, {left}");
        keys_of_all.sort();
        keys_of_all.dedup();
        assert_eq!(keys_of_all.len(), expected, "{regex:?}, {left}");
        assert!(pages > 1, "{regex:?}, {left}");
    }
}

#[test]
fn list_and_removal_end_when_their_caller_has_gone() {
    let primary = with_keys(300);
    let gone = &mut Asked { left: 5, last: Going::CallerIsGone };
    assert!(matches!(primary.state.list_keys_at(&ALL, None, gone), Err(CallRefused::Overloaded { .. })));
    let gone = &mut Asked { left: 1, last: Going::CallerIsGone };
    let refused = primary.state.remove_matching_at(&primary.call(1), "9$", true, gone);
    assert!(matches!(refused, Err(CallRefused::Overloaded { .. })), "{refused:?}");
    let gone = &mut Asked { left: 500, last: Going::CallerIsGone };
    let refused = primary.state.remove_all_at(&primary.call(1), true, gone);
    assert!(matches!(refused, Err(CallRefused::InPart { done: 1.., .. })), "{refused:?}");
    let slow = &mut Asked { left: 1, last: Going::TimeIsUp };
    assert_eq!(primary.state.remove_matching_at(&primary.call(1), "9$", true, slow).unwrap_err(), CallRefused::Slow);
}
