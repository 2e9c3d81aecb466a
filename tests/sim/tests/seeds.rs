//! Seeds that every change must survive.

use understudy_test_sim::{World, keep_panics, run_seed, run_seeds};

#[test]
fn two_thousand_seeds_break_no_promise() {
    keep_panics();
    let outcome = run_seeds(1, 2000, |_| {});
    assert_eq!(outcome.violation, None);
    let tally = outcome.tally;
    // A simulator in which nothing happens proves nothing.
    assert!(tally.takeovers > 3_000 && tally.rebirths > 200, "{tally:?}");
    assert!(tally.transfers > 400 && tally.not_transferred > 500, "{tally:?}");
    assert!(tally.settings_changed > 1_000, "{tally:?}");
    assert!(tally.standby_reads > 1_000_000 && tally.standby_reads_refused > 1_000_000, "{tally:?}");
    assert!(tally.large > 1_000, "{tally:?}");
    assert!(tally.acknowledged > 150_000 && tally.reads > 80_000 && tally.answered_again > 1_500, "{tally:?}");
    assert!(tally.full_syncs > 1_000 && tally.purged > 20 && tally.repairs > 200, "{tally:?}");
    assert!(tally.clients_expired > 400 && tally.objects_evicted > 7_000, "{tally:?}");
    assert!(tally.foreign > 2_000, "{tally:?}");
    assert!(tally.losses > 200 && tally.restored > 100 && tally.recovered > 30, "{tally:?}");
    assert!(tally.tasks_assigned > 1_000 && tally.puts_discarded > 2_000, "{tally:?}");
    assert!(tally.tenants_deleted > 1_000, "{tally:?}");
    assert!(tally.replaced_in_place > 500, "{tally:?}");
    // Neither do runs that end early.
    assert!(tally.void < 100, "{tally:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 17, 4711] {
        assert_eq!(World::new(seed).run(), World::new(seed).run());
    }
}

/// Each line has a seed, and what it once found.
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
