//! Tests of the table of calls in flight: what each event does to a call, and that none is lost or
//! sent twice on a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;
use std::time::Duration;

use proptest::prelude::*;
use proto::v1::ExistsResponse;

use super::*;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn take(flight: &Flight, stream: u64) -> Vec<u64> {
    let mut taken = Vec::new();
    let mut batch = VecDeque::new();
    let mut context = Context::from_waker(Waker::noop());
    while flight.poll_take(stream, &mut batch, &mut context).is_ready() && !batch.is_empty() {
        taken.extend(batch.drain(..).map(|(id, _)| id));
    }
    taken
}

fn submit(flight: &Flight) -> Ticket<'_> {
    flight.submit(Bytes::from_static(b"call"), later(), OnLoss::SendsAgain).expect("is open")
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn answered() -> Outcome {
    Outcome::Answer(Answer::Exists(ExistsResponse::default()))
}

fn poll(ticket: &mut Ticket<'_>) -> Poll<Outcome> {
    ticket.poll_outcome(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn call_that_gives_up_on_loss_ends_when_its_stream_breaks_and_waits_when_it_was_not_sent() {
    let flight = Flight::default();
    let stream = flight.begin_stream();
    let once = || flight.submit(Bytes::new(), later(), OnLoss::GivesUp).expect("is open");
    let (mut lost, mut put_back) = (once(), once());
    assert_eq!(take(&flight, stream), [lost.id, put_back.id]);
    assert_eq!(flight.put_back(put_back.id, Ran::Maybe), 1);
    assert!(matches!(poll(&mut put_back), Poll::Ready(Outcome::Lost)));
    let mut unsent = once();
    flight.end_stream(Ran::Maybe);
    assert!(matches!(poll(&mut lost), Poll::Ready(Outcome::Lost)));
    assert!(lost.ran() == Ran::Maybe && poll(&mut unsent).is_pending() && unsent.ran() == Ran::No);
    let stream = flight.begin_stream();
    assert_eq!(take(&flight, stream), [unsent.id], "only what was never sent is sent");
    flight.end_stream(Ran::No);
    assert!(poll(&mut unsent).is_pending(), "it certainly did not run");
}

#[test]
fn call_is_taken_once_and_answered_to_its_caller() {
    let flight = Flight::default();
    let stream = flight.begin_stream();
    let (mut first, mut second) = (submit(&flight), submit(&flight));
    assert_eq!(take(&flight, stream), [first.id, second.id]);
    assert!(take(&flight, stream).is_empty());
    assert_eq!(flight.answer(second.id, answered()), 1);
    assert!(poll(&mut first).is_pending());
    assert!(matches!(poll(&mut second), Poll::Ready(Outcome::Answer(_))));
    assert_eq!(flight.answer(first.id, answered()), 0);
    assert!(first.ran() == Ran::No);
}

#[test]
fn broken_stream_gives_its_calls_to_the_next_one_in_order() {
    let flight = Flight::default();
    let first_stream = flight.begin_stream();
    let calls: Vec<_> = (0..5).map(|_| submit(&flight)).collect();
    assert_eq!(take(&flight, first_stream).len(), 5);
    flight.answer(calls[2].id, answered());
    let unsent = submit(&flight);
    flight.end_stream(Ran::Maybe);
    assert!(take(&flight, first_stream).is_empty(), "nothing is taken between streams");
    let next_stream = flight.begin_stream();
    assert!(take(&flight, first_stream).is_empty(), "the old stream takes nothing");
    assert_eq!(take(&flight, next_stream), [calls[0].id, calls[1].id, calls[3].id, calls[4].id, unsent.id]);
    assert!(calls[0].ran() == Ran::Maybe && calls[2].ran() == Ran::No && unsent.ran() == Ran::No);
    assert_eq!(flight.counts().sent_again, 4);
}

#[test]
fn stream_that_was_refused_as_a_whole_ran_nothing() {
    let flight = Flight::default();
    let stream = flight.begin_stream();
    let call = submit(&flight);
    take(&flight, stream);
    flight.end_stream(Ran::No);
    assert_eq!(call.ran(), Ran::No);
}

#[test]
fn refused_call_waits_for_the_next_stream_and_so_do_all_after_it() {
    let flight = Flight::default();
    let stream = flight.begin_stream();
    let (refused, mut answered_late) = (submit(&flight), submit(&flight));
    take(&flight, stream);
    assert_eq!(flight.put_back(refused.id, Ran::No), 1);
    let after = submit(&flight);
    assert!(take(&flight, stream).is_empty());
    assert_eq!(flight.answer(answered_late.id, answered()), 0);
    assert!(poll(&mut answered_late).is_ready());
    flight.end_stream(Ran::Maybe);
    assert_eq!(take(&flight, flight.begin_stream()), [refused.id, after.id]);
    assert!(refused.ran() == Ran::No);
}

#[test]
fn given_up_call_frees_its_slot_and_its_answer_is_late() {
    let flight = Flight::default();
    let stream = flight.begin_stream();
    let call = submit(&flight);
    let id = call.id;
    take(&flight, stream);
    drop(call);
    let next = submit(&flight);
    assert_ne!(next.id, id, "the slot is used again under another id");
    take(&flight, stream);
    assert_eq!(flight.answer(id, answered()), 1, "it is not an answer to the next call");
    assert_eq!((flight.counts().late_answers, flight.counts().in_flight), (1, 1));
}

#[test]
fn deadline_ends_a_call_and_only_a_sent_one_may_have_run() {
    let flight = Flight::default();
    let stream = flight.begin_stream();
    let now = Instant::now();
    let at = |ms| now + Duration::from_millis(ms);
    let mut sent = flight.submit(Bytes::new(), at(10), OnLoss::SendsAgain).expect("is open");
    take(&flight, stream);
    let mut unsent = flight.submit(Bytes::new(), at(20), OnLoss::SendsAgain).expect("is open");
    assert_eq!(flight.expire(at(9)), Some(at(10)));
    assert!(poll(&mut sent).is_pending());
    assert_eq!(flight.expire(at(10)), Some(at(20)));
    assert!(matches!(poll(&mut sent), Poll::Ready(Outcome::Expired)));
    assert_eq!(flight.expire(at(20)), None);
    assert!(matches!(poll(&mut unsent), Poll::Ready(Outcome::Expired)));
    assert!(sent.ran() == Ran::Maybe && unsent.ran() == Ran::No);
    assert!(take(&flight, stream).is_empty(), "an expired call is not sent");
}

#[test]
fn another_attempt_is_queued_with_the_same_id() {
    let flight = Flight::default();
    let stream = flight.begin_stream();
    let mut call = submit(&flight);
    take(&flight, stream);
    flight.answer(call.id, Outcome::Failed(proto::status::overloaded(1)));
    assert!(matches!(poll(&mut call), Poll::Ready(Outcome::Failed(_))));
    call.again(Ran::No);
    assert_eq!(take(&flight, stream), [call.id]);
    assert_eq!(call.ran(), Ran::No);
}

#[test]
fn closing_ends_all_calls_and_refuses_more() {
    let flight = Flight::default();
    let stream = flight.begin_stream();
    let mut call = submit(&flight);
    take(&flight, stream);
    flight.close();
    assert!(matches!(poll(&mut call), Poll::Ready(Outcome::Closed)));
    assert_eq!(call.ran(), Ran::Maybe);
    assert!(flight.submit(Bytes::new(), later(), OnLoss::SendsAgain).is_none());
}

#[test]
fn answer_and_submission_wake_the_waiting_task() {
    let flight = Flight::default();
    let stream = flight.begin_stream();
    let (writer, caller) = (Arc::new(Wakes::default()), Arc::new(Wakes::default()));
    let (for_writer, for_caller) = (Waker::from(Arc::clone(&writer)), Waker::from(Arc::clone(&caller)));
    let mut batch = VecDeque::new();
    assert!(flight.poll_take(stream, &mut batch, &mut Context::from_waker(&for_writer)).is_pending());
    let mut call = submit(&flight);
    assert_eq!(writer.0.load(Ordering::Relaxed), 1);
    assert!(call.poll_outcome(&mut Context::from_waker(&for_caller)).is_pending());
    take(&flight, stream);
    flight.answer(call.id, answered());
    assert_eq!(caller.0.load(Ordering::Relaxed), 1);
}

#[test]
fn calls_given_up_without_a_stream_do_not_pile_up() {
    let flight = Flight::default();
    let kept = submit(&flight);
    for _ in 0..100_000 {
        drop(submit(&flight));
    }
    assert!(flight.table.lock().queue.len() < 1000);
    assert_eq!(take(&flight, flight.begin_stream()), [kept.id]);
}

#[tokio::test(start_paused = true)]
async fn sweeper_notices_a_deadline_that_is_sooner_than_the_one_it_waits_for() {
    let flight = Flight::default();
    let began = Instant::now();
    let calls = async {
        let _far = submit(&flight);
        tokio::task::yield_now().await;
        let mut near =
            flight.submit(Bytes::new(), began + Duration::from_millis(30), OnLoss::SendsAgain).expect("is open");
        assert!(matches!(near.outcome().await, Outcome::Expired));
        began.elapsed()
    };
    let sweeping = std::pin::pin!(flight.sweep());
    let waited = match futures_util::future::select(sweeping, std::pin::pin!(calls)).await {
        futures_util::future::Either::Right((waited, _)) => waited,
        futures_util::future::Either::Left(_) => unreachable!("the sweeper never ends"),
    };
    assert!(waited < Duration::from_millis(60), "{waited:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Submit,
    GiveUp(prop::sample::Index),
    Take,
    Answer(prop::sample::Index),
    PutBack(prop::sample::Index),
    Break,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => Just(Step::Submit),
        1 => index().prop_map(Step::GiveUp),
        3 => Just(Step::Take),
        3 => index().prop_map(Step::Answer),
        1 => index().prop_map(Step::PutBack),
        1 => Just(Step::Break),
    ]
}

proptest! {
    /// Whatever happens, every call whose caller still waits was answered or is sent exactly once
    /// on the last stream.
    #[test]
    fn no_call_is_lost_and_none_is_sent_twice(steps in prop::collection::vec(step(), 1..300)) {
        let flight = Flight::default();
        let mut stream = flight.begin_stream();
        let mut waiting: Vec<Ticket<'_>> = Vec::new();
        let mut sent: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Submit => waiting.push(submit(&flight)),
                Step::GiveUp(which) if !waiting.is_empty() => {
                    let ticket = waiting.remove(which.index(waiting.len()));
                    sent.retain(|&id| id != ticket.id);
                }
                Step::Take => {
                    for id in take(&flight, stream) {
                        prop_assert!(!sent.contains(&id), "sent twice");
                        prop_assert!(waiting.iter().any(|ticket| ticket.id == id), "was given up");
                        sent.push(id);
                    }
                }
                Step::Answer(which) if !sent.is_empty() => {
                    let id = sent.remove(which.index(sent.len()));
                    prop_assert_eq!(flight.answer(id, answered()), sent.len());
                    let at = waiting.iter().position(|ticket| ticket.id == id).expect("sent means waiting");
                    prop_assert!(poll(&mut waiting.remove(at)).is_ready());
                }
                Step::PutBack(which) if !sent.is_empty() => {
                    let id = sent.remove(which.index(sent.len()));
                    prop_assert_eq!(flight.put_back(id, Ran::No), sent.len());
                }
                Step::Break => {
                    flight.end_stream(Ran::Maybe);
                    stream = flight.begin_stream();
                    sent.clear();
                }
                Step::GiveUp(_) | Step::Answer(_) | Step::PutBack(_) => {}
            }
            prop_assert_eq!(flight.table.lock().unanswered, sent.len());
        }
        stream = flight.begin_stream();
        let mut last = take(&flight, stream);
        last.sort_unstable();
        let mut expected: Vec<u64> = waiting.iter().map(|ticket| ticket.id).collect();
        expected.sort_unstable();
        prop_assert_eq!(last, expected);
    }
}

/// The other end of an abandoned stream may keep it open. Then only its writer can end it, and with
/// it the connection.
#[test]
fn writer_of_a_stream_that_was_left_is_woken_and_ends_when_the_next_one_begins() {
    let flight = Flight::default();
    let left = flight.begin_stream();
    flight.end_stream(Ran::Maybe);
    let (woken, mut batch) = (Arc::new(Wakes::default()), VecDeque::new());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    assert!(flight.poll_take(left, &mut batch, &mut context).is_pending());
    flight.begin_stream();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(flight.poll_take(left, &mut batch, &mut context).is_ready() && batch.is_empty());
}
