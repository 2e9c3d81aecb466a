//! Asks the coordinator the member's questions, one after the other, and returns the answers.
//!
//! Invariant: every question gets an answer, if only `NoAnswer`; it is never guessed whether a swap
//! without an answer has happened.
//!
//! Deliberately absent: when to ask, what a look consists of, and what its answers mean (`member`).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coordinator::{Coordinator, Error, Stored, Swap};
use election::{ConfigRecord, Event, Versioned};
use member::Looked;
use tokio::sync::mpsc;

use crate::pair::seat::{Ask, Seat};

/// Runs until it is dropped. `founds`: if there is no record, this member may create one.
pub(crate) async fn run(
    seat: Arc<Seat>,
    coordinator: Arc<dyn Coordinator>,
    mut asked: mpsc::Receiver<Ask>,
    founds: bool,
) {
    let mut asking = Asking { seat, coordinator, trouble: Trouble::default(), unseen: Trouble::default() };
    let mut waits = false;
    while let Some(ask) = asked.recv().await {
        let seat = Arc::clone(&asking.seat);
        let answered = match ask {
            Ask::Read => asking.look().await.map(|looked| {
                if looked.record.is_none() && !founds && !std::mem::replace(&mut waits, true) {
                    tracing::warn!(
                        "the coordinator has no record, and with `found = never` this member makes none: start one member \
                         with --found auto to begin a cluster"
                    );
                }
                seat.with(|member, now| member.on_looked(looked, now));
            }),
            Ask::Swap { expect, to } => asking.swap(expect, to).await.map(|event| seat.event(event)),
        };
        asking.seat.note_coordinator(answered.as_ref().err());
        match answered {
            Ok(()) => asking.trouble.is_over(),
            Err(error) => {
                asking.trouble.told(&error);
                seat.event(Event::NoAnswer);
            }
        }
    }
}

struct Asking {
    seat: Arc<Seat>,
    coordinator: Arc<dyn Coordinator>,
    trouble: Trouble,
    /// Whether a primary is announced is not known.
    unseen: Trouble,
}

impl Asking {
    async fn look(&mut self) -> Result<Looked, Error> {
        let (seat, coordinator) = (&self.seat, &self.coordinator);
        let mut looked = Looked::default();
        if seat.look(|member, _| member.looks_for_members()) {
            looked.members = match coordinator.members().await {
                Ok(members) => Some(members.into_iter().map(|info| (info.who, info.seen)).collect()),
                // What some member says of itself cannot be read. Then no epoch is begun with
                // nothing. A member of the set may still claim.
                Err(error @ Error::Damaged { .. }) => {
                    tracing::warn!("not all members' presences can be read: {error}");
                    None
                }
                Err(error) => return Err(error),
            };
        }
        let Stored { record, store } = coordinator.read().await?;
        (looked.record, looked.store) = (record, store);
        let record = looked.record.as_ref();
        for who in seat.look(|member, _| member.looks_for_ends(record)) {
            match coordinator.is_dead(who).await {
                Ok(true) => looked.ended.push(who),
                Ok(false) => {}
                Err(error) => tracing::debug!(?who, "it is not known whether it has ended: {error}"),
            }
        }
        if seat.look(|member, _| member.looks_for_a_primary(record)) {
            match coordinator.announced().await {
                Ok(announced) => {
                    looked.announced = Some(announced.map(|(epoch, info)| (info.who, epoch)));
                    self.unseen.is_over();
                }
                Err(error) => {
                    seat.counts.coordinator_errors.fetch_add(1, Ordering::Relaxed);
                    self.unseen.told(&error);
                }
            }
        }
        Ok(looked)
    }

    async fn swap(&self, expect: Option<Versioned>, to: ConfigRecord) -> Result<Event, Error> {
        let begins_anew = to.begins_anew() && to.primary == self.seat.me && self.seat.leads().is_none();
        let epoch = to.epoch;
        Ok(match self.coordinator.swap(expect, to).await? {
            Swap::Done { revision } => {
                if begins_anew {
                    tracing::warn!(
                        epoch,
                        "this member begins anew with nothing, once no member before it can answer; the settings that stand \
                         in the state are those of its own flags"
                    );
                }
                Event::Swapped(revision)
            }
            Swap::Refused => Event::SwapRefused,
        })
    }
}

/// Logs once that the coordinator is away, and once that it is back.
#[derive(Default)]
struct Trouble {
    since: Option<String>,
}

impl Trouble {
    fn told(&mut self, error: &Error) {
        if self.since.is_none() {
            tracing::warn!("the coordinator cannot be used: {error}");
            self.since = Some(error.to_string());
        }
    }

    fn is_over(&mut self) {
        if self.since.take().is_some() {
            tracing::info!("the coordinator can be used again");
        }
    }
}
