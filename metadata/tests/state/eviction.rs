//! Eviction: when it begins, how much goes, and what never does.

use understudy_metadata::{Config, Pin, Refusal, Settings};

use crate::support::{Primary, config, disk, memory, placed, refusal};

const UNIT: u64 = 64;

/// One segment with room for this many objects of one unit.
fn room_for(objects: u64) -> Primary {
    let primary = Primary::with(Config {
        settings: Settings { eviction_high_watermark: 0.5, eviction_ratio: 0.1, ..config().settings },
        ..config()
    });
    primary.mount(1, memory(1, "m1", objects * UNIT)).unwrap();
    primary
}

fn fill(primary: &Primary, range: std::ops::Range<u32>) {
    for n in range {
        primary.put(1, &format!("{n:03}"), UNIT);
    }
}

#[test]
fn nothing_goes_below_the_watermark() {
    let primary = room_for(100);
    fill(&primary, 0..50);
    assert_eq!(primary.step().objects_evicted, 0);
}

#[test]
fn above_the_watermark_it_goes_down_by_the_ratio() {
    let primary = room_for(100);
    fill(&primary, 0..51);
    assert_eq!(primary.step().objects_evicted, 11);
    assert_eq!(primary.bytes(), (40 * UNIT, 0));
    assert_eq!(primary.step().objects_evicted, 0);
    assert_eq!(primary.state.totals().evicted_total, 11);
}

#[test]
fn many_go_in_steps_of_a_bounded_size() {
    let primary = room_for(3000);
    fill(&primary, 0..2000);
    let first = primary.state.step(primary.now()).unwrap();
    assert!(first.more && !first.urgent && first.objects_evicted <= 64, "{first:?}");
    assert_eq!(first.objects_evicted + primary.step().objects_evicted, 800);
}

#[test]
fn what_is_leased_never_goes() {
    let primary = room_for(100);
    fill(&primary, 0..60);
    for n in 0..60 {
        primary.lookup(&format!("{n:03}")).unwrap();
    }
    assert_eq!(primary.step().objects_evicted, 0);
    primary.pass(10_000);
    assert_eq!(primary.step().objects_evicted, 20);
}

#[test]
fn what_was_read_lately_goes_later() {
    let primary = room_for(100);
    fill(&primary, 0..60);
    for n in 0..30 {
        primary.lookup(&format!("{n:03}")).unwrap();
    }
    primary.pass(10_000);
    primary.step();
    let read = primary.keys().iter().filter(|key| key.as_str() < "030").count();
    assert!(read > 25, "{read} of 30 that were read are left, and {} of the others", primary.keys().len() - read);
}

#[test]
fn hard_pins_never_go() {
    let primary = room_for(100);
    fill(&primary, 0..60);
    for n in 0..60 {
        primary.pin(&format!("{n:03}"), Pin::Hard).unwrap();
    }
    assert_eq!(primary.step().objects_evicted, 0);
    primary.pin("007", Pin::None).unwrap();
    assert_eq!(primary.step().objects_evicted, 1);
    assert!(!primary.keys().contains(&"007".to_owned()));
}

#[test]
fn soft_pins_go_last() {
    let primary = room_for(100);
    fill(&primary, 0..60);
    for n in 0..50 {
        primary.pin(&format!("{n:03}"), Pin::Soft { ttl_ms: 1000 }).unwrap();
    }
    assert_eq!(primary.step().objects_evicted, 20);
    let left = primary.keys();
    assert!(left.iter().all(|key| key.as_str() < "050"), "{left:?}");
}

#[test]
fn a_soft_pin_that_is_over_is_none() {
    let primary = room_for(100);
    fill(&primary, 0..50);
    for n in 0..50 {
        primary.pin(&format!("{n:03}"), Pin::Soft { ttl_ms: 1000 }).unwrap();
    }
    primary.pass(1000);
    fill(&primary, 50..60);
    for n in 50..60 {
        primary.pin(&format!("{n:03}"), Pin::Soft { ttl_ms: 1000 }).unwrap();
    }
    assert_eq!(primary.step().objects_evicted, 20);
    assert!(primary.keys().iter().filter(|key| key.as_str() >= "050").count() == 10);
}

#[test]
fn a_pin_of_a_put_holds_from_its_start() {
    let primary = room_for(100);
    let mut how = placed(1, 0);
    how.pin = Pin::Hard;
    for n in 0..60 {
        primary.put_as(1, &how, &n.to_string(), UNIT);
    }
    assert_eq!(primary.step().objects_evicted, 0);
    assert_eq!(primary.remove("7"), Err(Refusal::Pinned));
    primary.remove_forced("7").unwrap();
}

#[test]
fn what_is_being_written_never_goes() {
    let primary = room_for(100);
    for n in 0..60 {
        primary.start(1, &n.to_string(), UNIT).unwrap();
    }
    assert_eq!(primary.step().objects_evicted, 0);
    assert_eq!(primary.keys().len(), 60);
}

#[test]
fn what_is_being_copied_never_goes() {
    let primary = room_for(100);
    primary.mount(1, disk(2, "d2", 1 << 20)).unwrap();
    fill(&primary, 0..60);
    for n in 0..60 {
        let kind = understudy_metadata::TransferKind::Copy;
        primary.transfer(1, kind, &format!("{n:03}"), "m1", &["d2"]).unwrap();
    }
    assert_eq!(primary.step().objects_evicted, 0);
}

#[test]
fn an_object_that_also_lies_on_disk_stays_there() {
    let primary = room_for(100);
    primary.mount(1, disk(2, "d2", 1 << 20)).unwrap();
    for n in 0..60 {
        primary.put_as(1, &placed(1, 1), &n.to_string(), UNIT);
    }
    assert_eq!(primary.step().objects_evicted, 20);
    assert_eq!(primary.keys().len(), 60);
    assert!((0..60).all(|n: u32| !primary.lookup(&n.to_string()).unwrap().places.is_empty()));
    assert_eq!(primary.bytes(), (40 * UNIT + 60 * UNIT, 0));
}

#[test]
fn a_put_without_room_makes_room_for_the_next_one() {
    let primary = Primary::new();
    primary.mount(1, memory(1, "m1", 20 * UNIT)).unwrap();
    primary.mount(1, memory(2, "m2", 20 * UNIT)).unwrap();
    for n in 0..17 {
        let mut how = placed(1, 0);
        how.placement.preferred = vec!["m1"];
        primary.put_as(1, &how, &n.to_string(), UNIT);
    }
    // 17 of 40 are used, which is far below the watermark, but no two replicas find 8 units.
    assert_eq!(primary.step().objects_evicted, 0);
    assert_eq!(refusal(primary.start_as(1, &placed(2, 0), "big", 4 * UNIT)), Refusal::NoSpace);
    assert_eq!(primary.step().objects_evicted, 2);
    assert_eq!(primary.step().objects_evicted, 0, "once for each time that it was asked for");
}

#[test]
fn what_puts_wait_for_is_urgent() {
    let primary = room_for(1000);
    fill(&primary, 0..1000);
    primary.step();
    for n in 0..650 {
        // The last ones find no space.
        let key = format!("more {n}");
        let Ok(put) = primary.start(1, &key, UNIT) else { continue };
        primary.end(1, &key, put.put).unwrap();
    }
    let first = primary.state.step(primary.now()).unwrap();
    assert!(first.more && first.urgent, "{first:?}");
    let second = primary.state.step(primary.now()).unwrap();
    assert!(second.more && !second.urgent, "nothing was refused since: {second:?}");
}

/// A request that no eviction could ever serve must not cost others their objects.
#[test]
fn what_can_never_fit_evicts_nothing() {
    let primary = room_for(100);
    fill(&primary, 0..30);
    assert_eq!(refusal(primary.start(1, "too big", 101 * UNIT)), Refusal::NoSpace);
    assert_eq!(primary.step().objects_evicted, 0);
    assert_eq!(refusal(primary.start_as(1, &placed(2, 0), "too many", UNIT)), Refusal::NoSpace);
    assert_eq!(primary.step().objects_evicted, 0);
    assert_eq!(refusal(primary.start_as(1, &placed(1, 1), "no disk", UNIT)), Refusal::NoSpace);
    assert_eq!(primary.step().objects_evicted, 0);
    let mut best_effort = placed(3, 0);
    best_effort.placement.best_effort = true;
    primary.put_as(1, &best_effort, "as many as there are", UNIT);
    assert_eq!(primary.step().objects_evicted, 0);
    assert_eq!(primary.keys().len(), 31);
}

#[test]
fn two_replicas_in_memory_go_together() {
    let primary = Primary::with(Config {
        settings: Settings { eviction_high_watermark: 0.5, eviction_ratio: 0.1, ..config().settings },
        ..config()
    });
    primary.mount(1, memory(1, "m1", 50 * UNIT)).unwrap();
    primary.mount(2, memory(2, "m2", 50 * UNIT)).unwrap();
    for n in 0..30 {
        primary.put_as(1, &placed(2, 0), &n.to_string(), UNIT);
    }
    assert_eq!(primary.step().objects_evicted, 10);
    assert_eq!(primary.bytes(), (40 * UNIT, 0));
    assert_eq!(primary.keys().len(), 20);
}

#[test]
fn after_a_promotion_nothing_goes_for_one_lease() {
    let old = room_for(100);
    fill(&old, 0..60);
    let new = old.fail_over();
    assert_eq!(new.step().objects_evicted, 0);
    new.pass(10_000);
    assert_eq!(new.step().objects_evicted, 20);
    assert_eq!(new.state.totals().evicted_total, 20);
}

#[test]
fn a_state_from_images_knows_how_many_went() {
    let primary = room_for(100);
    fill(&primary, 0..51);
    primary.step();
    assert_eq!(primary.rebuilt().totals().evicted_total, 11);
}
