//! Exactly once: the same request gets the same answer, from every member and however often, and
//! has one entry in a log. Another request with its number gets none.

use std::collections::BTreeMap;

use election::Incarnation;
use oplog::{ClientId, Position};

use super::violated;
use crate::requests::{Ask, Request, Told};

#[derive(Debug, Default)]
pub(crate) struct Answers {
    told: BTreeMap<(ClientId, u64), (u8, Ask, Told)>,
}

impl Answers {
    /// True: it is answered for the first time.
    pub(crate) fn told(&mut self, who: Incarnation, request: &Request, told: &Told) -> bool {
        if request.number == 0 {
            return true;
        }
        match self.told.get(&(request.client, request.number)) {
            None => {
                self.told.insert((request.client, request.number), (request.tenant, request.ask.clone(), told.clone()));
                true
            }
            Some((tenant, ask, before)) if (*tenant, ask, before) == (request.tenant, &request.ask, told) => false,
            Some(before) => violated!("{who:?} answers {request:?} with {told:?}; it was {before:?} before"),
        }
    }
}

pub(crate) fn ran(request: (ClientId, u64), at: Position, before: Option<Position>) {
    if let Some(before) = before {
        violated!("request {} of {} ran at {before}, and again at {at}", request.1, request.0);
    }
}
