//! The questions of the seat, asked of the coordinator one after the other, and its answers brought back.
//!
//! Invariant: every question is answered, if only with `NoAnswer`; whether a swap without an answer has happened is never
//! guessed.
//!
//! Deliberately absent: when to ask. The core decides that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coordinator::{Coordinator, Stored, Swap};
use election::{Event, Look, Seen, Start, Unclean, Versioned};
use tokio::sync::mpsc;

use crate::pair::seat::{Ask, Seat};

/// Runs until it is dropped.
pub(crate) async fn run(
    seat: Arc<Seat>,
    coordinator: Arc<dyn Coordinator>,
    mut asked: mpsc::Receiver<Ask>,
    Start { unclean, founding, .. }: Start,
) {
    let (mut trouble, mut unseen) = (Trouble::default(), Trouble::default());
    let mut waits = false;
    while let Some(ask) = asked.recv().await {
        let answer = match ask {
            Ask::Read => match look(&seat, &*coordinator).await {
                Ok(look) => {
                    if look.record.is_none() && !founding.allowed && !std::mem::replace(&mut waits, true) {
                        tracing::warn!(
                            "the coordinator has no record, and with `found = never` this member makes none: start one member \
                             with --found auto to begin a cluster"
                        );
                    }
                    look_for_proofs(&seat, &*coordinator, look.record.as_ref()).await;
                    match look_for_a_primary(&seat, &*coordinator, look.record.is_some(), unclean).await {
                        Err(error) => {
                            seat.counts.coordinator_errors.fetch_add(1, Ordering::Relaxed);
                            unseen.told(&error);
                        }
                        Ok(()) => unseen.is_over(),
                    }
                    Ok(Event::Read(look))
                }
                Err(error) => Err(error),
            },
            Ask::Swap { expect, to } => {
                let begins_anew = to.begins_anew() && to.primary == seat.me && seat.leads().is_none();
                let epoch = to.epoch;
                coordinator.swap(expect, to).await.map(|swap| match swap {
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
        };
        match answer {
            Ok(event) => {
                trouble.is_over();
                *seat.counts.coordinator_trouble.lock() = None;
                seat.event(event);
            }
            Err(error) => {
                seat.counts.coordinator_errors.fetch_add(1, Ordering::Relaxed);
                trouble.told(&error);
                *seat.counts.coordinator_trouble.lock() = Some(error.to_string());
                seat.event(Event::NoAnswer);
            }
        }
    }
}

/// The members first, then the record: what they have seen by then is no newer than what a sound coordinator shows after that.
async fn look(seat: &Seat, coordinator: &dyn Coordinator) -> Result<Look, coordinator::Error> {
    let mut members = None;
    if seat.leads().is_none() {
        members = match coordinator.members().await {
            Ok(members) => Some(members),
            // What a member says of itself cannot be read: then nothing is begun with nothing. Whoever is in the set may still claim.
            Err(error @ coordinator::Error::Damaged { .. }) => {
                tracing::warn!("not all that members say of themselves can be read: {error}");
                None
            }
            Err(error) => return Err(error),
        };
    }
    let Stored { record, store } = coordinator.read().await?;
    let is_present = members.iter().flatten().any(|info| info.who == seat.me);
    let others = members.into_iter().flatten().filter(|info| info.who != seat.me).filter_map(|info| info.seen);
    let is_of_record = |seen: &Seen| record.as_ref().is_none_or(|known| known.record.cluster_id == seen.cluster_id);
    let (others, foreign): (Vec<Seen>, Vec<Seen>) = others.partition(is_of_record);
    let others = others.into_iter().max_by_key(|seen| (seen.epoch, seen.version));
    Ok(Look { record, store, others, is_present: is_present && foreign.is_empty() })
}

/// Whether those of the set have ended: somebody who waits for them need not.
async fn look_for_proofs(seat: &Seat, coordinator: &dyn Coordinator, record: Option<&Versioned>) {
    let Some(known) = record.filter(|_| seat.leads().is_none()) else { return };
    for &who in known.record.insync.iter().filter(|who| **who != seat.me) {
        match coordinator.is_dead(who).await {
            Ok(true) => seat.event(Event::ProvenDead(who)),
            Ok(false) => {}
            Err(error) => tracing::debug!(?who, "nobody can say whether it has ended: {error}"),
        }
    }
}

/// Whether the primary of the record may be gone without any member that can take over.
async fn look_for_a_primary(
    seat: &Seat,
    coordinator: &dyn Coordinator,
    is_recorded: bool,
    unclean: Unclean,
) -> Result<(), coordinator::Error> {
    if !is_recorded || !unclean.asks_who_leads() || seat.leads().is_some() {
        return Ok(());
    }
    let announced = coordinator.announced().await?.filter(|(_, info)| info.who != seat.me);
    seat.event(announced.map_or(Event::NobodyAnnounced, |(epoch, _)| Event::Announced { epoch }));
    Ok(())
}

/// Says once that the coordinator is away, and once that it is back.
#[derive(Default)]
struct Trouble {
    since: Option<String>,
}

impl Trouble {
    fn told(&mut self, error: &coordinator::Error) {
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
