//! The secret of the cluster: it comes with the log, goes with every image, and keys the hashes of
//! what clients choose.

use oplog::{InstallError, Part, Position, Rebuild, RepairError, ReplicatedState, Secret, Verifiable};
use understudy_metadata::{Metadata, PartsDifference, compare_parts};

use crate::support::{Primary, config, memory};

fn primary(secret: u8) -> Primary {
    let primary = Primary::with_secret(config(), Secret([secret; 16]));
    primary.mount(1, memory(1, "m", 1 << 20)).unwrap();
    for n in 0..200 {
        primary.put(1, &n.to_string(), 64);
    }
    primary
}

/// Which shard holds how many keys.
fn places(state: &Metadata) -> Vec<u64> {
    (0..state.shards() - 1).map(|shard| state.capture(shard).records).collect()
}

#[test]
fn two_clusters_put_the_same_keys_into_other_shards() {
    let (one, other) = (primary(1), primary(2));
    assert_ne!(places(&one.state), places(&other.state));
    assert_eq!(places(&one.state), places(&primary(1).state));
    assert_eq!(one.keys(), other.keys());
}

#[test]
fn every_member_has_it_from_the_log_or_from_images() {
    let primary = primary(1);
    let (follower, rebuilt) = (primary.follower(), primary.rebuilt());
    let promoted = [Primary::promoted(follower, config(), 5), Primary::promoted(rebuilt, config(), 5)];
    for member in &promoted {
        assert_eq!(member.digest(), primary.digest());
        assert!((0..200).all(|n| member.lookup(&n.to_string()).is_some()));
        // What comes next goes where it goes on the others.
        member.put(1, "next", 64);
    }
    primary.put(1, "next", 64);
    assert_eq!(places(&promoted[0].state), places(&promoted[1].state));
    assert_eq!(places(&promoted[0].state), places(&primary.state));
}

#[test]
fn it_is_a_part_of_the_digest_and_does_not_show_in_it() {
    let empty = |secret| Primary::with_secret(config(), Secret([secret; 16])).digest();
    assert_ne!(empty(1), empty(2));
    assert_ne!(empty(1), Primary::new().digest());
}

#[test]
fn a_sync_that_began_before_the_first_entry_takes_it_from_the_log() {
    let primary = primary(1);
    let empty = Metadata::new(config(), Position::default());
    let mut rebuild = empty.rebuild();
    (0..empty.shards()).for_each(|shard| rebuild.install(&empty.capture(shard)).unwrap());
    primary.entries().iter().for_each(|entry| rebuild.apply(entry).unwrap());
    let rebuilt = rebuild.finish().unwrap();
    assert_eq!(rebuilt.digest(), primary.state.digest());
    // Half of the shards from before, the rest and the directory from after.
    let mut rebuild = empty.rebuild();
    (0..512).for_each(|shard| rebuild.install(&empty.capture(shard)).unwrap());
    (512..empty.shards()).for_each(|shard| rebuild.install(&primary.state.capture(shard)).unwrap());
    primary.entries().iter().for_each(|entry| rebuild.apply(entry).unwrap());
    assert_eq!(rebuild.finish().unwrap().digest(), primary.state.digest());
}

#[test]
fn images_of_two_secrets_do_not_fit_together() {
    let (one, other) = (primary(1), primary(2));
    let mut rebuild = one.state.rebuild();
    let last = one.state.shards() - 1;
    (0..last).for_each(|shard| rebuild.install(&one.state.capture(shard)).unwrap());
    let refused = rebuild.install(&other.state.capture(last));
    assert!(matches!(refused, Err(InstallError::Inconsistent { .. })), "{refused:?}");
    rebuild.install(&one.state.capture(last)).unwrap();
    assert_eq!(rebuild.finish().unwrap().digest(), one.state.digest());
}

#[test]
fn a_repair_with_parts_of_another_secret_changes_nothing() {
    let (one, other) = (primary(1), primary(2));
    let before = one.digest();
    let parts: Vec<Part> = (0..8).map(|shard| Part { shard, bucket: 1 }).collect();
    one.state.follow();
    let refused = one.state.repair(&other.state.capture_parts(&parts), 1000);
    assert!(matches!(refused, Err(RepairError::NeedsWhole { .. })), "{refused:?}");
    assert_eq!(one.digest(), before);
}

#[test]
fn what_operators_are_shown_has_no_secret_in_it() {
    let primary = primary(0xa7);
    let follower = primary.follower();
    let parts: Vec<Part> =
        (0..follower.shards()).flat_map(|shard| (0..16).map(move |bucket| Part { shard, bucket })).collect();
    let shows = |bytes: &[u8]| bytes.windows(16).any(|window| window == [0xa7; 16]);
    let (for_members, shown) = (primary.state.capture_parts(&parts), primary.state.capture_records(&parts));
    assert!(shows(&for_members.bytes) && for_members.whole.is_some_and(|image| shows(&image.bytes)));
    assert!(!shows(&shown.bytes) && shown.whole.is_none());
    assert_eq!(compare_parts(&shown, &follower.capture_records(&parts)), Ok(PartsDifference::default()));
    primary.remove_forced("7").unwrap();
    let found = compare_parts(&primary.state.capture_records(&parts), &follower.capture_records(&parts)).unwrap();
    assert_eq!((found.records.len(), found.undecided), (0, 1));
    let refused = follower.repair(&shown, 1000);
    assert!(matches!(refused, Err(RepairError::Inconsistent { .. })), "{refused:?}");
}
