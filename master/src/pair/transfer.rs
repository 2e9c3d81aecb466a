//! A transfer: names, waiting for an heir, and log lines.
//!
//! Rules of the shell: a caller that stops waiting gives the transfer up; clients are redirected to
//! the heir as soon as this member has resigned.
//!
//! Deliberately absent: the transfer itself (`member`), and moving clients. They are redirected
//! when they call.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use coordinator::MemberInfo;
use election::Incarnation;
use member::{COMPARED_WITHIN_MS, DRAIN_WITHIN_MS, Leaving, Occasion, Role, TAKEN_WITHIN_MS};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::pair::Pair;
use crate::pair::seat::{Given, Seat};

/// The pause between two checks which member could take over.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// The limit on the wait for another member to be in sync.
const SYNC_WITHIN: Duration = Duration::from_secs(2);
const DRAIN_WITHIN: Duration = Duration::from_millis(DRAIN_WITHIN_MS);
const COMPARED_WITHIN: Duration = Duration::from_millis(COMPARED_WITHIN_MS);
const TAKEN_WITHIN: Duration = Duration::from_millis(TAKEN_WITHIN_MS);

/// The new primary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Transferred {
    pub(crate) to: String,
    pub(crate) address: String,
    pub(crate) epoch: u64,
    /// From the first refused call until the heir was seen to lead.
    pub(crate) took: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum NotTransferred {
    #[error("this member is not the primary")]
    NotPrimary,
    #[error("another transfer is under way")]
    Busy,
    #[error(
        "transfer_pause_ms: the last transfer, or the start of this primary, was less than {pause_ms} ms ago, which is the limit; ask again in {left_ms} ms"
    )]
    TooSoon { pause_ms: u64, left_ms: u64 },
    #[error("{name:?} is the primary already")]
    Already { name: String },
    #[error("there is no member {name:?}; in sync are: {insync}")]
    Unknown { name: String, insync: String },
    #[error("no other member is in sync: no member could take over without loss")]
    NobodyInSync,
    #[error(
        "the coordinator does not answer, and without it no member can take over: {why}. This member goes on as the primary; bring the \
         coordinator back first"
    )]
    NoCoordinator { why: String },
    #[error("{to:?} may be leaving the in-sync set")]
    HeirLeaves { to: String },
    #[error("the calls that had run were not committed within {0:?}")]
    NotDrained(Duration),
    #[error("{to:?} has not compared itself within {waited:?} with this member")]
    NotCompared { to: String, waited: Duration },
    #[error("{to:?} is not the same as this member: see `understudy verify`")]
    Differs { to: String },
    #[error("{to:?} has not taken over within {waited:?}; the members of the set elect a primary in the usual way")]
    NotTaken { to: String, waited: Duration },
}

/// A member ends as the primary, although there are others.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "not handed over before the stop: {why}. This member has ended as the primary: a member of the in-sync set takes over once the \
     tenure is over; where there is none, what this member held is lost"
)]
pub struct NotHandedOver {
    pub(crate) why: String,
}

impl NotTransferred {
    fn of(why: member::NotTransferred, to: &str, pause_ms: u64) -> NotTransferred {
        let to = to.to_owned();
        match why {
            member::NotTransferred::NotPrimary => NotTransferred::NotPrimary,
            member::NotTransferred::Busy => NotTransferred::Busy,
            member::NotTransferred::TooSoon { left_ms } => NotTransferred::TooSoon { pause_ms, left_ms },
            member::NotTransferred::NobodyInSync => NotTransferred::NobodyInSync,
            member::NotTransferred::HeirLeaves => NotTransferred::HeirLeaves { to },
            member::NotTransferred::NotDrained => NotTransferred::NotDrained(DRAIN_WITHIN),
            member::NotTransferred::NotCompared => NotTransferred::NotCompared { to, waited: COMPARED_WITHIN },
            member::NotTransferred::Differs => NotTransferred::Differs { to },
            member::NotTransferred::NotTaken => NotTransferred::NotTaken { to, waited: TAKEN_WITHIN },
        }
    }

    /// Right after a takeover, or a repair, no member is in sync for a moment; and another transfer
    /// is over soon.
    fn may_pass(&self) -> bool {
        use NotTransferred::{Busy, HeirLeaves, NobodyInSync, Unknown};
        matches!(self, NobodyInSync | Unknown { .. } | HeirLeaves { .. } | Busy)
    }
}

/// A transfer that is under way. It is given up when this is dropped.
struct Giving<'a> {
    seat: &'a Seat,
    given: oneshot::Receiver<Given>,
}

impl Drop for Giving<'_> {
    fn drop(&mut self) {
        self.seat.with(|member, now| {
            // Checked under the lock. Otherwise it has ended, and another one may have begun.
            if matches!(self.given.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
                member.give_up_transfer(now);
            }
        });
    }
}

impl Pair {
    /// To the member of this name, or to any, as soon as it is in sync.
    pub(crate) async fn transfer(&self, to: Option<&str>) -> Result<Transferred, NotTransferred> {
        let began = Instant::now();
        // The heir takes over by a swap. While the coordinator is away, no member could lead.
        let answer = self.coordinator.read().await;
        answer.map_err(|error| NotTransferred::NoCoordinator { why: error.to_string() })?;
        let pause_ms = self.node.config.cluster.transfer_pause_ms;
        loop {
            let asked = Instant::now();
            let given = match self.heir(to) {
                Ok((heir, info)) => match self.give_to(heir, &info, Occasion::Asked).await {
                    Ok(member::Transferred { epoch, .. }) => {
                        Ok(Transferred { to: info.name, address: info.address, epoch, took: asked.elapsed() })
                    }
                    Err(why) => Err(NotTransferred::of(why, &info.name, pause_ms)),
                },
                Err(why) => Err(why),
            };
            match given {
                Err(why) if why.may_pass() && began.elapsed() < SYNC_WITHIN => sleep(LOOK_AGAIN).await,
                given => return given,
            }
        }
    }

    async fn give_to(&self, heir: Incarnation, info: &MemberInfo, occasion: Occasion) -> Given {
        let given = self.seat.transfer(heir, occasion)?;
        let mut giving = Giving { seat: &self.seat, given };
        tokio::select! {
            biased;
            never = self.tell_of_heir(info) => match never {},
            ended = &mut giving.given => ended.unwrap_or(Err(member::NotTransferred::NotPrimary)),
        }
    }

    /// As soon as this member has resigned.
    async fn tell_of_heir(&self, info: &MemberInfo) -> Infallible {
        let mut roles = self.seat.roles();
        let role = roles.wait_for(|role| matches!(role, Role::Deposed { .. })).await.map(|role| *role);
        if let Ok(Role::Deposed { by: epoch }) = role
            && self.seat.with(|member, _| member.hint_heir(&info.address))
        {
            tracing::info!(to = info.name, epoch, "this primary has resigned: another member takes over");
        }
        pending().await
    }

    /// Before this process ends, so that no client has to wait, and nothing is lost that another
    /// member could hold. Best effort; the caller limits its time.
    pub(crate) async fn hand_over(&self) -> Result<(), NotHandedOver> {
        let (mut given, mut to) = (None, String::new());
        loop {
            match self.seat.with(|member, now| member.leave(given.take(), now)) {
                Leaving::Waits => sleep(LOOK_AGAIN).await,
                Leaving::Gives(heir) => match self.find(heir).await {
                    Some(info) => {
                        given = Some(self.give_to(heir, &info, Occasion::Ends).await);
                        if let Some(Ok(member::Transferred { epoch, .. })) = given {
                            tracing::info!(to = info.name, epoch, "handed over before the stop");
                            return Ok(());
                        }
                        to = info.name;
                        // Another member has taken over, or does so at this moment: the next round
                        // sees which.
                        sleep(LOOK_AGAIN).await;
                    }
                    None => sleep(LOOK_AGAIN).await,
                },
                Leaving::Done => return Ok(()),
                Leaving::Alone => {
                    tracing::info!(
                        "there is no other member to take over before the stop: what this one holds ends with it"
                    );
                    return Ok(());
                }
                Leaving::Fails(why) => {
                    return Err(NotHandedOver { why: NotTransferred::of(why, &to, 0).to_string() });
                }
            }
        }
    }

    fn heir(&self, to: Option<&str>) -> Result<(Incarnation, MemberInfo), NotTransferred> {
        if self.seat.leads().is_none() {
            return Err(NotTransferred::NotPrimary);
        }
        if to == Some(self.node.name.as_str()) {
            return Err(NotTransferred::Already { name: self.node.name.clone() });
        }
        let members = self.members();
        let Some(name) = to else {
            let best = self.seat.look(|member, now| member.best_heir(now));
            let info = members.into_iter().find(|info| Some(info.who) == best);
            return info.map(|info| (info.who, info)).ok_or(NotTransferred::NobodyInSync);
        };
        let in_sync: Vec<MemberInfo> =
            self.seat.look(|member, now| members.into_iter().filter(|info| member.is_heir(info.who, now)).collect());
        match in_sync.iter().find(|info| info.name == name) {
            Some(info) => Ok((info.who, info.clone())),
            None => {
                let insync: Vec<String> = in_sync.into_iter().map(|info| info.name).collect();
                Err(NotTransferred::Unknown { name: name.to_owned(), insync: insync.join(", ") })
            }
        }
    }
}
