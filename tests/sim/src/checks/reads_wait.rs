//! A read that does not find what was removed waits until the removal is committed, since a
//! failover may take it back (P4). This holds even if the tenant has gone since, or was created
//! anew under its name.

use election::Incarnation;
use metadata::Metadata;
use oplog::Position;

use super::violated;
use crate::history::History;
use crate::requests::{Ask, Request, Told, tenant};

/// `removal`: it has run on this state, whose log ends at `end`, and waits for its commit.
pub(crate) fn check(
    history: &History,
    who: Incarnation,
    (state, end): (&Metadata, Position),
    removal: &Request,
    told: &Told,
) {
    let (Ask::Remove { key, .. }, Told::Done(Ok(()))) = (&removal.ask, told) else { return };
    let Some(removed) = history.entry_of((removal.client, removal.number), end) else { return };
    let mut is_found = false;
    let looked = state.lookup_unleased(&tenant(removal.tenant), [&key[..]].into_iter(), |found| {
        is_found = found.is_some();
    });
    let wait_seq = looked.expect("a key and a name that are valid").wait_seq;
    if !is_found && wait_seq < removed.seq {
        violated!("{who:?} tells once {wait_seq} is committed that a key is not there: {removed} is {removal:?}");
    }
}
