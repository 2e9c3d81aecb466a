//! The primary's door: a peer that sends a hello must prove that it is a member that the
//! coordinator shows.
//!
//! ```text
//!   hello ─► on the roll? (else the coordinator is asked) ─► challenge ─► proof ─► the stream
//! ```
//!
//! Invariants: until the proof nothing of a hello affects the member, its streams, or the election;
//! the coordinator is asked at most once in `LOOK_PAUSE`, and the log has at most one line in
//! `TELL_EVERY`, whatever connects.
//!
//! Deliberately absent: what a proof is, and which members the roll remembers (`replication`);
//! which peers the primary serves (`member`).

use std::time::Duration;

use coordinator::MemberInfo;
use election::Incarnation;
use member::{incarnation, incarnation_to_wire};
use parking_lot::Mutex;
use proto::v1::from_primary::Message as Down;
use proto::v1::from_standby::Message as Up;
use proto::v1::{self, FromPrimary, FromStandby};
use replication::{Admitted, Challenged, NotAdmitted};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use crate::pair::Pair;

/// A peer sends its hello and its proof at once, or not at all.
pub(crate) const HELLO_WITHIN: Duration = Duration::from_secs(2);
/// Between two requests to the coordinator for members that are not on the roll.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Between two lines about peers that were not admitted.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What the door remembers between two peers.
#[derive(Debug, Default)]
pub(crate) struct Door {
    /// When the coordinator was last asked. Peers that are not on the roll wait for each other.
    looked: tokio::sync::Mutex<Option<Instant>>,
    refused: Mutex<Refused>,
}

#[derive(Debug, Default)]
struct Refused {
    count: u64,
    told: Option<Instant>,
}

/// Bytes that no process can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the kernel has random bytes");
    bytes
}

/// The secret in the type of the core.
pub(crate) fn secret_of(info: &MemberInfo) -> Option<replication::Secret> {
    info.secret.map(|secret| replication::Secret(secret.0))
}

impl Pair {
    /// The member of an incarnation, if the coordinator shows it, or showed it lately.
    async fn find_to_admit(&self, who: Incarnation) -> Option<MemberInfo> {
        if let Some(info) = self.roll.find(who) {
            return Some(info);
        }
        let mut looked = self.door.looked.lock().await;
        // Another peer may have caused a look meanwhile.
        let known = self.roll.find(who);
        if known.is_some() || looked.is_some_and(|at| at.elapsed() < LOOK_PAUSE) {
            return known;
        }
        if let Ok(members) = self.coordinator.members().await {
            self.learn(members);
        }
        *looked = Some(Instant::now());
        self.roll.find(who)
    }

    /// Runs the handshake, from the hello to the proof.
    pub(crate) async fn admit(
        &self,
        incoming: &mut Streaming<FromStandby>,
        out: &mpsc::Sender<Result<FromPrimary, Status>>,
    ) -> Result<(Admitted, v1::Proof), Status> {
        match timeout(HELLO_WITHIN, self.handshake(incoming, out)).await {
            Ok(Ok(admitted)) => Ok(admitted),
            Ok(Err(Refusal::NotAdmitted(why))) => Err(self.door.refuse(&why)),
            Ok(Err(Refusal::Gone)) => Err(Status::cancelled("the peer is gone")),
            Err(_) => Err(Status::deadline_exceeded(format!("no proof came within {} s", HELLO_WITHIN.as_secs()))),
        }
    }

    async fn handshake(
        &self,
        incoming: &mut Streaming<FromStandby>,
        out: &mpsc::Sender<Result<FromPrimary, Status>>,
    ) -> Result<(Admitted, v1::Proof), Refusal> {
        let Some(Up::Hello(hello)) = next(incoming).await? else { return Err(NotAdmitted::Unexpected.into()) };
        let who = hello.who.as_ref().map(incarnation).ok_or(NotAdmitted::Incomplete)?;
        let listed = self.find_to_admit(who).await.as_ref().and_then(secret_of);
        let me = (incarnation_to_wire(self.seat.me), &self.secret);
        let (challenged, challenge) = Challenged::new(hello, me, listed, random())?;
        let message = FromPrimary { message: Some(Down::Challenge(challenge)), ..FromPrimary::default() };
        out.send(Ok(message)).await.map_err(|_| Refusal::Gone)?;
        let Some(Up::Proof(proof)) = next(incoming).await? else { return Err(NotAdmitted::Unexpected.into()) };
        Ok((challenged.on_proof(&proof)?, proof))
    }
}

/// Why a handshake failed.
enum Refusal {
    NotAdmitted(NotAdmitted),
    Gone,
}

impl From<NotAdmitted> for Refusal {
    fn from(why: NotAdmitted) -> Refusal {
        Refusal::NotAdmitted(why)
    }
}

async fn next(incoming: &mut Streaming<FromStandby>) -> Result<Option<Up>, Refusal> {
    match incoming.message().await {
        Ok(Some(FromStandby { message })) => Ok(message),
        Ok(None) | Err(_) => Err(Refusal::Gone),
    }
}

impl Door {
    /// Logs this now and then, with how many there were.
    pub(crate) fn refuse(&self, why: &NotAdmitted) -> Status {
        let mut refused = self.refused.lock();
        refused.count += 1;
        if refused.told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            tracing::warn!(
                count = refused.count,
                "a process that wants to follow this primary is not admitted: {why}. If it is no member of yours, find out who \
                 reaches the port for other members"
            );
            *refused = Refused { count: 0, told: Some(Instant::now()) };
        }
        Status::unauthenticated(why.to_string())
    }
}
