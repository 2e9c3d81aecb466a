//! The coordinator as members see it: one record, changed by compare-and-swap; slow, away, or silent about the outcome.

use election::{ConfigRecord, Versioned};

use crate::checks::promoted_from_set;

#[derive(Clone, Debug)]
pub(crate) enum Request {
    Read,
    Swap { expect: Option<u64>, to: ConfigRecord },
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Read(Option<Versioned>),
    Swapped(u64),
    SwapRefused,
}

#[derive(Debug, Default)]
pub(crate) struct Coordinator {
    record: Option<Versioned>,
    pub(crate) down_until: u64,
}

impl Coordinator {
    pub(crate) fn record(&self) -> Option<&Versioned> {
        self.record.as_ref()
    }

    pub(crate) fn handle(&mut self, request: &Request) -> Answer {
        match request {
            Request::Read => Answer::Read(self.record.clone()),
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
