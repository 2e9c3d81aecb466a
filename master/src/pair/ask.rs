//! The questions of the seat, asked of the coordinator one after the other, and its answers brought back.
//!
//! Invariant: every question is answered, if only with `NoAnswer`; whether a swap without an answer has happened is never
//! guessed.
//!
//! Deliberately absent: when to ask. The core decides that.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use coordinator::{Coordinator, Swap};
use election::{Event, Unclean, Versioned};
use tokio::sync::mpsc;

use crate::pair::seat::{Ask, Seat};

const ANOTHER: &str = "it holds the record of another cluster than before";

/// Runs until it is dropped.
pub(crate) async fn run(
    seat: Arc<Seat>,
    coordinator: Arc<dyn Coordinator>,
    mut asked: mpsc::Receiver<Ask>,
    unclean: Unclean,
) {
    let (mut trouble, mut unseen) = (Trouble::default(), Trouble::default());
    while let Some(ask) = asked.recv().await {
        let answer = match ask {
            Ask::Read => match coordinator.read().await {
                Ok(record) if !seat.note_read(record.as_ref()) => {
                    Err(coordinator::Error::Damaged { place: "the coordinator".to_owned(), why: ANOTHER.to_owned() })
                }
                Ok(record) => {
                    look_for_proofs(&seat, &*coordinator, record.as_ref()).await;
                    match look_for_a_primary(&seat, &*coordinator, record.is_some(), unclean).await {
                        // Without a record that decides whether one may be made.
                        Err(error) if record.is_none() => Err(error),
                        Err(error) => {
                            seat.counts.coordinator_errors.fetch_add(1, Ordering::Relaxed);
                            unseen.told(&error);
                            Ok(Event::Read(record))
                        }
                        Ok(()) => {
                            unseen.is_over();
                            Ok(Event::Read(record))
                        }
                    }
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
                                "this member begins anew with nothing, once nobody before it can answer"
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
                seat.event(event);
            }
            Err(error) => {
                seat.counts.coordinator_errors.fetch_add(1, Ordering::Relaxed);
                trouble.told(&error);
                seat.event(Event::NoAnswer);
            }
        }
    }
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

/// Where there is no record, somebody may lead all the same: then the record is lost, and this is no new cluster. And where there is
/// one, its primary may be gone without anybody to take over.
async fn look_for_a_primary(
    seat: &Seat,
    coordinator: &dyn Coordinator,
    is_recorded: bool,
    unclean: Unclean,
) -> Result<(), coordinator::Error> {
    if is_recorded && (!unclean.asks_who_leads() || seat.leads().is_some()) {
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
