//! A repair: what differs from another member's image, at the same seq, is replaced by what the image says.
//!
//! ```text
//!   buckets alone:   what differs is taken out, with its space; then what the image has comes in
//!   the directory:   it is replaced whole; what the objects imply is built anew, from all of them
//! ```
//!
//! Where a record takes other space than it should, or has changed without an entry and does not say any more which it took, what
//! is implied cannot be trusted: then the image must bring the directory too.
//!
//! Invariants: nothing changes before all of the image has been understood; all that is wrong is
//! out before anything comes in, since it may stand in the place, or hold the space, of what is
//! right; afterwards each repaired bucket keeps the digest that its records have. What breaks off
//! in the middle leaves a state that takes nothing more.
//!
//! Deliberately absent: whether the image is right. Whoever asks for a repair has made sure that its giver is sound.

use std::collections::BTreeMap;

use ledger::{Accounts, Applying, Inconsistent, Source, TenantIx};
use oplog::{
    Digest, InstallError, Mismatch, MismatchKind, Part, PartsImage, Position, RepairError, Secret, ShardImage,
};

use crate::apply::{Apply, Misfit, no_object};
use crate::compare::mismatch;
use crate::directory::Directory;
use crate::image::{DIRECTORY_SHARD, check_digest, imply, read_directory, read_parts};
use crate::object::Object;
use crate::op::Retire;
use crate::shard::in_bucket;
use crate::state::{Metadata, Writer};

type Key = (TenantIx, Box<[u8]>);

/// What becomes of one bucket. Both lists are in the order of the keys, those that nobody else has last.
#[derive(Default)]
struct Plan {
    part: Part,
    /// Taken out, and then put in if the image has them.
    wrong: Vec<Object>,
    missing: Vec<Object>,
}

impl Plan {
    fn needs_directory(&self, state: &Metadata, secret: Secret) -> Option<&'static str> {
        if !is_sound(state, self.part, secret) {
            return Some("its records are not what is kept of them");
        }
        let same = self.wrong.len() == self.missing.len()
            && self.wrong.iter().zip(&self.missing).all(|(wrong, right)| wrong.footprint() == right.footprint());
        (!same).then_some("its records take other space than they should")
    }
}

pub(crate) fn repair(state: &Metadata, image: &PartsImage, records_max: usize) -> Result<Vec<Mismatch>, RepairError> {
    let mut writer = state.write();
    assert!(!writer.is_primary(), "a primary repairs nothing: what it holds is what others are compared with");
    let at = writer.applied();
    if at != image.digests.at {
        return Err(RepairError::Position { image: image.digests.at, state: at });
    }
    let (secret, parts) = read_parts(image).map_err(not_fit)?;
    let without = || RepairError::Inconsistent { what: "it says nothing of the secret of its keys".to_owned() };
    let secret = secret.ok_or_else(without)?;
    let directory = match &image.whole {
        Some(whole) => {
            check_is_directory(whole, at)?;
            let (accounts, directory) = read_directory(whole).map_err(not_fit)?;
            check_digest(whole, accounts.digest() + directory.digest()).map_err(not_fit)?;
            Some((accounts, directory))
        }
        None => None,
    };
    check_secret(&writer.accounts, directory.as_ref().map(|(accounts, _)| accounts), image, secret)?;
    let mut found = Vec::new();
    let mut plans = Vec::new();
    for (part, theirs) in image.parts.iter().zip(parts) {
        let (plan, mismatches) = compare(state, *part, theirs, secret)?;
        if directory.is_none()
            && let Some(why) = plan.needs_directory(state, secret)
        {
            return Err(RepairError::NeedsWhole { part: *part, why });
        }
        plans.push(plan);
        found.extend(mismatches);
    }
    if found.len() > records_max {
        return Err(RepairError::TooMany { found: found.len(), max: records_max });
    }
    let done = match directory {
        Some((accounts, directory)) => {
            found.extend(directory_mismatch((&writer.accounts, &writer.own.dir), (&accounts, &directory)));
            replace_directory(state, &mut writer, accounts, directory, plans)
        }
        None => replace_objects(state, &mut writer, plans),
    };
    if let Err(what) = done {
        writer.lose(oplog::ApplyError::Inconsistent { seq: at.seq, what: what.clone() });
        return Err(RepairError::Broken { what });
    }
    for part in &image.parts {
        state.shards[part.shard as usize].lock().recount(part.bucket as usize, secret);
    }
    match &image.whole {
        Some(_) => writer.renew_view(),
        None => writer.refresh_view(),
    }
    Ok(found)
}

fn check_is_directory(whole: &ShardImage, at: Position) -> Result<(), RepairError> {
    if whole.shard == DIRECTORY_SHARD && whole.at == at {
        return Ok(());
    }
    let what = format!("shard {} of {} is not the directory of {at}", whole.shard, whole.at);
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
            Err(RepairError::Inconsistent { what: "its parts are of another secret than its directory".to_owned() })
        }
        None if ours.secret == secret => Ok(()),
        None => {
            let part = image.parts.first().copied().unwrap_or_default();
            Err(RepairError::NeedsWhole { part, why: "its keys are hashed under another secret" })
        }
    }
}

fn is_sound(state: &Metadata, part: Part, secret: Secret) -> bool {
    let shard = state.scan(part.shard as usize);
    let counted: Digest = in_bucket(&shard, part.bucket).map(|object| object.counted_digest(secret)).sum();
    shard.buckets()[part.bucket as usize] == counted
}

fn compare(
    state: &Metadata,
    part: Part,
    theirs: Vec<Object>,
    secret: Secret,
) -> Result<(Plan, Vec<Mismatch>), RepairError> {
    let mut theirs_by_key: BTreeMap<Key, Object> = BTreeMap::new();
    for object in theirs {
        let key = (object.tenant, object.key.clone());
        if theirs_by_key.insert(key, object).is_some() {
            return Err(RepairError::Inconsistent {
                what: format!("bucket {} of shard {} holds a key twice", part.bucket, part.shard),
            });
        }
    }
    let (mut found, mut wrong, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    let shard = state.scan(part.shard as usize);
    // A key that has changed may be another one's now: the hash tells whose place the record has.
    let mut mine: BTreeMap<(Key, u64), &Object> = BTreeMap::new();
    for object in in_bucket(&shard, part.bucket) {
        mine.insert(((object.tenant, object.key.clone()), object.hash.0), object);
    }
    for ((key, _), ours) in &mine {
        let theirs = theirs_by_key.remove(key);
        let Some(mismatch) = mismatch(secret, part, Some(ours), theirs.as_ref()) else { continue };
        found.push(mismatch);
        wrong.push(ours.copied());
        missing.extend(theirs);
    }
    for theirs in theirs_by_key.into_values() {
        found.extend(mismatch(secret, part, None, Some(&theirs)));
        missing.push(theirs);
    }
    Ok((Plan { part, wrong, missing }, found))
}

fn replace_objects(state: &Metadata, writer: &mut Writer, plans: Vec<Plan>) -> Result<(), String> {
    let seq = writer.applied().seq;
    for plan in &plans {
        for wrong in &plan.wrong {
            take_out(state, writer, seq, wrong).map_err(|error| error.to_string())?;
        }
    }
    // All that was wrong is out: its space may be what the right ones need.
    let places = plans.iter().flat_map(|plan| &plan.missing).flat_map(Object::places).collect();
    for mut object in plans.into_iter().flat_map(|plan| plan.missing) {
        imply(&mut writer.accounts, &mut writer.own.dir, &mut object).map_err(|error| error.to_string())?;
        state.shards[object.hash.shard()].lock().insert(object);
    }
    writer.own.dir.segments.take_all(places).map_err(|error| error.to_string())
}

fn take_out(state: &Metadata, writer: &mut Writer, seq: u64, wrong: &Object) -> Result<(), Inconsistent> {
    let Writer { accounts, own, .. } = writer;
    let mut apply = Apply::of(state, Applying { accounts, own, seq, source: Source::Logged });
    let done = apply.edit(wrong.hash, wrong.tenant, &wrong.key, "repair", |object, after| {
        let (put, owner, size) = (object.put, object.owner, object.size);
        if !put.is_none() {
            after.ended.push((owner, put));
        }
        after.lose(std::mem::take(&mut object.replicas), size, Retire::Now);
        if let Some(new) = object.take_replacement() {
            after.ended.push((new.owner, new.put));
            after.lose(new.replicas, new.size, Retire::Now);
        }
        if let Some(transfer) = object.take_transfer() {
            after.ended.push((transfer.owner, transfer.id));
            after.lose(transfer.targets, size, Retire::Now);
        }
        Ok::<(), Misfit>(())
    })?;
    if done { Ok(()) } else { Err(no_object("repair", wrong.tenant, &wrong.key)) }
}

fn replace_directory(
    state: &Metadata,
    writer: &mut Writer,
    mut accounts: Accounts,
    mut directory: Directory,
    plans: Vec<Plan>,
) -> Result<(), String> {
    for plan in &plans {
        let taken = state.shards[plan.part.shard as usize].lock().take_out(&plan.wrong);
        if taken != plan.wrong.len() {
            let (wrong, Part { shard, bucket }) = (plan.wrong.len(), plan.part);
            return Err(format!(
                "{wrong} records of bucket {bucket} of shard {shard} are wrong, {taken} were found again"
            ));
        }
    }
    for object in plans.into_iter().flat_map(|plan| plan.missing) {
        state.shards[object.hash.shard()].lock().insert(object);
    }
    state.build_implied(&mut accounts, &mut directory).map_err(|error| error.to_string())?;
    (writer.accounts, writer.own.dir) = (accounts, directory);
    Ok(())
}

/// Its records hang together, so what is told is where they differ, not each of them.
fn directory_mismatch(ours: (&Accounts, &Directory), theirs: (&Accounts, &Directory)) -> Vec<Mismatch> {
    let sums = |(accounts, dir): (&Accounts, &Directory)| {
        [
            ("settings", accounts.settings.counted_digest()),
            ("tenants", accounts.tenants.counted_digest()),
            ("segments", dir.segments.counted_digest()),
            ("clients and their answers", accounts.clients.counted_digest()),
            ("tasks", dir.tasks.counted_digest()),
        ]
    };
    let part = Part { shard: DIRECTORY_SHARD, bucket: 0 };
    let differ = sums(ours).into_iter().zip(sums(theirs)).filter(|(ours, theirs)| ours != theirs);
    let tell = |((name, ours), (_, theirs)): ((&str, Digest), (&str, Digest))| Mismatch {
        part,
        kind: MismatchKind::Checksum,
        record: format!("directory: {name}"),
        fields: vec![("digest".to_owned(), ours.to_string(), theirs.to_string())],
    };
    differ.map(tell).collect()
}
