//! Seeds that every change must survive.

use understudy_test_sim::{World, keep_panics, run_seed, run_seeds};

#[test]
fn two_thousand_seeds_break_no_promise() {
    keep_panics();
    let outcome = run_seeds(1, 2000, |_| {});
    assert_eq!(outcome.violation, None);
    let tally = outcome.tally;
    // A simulator in which nothing happens proves nothing.
    println!("{tally:#?}");
    assert!(tally.takeovers > 3_000 && tally.rebirths > 50 && tally.transfers > 500, "{tally:?}");
    assert!(tally.acknowledged > 200_000 && tally.reads > 100_000 && tally.answered_again > 1_000, "{tally:?}");
    assert!(tally.full_syncs > 1_000 && tally.purged > 5 && tally.repairs > 200, "{tally:?}");
    assert!(tally.clients_expired > 300 && tally.objects_evicted > 3_000 && tally.tasks_assigned > 500, "{tally:?}");
    assert!(tally.void < 200, "{tally:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 17, 4711] {
        assert_eq!(World::new(seed).run(), World::new(seed).run());
    }
}

/// Each line: a seed, and what it once found.
#[test]
fn seeds_that_once_broke_a_promise_break_none() {
    keep_panics();
    let stored = include_str!("../seeds.txt").lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    for line in stored {
        let seed = line.split_whitespace().next().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| panic!("seeds.txt: {line:?} does not begin with a seed"));
        assert_eq!(run_seed(seed).err(), None, "{line}");
    }
}
