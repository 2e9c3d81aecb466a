//! Parts of a state for another member, at one seq: some buckets, and the last shard where it is
//! asked for.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use oplog::{InstallError, Part, PartsImage, Secret};

use crate::domain::Domain;
use crate::errors::require;
use crate::image::{ImageReader, ImageWriter, inconsistent};
use crate::last;
use crate::shards::{LockedShard, Shards};
use crate::state::State;

/// How often parts are captured one by one, until none has changed before the last one was. After
/// that the writers wait.
const CAPTURE_ROUNDS: usize = 16;

/// Who is to see records.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    Members,
    /// Operators: neither the cluster's secret nor the last shard, which has it.
    Operators,
}

/// The records of one part, as they are for as long as its shard does not change.
struct PartRecords {
    changes: u64,
    bytes: Vec<u8>,
}

impl PartRecords {
    fn is_of<D: Domain>(&self, state: &State<D>, part: Part) -> bool {
        state.shards().lock(part.shard).changes() == self.changes
    }
}

impl<D: Domain> State<D> {
    /// To be looked at, and compared with others like them; no member can be repaired with them.
    pub fn capture_records(&self, parts: &[Part]) -> PartsImage {
        self.capture_for(For::Operators, parts)
    }

    fn capture_stale(&self, parts: &[Part], captured: &mut BTreeMap<Part, PartRecords>) {
        for part in parts {
            if !captured.get(part).is_some_and(|one| one.is_of(self, *part)) {
                let shard = (**self).shards().lock(part.shard);
                let mut image = ImageWriter::of_part();
                shard.capture_bucket(part.bucket, &mut image);
                captured.insert(*part, PartRecords { changes: shard.changes(), bytes: image.into_part() });
            }
        }
    }

    pub(crate) fn capture_for(&self, whom: For, parts: &[Part]) -> PartsImage {
        let last = self.last_shard();
        let parts: BTreeSet<Part> = parts.iter().copied().filter(|part| part.shard <= last).collect();
        let (whole, parts): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| part.shard == last);
        let asks_whole = whom == For::Members && !whole.is_empty();
        let mut captured = BTreeMap::new();
        // One part after the other, each under its own short lock; again what has changed meanwhile.
        let mut rounds_left = CAPTURE_ROUNDS;
        loop {
            self.capture_stale(&parts, &mut captured);
            let writer = self.ledger().write();
            // What changes a record has the writer lock.
            if rounds_left == 0 {
                self.capture_stale(&parts, &mut captured);
            }
            if rounds_left == 0 || captured.iter().all(|(part, one): (_, &PartRecords)| one.is_of(self, *part)) {
                let whole = asks_whole.then(|| last::capture::<D>(&writer, last));
                let digests = self.digests_of(&writer);
                let secret = (whom == For::Members).then_some(writer.accounts.secret);
                drop(writer);
                let bytes = join_parts(secret, captured.values().map(|one| &one.bytes));
                return PartsImage { digests, parts, bytes, whole };
            }
            rounds_left -= 1;
        }
    }
}

/// Of several buckets, which were captured one by one. Without the secret a member cannot be
/// repaired with them; they can be compared with others like them.
fn join_parts<'a>(secret: Option<Secret>, parts: impl Iterator<Item = &'a Vec<u8>>) -> Bytes {
    let mut image = ImageWriter::new();
    image.chunk(&secret.map(|secret| secret.0));
    parts.for_each(|records| image.part(records));
    image.finish()
}

/// The records of each part in turn.
type PartsRead<D> = Vec<Vec<<<D as Domain>::Shards as Shards<<D as Domain>::Own>>::Record>>;

/// The secret and the records, none of them believed, and neither are the parts: they must be here,
/// each once.
pub fn read_parts<D: Domain>(image: &PartsImage) -> Result<(Option<Secret>, PartsRead<D>), InstallError> {
    let is_rising = image.parts.is_sorted_by(|one, next| one < next);
    require(is_rising, || "the parts are not in rising order, each once".to_owned()).map_err(inconsistent)?;
    let mut reader = ImageReader::new(&image.bytes)?;
    let secret: Option<[u8; 16]> = reader.chunk()?;
    let secret = secret.map(Secret);
    let mut parts = Vec::with_capacity(image.parts.len());
    for part in &image.parts {
        let is_one = part.shard < D::Shards::COUNT && part.bucket < D::Shards::BUCKETS;
        require(is_one, || format!("there is no bucket {} of shard {}", part.bucket, part.shard))
            .map_err(inconsistent)?;
        parts.push(D::Shards::read(*part, secret, image.digests.at.seq, &mut reader)?);
    }
    reader.check_end()?;
    Ok((secret, parts))
}
