//! Seeds that every change must survive.

use understudy_test_sim::World;

#[test]
fn two_thousand_seeds_break_no_promise() {
    let mut takeovers = 0;
    let mut acknowledgements = 0;
    let (mut rebirths, mut transfers) = (0, 0);
    for seed in 1..=2000 {
        let summary = World::new(seed).run();
        takeovers += summary.takeovers;
        acknowledgements += summary.acknowledgements;
        rebirths += summary.rebirths;
        transfers += summary.transfers;
    }
    // A simulator in which nothing happens proves nothing.
    assert!(takeovers > 3_000, "{takeovers} takeovers");
    assert!(acknowledgements > 500_000, "{acknowledgements} acknowledgements");
    assert!(rebirths > 100 && transfers > 1000, "{rebirths} rebirths, {transfers} transfers");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in [1, 17, 4711] {
        assert_eq!(World::new(seed).run(), World::new(seed).run());
    }
}
