//! What is sent again, with which number, and how a call ends when its time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proto::status;
use proto::v1::session_request::Call;
use understudy_client::{Client, Error, Force, Reason, Transport};

use crate::master::{Act, Master, Seen, eventually};

const BOTH: [Transport; 2] = [Transport::Session, Transport::Unary];

async fn client_over(master: &Master, transport: Transport) -> Client {
    let mut options = master.options();
    options.transport = transport;
    Client::connect(options).await.expect("the master listens")
}

/// All attempts of a number are the same request, byte for byte, except for counters that grow.
fn assert_attempts_are_the_same(seen: &[Seen]) {
    let mut first: BTreeMap<u64, &Call> = BTreeMap::new();
    for call in seen.iter().filter(|seen| seen.caller.request_number > 0) {
        let same = *first.entry(call.caller.request_number).or_insert(&call.call);
        assert_eq!(*same, call.call);
    }
}

#[tokio::test]
async fn broken_stream_is_retried_with_the_same_number() {
    for transport in BOTH {
        let master = Master::start(|seen| if seen.attempt < 3 { Act::Break } else { Act::Answer }).await;
        let client = client_over(&master, transport).await;
        client.remove_one("a", Force::No).await.expect("the third attempt is answered");
        let seen = master.seen();
        assert_eq!(seen.iter().map(|seen| seen.caller.request_number).collect::<Vec<_>>(), [1, 1, 1]);
        assert_attempts_are_the_same(&seen);
    }
}

#[tokio::test]
async fn all_calls_in_flight_survive_a_broken_stream() {
    let master = Master::start(|seen| match seen.caller.request_number % 7 {
        6 if seen.attempt == 1 => Act::Break,
        _ => Act::AnswerAfter(Duration::from_millis(2)),
    })
    .await;
    let client = master.client().await;
    let calls = (0..40).map(|key: u32| {
        let client = client.clone();
        async move { client.remove_one(key.to_be_bytes(), Force::No).await }
    });
    for ended in futures_util::future::join_all(calls).await {
        ended.expect("answered in the end");
    }
    let seen = master.seen();
    assert_attempts_are_the_same(&seen);
    let numbers: BTreeSet<u64> = seen.iter().map(|seen| seen.caller.request_number).collect();
    assert_eq!(numbers, (1..=40).collect());
    assert!(seen.len() > 40 && client.stats().sent_again > 0 && client.stats().streams > 1);
}

#[tokio::test]
async fn master_that_dies_and_comes_back_on_its_port_is_found_again() {
    for transport in BOTH {
        let mut master = Master::start(|seen| if seen.attempt == 1 { Act::Swallow } else { Act::Answer }).await;
        let client = client_over(&master, transport).await;
        let call = tokio::spawn(async move { client.remove_one("a", Force::No).await });
        eventually("the first attempt arrives", || master.seen().len() == 1).await;
        master.kill();
        tokio::time::sleep(Duration::from_millis(50)).await;
        master.restart().await;
        call.await.expect("no panic").expect("the attempt at the new one is answered");
        assert_eq!(master.seen().iter().map(|seen| seen.caller.request_number).collect::<Vec<_>>(), [1, 1]);
    }
}

#[tokio::test]
async fn answers_out_of_order_reach_their_callers() {
    let master = Master::start(|_| Act::HoldUntil(20)).await;
    let client = master.client().await;
    let calls = (1..=20).map(|key_bytes| {
        let client = &client;
        async move { (key_bytes, client.get(vec![b'k'; key_bytes]).await) }
    });
    for (key_bytes, found) in futures_util::future::join_all(calls).await {
        let found = found.expect("answered").expect("is there");
        assert_eq!(found.object.size, key_bytes as u64, "the answer to this call");
    }
}

#[tokio::test]
async fn overloaded_is_retried_no_sooner_than_asked_for() {
    for transport in BOTH {
        let master = Master::start(|seen| match seen.attempt {
            1 => Act::Fail(status::overloaded(80)),
            _ => Act::Answer,
        })
        .await;
        let client = client_over(&master, transport).await;
        let began = Instant::now();
        client.remove_one("a", Force::No).await.expect("the second attempt is answered");
        assert!(began.elapsed() >= Duration::from_millis(80));
        assert_eq!(master.seen().len(), 2);
        assert_attempts_are_the_same(&master.seen());
    }
}

#[tokio::test]
async fn overloaded_until_the_deadline_has_changed_nothing() {
    for transport in BOTH {
        // The pause before the third attempt ends after the deadline.
        let master = Master::start(|seen| match seen.attempt {
            1 => Act::Fail(status::overloaded(1)),
            _ => Act::Fail(status::overloaded(60_000)),
        })
        .await;
        let client = client_over(&master, transport).await;
        let error = client.remove_one("a", Force::No).await.expect_err("overloaded");
        assert!(matches!(error, Error::Deadline { call: "Remove", .. }), "{error}");
        assert!(error.to_string().contains("at its limit"), "it says what stood in the way: {error}");
        assert_eq!(master.seen().len(), 2);
    }
}

#[tokio::test]
async fn silence_until_the_deadline_is_unknown_for_changes_and_late_for_reads() {
    for transport in BOTH {
        let master = Master::start(|_| Act::Swallow).await;
        let client = client_over(&master, transport).await.with_deadline(Duration::from_millis(100));
        let began = Instant::now();
        let changed = client.remove_one("a", Force::No).await.expect_err("no answer");
        assert!(matches!(changed, Error::OutcomeUnknown { call: "Remove", .. }), "{changed}");
        let read = client.exists_one("a").await.expect_err("no answer");
        assert!(matches!(read, Error::Deadline { call: "Exists", .. }), "{read}");
        assert!(began.elapsed() >= Duration::from_millis(200) && began.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn call_that_was_never_sent_has_changed_nothing() {
    let mut master = Master::start(|_| Act::Answer).await;
    let client = master.client().await.with_deadline(Duration::from_millis(150));
    client.exists_one("a").await.expect("answered");
    master.kill();
    eventually("the client notices", || client.stats().streams > 1 || client.stats().in_flight == 0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = client.remove_one("a", Force::No).await.expect_err("nobody is there");
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(error.to_string().contains(&master.address()), "it says who did not answer: {error}");
}

#[tokio::test]
async fn lost_attempt_stays_unknown_when_later_ones_are_refused() {
    let master = Master::start(|seen| match seen.attempt {
        1 => Act::Break,
        _ => Act::Fail(status::overloaded(1)),
    })
    .await;
    for transport in BOTH {
        let client = client_over(&master, transport).await.with_deadline(Duration::from_millis(150));
        let error = client.remove_one("a", Force::No).await.expect_err("overloaded");
        assert!(matches!(error, Error::OutcomeUnknown { .. }), "{error}");
    }
}

#[tokio::test]
async fn outcome_that_the_master_does_not_know_is_asked_for_again() {
    for transport in BOTH {
        let master = Master::start(|seen| match seen.attempt {
            1 => Act::Fail(status::outcome_unknown("not committed in time")),
            _ => Act::Answer,
        })
        .await;
        client_over(&master, transport).await.remove_one("a", Force::No).await.expect("answered");
        assert_attempts_are_the_same(&master.seen());
        assert_eq!(master.seen().len(), 2);
    }
}

#[tokio::test]
async fn definite_refusal_is_not_retried() {
    for transport in BOTH {
        let master = Master::start(|_| Act::Fail(status::invalid("regex", "unclosed group"))).await;
        let client = client_over(&master, transport).await;
        let error = client.remove_matching("(", Force::No).await.expect_err("refused");
        assert_eq!(error.reason(), Some(Reason::InvalidArgument));
        assert!(error.to_string().contains("regex: unclosed group"), "{error}");
        assert_eq!(master.seen().len(), 1);
    }
}

#[tokio::test]
async fn member_that_shuts_down_is_left_and_finishes_what_it_has() {
    let other = Master::start(|_| Act::Answer).await;
    let stopping = Master::start(|seen| match seen.name {
        "Exists" => Act::AnswerAfter(Duration::from_millis(100)),
        _ => Act::Fail(status::shutting_down()),
    })
    .await;
    let mut options = stopping.options();
    options.addresses.push(other.address());
    let client = Client::connect(options).await.expect("it listens");
    let (begun_before, refused) = tokio::join!(client.exists_one("a"), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.remove_one("b", Force::No).await
    });
    assert_eq!(begun_before, Ok(true));
    refused.expect("answered by the other member");
    assert_eq!(other.seen().iter().map(|seen| seen.name).collect::<Vec<_>>(), ["Remove"]);
}

#[tokio::test]
async fn numbers_stay_open_until_they_are_answered() {
    // Every third call waits long; the others continue.
    let master = Master::start(|seen| match seen.caller.request_number % 3 {
        0 => Act::AnswerAfter(Duration::from_millis(30)),
        _ => Act::Answer,
    })
    .await;
    let client = master.client().await;
    let open = parking_lot::Mutex::new(BTreeSet::new());
    let calls = (0..300_u32).map(|key| {
        let (client, open) = (&client, &open);
        async move {
            open.lock().insert(key);
            client.remove_one(key.to_be_bytes(), Force::No).await.expect("answered");
            open.lock().remove(&key);
        }
    });
    futures_util::future::join_all(calls).await;
    assert!(open.lock().is_empty());
    let seen = master.seen();
    assert_eq!(seen.len(), 300);
    for (at, call) in seen.iter().enumerate() {
        // What had not arrived at this point, or waits for its answer now, is not answered.
        let below = call.caller.answered_below;
        assert!(below <= call.caller.request_number, "{below} with {}", call.caller.request_number);
        let later = seen[at + 1..].iter().map(|later| later.caller.request_number).min();
        assert!(later.is_none_or(|later| below <= later), "{below} passes {later:?}");
    }
    client.remove_one("last", Force::No).await.expect("answered");
    let last = master.seen().pop().expect("is there").caller;
    assert_eq!((last.request_number, last.answered_below), (301, 301));
}

#[tokio::test]
async fn answered_below_waits_for_a_retried_number() {
    // Number 1 is lost over and over while others are answered.
    let master = Master::start(|seen| match seen.caller.request_number {
        1 if seen.attempt < 6 => Act::Fail(status::overloaded(20)),
        _ => Act::Answer,
    })
    .await;
    let client = master.client().await;
    let ((), ()) = tokio::join!(
        async {
            client.remove_one("slow", Force::No).await.expect("answered");
        },
        async {
            for key in 0..50_u32 {
                client.remove_one(key.to_be_bytes(), Force::No).await.expect("answered");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    );
    let seen = master.seen();
    let last_of_one = seen.iter().rposition(|seen| seen.caller.request_number == 1).expect("arrived");
    assert!(last_of_one > 10, "others were answered meanwhile");
    assert!(seen[..=last_of_one].iter().all(|seen| seen.caller.answered_below == 1));
    client.remove_one("after", Force::No).await.expect("answered");
    let after = master.seen().pop().expect("is there").caller;
    assert_eq!((after.request_number, after.answered_below), (52, 52), "it moves on afterwards");
}

#[tokio::test]
async fn given_up_number_does_not_hold_back_the_others() {
    let master =
        Master::start(
            |seen| if seen.attempt == 1 && seen.caller.request_number == 1 { Act::Swallow } else { Act::Answer },
        )
        .await;
    let client = master.client().await;
    let given_up = tokio::time::timeout(Duration::from_millis(50), client.remove_one("a", Force::No)).await;
    assert!(given_up.is_err(), "the future was dropped");
    client.remove_one("b", Force::No).await.expect("answered");
    let last = master.seen().pop().expect("is there").caller;
    assert_eq!((last.request_number, last.answered_below), (2, 2));
    assert_eq!(client.stats().in_flight, 0);
}
