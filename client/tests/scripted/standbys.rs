//! Reads at standbys, and at the primary where no standby answers.

use std::time::{Duration, Instant};

use proto::status;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{self, ExistsResponse, StandbyRead};
use understudy_client::{Client, Position, ReadOptions, Transport};

use crate::master::{Act, Master, Seen};

const AT: Position = Position { epoch: 3, seq: 70 };

fn asked(seen: &Seen) -> Option<StandbyRead> {
    let Call::Exists(request) = &seen.call else { panic!("nothing else is asked here: {seen:?}") };
    request.standby
}

fn from_standby(seq: u64) -> Act {
    let position = Some(v1::Position { epoch: 2, seq });
    let answer = ExistsResponse { position, exists: vec![true], lease_ms: 0, from_standby: true };
    Act::AnswerWith(Box::new(Answer::Exists(answer)))
}

async fn connect(members: &[&Master], transport: Transport) -> Client {
    let mut options = members[0].options();
    options.addresses = members.iter().map(|member| member.address()).collect();
    options.transport = transport;
    Client::connect(options).await.expect("one of them listens")
}

#[tokio::test]
async fn reads_go_to_the_standbys_in_turn_with_what_they_must_meet() {
    for transport in [Transport::Session, Transport::Unary] {
        let primary = Master::start(|_| Act::Answer).await;
        let (one, other) = (Master::start(|_| from_standby(71)).await, Master::start(|_| from_standby(72)).await);
        let client = connect(&[&primary, &one, &other], transport).await;
        let reads =
            client.with_reads(ReadOptions { min_position: Some(AT), max_staleness: Some(Duration::from_secs(2)) });
        for _ in 0..4 {
            let found = reads.exists(&["a"]).await.expect("answered");
            assert!(found.from_standby && found.exists == [true]);
            assert!(found.leased_until <= Instant::now(), "a standby grants no lease");
        }
        assert_eq!((one.seen().len(), other.seen().len(), primary.seen().len()), (2, 2, 0));
        let min_position = Some(v1::Position { epoch: 3, seq: 70 });
        assert_eq!(asked(&one.seen()[0]), Some(StandbyRead { min_position, max_staleness_ms: Some(2000) }));
        client.exists(&["a"]).await.expect("answered");
        assert_eq!(primary.seen().len(), 1, "other handles read at the primary");
    }
}

#[tokio::test]
async fn read_that_no_standby_can_meet_is_answered_by_the_primary() {
    let primary = Master::start(|_| Act::Answer).await;
    let stale = Master::start(|_| Act::Fail(status::stale_read("age 900 ms, asked 200 ms"))).await;
    let client = connect(&[&primary, &stale], Transport::Session).await.with_reads(ReadOptions::default());
    for round in 1..=3 {
        let found = client.exists(&["a"]).await.expect("the primary answers");
        assert!(!found.from_standby);
        assert_eq!((stale.seen().len(), primary.seen().len()), (round, round), "it may be fresh enough the next time");
    }
    assert_eq!(asked(&primary.seen()[0]), None, "the primary is asked as always");
}

#[tokio::test]
async fn standby_that_cannot_be_reached_is_left_alone_for_a_while() {
    let primary = Master::start(|_| Act::Answer).await;
    let broken = Master::start(|_| Act::Break).await;
    let client = connect(&[&primary, &broken], Transport::Session).await.with_reads(ReadOptions::default());
    let began = Instant::now();
    for _ in 0..20 {
        assert!(!client.exists(&["a"]).await.expect("the primary answers").from_standby);
    }
    let whiles = began.elapsed().as_millis() / 1000 + 1;
    assert!(broken.seen().len() as u128 <= whiles, "{} times asked in {:?}", broken.seen().len(), began.elapsed());
    assert_eq!(primary.seen().len(), 20);
}

#[tokio::test]
async fn deposed_primary_that_answers_as_one_is_not_believed() {
    let primary = Master::start(|_| Act::Answer).await;
    primary.set_epoch(5);
    let old = Master::start(|_| Act::Answer).await;
    old.set_epoch(3);
    let client = connect(&[&primary, &old], Transport::Session).await;
    client.exists(&["a"]).await.expect("answered in epoch 5");
    let found = client.with_reads(ReadOptions::default()).exists(&["a"]).await.expect("answered");
    assert_eq!((old.seen().len(), found.position.epoch), (1, 5));
}
