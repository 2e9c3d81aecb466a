//! Lists of keys: pages, filters, and what an answer waits for.

use understudy_metadata::{ListKeys, Page, PageStart, Pin};

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
