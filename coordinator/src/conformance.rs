//! The promises of `contract` as checks that every coordinator must pass. [`run`] panics at the
//! first that is broken.
//!
//! A test brings a function that opens the coordinator at a named place. The same name is the same
//! place. Each check uses a new name, and opens two coordinators there, as two processes would.
//!
//! Deliberately absent: faults. Each coordinator can break in other ways, so it has fault tests of
//! its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use election::{ConfigRecord, Incarnation, MemberId, Seen, Versioned};

use crate::contract::{Coordinator, Error, MemberInfo, Presence, Secret, Swap};

/// What may come late must come within this time.
const PATIENCE: Duration = Duration::from_secs(60);

type Shared = Arc<dyn Coordinator>;

pub async fn run<C: Coordinator + 'static>(make: impl AsyncFn(&'static str) -> C) {
    let open = async |place| {
        let (one, other): (Shared, Shared) = (Arc::new(make(place).await), Arc::new(make(place).await));
        (one, other)
    };
    nothing_is_there_at_first(open("empty").await).await;
    a_record_is_created_and_swapped(open("swap").await).await;
    of_two_creators_one_wins(open("create").await).await;
    of_sixteen_swaps_of_one_revision_one_happens(open("sixteen").await).await;
    a_member_is_there_once_and_as_long_as_it_is_held(open("join").await).await;
    the_last_to_announce_itself_is_told_to_clients(open("announce").await).await;
    an_incarnation_is_dead_after_its_end_and_not_before(open("dead").await).await;
    changes_are_told_of(open("changes").await).await;
}

pub fn who(member: u64, number: u64) -> Incarnation {
    Incarnation { member: MemberId(member), number }
}

pub fn info(member: u64, number: u64) -> MemberInfo {
    MemberInfo {
        who: who(member, number),
        name: format!("node-{member}"),
        address: format!("127.0.0.1:{}", 1000 + member),
        peer_address: format!("127.0.0.1:{}", 2000 + member),
        process: format!("process-{number}"),
        seen: None,
        secret: Some(Secret((u128::from(number) << 64 | u128::from(member)).to_be_bytes())),
    }
}

/// Waits until it is so, and panics if that takes too long.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Joins as soon as the previous incarnation of this member is gone.
pub async fn join_when_free(place: &dyn Coordinator, me: MemberInfo) -> Box<dyn Presence> {
    let begun = Instant::now();
    loop {
        match place.join(me.clone()).await {
            Ok(presence) => return presence,
            Err(Error::NameInUse { .. }) if begun.elapsed() < PATIENCE => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{me:?} can't join: {error}"),
        }
    }
}

async fn done(place: &dyn Coordinator, expect: Option<Versioned>, to: ConfigRecord) -> Versioned {
    match place.swap(expect.clone(), to.clone()).await {
        Ok(Swap::Done { revision }) => Versioned { record: to, revision },
        other => panic!("a swap of {expect:?} to {to:?}: {other:?}"),
    }
}

async fn is_dead(place: &dyn Coordinator, who: Incarnation) -> bool {
    place.is_dead(who).await.expect("an answer about the dead")
}

async fn record(place: &dyn Coordinator) -> Option<Versioned> {
    place.read().await.expect("read").record
}

async fn members(place: &dyn Coordinator) -> Vec<MemberInfo> {
    let mut found = place.members().await.expect("the members");
    found.sort_by_key(|info| info.who);
    found
}

async fn nothing_is_there_at_first((one, other): (Shared, Shared)) {
    assert_eq!(record(&*one).await, None);
    assert_eq!(one.read().await.expect("read").store, other.read().await.expect("read").store, "they are one store");
    assert_eq!(members(&*one).await, []);
    assert_eq!(other.announced().await.expect("announced"), None);
    assert!(!is_dead(&*other, who(1, 1)).await, "it is not known");
    let first = ConfigRecord::first(1, who(1, 1), 1);
    let nothing = Versioned { record: first.clone(), revision: 1 };
    assert_eq!(one.swap(Some(nothing), first).await.expect("answered"), Swap::Refused);
    assert_eq!(record(&*one).await, None);
}

async fn a_record_is_created_and_swapped((one, other): (Shared, Shared)) {
    let first = ConfigRecord::first(u128::MAX - 1, who(1, u64::MAX), 1);
    let mut known = done(&*one, None, first.clone()).await;
    assert_eq!(record(&*other).await, Some(known.clone()));
    for _ in 0..20 {
        let to = known.record.promoted(who(2, 7)).with(who(1, 9));
        let next = done(&*other, Some(known.clone()), to).await;
        assert!(next.revision > known.revision, "revisions grow: {next:?} after {known:?}");
        assert_eq!(record(&*one).await, Some(next.clone()));
        // Another revision, or another record under this revision: a restored store may use a
        // revision again.
        let (late, early) = (known, Versioned { revision: next.revision + 1, ..next.clone() });
        let altered = Versioned { record: next.record.renewed(), ..next.clone() };
        for wrong in [Some(late), Some(early), Some(altered), None] {
            assert_eq!(one.swap(wrong.clone(), first.clone()).await.expect("answered"), Swap::Refused, "{wrong:?}");
        }
        known = next;
    }
}

async fn of_two_creators_one_wins((one, other): (Shared, Shared)) {
    let records = [1, 2].map(|member| ConfigRecord::first(9, who(member, 1), 1));
    let (left, right) = tokio::join!(one.swap(None, records[0].clone()), other.swap(None, records[1].clone()));
    let (left, right) = (left.expect("answered"), right.expect("answered"));
    let winner = match (left, right) {
        (Swap::Done { .. }, Swap::Refused) => 0,
        (Swap::Refused, Swap::Done { .. }) => 1,
        other => panic!("two creators: {other:?}"),
    };
    assert_eq!(record(&*one).await.expect("created").record, records[winner]);
}

async fn of_sixteen_swaps_of_one_revision_one_happens((one, other): (Shared, Shared)) {
    let first = ConfigRecord::first(9, who(1, 1), 1);
    let mut known = done(&*one, None, first.clone()).await;
    for round in 0..5 {
        let mut asked = tokio::task::JoinSet::new();
        for member in 0..16 {
            let place = Arc::clone(if member % 2 == 0 { &one } else { &other });
            let (known, to) = (known.clone(), first.with(who(100 + member, round)));
            asked.spawn(async move { (place.swap(Some(known), to.clone()).await.expect("answered"), to) });
        }
        let mut won = Vec::new();
        for (swap, to) in asked.join_all().await {
            if let Swap::Done { revision } = swap {
                won.push(Versioned { record: to, revision });
            }
        }
        assert_eq!(won.len(), 1, "exactly one happens: {won:?}");
        known = won.remove(0);
        assert_eq!(record(&*other).await.as_ref(), Some(&known));
    }
}

async fn a_member_is_there_once_and_as_long_as_it_is_held((one, other): (Shared, Shared)) {
    let mut first = one.join(info(1, 5)).await.expect("member 1 is not here");
    let second = other.join(info(2, 8)).await.expect("member 2 is not here");
    assert_eq!(members(&*other).await, [info(1, 5), info(2, 8)]);
    match other.join(info(1, 6)).await {
        Err(Error::NameInUse { name, who: holder, address }) => {
            let expected = info(1, 5);
            assert_eq!((name, holder, address), (expected.name, expected.who, expected.address));
        }
        joined => panic!("member 1 is here twice: {joined:?}"),
    }
    let seen = Some(Seen { cluster_id: u128::MAX, epoch: 3, version: 8 });
    first.tell(seen).await.expect("told");
    assert_eq!(members(&*other).await, [MemberInfo { seen, ..info(1, 5) }, info(2, 8)]);
    let lost = tokio::time::timeout(Duration::from_millis(300), first.lost()).await;
    assert!(lost.is_err(), "it said something of itself, and is here as before");

    drop(first);
    let again = join_when_free(&*other, info(1, 6)).await;
    assert_eq!(members(&*one).await, [info(1, 6), info(2, 8)]);
    drop((again, second));
    eventually("the members that ended are gone", async || members(&*one).await.is_empty()).await;
}

async fn the_last_to_announce_itself_is_told_to_clients((one, other): (Shared, Shared)) {
    let first = one.join(info(1, 5)).await.expect("joined");
    let second = other.join(info(2, 8)).await.expect("joined");
    assert_eq!(one.announced().await.expect("announced"), None, "to be here is not to lead");
    first.announce(3).await.expect("announced");
    assert_eq!(other.announced().await.expect("announced"), Some((3, info(1, 5))));
    second.announce(4).await.expect("announced");
    assert_eq!(one.announced().await.expect("announced"), Some((4, info(2, 8))));
    match first.announce(3).await {
        Err(Error::Denied { why, .. }) => assert_eq!(why, "epoch 3 offered, 4 held"),
        late => panic!("a deposed primary is late: {late:?}"),
    }
    assert_eq!(one.announced().await.expect("announced"), Some((4, info(2, 8))));
    drop(second);
    eventually("the primary that ended is told no more", async || one.announced().await.expect("announced").is_none())
        .await;
    first.announce(5).await.expect("announced");
    assert_eq!(other.announced().await.expect("announced"), Some((5, info(1, 5))));
}

async fn an_incarnation_is_dead_after_its_end_and_not_before((one, other): (Shared, Shared)) {
    let presence = one.join(info(1, 5)).await.expect("joined");
    for number in 6..16 {
        assert!(other.join(info(1, number)).await.is_err(), "it is here");
        assert!(!is_dead(&*other, who(1, 5)).await, "it is here");
        assert!(!is_dead(&*other, who(1, number)).await, "it was sent away, and lives");
    }
    drop(presence);
    other.report_dead(who(1, 5)).await.expect("reported");
    eventually("its end is known", async || is_dead(&*one, who(1, 5)).await).await;

    let next = join_when_free(&*other, info(1, 6)).await;
    assert!(is_dead(&*one, who(1, 5)).await, "once ended, ended for good");
    assert!(!is_dead(&*one, who(1, 6)).await);
    assert!(!is_dead(&*one, who(1, 7)).await, "it is not known");
    drop(next);

    // A member that kept its state on disk comes back as the same incarnation.
    let _back = join_when_free(&*one, info(1, 5)).await;
    assert!(!is_dead(&*other, who(1, 5)).await, "it is here again");
    let here: BTreeSet<_> = members(&*other).await.into_iter().map(|info| info.who).collect();
    assert_eq!(here, BTreeSet::from([who(1, 5)]));
}

async fn changes_are_told_of((one, other): (Shared, Shared)) {
    let mut changes = one.changes();
    let known = done(&*other, None, ConfigRecord::first(9, who(1, 1), 1)).await;
    told(&mut changes, "a record was created").await;
    let to = known.record.with(who(2, 2));
    done(&*other, Some(known), to).await;
    told(&mut changes, "the record was swapped").await;
    let presence = other.join(info(1, 5)).await.expect("joined");
    told(&mut changes, "a member has come").await;
    drop(presence);
    told(&mut changes, "a member has gone").await;
    drop(one);
    let ended = async { while changes.changed().await.is_ok() {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the watcher has ended with its coordinator");
}

/// A hint may come without a change, so one that is due to an earlier change may count here. Each
/// wait begins when no hint is left.
async fn told(changes: &mut tokio::sync::watch::Receiver<u64>, what: &str) {
    let told = tokio::time::timeout(PATIENCE, changes.changed()).await;
    told.unwrap_or_else(|_| panic!("no hint: {what}")).expect("the coordinator is there");
    while let Ok(more) = tokio::time::timeout(Duration::from_millis(150), changes.changed()).await {
        more.expect("the coordinator is there");
    }
}
