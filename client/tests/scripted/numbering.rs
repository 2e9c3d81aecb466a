//! A client without request numbers: many may have the same id, and nothing that may have run is
//! sent again.

use std::time::{Duration, Instant};

use proto::status;
use understudy_client::{Client, ClientId, Error, Force, Numbering, PutEndItem, ReplicaScope, Transport};

use crate::master::{Act, Master};

const BOTH: [Transport; 2] = [Transport::Session, Transport::Unary];

async fn unnumbered(master: &Master, transport: Transport) -> Client {
    let mut options = master.options();
    options.transport = transport;
    options.client_id = Some(ClientId([7; 16]));
    options.numbering = Numbering::Off;
    Client::connect(options).await.expect("the master listens")
}

#[tokio::test]
async fn unnumbered_calls_of_two_runs_under_one_id_carry_no_numbers() {
    for transport in BOTH {
        let master = Master::start(|_| Act::Answer).await;
        for _ in 0..2 {
            let client = unnumbered(&master, transport).await;
            client.remove_one("a", Force::No).await.expect("answered");
            client.put_end(&[PutEndItem::new("b", 0, None)], ReplicaScope::All).await.expect("answered");
        }
        let callers: Vec<_> = master.seen().into_iter().map(|seen| seen.caller).collect();
        assert_eq!(callers.len(), 4);
        assert!(callers.iter().all(|caller| caller.client_id == [7; 16][..]));
        assert!(callers.iter().all(|caller| (caller.request_number, caller.answered_below) == (0, 0)), "{callers:?}");
    }
}

#[tokio::test]
async fn unnumbered_change_that_may_have_run_is_not_sent_again() {
    let lost = [|| Act::Break, || Act::Fail(status::outcome_unknown("not committed in time"))];
    for (transport, lost) in BOTH.into_iter().flat_map(|transport| lost.map(|lost| (transport, lost))) {
        let master = Master::start(move |_| lost()).await;
        let client = unnumbered(&master, transport).await;
        let began = Instant::now();
        let error = client.remove_one("a", Force::No).await.expect_err("it is lost");
        assert!(matches!(error, Error::OutcomeUnknown { call: "Remove", .. }), "{error}");
        assert!(error.to_string().contains(&master.address()) || error.to_string().contains("committed"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(4), "it does not wait for its deadline of 5 s");
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(master.seen().len(), 1);
    }
}

#[tokio::test]
async fn unnumbered_read_and_refused_change_are_sent_again() {
    for transport in BOTH {
        let tried = std::sync::atomic::AtomicUsize::new(0);
        let master = Master::start(move |seen| {
            let first = tried.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(2);
            match (first, seen.name) {
                (true, "Exists") => Act::Break,
                (true, _) => Act::Fail(status::overloaded(1)),
                (false, _) => Act::Answer,
            }
        })
        .await;
        let client = unnumbered(&master, transport).await;
        assert_eq!(client.exists_one("a").await, Ok(true));
        client.remove_one("a", Force::No).await.expect("it did not run, so it may be sent again");
        assert_eq!(master.seen().len(), 4);
    }
}
