//! A repair: what differs from another member's image, at the same seq, is replaced by what the
//! image says.
//!
//! ```text
//!   parts alone:      what differs is taken out, with what it implies; then what the image has comes in
//!   the last shard:   it is replaced whole; what the other shards imply is built anew, from all of them
//! ```
//!
//! Where what a part implies cannot be trusted, the image must bring the last shard too.
//!
//! Invariants: nothing changes before all of the image has been understood; afterwards each
//! repaired bucket keeps the digest that its records have. What breaks off in the middle leaves a
//! state that takes nothing more.
//!
//! Deliberately absent: whether the image is right. A member that asks for a repair has made sure
//! that its giver is sound.

use oplog::{InstallError, Mismatch, PartsImage, Position, RepairError, Secret, ShardImage};

use crate::accounts::Applying;
use crate::accounts::{Accounts, Mode};
use crate::call::Source;
use crate::domain::Domain;
use crate::last;
use crate::parts::read_parts;
use crate::shards::Shards;
use crate::state::State;

use crate::writer::{Writer, WriterGuard};

type Plan<D> = <<D as Domain>::Shards as Shards<<D as Domain>::Own>>::Plan;

pub(crate) fn repair<D: Domain>(
    state: &State<D>,
    image: &PartsImage,
    records_max: usize,
) -> Result<Vec<Mismatch>, RepairError> {
    let (domain, shards) = (&**state, (**state).shards());
    let mut writer = domain.ledger().write();
    assert!(!writer.is_primary(), "a primary repairs nothing: what it holds is what others are compared with");
    let at = writer.applied();
    if at != image.digests.at {
        return Err(RepairError::Position { image: image.digests.at, state: at });
    }
    let (secret, parts) = read_parts::<D>(image).map_err(not_fit)?;
    let without = || RepairError::Inconsistent { what: "it says nothing of the secret of its keys".to_owned() };
    let secret = secret.ok_or_else(without)?;
    let whole = match &image.whole {
        Some(whole) => {
            check_is_last(whole, state.last_shard(), at)?;
            Some(last::read(domain, whole).map_err(not_fit)?)
        }
        None => None,
    };
    check_secret(&writer.accounts, whole.as_ref().map(|(accounts, _)| accounts), image, secret)?;
    let mut found = Vec::new();
    let mut plans = Vec::new();
    for (part, theirs) in image.parts.iter().zip(parts) {
        let (plan, mismatches) = shards.plan(*part, theirs, secret)?;
        if whole.is_none()
            && let Some(why) = shards.needs_whole(&plan, secret)
        {
            return Err(RepairError::NeedsWhole { part: *part, why });
        }
        plans.push(plan);
        found.extend(mismatches);
    }
    if found.len() > records_max {
        return Err(RepairError::TooMany { found: found.len(), max: records_max });
    }
    let is_whole = whole.is_some();
    let done = match whole {
        Some((accounts, own)) => {
            let ours = (&writer.accounts, &writer.own);
            found.extend(last::mismatches::<D>(state.last_shard(), ours, (&accounts, &own)));
            replace(domain, &mut writer, accounts, own, plans)
        }
        None => {
            let Writer { accounts, own, .. } = &mut *writer;
            shards.repair(Applying { accounts, own, seq: at.seq, source: Source::Logged }, plans)
        }
    };
    if let Err(what) = done {
        writer.lose(oplog::ApplyError::Inconsistent { seq: at.seq, what: what.clone() });
        return Err(RepairError::Broken { what });
    }
    image.parts.iter().for_each(|part| shards.recount(*part, secret));
    let Writer { accounts, own, .. } = &mut *writer;
    match is_whole {
        true => domain.on_replaced(accounts, own, at.seq),
        false => domain.on_applied(accounts, own, at.seq),
    }
    Ok(found)
}

fn replace<D: Domain>(
    domain: &D,
    writer: &mut WriterGuard<'_, D::Own>,
    mut accounts: Accounts,
    mut own: D::Own,
    plans: Vec<Plan<D>>,
) -> Result<(), String> {
    domain.shards().replace(plans)?;
    accounts.mode = Mode::Live;
    domain.build_implied(&mut accounts, &mut own).map_err(|error| error.to_string())?;
    writer.accounts = accounts;
    D::replace(&mut writer.own, own);
    Ok(())
}

fn check_is_last(whole: &ShardImage, last: u32, at: Position) -> Result<(), RepairError> {
    if whole.shard == last && whole.at == at {
        return Ok(());
    }
    let what = format!("shard {} of {} is not the last one, of {at}", whole.shard, whole.at);
    Err(RepairError::Inconsistent { what })
}

fn not_fit(error: InstallError) -> RepairError {
    match error {
        InstallError::Decode(error) => RepairError::Decode(error),
        other => RepairError::Inconsistent { what: other.to_string() },
    }
}

/// Keys that are hashed under another secret than those that are here would not be found.
fn check_secret(
    ours: &Accounts,
    theirs: Option<&Accounts>,
    image: &PartsImage,
    secret: Secret,
) -> Result<(), RepairError> {
    match theirs {
        Some(theirs) if theirs.secret == secret => Ok(()),
        Some(_) => {
            Err(RepairError::Inconsistent { what: "its parts are of another secret than its last shard".to_owned() })
        }
        None if ours.secret == secret => Ok(()),
        None => {
            let part = image.parts.first().copied().unwrap_or_default();
            Err(RepairError::NeedsWhole { part, why: "its keys are hashed under another secret" })
        }
    }
}
