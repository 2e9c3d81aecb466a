//! A stream to the primary, from the hello to its end: the sequence of steps of a standby's shell.
//!
//! ```text
//!   hello ─► the primary's proof ─► own proof ─┐
//!       ┌──────────────────────────────────────┘
//!       ▼
//!   a message ─► the member accepts it ─► its bytes are stored ─► what is held is told ─► receipt
//!       ▲          │ welcome: nothing applies from here      │ another log, another state:   │
//!       │          │ on (`Still`)                            │ calls use it, then applying   │
//!       │          ▼                                         ▼ goes on with it (`Anew`)     │
//!       └────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariants: this member says nothing of what it holds, and accepts nothing, before the other end
//! has proven that it is the primary that the coordinator shows; calls use what a message has put
//! in place before the member learns of it; one message is processed at a time, to its end.
//!
//! Deliberately absent: the transport; the lock of the member while bytes are brought.

use bytes::Bytes;
use election::{Incarnation, Millis};
use oplog::ReplicatedState;
use proto::v1;
use proto::v1::from_primary::Message as Down;
use replication::{Greeting, Nonce, Secret};
use standby::{Standby, StandbyError};

use crate::life::Stock;
use crate::member::Member;
use crate::peers::Envelope;
use crate::reach::Reach;
use crate::ride::{Brought, Holding, RideEnd, RideId, bring};
use crate::settings::SYNC_PAUSE_MS;

/// What the shell does next. Then it asks for the next step.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// Nothing to do until the next message comes.
    Done,
    /// Nothing may be applied any more, until `Anew`.
    Still,
    /// Applying goes on with the log and the state that are in place now. `synced`: the whole state
    /// was replaced.
    Anew { synced: bool },
    /// The log has no room, until something is applied.
    NoRoom,
    /// Send this to the primary.
    Say(v1::Receipt),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// A welcome may put another log in place, and nothing may be applied meanwhile.
    Welcomed,
    Brings,
    Kept,
}

/// The message that is being processed, with what is left of it.
#[derive(Debug)]
struct Taking {
    message: v1::FromPrimary,
    envelope: Envelope,
    stage: Stage,
}

#[derive(Debug)]
pub struct Riding {
    id: RideId,
    primary: Incarnation,
    epoch: u64,
    /// Until the primary's first message.
    greeting: Option<Greeting>,
    is_proven: bool,
    taking: Option<Taking>,
    heard_ms: Millis,
}

impl Riding {
    /// Begins a stream, if one is wanted now. Nothing applies if the member says so: what is held
    /// and not trusted does not count from here on.
    pub fn begin<S: ReplicatedState>(
        mut reach: impl Reach,
        standby: &mut Standby<S>,
        name: &str,
        nonce: impl FnOnce() -> Nonce,
    ) -> Option<Riding> {
        reach.tell(|member, now| {
            let (primary, epoch) = member.wants_ride(now)?;
            let id = member.begin_ride(standby, now)?;
            let greeting = Some(member.greeting(name, id, nonce())?);
            Some(Riding { id, primary, epoch, greeting, is_proven: false, taking: None, heard_ms: now })
        })
    }

    pub fn primary(&self) -> Incarnation {
        self.primary
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn is_proven(&self) -> bool {
        self.is_proven
    }

    /// What to send first. `None`: the primary has proven itself already.
    pub fn hello(&self) -> Option<v1::Hello> {
        self.greeting.as_ref().map(Greeting::hello)
    }

    /// The answer to the first message: this member's proof, with what it holds, and the token of
    /// questions beside the stream. `primary`: the primary's secret, as the coordinator shows it.
    pub fn prove<S: ReplicatedState>(
        &mut self,
        message: v1::FromPrimary,
        (mine, primary): (&Secret, Option<&Secret>),
        standby: &Standby<S>,
        now: Millis,
    ) -> Result<(v1::Proof, Bytes), RideEnd> {
        let primary = primary.ok_or(RideEnd::Protocol("the coordinator shows no secret of the primary"))?;
        let (Some(greeting), Some(Down::Challenge(challenge))) = (self.greeting.take(), message.message) else {
            return Err(RideEnd::Protocol("something else than a challenge"));
        };
        let (proof, pass) = greeting.on_challenge(&challenge, (mine, primary), standby.holds())?;
        (self.heard_ms, self.is_proven) = (now, true);
        Ok((proof, pass.token()))
    }

    /// Whether the stream goes on though no message has come, and until when.
    pub fn check<S: ReplicatedState>(
        &self,
        member: &Member,
        standby: &Standby<S>,
        now: Millis,
    ) -> Result<Millis, RideEnd> {
        member.check_ride(self.id, standby)?;
        let ms = member.silent_ms();
        let until_ms = self.heard_ms.saturating_add(ms);
        // A message that is being processed has come, however long that takes.
        match self.taking.is_none() && now >= until_ms {
            true => Err(RideEnd::Silent { ms }),
            false => Ok(until_ms),
        }
    }

    /// A message has come, and the one before is done. [`Riding::step`] processes it, step by step.
    pub fn take(&mut self, mut reach: impl Reach, message: v1::FromPrimary) -> Result<(), RideEnd> {
        if !self.is_proven() {
            return Err(RideEnd::Protocol("a message before the proof"));
        }
        let envelope = reach.tell(|member, _| member.takes(self.id, &message))?;
        let stage = match message.message {
            Some(Down::Welcome(_)) => Stage::Welcomed,
            Some(Down::Challenge(_) | Down::Entries(_) | Down::Image(_) | Down::Resigned(_)) | None => Stage::Brings,
        };
        self.taking = Some(Taking { message, envelope, stage });
        Ok(())
    }

    /// Has no pause inside: if a stream is ended between two steps, each step was done completely.
    pub fn step<S: ReplicatedState>(
        &mut self,
        mut reach: impl Reach,
        standby: &mut Standby<S>,
        stock: &impl Stock<S>,
    ) -> Result<Step, RideEnd> {
        let Riding { id, primary, .. } = *self;
        let Some(taking) = &mut self.taking else { return Ok(Step::Done) };
        let is_welcome = matches!(taking.message.message, Some(Down::Welcome(_)));
        match taking.stage {
            Stage::Welcomed => {
                taking.stage = Stage::Brings;
                return Ok(Step::Still);
            }
            Stage::Brings => match bring(standby, &mut taking.message, primary)? {
                Brought::NoRoom => {
                    reach.tell(|member, now| {
                        member.check_ride(id, standby)?;
                        member.on_no_room(id, now)
                    })?;
                    return Ok(Step::NoRoom);
                }
                Brought::Resigned => {
                    self.taking = None;
                    reach.tell(|member, now| member.on_resigned(id, now))?;
                    return Ok(Step::Done);
                }
                Brought::Synced => {
                    stock.hold(standby.state(), standby.tail());
                    reach.tell(|member, now| member.on_synced(now));
                    return Ok(Step::Anew { synced: true });
                }
                brought @ (Brought::Kept | Brought::Forked) => {
                    if brought == Brought::Forked {
                        stock.hold(standby.state(), standby.tail());
                    }
                    taking.stage = Stage::Kept;
                    if is_welcome {
                        return Ok(Step::Anew { synced: false });
                    }
                }
            },
            Stage::Kept => {}
        }
        let Some(Taking { envelope, .. }) = self.taking.take() else { return Ok(Step::Done) };
        let holding = Holding::behind(standby, &envelope);
        let (receipt, now) = reach.tell(|member, now| (member.brought(id, holding, envelope, now), now));
        self.heard_ms = now;
        receipt.map(Step::Say)
    }

    /// What is held, for [`Riding::at_work`]. To read it may wait for the task that applies an
    /// entry, so it is read without the member.
    pub fn holding<S: ReplicatedState>(&self, standby: &Standby<S>) -> Holding {
        Holding::of(standby, (self.epoch, 0))
    }

    /// A receipt that confirms nothing more, and says that this member is at work. For steps that
    /// take long.
    pub fn at_work(&self, member: &Member, holding: Holding, now: Millis) -> v1::Receipt {
        member.receipt(holding, now)
    }

    /// The stream has ended, for this reason or another one.
    pub fn end(&self, mut reach: impl Reach, why: Option<&RideEnd>) {
        reach.tell(|member, now| {
            let pause_ms = match why {
                // The next one is a new sync, so it need not wait.
                Some(RideEnd::Distrusted) => 0,
                Some(RideEnd::Standby(StandbyError::TooMuchLog { .. })) => {
                    SYNC_PAUSE_MS + member.settings().ask_again_ms
                }
                Some(_) | None => member.settings().ask_again_ms,
            };
            member.end_ride(self.id, pause_ms, now);
        });
    }

    /// The member takes another role, or the stream has no shell any more.
    pub fn leave(&self, mut reach: impl Reach) {
        reach.tell(|member, now| member.end_ride(self.id, 0, now));
    }
}
