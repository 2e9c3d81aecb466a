//! The scrub: digests counted again from the records that they stand for, a few records at a time. What entries have made is
//! right by construction; what the memory has made of it since shows here.
//!
//! A shard is looked at slot by slot, each step under its own short lock. If it has changed meanwhile it is begun anew, and after
//! some tries left for the next round: one that changes that fast is compared through its digests all the time.
//!
//! The directory changes with nearly every entry. So its sums are counted in one step, as long as it is small enough for that,
//! and what hangs on one client or one segment is compared with what that client or segment keeps of it.

use oplog::{Digest, ScrubCursor, ScrubStep};

use crate::image::DIRECTORY_SHARD;
use crate::state::{Metadata, Own, Writer};

/// A shard that has changed this often while it was looked at is left alone for now.
const TRIES_MAX: u32 = 4;
/// Clients, segments and the like whose sums are counted in one step.
const DIRECTORY_RECORDS_MAX: usize = 8192;

pub(crate) fn step(state: &Metadata, at: ScrubCursor, records_max: usize) -> ScrubStep {
    match at.shard {
        DIRECTORY_SHARD => directory_step(state, at),
        shard if shard < DIRECTORY_SHARD => shard_step(state, at, records_max.max(1)),
        _ => ScrubStep::Sound,
    }
}

fn shard_step(state: &Metadata, mut at: ScrubCursor, records_max: usize) -> ScrubStep {
    let shard = state.scan(at.shard as usize);
    if at.next > 0 && at.version != shard.changes() {
        if at.tries >= TRIES_MAX {
            return ScrubStep::Busy;
        }
        at = ScrubCursor { tries: at.tries + 1, ..ScrubCursor::of(at.shard) };
    }
    at.version = shard.changes();
    let (from, slots) = (at.next as usize, shard.slots());
    let upto = slots.min(from.saturating_add(records_max));
    let secret = state.view().secret();
    at.counted +=
        (from..upto).filter_map(|slot| shard.slot(slot)).map(|object| object.counted_digest(secret)).sum::<Digest>();
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
fn directory_step(state: &Metadata, at: ScrubCursor) -> ScrubStep {
    let mut writer = state.write();
    let Writer { accounts, own: Own { dir, .. }, .. } = &mut **writer;
    let more = |version, next| ScrubStep::More(ScrubCursor { version, next, ..at });
    let looked = match at.version {
        0 if accounts.records() + dir.records() > DIRECTORY_RECORDS_MAX => Ok(None),
        0 => accounts.check_sums().and_then(|()| dir.check_sums()).map(|()| None),
        1 => accounts.clients.check_next(at.next),
        _ => dir.segments.check_next(at.next),
    };
    match looked {
        Err(what) => ScrubStep::Rotten(what),
        Ok(Some(next)) => more(at.version, next),
        Ok(None) if at.version < 2 => more(at.version + 1, 0),
        Ok(None) => ScrubStep::Sound,
    }
}
