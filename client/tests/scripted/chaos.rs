//! Exactly once, whatever happens on the way: a master that keeps the answers of request numbers as
//! the contract says, behind faults drawn from a seed, and killed and started again meanwhile.
//!
//! Each change removes a key of its own, so its runs can be counted. If it was answered: once. If
//! it ended as "nothing was changed": never. If its outcome is unknown: at most once. No other end
//! is allowed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use proto::status;
use proto::v1::session_request::Call;
use understudy_client::{Client, Error, Force, Transport};

use crate::master::{Act, Master, Seen};

/// What the master remembers of its clients, and which changes ran.
#[derive(Default)]
struct Memory {
    forgotten_below: HashMap<Bytes, u64>,
    answered: HashSet<(Bytes, u64)>,
    runs: HashMap<Bytes, usize>,
}

impl Memory {
    /// Runs a change, unless it ran before. An error: its answer is forgotten.
    fn run(&mut self, seen: &Seen) -> Result<(), Act> {
        let (client, number) = (seen.caller.client_id.clone(), seen.caller.request_number);
        assert!(number > 0, "a change carries a number");
        let below = self.forgotten_below.entry(client.clone()).or_default();
        if number < *below {
            return Err(Act::Fail(status::request_expired(number, *below)));
        }
        *below = (*below).max(seen.caller.answered_below);
        if self.answered.insert((client, number)) {
            let Call::Remove(asked) = &seen.call else { panic!("changes are removes here") };
            *self.runs.entry(asked.keys[0].clone()).or_default() += 1;
        }
        Ok(())
    }
}

/// What happens to a call: it is lost on its way there, or it runs and its answer is lost, or late,
/// or arrives.
fn fault(memory: &Mutex<Memory>, random: u32, seen: &Seen) -> Act {
    match random {
        0..4 => return Act::Break,
        4..7 => return Act::Swallow,
        7..17 => return Act::Fail(status::overloaded(random)),
        _ => {}
    }
    if let Err(refused) = memory.lock().run(seen) {
        return refused;
    }
    match random {
        17..21 => Act::Break,
        21..24 => Act::Swallow,
        24..34 => Act::Fail(status::outcome_unknown("not committed in time")),
        34..60 => Act::AnswerAfter(Duration::from_millis(random.into())),
        _ => Act::Answer,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_runs_once_over_the_session() {
    every_change_runs_once(Transport::Session, 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_runs_once_as_unary_calls() {
    every_change_runs_once(Transport::Unary, 12).await;
}

async fn every_change_runs_once(transport: Transport, seed: u64) {
    let memory = Arc::new(Mutex::new(Memory::default()));
    let (remembers, rng) = (Arc::clone(&memory), Mutex::new(fastrand::Rng::with_seed(seed)));
    let script = move |seen: &Seen| {
        let random = rng.lock().u32(0..200);
        fault(&remembers, random, seen)
    };
    let mut master = Master::start(script).await;
    let mut options = master.options();
    options.transport = transport;
    options.deadline = Duration::from_millis(500);
    let client = Client::connect(options).await.expect("the master listens");
    let writers: Vec<_> = (0..32).map(|writer| tokio::spawn(write(client.clone(), writer))).collect();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        master.kill();
        tokio::time::sleep(Duration::from_millis(30)).await;
        master.restart().await;
    }
    let mut ends = HashMap::new();
    for writer in writers {
        ends.extend(writer.await.expect("no panic"));
    }
    judge(&ends, &memory.lock().runs, seed);
    let arrived = master.seen().len();
    assert!(
        arrived > ends.len() * 11 / 10,
        "seed {seed}: {arrived} attempts, the faults were too mild to show anything"
    );
}

async fn write(client: Client, writer: u32) -> Vec<(Bytes, Result<(), Error>)> {
    let mut ends = Vec::new();
    for at in 0..60 {
        let key = Bytes::from(format!("{writer}-{at}"));
        let end = client.remove_one(&key, Force::No).await.map(|_| ());
        ends.push((key, end));
    }
    ends
}

fn judge(ends: &HashMap<Bytes, Result<(), Error>>, runs: &HashMap<Bytes, usize>, seed: u64) {
    assert_eq!(ends.len(), 32 * 60);
    let mut answered = 0;
    for (key, end) in ends {
        let ran = runs.get(key).copied().unwrap_or(0);
        let fits = match end {
            Ok(()) => ran == 1,
            Err(Error::Deadline { .. }) => ran == 0,
            Err(Error::OutcomeUnknown { .. }) => ran <= 1,
            Err(_) => false,
        };
        assert!(fits, "seed {seed}: {key:?} ran {ran} times and ended as {end:?}");
        answered += usize::from(end.is_ok());
    }
    assert!(answered > ends.len() / 2, "seed {seed}: only {answered} of {} were answered", ends.len());
}
