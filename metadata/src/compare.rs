//! What records differ in: those of one part as two members have them, and two images of the same
//! parts.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{TenantIx, read_parts};
use oplog::{InstallError, Mismatch, MismatchKind, Part, PartsImage, Secret};

use crate::object::Object;
use crate::state::Objects;

/// What two members' records of the same parts differ in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PartsDifference {
    pub records: Vec<Mismatch>,
    /// Of these nothing can be said: they have changed between the positions of the two images.
    pub undecided: usize,
}

type ByKey = BTreeMap<(Part, TenantIx, Box<[u8]>), Object>;

/// Compares two images of the same parts, whose positions may differ.
pub fn compare_parts(ours: &PartsImage, theirs: &PartsImage) -> Result<PartsDifference, InstallError> {
    let (mine, others) = (by_key(ours)?, by_key(theirs)?);
    let (ours_at, theirs_at) = (ours.digests.at.seq, theirs.digests.at.seq);
    let common = ours_at.min(theirs_at);
    let mut found = PartsDifference::default();
    let keys: BTreeSet<_> = mine.keys().chain(others.keys()).collect();
    for key in keys {
        let (one, other) = (mine.get(key), others.get(key));
        // Whoever stands further may have removed since what it lacks.
        let lacks_later = (one.is_none() && ours_at > common) || (other.is_none() && theirs_at > common);
        let is_later = |object: &Object| object.seq > common;
        let Some(mismatch) = mismatch(Secret::default(), key.0, one, other) else { continue };
        match lacks_later || one.is_some_and(is_later) || other.is_some_and(is_later) {
            true => found.undecided += 1,
            false => found.records.push(mismatch),
        }
    }
    Ok(found)
}

fn by_key(image: &PartsImage) -> Result<ByKey, InstallError> {
    let (_, parts) = read_parts::<Objects>(image)?;
    let parts = image.parts.iter().zip(parts);
    let keyed = parts.flat_map(|(part, objects)| {
        objects.into_iter().map(|object| ((*part, object.tenant, object.key.clone()), object))
    });
    Ok(keyed.collect())
}

/// One record of one part, as two members have it.
pub(crate) fn mismatch(secret: Secret, part: Part, ours: Option<&Object>, theirs: Option<&Object>) -> Option<Mismatch> {
    let (kind, one) = match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours.counted_digest(secret) == theirs.counted_digest(secret) => return None,
        (Some(ours), Some(_)) => (MismatchKind::Checksum, ours),
        (None, Some(theirs)) => (MismatchKind::KeyNotFound, theirs),
        (Some(ours), None) => (MismatchKind::ExtraKey, ours),
        (None, None) => return None,
    };
    let (ours, theirs) = (ours.map(Object::fields).unwrap_or_default(), theirs.map(Object::fields).unwrap_or_default());
    let names: BTreeSet<&'static str> = ours.keys().chain(theirs.keys()).copied().collect();
    let field = |name| (String::from(name), value(&ours, name), value(&theirs, name));
    let fields = names.into_iter().filter(|name| ours.get(name) != theirs.get(name)).map(field).collect();
    Some(Mismatch { part, kind, record: one.name(), fields })
}

fn value(fields: &BTreeMap<&'static str, String>, name: &str) -> String {
    fields.get(name).cloned().unwrap_or_else(|| "-".to_owned())
}
