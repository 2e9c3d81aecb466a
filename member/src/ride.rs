//! The standby's side of its stream: when it is opened, which messages are accepted and answered,
//! and in which order.
//!
//! ```text
//!   takes (asks the member) ─► bring (the bytes, into the log) ─► what is held ─► brought: the receipt
//! ```
//!
//! Invariants: nothing is accepted from a primary whose messages the election would not answer; an
//! answer goes out only after the content of the message is held; a log and a state that are not
//! trusted accept nothing more, until a full sync has replaced them.
//!
//! Deliberately absent: when the primary is given up (the election learns of messages and of
//! breaks, and decides); the order of all this (`riding`); the proof of both ends (`replication`).

use bytes::Bytes;
use election::{ConfigRecord, Event, Incarnation, Millis};
use oplog::{AppendFrameError, ReplicatedState};
use proto::v1;
use proto::v1::from_primary::Message as Down;
use replication::{Greeting, Nonce, NotAdmitted};
use standby::{Hand, Standby, StandbyError, SyncProgress};
use verification::Condition;

use crate::clock_rate::{ClockRate, RateError, Sight};
use crate::member::{Action, Member, Role};
use crate::peers::{Envelope, incarnation, incarnation_to_wire};

/// Names one stream to a primary, for as long as this member lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RideId(u64);

/// A stream to the primary of an epoch, from before it is connected until it has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ride {
    id: RideId,
    primary: Incarnation,
    epoch: u64,
    /// Since when the log has had no room for what came.
    stuck_since: Option<Millis>,
    clock: ClockRate,
}

impl Ride {
    pub(crate) fn rate_error(&self) -> Option<(Incarnation, RateError)> {
        Some((self.primary, self.clock.last()?))
    }
}

/// Why a stream to the primary is of no use any more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RideEnd {
    #[error("the election has gone on without this primary")]
    NotAnswered,
    #[error("the primary sends something that is not understood: {0}")]
    Protocol(&'static str),
    #[error("the other end is not admitted: {0}")]
    NotProven(#[from] NotAdmitted),
    #[error("nothing came for {ms} ms")]
    Silent { ms: Millis },
    #[error("what this member holds is not to be trusted")]
    Distrusted,
    #[error(transparent)]
    Standby(#[from] StandbyError),
}

/// The result of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Brought {
    /// All of it is held: [`Member::brought`] makes the receipt.
    Kept,
    /// All of it is held, and another log is in place: what comes after some seq was never
    /// committed.
    Forked,
    /// Another state and another log are in place. What is left of the message must be brought into
    /// those.
    Synced,
    /// The log has no room for the rest, until something is applied.
    NoRoom,
    /// The primary has resigned, and this member is to take over.
    Resigned,
}

/// What a standby holds. To read it may wait for the task that applies an entry, so it is read
/// before the member is told.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    held: u64,
    sync: Option<SyncProgress>,
    receipt: v1::Receipt,
}

impl Holding {
    /// With all of a message, and with what it says of commits.
    pub(crate) fn behind<S: ReplicatedState>(standby: &Standby<S>, envelope: &Envelope) -> Holding {
        standby.on_committed(envelope.committed);
        Holding::of(standby, (envelope.epoch, envelope.sent_ms))
    }

    /// For the answer to a message of `epoch` that was sent at `echo_ms`. 0: it answers no message,
    /// and only says that this member is at work.
    pub(crate) fn of<S: ReplicatedState>(standby: &Standby<S>, (epoch, echo_ms): (u64, Millis)) -> Holding {
        Holding { held: standby.held(), sync: standby.syncing(), receipt: standby.receipt(epoch, echo_ms) }
    }
}

/// Stores the content of a message, however large it is, without asking the member.
pub(crate) fn bring<S: ReplicatedState>(
    standby: &mut Standby<S>,
    message: &mut v1::FromPrimary,
    primary: Incarnation,
) -> Result<Brought, RideEnd> {
    let (epoch, committed) = (message.epoch, message.committed);
    let hand = match message.message.as_mut().ok_or(RideEnd::Protocol("a message without content"))? {
        Down::Challenge(_) => return Err(RideEnd::Protocol("a second challenge")),
        Down::Resigned(v1::Resigned {}) => return Ok(Brought::Resigned),
        Down::Welcome(welcome) => {
            if welcome.primary.as_ref().map(incarnation) != Some(primary) {
                return Err(RideEnd::Protocol("a welcome from another member"));
            }
            let start = welcome.start.ok_or(RideEnd::Protocol("a welcome without a start"))?;
            return Ok(match standby.on_welcome(start, epoch)? {
                Hand::Kept => Brought::Kept,
                Hand::Changed => Brought::Forked,
            });
        }
        Down::Entries(entries) => {
            // What this makes room for may be needed for the rest.
            standby.on_committed(committed);
            match standby.on_frames(&mut entries.frames) {
                Err(StandbyError::Append(AppendFrameError::Overloaded(_))) => return Ok(Brought::NoRoom),
                taken => taken?,
            }
        }
        Down::Image(image) => {
            let image = std::mem::take(image);
            // If the message is brought again, it has no content left.
            message.message = Some(Down::Entries(v1::Entries { frames: Bytes::new() }));
            standby.on_image(image)?
        }
    };
    Ok(match hand {
        Hand::Kept => Brought::Kept,
        Hand::Changed => Brought::Synced,
    })
}

impl Member {
    /// The member to connect to now, if any.
    pub(crate) fn wants_ride(&self, now: Millis) -> Option<(Incarnation, u64)> {
        match self.role {
            Role::Follow { primary, epoch } if self.ride.is_none() && now >= self.ride_due_ms => {
                Some((primary, epoch)).filter(|_| primary.member != self.me.member)
            }
            Role::Follow { .. } | Role::Starting | Role::Lead { .. } | Role::Deposed { .. } => None,
        }
    }

    /// Must be called before it connects. What is held and not trusted does not count from here on.
    pub(crate) fn begin_ride<S: ReplicatedState>(&mut self, standby: &mut Standby<S>, now: Millis) -> Option<RideId> {
        let (primary, epoch) = self.wants_ride(now)?;
        if self.verifier.condition() == Condition::Lost {
            standby.distrust();
        }
        self.rides += 1;
        let id = RideId(self.rides);
        self.ride = Some(Ride { id, primary, epoch, stuck_since: None, clock: ClockRate::default() });
        self.doubts.begin(now, self.settings.verify_interval_ms);
        self.doubt(verification::Event::StreamBegins, now);
        Some(id)
    }

    /// What to send first.
    pub(crate) fn greeting(&self, name: &str, id: RideId, nonce: Nonce) -> Option<Greeting> {
        let ride = self.ride(id).ok()?;
        let both = (incarnation_to_wire(self.me), incarnation_to_wire(ride.primary));
        let cluster_id = Bytes::copy_from_slice(&self.cluster_id().to_be_bytes());
        Some(Greeting::new(name, both, (cluster_id, ride.epoch), nonce))
    }

    /// The stream has ended, for whatever reason. `pause_ms`: before the next one.
    pub(crate) fn end_ride(&mut self, id: RideId, pause_ms: Millis, now: Millis) {
        let Ok(ride) = self.ride(id) else { return };
        let (from, epoch) = (ride.primary, ride.epoch);
        self.ride = None;
        self.ride_due_ms = now.saturating_add(pause_ms);
        self.on(Event::StreamBroken { from, epoch }, now);
    }

    fn ride(&self, id: RideId) -> Result<&Ride, RideEnd> {
        self.ride.as_ref().filter(|ride| ride.id == id).ok_or(RideEnd::NotAnswered)
    }

    /// Whether the stream goes on, though no message has come.
    pub(crate) fn check_ride<S: ReplicatedState>(&self, id: RideId, standby: &Standby<S>) -> Result<(), RideEnd> {
        self.ride(id)?;
        // More messages would go into a state that is not trusted. A full sync that is under way
        // goes on.
        match self.verifier.condition() == Condition::Lost && !standby.is_distrusted() {
            true => Err(RideEnd::Distrusted),
            false => Ok(()),
        }
    }

    /// Must be called before any of a message is stored.
    pub(crate) fn takes(&mut self, id: RideId, message: &v1::FromPrimary) -> Result<Envelope, RideEnd> {
        let &v1::FromPrimary { epoch, sent_ms, committed, in_sync, as_of_ms, version, tenure_ms, .. } = message;
        if version > ConfigRecord::NUMBER_MAX {
            return Err(RideEnd::Protocol("a version that no record can have"));
        }
        if epoch != self.ride(id)?.epoch || !self.election.would_answer(epoch) {
            return Err(RideEnd::NotAnswered);
        }
        self.news.committed(committed, as_of_ms);
        Ok(Envelope { epoch, sent_ms, committed, in_sync, as_of_ms, version, tenure_ms })
    }

    /// All of the message is held. Returns the receipt for it.
    pub(crate) fn brought(
        &mut self,
        id: RideId,
        holding: Holding,
        envelope: Envelope,
        now: Millis,
    ) -> Result<v1::Receipt, RideEnd> {
        let Envelope { epoch, sent_ms, in_sync, version, tenure_ms, as_of_ms, .. } = envelope;
        let primary = self.ride(id)?.primary;
        self.on(Event::Received(holding.held), now);
        if !self.on(Event::Heard { from: primary, epoch, version, sent_ms, tenure_ms }, now) {
            return Err(RideEnd::NotAnswered);
        }
        self.news.heard(in_sync, holding.sync, now);
        if let Some(ride) = &mut self.ride {
            ride.stuck_since = None;
            // It answers what this member sent at `as_of_ms`, if it says so.
            let sight = Sight { theirs_ms: sent_ms, sent_ms: as_of_ms, answered_ms: now };
            let error = if as_of_ms > 0 { ride.clock.see(sight) } else { None };
            self.out.extend(error.map(|error| Action::WrongClock { who: primary, error }));
        }
        Ok(self.receipt(holding, now))
    }

    /// Makes a receipt with what this member says of itself.
    pub(crate) fn receipt(&self, holding: Holding, now: Millis) -> v1::Receipt {
        v1::Receipt {
            unsound: !self.is_sound(),
            verified: self.verifier.verified().seq,
            asked_ms: now,
            ..holding.receipt
        }
    }

    /// A stream without messages for so long is broken off.
    pub(crate) fn silent_ms(&self) -> Millis {
        self.election.timing().tenure_ms * 4
    }

    /// Another state and another log have come, and are in place.
    pub(crate) fn on_synced(&mut self, now: Millis) {
        self.doubt(verification::Event::Synced, now);
    }

    /// The log is full of what is not committed. Only a new stream helps, and a primary that does
    /// not wait for this member.
    pub(crate) fn on_no_room(&mut self, id: RideId, now: Millis) -> Result<(), RideEnd> {
        let tenure_ms = self.election.timing().tenure_ms;
        let Some(ride) = self.ride.as_mut().filter(|ride| ride.id == id) else { return Err(RideEnd::NotAnswered) };
        match now > ride.stuck_since.get_or_insert(now).saturating_add(tenure_ms) {
            true => Err(RideEnd::Protocol("more than the log has room for, and it commits nothing of that")),
            false => Ok(()),
        }
    }

    /// The primary's last message.
    pub(crate) fn on_resigned(&mut self, id: RideId, now: Millis) -> Result<(), RideEnd> {
        let ride = self.ride(id)?;
        let (from, epoch) = (ride.primary, ride.epoch);
        self.on(Event::Resigned { from, epoch }, now);
        Ok(())
    }
}
