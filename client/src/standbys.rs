//! Reads at the standbys, in turn. A read that none of them answers goes to the primary.
//!
//! Invariants: a read asks a few of them, each for a bounded time; a standby that could not be
//! reached is left alone for a while, so that it slows no read down; connections are kept for
//! listed members only.
//!
//! Deliberately absent: how fresh an answer is. The member that gives it says so, or refuses.

use std::time::Duration;

use parking_lot::Mutex;
use proto::status::from_status;
use proto::v1::Reason;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;

use crate::calls::{Positioned as _, Read};
use crate::error::Error;
use crate::link::{Link, check_size, metadata};
use crate::trip::{Terms, Trip};

/// The most standbys that one read asks.
const ATTEMPTS: usize = 2;
/// A standby that could not be reached is not asked for this long.
const LEFT_ALONE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct Standbys {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    turn: usize,
    members: Vec<Standby>,
}

#[derive(Debug)]
struct Standby {
    address: String,
    channel: Channel,
    ask_from: Instant,
}

impl Known {
    /// Those that are listed and may be asked, beginning with the one whose turn it is.
    fn in_turn(&mut self, link: &Link, now: Instant) -> Vec<(String, Channel)> {
        let listed = link.way.lock().route.others();
        self.members.retain(|member| listed.contains(&member.address));
        for address in listed {
            if !self.members.iter().any(|member| member.address == address)
                && let Ok(endpoint) = link.endpoint(&address)
            {
                self.members.push(Standby { address, channel: endpoint.connect_lazy(), ask_from: now });
            }
        }
        self.turn = self.turn.wrapping_add(1);
        let count = self.members.len();
        let from_turn = (0..count).map(|at| &self.members[(self.turn.wrapping_add(at)) % count]);
        let may_be_asked = from_turn.filter(|member| member.ask_from <= now).take(ATTEMPTS);
        may_be_asked.map(|member| (member.address.clone(), member.channel.clone())).collect()
    }

    fn leave_alone(&mut self, address: &str, until: Instant) {
        if let Some(member) = self.members.iter_mut().find(|member| member.address == address) {
            member.ask_from = until;
        }
    }
}

impl Link {
    /// `None`: no standby answers it.
    pub(crate) async fn at_standbys<C: Read>(&self, request: &C, terms: Terms<'_>) -> Result<Option<C::Answer>, Error> {
        let trip = Trip::new(C::NAME, C::MUTATES, terms.deadline);
        check_size(request.encoded_len())?;
        let _place = self.place(&trip, terms.window, request.encoded_len()).await?;
        let members = self.standbys.known.lock().in_turn(self, Instant::now());
        for (address, channel) in members {
            let epoch_floor = self.epoch_seen();
            let by = trip.deadline.min(Instant::now() + self.options.connect_timeout);
            let why = match timeout_at(by, request.clone().unary(metadata(channel))).await {
                Ok(Ok(response)) if self.meets(&address, response.metadata()).is_err() => "another history".to_owned(),
                Ok(Ok(response)) => {
                    let answer = response.into_inner();
                    let epoch = answer.position().map_or(0, |position| position.epoch);
                    // A standby may answer with something older, as far as was asked. A member that
                    // answers as the primary must still be it.
                    if C::from_standby(&answer) || epoch >= epoch_floor {
                        self.saw_epoch(epoch);
                        return Ok(Some(answer));
                    }
                    continue;
                }
                Ok(Err(status)) => {
                    let error = from_status(&status);
                    if matches!(error.reason(), Reason::StaleRead | Reason::NotPrimary | Reason::Overloaded) {
                        tracing::debug!(address, "not read there: {}", error.message);
                        continue;
                    }
                    error.message
                }
                Err(_) => "no answer in time".to_owned(),
            };
            tracing::debug!(address, "left alone as a standby: {why}");
            self.standbys.known.lock().leave_alone(&address, Instant::now() + LEFT_ALONE);
        }
        Ok(None)
    }
}
