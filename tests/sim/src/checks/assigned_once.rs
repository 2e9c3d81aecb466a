//! A task is assigned exactly once, even if the primary ends in the middle of the assignment.

use std::collections::BTreeMap;

use super::violated;
use crate::requests::{Request, Told};

#[derive(Debug, Default)]
pub(crate) struct Assigned {
    to: BTreeMap<u64, Request>,
}

impl Assigned {
    pub(crate) fn told(&mut self, request: &Request, told: &Told) {
        let Told::Tasks(ids) = told else { return };
        for id in ids {
            let first = self.to.entry(*id).or_insert_with(|| request.clone());
            if first != request {
                violated!("task {id} was assigned by {first:?} and by {request:?}");
            }
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.to.len()
    }
}
