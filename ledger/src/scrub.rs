//! The scrub: digests counted again from the records that they stand for, a few records at a time.
//! What entries have made is right by construction; what the memory has made of it since shows
//! here.
//!
//! A shard is looked at slot by slot, each step under its own short lock. If it has changed
//! meanwhile it is begun anew, and after some tries left for the next round: one that changes that
//! fast is compared through its digests all the time.
//!
//! The last shard changes with nearly every entry. So its sums are counted in one step, as long as
//! it is small enough for that, and what hangs on one client, or on one record of a domain, is
//! compared with what that one keeps of it.

use oplog::{ScrubCursor, ScrubStep};

use crate::domain::Domain;
use crate::shards::{LockedShard as _, Shards as _};
use crate::state::State;
use crate::writer::Writer;

/// A shard that has changed this often while it was looked at is left alone for now.
const TRIES_MAX: u32 = 4;
/// Records of the last shard whose sums are counted in one step.
const LAST_RECORDS_MAX: usize = 8192;

pub(crate) fn step<D: Domain>(state: &State<D>, at: ScrubCursor, records_max: usize) -> ScrubStep {
    match at.shard {
        shard if shard < state.last_shard() => shard_step(&**state, at, records_max.max(1)),
        shard if shard == state.last_shard() => last_step::<D>(state, at),
        _ => ScrubStep::Sound,
    }
}

fn shard_step<D: Domain>(domain: &D, mut at: ScrubCursor, records_max: usize) -> ScrubStep {
    // Before the shard's lock: to ask for it may take the writer's.
    let secret = domain.secret();
    let shard = domain.shards().lock(at.shard);
    if at.next > 0 && at.version != shard.changes() {
        if at.tries >= TRIES_MAX {
            return ScrubStep::Busy;
        }
        at = ScrubCursor { tries: at.tries + 1, ..ScrubCursor::of(at.shard) };
    }
    at.version = shard.changes();
    let (from, slots) = (at.next as usize, shard.slots());
    let upto = slots.min(from.saturating_add(records_max));
    at.counted += shard.counted_in(from..upto, secret);
    at.next = upto as u128;
    if upto < slots {
        return ScrubStep::More(at);
    }
    let kept = shard.digest();
    match at.counted == kept {
        true => ScrubStep::Sound,
        false => ScrubStep::Rotten(format!("its digest is {kept}, its records make {}", at.counted)),
    }
}

/// `version` is the stage, `next` where it goes on.
fn last_step<D: Domain>(domain: &D, at: ScrubCursor) -> ScrubStep {
    let mut writer = domain.ledger().write();
    let Writer { accounts, own, .. } = &mut *writer;
    let more = |version, next| ScrubStep::More(ScrubCursor { version, next, ..at });
    let looked = match at.version {
        0 if accounts.records() + D::records(own) > LAST_RECORDS_MAX => Ok(None),
        0 => accounts.check_sums().and_then(|()| D::check_sums(own)).map(|()| None),
        1 => accounts.clients.check_next(at.next),
        _ => D::check_next(own, at.next),
    };
    match looked {
        Err(what) => ScrubStep::Rotten(what),
        Ok(Some(next)) => more(at.version, next),
        Ok(None) if at.version < 2 => more(at.version + 1, 0),
        Ok(None) => ScrubStep::Sound,
    }
}
