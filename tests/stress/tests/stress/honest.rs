//! Well-behaved clients: over the SDK, with segments of their own, doing a bit of everything. Some
//! leave in good order, some vanish.
//!
//! Invariant: one life is a connect, a mount, and a number of steps drawn from the client's own
//! dice.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use client::{Client, Error, Items, Options, Segment, SegmentId, Transport};

use crate::dice::Dice;
use crate::steps::Steps;
use crate::tally::Tally;

/// Steps of one life.
const STEPS_MAX: u64 = 400;
const PAGE: u64 = 4096;
pub(crate) const TENANTS: [&str; 3] = ["", "north", "south"];

pub(crate) struct Honest {
    pub(crate) address: SocketAddr,
    pub(crate) which: usize,
    pub(crate) dice: Dice,
    pub(crate) until: Instant,
}

impl Honest {
    pub(crate) async fn run(mut self) -> Tally {
        let mut tally = Tally::default();
        let mut lives = 0;
        while Instant::now() < self.until {
            lives += 1;
            self.live(lives, &mut tally).await;
        }
        tally
    }

    async fn live(&mut self, life: u64, tally: &mut Tally) {
        tally.called("connect");
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.which as u64).to_be_bytes());
        id[8..].copy_from_slice(&life.to_be_bytes());
        let options = Options {
            client_id: Some(client::ClientId(id)),
            tenant: (*self.dice.pick(&TENANTS)).to_owned(),
            host: format!("host-{}", self.which % 4),
            transport: if self.which.is_multiple_of(3) { Transport::Unary } else { Transport::Session },
            // Long enough for a shared machine.
            deadline: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            connect_deadline: Duration::from_secs(20),
            keepalive_timeout: Duration::from_secs(20),
            ..Options::new([self.address.to_string()])
        };
        let client = Client::connect(options).await.unwrap_or_else(|why| panic!("client {}: {why}", self.which));
        let segments = self.segments(life);
        let ids: Vec<SegmentId> = segments.iter().map(|segment| segment.id).collect();
        count_items("MountSegment", client.mount_segments(&segments).await, tally);
        let mut steps = Steps::new(&client, self.which, segments);
        for _ in 0..self.dice.below(STEPS_MAX) {
            if Instant::now() >= self.until {
                break;
            }
            steps.step(&mut self.dice, tally).await;
        }
        if self.dice.once_in(2) {
            count_items("UnmountSegment", client.unmount_segments(&ids, Duration::ZERO).await, tally);
        }
    }

    fn segments(&mut self, life: u64) -> Vec<Segment> {
        let count = 1 + self.dice.below(3);
        let host = format!("host-{}", self.which % 4);
        let one = |n: u64, dice: &mut Dice| {
            let name = format!("s{}-{life}-{n}", self.which);
            let size = PAGE * (16 + dice.below(256));
            let segment = match dice.below(4) {
                0 => Segment::disk(&name, format!("/cache/{name}"), size, "10.0.0.7:9000"),
                _ => Segment::memory(&name, (1 + n) << 32, size, "10.0.0.7:9000"),
            };
            Segment { id: SegmentId(std::array::from_fn(|_| dice.next() as u8)), host: host.clone(), ..segment }
        };
        (0..count).map(|n| one(n, &mut self.dice)).collect()
    }
}

/// Counts whether the call was answered, and how its items went.
pub(crate) fn count_items<T>(kind: &'static str, answer: Result<Items<T>, Error>, tally: &mut Tally) -> Vec<T> {
    match count(kind, answer, tally) {
        Some(items) => {
            let (done, refused): (Vec<_>, Vec<_>) = items.results.into_iter().partition(Result::is_ok);
            for refusal in refused.into_iter().filter_map(Result::err) {
                tally.refused(kind, refusal.reason, &refusal.message);
            }
            done.into_iter().filter_map(Result::ok).collect()
        }
        None => Vec::new(),
    }
}

pub(crate) fn count<T>(kind: &'static str, answer: Result<T, Error>, tally: &mut Tally) -> Option<T> {
    tally.called(kind);
    match answer {
        Ok(answer) => return Some(answer),
        Err(Error::Refused(refused)) => tally.refused(kind, refused.reason, &refused.message),
        Err(Error::Deadline { .. } | Error::OutcomeUnknown { .. }) => tally.unanswered(kind),
        Err(error) => panic!("{kind}: {error}"),
    }
    None
}
