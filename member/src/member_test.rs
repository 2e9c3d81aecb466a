//! Tests of a member as a primary with one peer, and as a standby: its actions, event by event.

use std::sync::Arc;

use bytes::Bytes;
use election::{Founding, Look, MemberId, Pace, Start, Timing, Unclean, Versioned};
use metadata::{Config, Metadata};
use oplog::{Appender, DomainId, Draft, Position, TailConfig};
use proto::v1;
use replication::{Admitted, BatchLimits, Challenged, Greeting, PeerLog, Secret};
use standby::Standby;

use super::*;
use crate::peers::{Sending, StreamEnd, StreamId, incarnation_to_wire};
use crate::ride::{Brought, Holding, RideEnd, bring};
use crate::settings::{COMPARED_WITHIN_MS, DRAIN_WITHIN_MS, SILENT_MS_MAX};
use crate::transfer::Occasion;

const ME: Incarnation = Incarnation { member: MemberId(1), number: 1 };
const PEER: Incarnation = Incarnation { member: MemberId(2), number: 1 };
const SECRETS: (Secret, Secret) = (Secret([1; 16]), Secret([2; 16]));
const TENURE_MS: u64 = 500;

fn settings() -> Settings {
    Settings {
        ask_again_ms: 50,
        transfer_pause_ms: 0,
        window_entries: 4,
        window_bytes: 1000,
        batch: BatchLimits { entries: 10, bytes: 1000 },
        full_sync_bytes_per_s: 0,
        digest_interval_ms: 0,
        verify_interval_ms: 0,
        sample_ratio: 0.1,
        sample_records: 100,
        repair_records_max: 10,
        seq_gap_max: 1000,
        shards: 1025,
        buckets: 16,
    }
}

fn member(me: Incarnation) -> Member {
    let timing = Timing { tenure_ms: TENURE_MS, join_lag_ops: 1000, ..Timing::default() };
    let founding = Founding { allowed: true, after_ms: 0 };
    let start = Start { timing, pace: Pace::default(), unclean: Unclean::Cold, founding };
    Member::new(me, election::Election::new(me, 77, start, 0), settings(), Arc::new(Gate::closed()))
}

/// A primary of epoch 1, with its log.
struct Primary {
    member: Member,
    tail: Arc<Tail>,
    log: Appender,
    now: u64,
}

impl Primary {
    fn alone() -> Primary {
        let mut member = member(ME);
        let (tail, mut log) = Tail::new(TailConfig::default(), Position::default());
        log.begin_epoch(1);
        member.on_tick(1);
        let look = Look { record: None, store: 1, others: None, is_present: true };
        member.on(Event::Read(look), 2);
        member.on(Event::Swapped(1), 3);
        assert_eq!(member.role(), Role::Lead { epoch: 1 });
        assert!(member.open(1, Arc::clone(&tail), 4));
        member.take_actions();
        Primary { member, tail, log, now: 900 }
    }

    /// The same, with a peer in its set.
    fn with_peer() -> (Primary, StreamId) {
        let mut primary = Primary::alone();
        primary.append();
        let (stream, epoch) = primary.open().expect("it leads");
        assert_eq!(epoch, 1);
        for _ in 0..2 {
            primary.sends(stream).expect("it leads");
            primary.receives(stream, v1::Receipt::default());
            primary.member.on_tick(primary.now);
        }
        let actions = primary.member.take_actions();
        let [Action::Swap { to, .. }] = &actions[..] else { panic!("it proposes the peer: {actions:?}") };
        assert!(to.insync.contains(&PEER));
        primary.member.on(Event::Swapped(2), primary.now);
        primary.member.take_actions();
        (primary, stream)
    }

    fn append(&mut self) {
        let draft =
            Draft { domain: DomainId(9), op_type: 1, timestamp_ms: 0, request: None, key: b"", payload: &[0; 10] };
        self.log.reserve(10).expect("there is room").append(&draft);
        self.member.on_appended(&Arc::clone(&self.tail), self.now);
    }

    fn open(&mut self) -> Result<(StreamId, u64), crate::peers::NotServed> {
        self.member.open_stream(admitted(77), self.now)
    }

    /// Sends all that the log holds.
    fn sends(&mut self, stream: StreamId) -> Result<u64, StreamEnd> {
        self.now += 1;
        let at = Sending { sent: self.tail.appended().get(), window_from: Some(0), syncing: None };
        self.member.stamp(stream, at, 10, self.now).map(|envelope| envelope.sent_ms)
    }

    /// The peer answers all that was sent.
    fn receives(&mut self, stream: StreamId, receipt: v1::Receipt) {
        self.now += 1;
        let received = self.tail.appended().get();
        let receipt = v1::Receipt { epoch: 1, received, applied: received, echo_ms: self.now, ..receipt };
        self.member.on_receipt(stream, &receipt, self.now).expect("the stream is open");
    }

    fn is_draining(&self) -> bool {
        self.member.gate.check_open(self.now).is_err()
    }
}

/// A peer of this cluster that has proven who it is.
fn admitted(cluster_id: u128) -> Admitted {
    let both = (incarnation_to_wire(PEER), incarnation_to_wire(ME));
    let cluster_id = Bytes::copy_from_slice(&cluster_id.to_be_bytes());
    let greeting = Greeting::new("peer", both, (cluster_id, 1), [3; 16]);
    let (challenged, challenge) =
        Challenged::new(greeting.hello(), (both.1, &SECRETS.0), Some(SECRETS.1), [4; 16]).expect("it is listed");
    let proven = greeting.on_challenge(&challenge, (&SECRETS.1, &SECRETS.0), PeerLog::default());
    challenged.on_proof(&proven.expect("the primary has proven itself").0).expect("so has the peer")
}

#[test]
fn changes_of_two_operators_at_the_same_time_are_both_made() {
    let mut primary = Primary::alone();
    let change = |name: &str, value| [(name.to_owned(), value)];
    assert_eq!(primary.member.retime(&change("tenure_ms", 800), primary.now), Ok(()));
    assert_eq!(primary.member.retime(&change("beacon_ms", 40), primary.now), Ok(()));
    let refused = primary.member.retime(&change("tenure_ms", 100), primary.now);
    assert!(matches!(refused, Err(NotRetimed::Rule(_))), "{refused:?}");
    let timing = primary.member.election().timing_to_be();
    assert_eq!((timing.tenure_ms, timing.beacon_ms), (800, 40));
}

#[test]
fn transfer_waits_until_the_heir_has_compared_itself_behind_the_last_entry() {
    let (mut primary, stream) = Primary::with_peer();
    assert_eq!(primary.member.best_heir(primary.now), Some(PEER));
    let record = primary.member.known().expect("it leads").record.promoted(PEER);
    primary.member.transfer(PEER, Occasion::Asked, primary.now).expect("it leads");
    assert_eq!(primary.member.transfer(PEER, Occasion::Asked, primary.now), Err(NotTransferred::Busy));
    assert_eq!(primary.member.take_actions(), [Action::LogDigests]);
    assert!(primary.is_draining());
    primary.append();
    let at = primary.tail.appended().get();
    primary.member.on_digests_logged(Some(at), primary.now);
    primary.sends(stream).unwrap();
    primary.receives(stream, v1::Receipt { verified: at - 1, ..v1::Receipt::default() });
    assert_eq!(primary.member.take_actions(), [], "it is compared up to the entry before");
    primary.receives(stream, v1::Receipt { verified: at, ..v1::Receipt::default() });
    assert_eq!(primary.member.take_actions(), [Action::Standing, Action::Be(Role::Deposed { by: 1 })]);
    assert_eq!(primary.member.check_stream(stream, primary.now).map(drop), Err(StreamEnd::Resigned));
    // The heir is seen to lead.
    let look = Look { record: Some(Versioned { record, revision: 3 }), store: 1, others: None, is_present: true };
    primary.now += settings().ask_again_ms;
    primary.member.on_tick(primary.now);
    assert_eq!(primary.member.take_actions(), [Action::Read]);
    primary.member.on(Event::Read(look), primary.now);
    primary.member.on_tick(primary.now);
    let ended = Action::Transferred(Ok(Transferred { to: PEER, epoch: 2 }));
    assert!(primary.member.take_actions().contains(&ended));
}

#[test]
fn entry_logged_after_the_comparison_takes_another_round_and_the_third_is_the_last() {
    let (mut primary, stream) = Primary::with_peer();
    primary.member.transfer(PEER, Occasion::Asked, primary.now).expect("it leads");
    for round in 1..=3 {
        primary.member.on_tick(primary.now);
        assert_eq!(primary.member.take_actions(), [Action::LogDigests], "round {round}");
        primary.append();
        let at = primary.tail.appended().get();
        primary.member.on_digests_logged(Some(at), primary.now);
        primary.append();
        primary.sends(stream).unwrap();
        primary.receives(stream, v1::Receipt { verified: at, ..v1::Receipt::default() });
    }
    assert_eq!(primary.member.take_actions(), [Action::Transferred(Err(NotTransferred::NotDrained))]);
    assert!(!primary.is_draining(), "it goes on as the primary");
}

#[test]
fn heir_that_differs_or_is_too_slow_leaves_the_place_where_it_is() {
    for (unsound, why) in [(true, NotTransferred::Differs), (false, NotTransferred::NotCompared)] {
        let (mut primary, stream) = Primary::with_peer();
        primary.member.transfer(PEER, Occasion::Asked, primary.now).expect("it leads");
        primary.append();
        primary.member.on_digests_logged(Some(primary.tail.appended().get()), primary.now);
        primary.member.take_actions();
        primary.sends(stream).unwrap();
        primary.receives(stream, v1::Receipt { unsound, ..v1::Receipt::default() });
        primary.now += COMPARED_WITHIN_MS;
        primary.member.go_on_with_transfer(primary.now);
        assert_eq!(primary.member.take_actions(), [Action::Transferred(Err(why))]);
        assert_eq!(primary.member.leads(), Some(1));
    }
}

#[test]
fn transfer_without_a_commit_ends_and_one_that_is_given_up_opens_the_gate() {
    let (mut primary, _) = Primary::with_peer();
    primary.append();
    primary.member.transfer(PEER, Occasion::Asked, primary.now).expect("it leads");
    assert_eq!(primary.member.take_actions(), [], "something is not committed");
    primary.now += DRAIN_WITHIN_MS;
    primary.member.go_on_with_transfer(primary.now);
    assert_eq!(primary.member.take_actions(), [Action::Transferred(Err(NotTransferred::NotDrained))]);
    primary.member.transfer(PEER, Occasion::Asked, primary.now).expect("the last one is over");
    primary.member.give_up_transfer(primary.now);
    assert_eq!(primary.member.gate.standing(), crate::Standing::Serving);
    assert_eq!(primary.member.transfer(PEER, Occasion::Asked, primary.now), Ok(()));
}

#[test]
fn requested_transfer_needs_a_pause_and_one_of_a_member_that_ends_does_not() {
    const PAUSE_MS: u64 = 2000;
    let (mut primary, _) = Primary::with_peer();
    primary.member.settings.transfer_pause_ms = PAUSE_MS;
    primary.member.pause_transfers(primary.now);
    let ask = |primary: &mut Primary| primary.member.transfer(PEER, Occasion::Asked, primary.now);
    assert_eq!(ask(&mut primary), Err(NotTransferred::TooSoon { left_ms: PAUSE_MS }), "it has just begun to lead");
    assert!(!primary.is_draining(), "what is refused holds nothing up");
    primary.member.transfer(PEER, Occasion::Ends, primary.now).expect("it is about to end");
    primary.member.give_up_transfer(primary.now);
    primary.now += PAUSE_MS - 1;
    assert_eq!(ask(&mut primary), Err(NotTransferred::TooSoon { left_ms: 1 }));
    primary.now += 1;
    ask(&mut primary).expect("the pause is over");
    // A transfer that fails costs the clients as much.
    primary.now += COMPARED_WITHIN_MS;
    primary.member.go_on_with_transfer(primary.now);
    let ended = Action::Transferred(Err(NotTransferred::NotCompared));
    assert!(primary.member.take_actions().contains(&ended));
    assert_eq!(ask(&mut primary), Err(NotTransferred::TooSoon { left_ms: PAUSE_MS }));
}

#[test]
fn peer_in_a_full_sync_is_not_let_in_by_what_it_said_before() {
    let mut primary = Primary::alone();
    primary.append();
    let (stream, _) = primary.open().expect("it leads");
    primary.sends(stream).expect("it leads");
    primary.receives(stream, v1::Receipt::default());
    primary.member.on_tick(primary.now);
    assert_eq!(primary.member.take_actions(), [], "it is to join, and has not answered since");
    primary.receives(stream, v1::Receipt { syncing: true, ..v1::Receipt::default() });
    primary.member.on_tick(primary.now);
    assert_eq!(primary.member.take_actions(), [], "it has given up what it held");
    for _ in 0..2 {
        primary.receives(stream, v1::Receipt::default());
        primary.member.on_tick(primary.now);
    }
    let actions = primary.member.take_actions();
    assert!(matches!(&actions[..], [Action::Swap { to, .. }] if to.insync.contains(&PEER)), "{actions:?}");
}

#[test]
fn peer_is_silent_when_it_owes_an_answer_for_long_and_not_when_nothing_was_sent() {
    let (mut primary, stream) = Primary::with_peer();
    primary.now += 10 * SILENT_MS_MAX;
    assert!(primary.member.check_stream(stream, primary.now).is_ok(), "it owes nothing");
    primary.sends(stream).unwrap();
    let sent_ms = primary.now;
    assert!(primary.member.check_stream(stream, sent_ms + SILENT_MS_MAX).is_ok());
    // Later messages do not extend the time.
    primary.now += SILENT_MS_MAX;
    primary.sends(stream).unwrap();
    assert_eq!(primary.member.check_stream(stream, primary.now).map(drop), Err(StreamEnd::Silent));
    primary.receives(stream, v1::Receipt::default());
    assert!(primary.member.check_stream(stream, primary.now).is_ok());
}

/// By its receipts its clock is 100 per mille faster than this member's, for more than a window.
#[test]
fn peer_whose_clock_runs_too_fast_is_told_of_once() {
    let (mut primary, stream) = Primary::with_peer();
    let began = primary.now;
    while primary.now < began + 100_000 {
        primary.now += 200;
        primary.sends(stream).expect("it leads");
        let asked_ms = 50_000 + (primary.now - began) * 11 / 10;
        primary.receives(stream, v1::Receipt { asked_ms, ..v1::Receipt::default() });
    }
    let told = primary.member.take_actions();
    let told: Vec<_> = told.iter().filter(|action| matches!(action, Action::WrongClock { .. })).collect();
    assert!(matches!(&told[..], [Action::WrongClock { who: PEER, error }] if error.least_ppm > 90_000), "{told:?}");
    assert!(primary.member.rate_errors().all(|(who, error)| who == PEER && (90_000..110_000).contains(&error.ppm)));
    assert_eq!(primary.member.rate_errors().count(), 1);
}

#[test]
fn second_stream_of_a_peer_takes_the_place_of_its_first_and_another_cluster_gets_none() {
    let (mut primary, first) = Primary::with_peer();
    let refused = primary.member.open_stream(admitted(78), primary.now);
    assert!(matches!(refused, Err(crate::peers::NotServed::AnotherCluster { .. })), "{refused:?}");
    let (second, _) = primary.open().expect("it leads");
    let receipt = v1::Receipt { epoch: 1, ..v1::Receipt::default() };
    assert_eq!(primary.member.on_receipt(first, &receipt, primary.now), Err(StreamEnd::Displaced));
    assert_eq!(primary.sends(first), Err(StreamEnd::Displaced));
    assert!(!primary.member.close_stream(first, primary.now), "the peer is not gone");
    assert!(primary.sends(second).is_ok());
    assert!(primary.member.close_stream(second, primary.now));
}

#[test]
fn window_of_entries_and_of_bytes_holds_a_peer_back_and_a_full_sync_only_the_latter() {
    let (mut primary, stream) = Primary::with_peer();
    (0..4).for_each(|_| primary.append());
    let at = |sent, window_from| Sending { sent, window_from, syncing: None };
    let has_room = |primary: &Primary, at| {
        let peer = primary.member.check_stream(stream, primary.now).expect("it is open");
        primary.member.has_room(peer, at)
    };
    // It has confirmed one entry.
    assert!(has_room(&primary, at(4, Some(0))));
    assert!(!has_room(&primary, at(5, Some(0))));
    assert!(has_room(&primary, at(5, Some(2))), "what it had before counts");
    assert!(has_room(&primary, at(1 << 40, None)));
    primary.member.stamp(stream, at(5, Some(0)), settings().window_bytes, primary.now + 1).unwrap();
    assert!(!has_room(&primary, at(1, None)));
}

/// A standby that follows a primary, and what it holds.
fn follower() -> (Member, Standby<Metadata>) {
    let mut standby = member(PEER);
    let record = Primary::alone().member.known().unwrap().clone();
    standby.on_tick(1);
    standby.on(Event::Read(Look { record: Some(record), store: 1, others: None, is_present: true }), 2);
    assert_eq!(standby.role(), Role::Follow { primary: ME, epoch: 1 });
    let config = TailConfig { entries_max: 2, ..TailConfig::default() };
    let (tail, log) = Tail::new(config.clone(), Position::default());
    let state = Arc::new(Metadata::new(Config::default(), Position::default()));
    (standby, Standby::new(state, tail, log, config))
}

fn entries(primary: &Primary, sent: u64) -> v1::FromPrimary {
    let batch = replication::next_batch(&primary.tail, sent, u64::MAX, settings().batch).unwrap();
    let frames = batch.map_or(Bytes::new(), |batch| batch.frames);
    let message = Some(v1::from_primary::Message::Entries(v1::Entries { frames }));
    v1::FromPrimary { epoch: 1, sent_ms: 9, version: 1, tenure_ms: 500, message, ..v1::FromPrimary::default() }
}

#[test]
fn standby_answers_what_it_holds_and_breaks_off_where_its_log_is_full_for_a_tenure() {
    let (mut member, mut standby) = follower();
    assert_eq!(member.wants_ride(3), Some((ME, 1)));
    let id = member.begin_ride(&mut standby, 3).expect("it is due");
    assert_eq!((member.wants_ride(3), member.begin_ride(&mut standby, 3)), (None, None), "one at a time");
    let mut primary = Primary::alone();
    (0..2).for_each(|_| primary.append());
    let welcome = v1::Welcome { primary: Some(incarnation_to_wire(ME)), start: Some(v1::welcome::Start::ForkSeq(0)) };
    let mut message =
        v1::FromPrimary { message: Some(v1::from_primary::Message::Welcome(welcome)), ..entries(&primary, 0) };
    assert_eq!(bring(&mut standby, &mut message, ME), Ok(Brought::Kept));
    let mut message = entries(&primary, 0);
    let envelope = member.takes(id, &message).expect("it follows this primary");
    assert_eq!(bring(&mut standby, &mut message, ME), Ok(Brought::Kept));
    let receipt = member.brought(id, Holding::behind(&standby, &envelope), envelope, 4).expect("it is answered");
    assert_eq!((receipt.received, receipt.echo_ms, receipt.asked_ms), (2, 9, 4));
    // None of that is committed, so nothing is applied, and there is no room.
    primary.append();
    let mut message = entries(&primary, 2);
    member.takes(id, &message).expect("it follows this primary");
    assert_eq!(bring(&mut standby, &mut message, ME), Ok(Brought::NoRoom));
    assert_eq!(member.on_no_room(id, 5), Ok(()));
    assert_eq!(member.on_no_room(id, 5 + TENURE_MS), Ok(()));
    assert!(matches!(member.on_no_room(id, 6 + TENURE_MS), Err(RideEnd::Protocol(_))));
    member.end_ride(id, 50, 7);
    assert_eq!((member.wants_ride(56), member.wants_ride(57)), (None, Some((ME, 1))));
}

#[test]
fn nothing_is_accepted_from_a_stream_that_is_over_nor_of_another_epoch() {
    let (mut member, mut standby) = follower();
    let id = member.begin_ride(&mut standby, 3).expect("it is due");
    let primary = Primary::alone();
    let later = v1::FromPrimary { epoch: 2, ..entries(&primary, 0) };
    assert_eq!(member.takes(id, &later), Err(RideEnd::NotAnswered));
    let impossible = v1::FromPrimary { version: u64::MAX, ..entries(&primary, 0) };
    assert!(matches!(member.takes(id, &impossible), Err(RideEnd::Protocol(_))));
    member.doubt(verification::Event::Broken, 4);
    assert_eq!(member.check_ride(id, &standby), Err(RideEnd::Distrusted));
    member.end_ride(id, 0, 4);
    assert_eq!(member.takes(id, &entries(&primary, 0)), Err(RideEnd::NotAnswered));
    // The next stream begins with a message that does not count.
    member.begin_ride(&mut standby, 4).expect("it is due");
    assert!(standby.is_distrusted());
}
