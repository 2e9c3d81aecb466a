//! The coordinator as members see it: one record, changed by compare-and-swap; slow, away, or silent about the outcome. And the
//! one who announced itself as the primary last, for as long as it can be seen.

use std::collections::BTreeMap;

use election::{ConfigRecord, Versioned};

use crate::checks::promoted_from_set;

#[derive(Clone, Debug)]
pub(crate) enum Request {
    Read,
    Swap { expect: Option<u64>, to: ConfigRecord },
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// And the epoch that somebody says it leads, or 0.
    Read(Option<Versioned>, u64),
    Swapped(u64),
    SwapRefused,
}

#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    record: Option<Versioned>,
    /// An epoch, and until when whoever leads it is seen.
    leader: Option<(u64, u64)>,
    pub(crate) down_until: u64,
    /// Members whose questions do not reach it, until then,
    cut: BTreeMap<usize, u64>,
    /// and those that it does not see, although their questions may be answered.
    unseen: BTreeMap<usize, u64>,
}

/// For how long a member is seen that says nothing more.
const LEASE_MS: u64 = 400;

impl Coordinator {
    pub(crate) fn record(&self) -> Option<&Versioned> {
        self.record.as_ref()
    }

    pub(crate) fn is_cut(&self, member: usize, now: u64) -> bool {
        self.cut.get(&member).is_some_and(|until| now < *until)
    }

    fn is_unseen(&self, member: usize, now: u64) -> bool {
        self.unseen.get(&member).is_some_and(|until| now < *until)
    }

    /// As the members' shells do all the time.
    pub(crate) fn announce(&mut self, member: usize, epoch: u64, now: u64) {
        let is_seen = now >= self.down_until && !self.is_unseen(member, now);
        if is_seen && self.leader.is_none_or(|(held, until)| held <= epoch || now >= until) {
            self.leader = Some((epoch, now + LEASE_MS));
        }
    }

    pub(crate) fn cut(&mut self, member: usize, until: u64) {
        self.cut.insert(member, until);
    }

    pub(crate) fn heal(&mut self) {
        self.down_until = 0;
        self.cut.clear();
        self.unseen.clear();
    }

    pub(crate) fn hide(&mut self, member: usize, until: u64) {
        self.unseen.insert(member, until);
    }

    pub(crate) fn handle(&mut self, request: &Request, now: u64) -> Answer {
        match request {
            Request::Read => {
                let seen = self.leader.filter(|(_, until)| now < *until);
                Answer::Read(self.record.clone(), seen.map_or(0, |(epoch, _)| epoch))
            }
            Request::Swap { expect, to } => {
                if self.record.as_ref().map(|known| known.revision) != *expect {
                    return Answer::SwapRefused;
                }
                if let Some(known) = &self.record {
                    promoted_from_set::check(&known.record, to);
                }
                let revision = expect.unwrap_or(0) + 1;
                self.record = Some(Versioned { record: to.clone(), revision });
                Answer::Swapped(revision)
            }
        }
    }
}
