//! What a domain has in shards of its own, as images, verification and repair see it. They come
//! before the last shard, which is the ledger's.
//!
//! Each shard has a lock of its own, which readers and captures take. What changes one holds the
//! writer lock too, so an entry is either in all shards or in none of them.
//!
//! A small domain has no shards: then all that it has stands in the last one.

use std::ops::Range;

use oplog::{Digest, InstallError, Mismatch, Part, RepairError, SampleRecord, Secret, ShardImage};

use crate::accounts::Applying;
use crate::image::{ImageReader, ImageWriter};

/// The shards of a domain, numbered from 0.
///
/// Invariant: a record is in one bucket of one shard, which its hash says.
pub trait Shards<O> {
    /// A shard while its lock is held.
    type Locked<'a>: LockedShard
    where
        Self: 'a;
    /// As an image has it.
    type Record;
    /// What a repair makes of one part.
    type Plan;

    const COUNT: u32;
    /// Of each shard: those parts that are compared and repaired together.
    const BUCKETS: u32;

    #[track_caller]
    fn lock(&self, shard: u32) -> Self::Locked<'_>;

    /// As kept. The writer lock is held while that of all shards is asked for.
    fn digest(&self, shard: u32) -> Digest;

    /// Fills a shard that is empty from its image, none of which is believed. `secret`: of the
    /// shards before it. Tells under which secret its keys are hashed, where it has any; a refusal
    /// has changed nothing.
    fn install(&self, image: &ShardImage, secret: Option<Secret>) -> Result<Option<Secret>, InstallError>;

    /// The records of one part of an image of `at_seq`, none of them believed. Without a secret they
    /// are compared, and never installed.
    fn read(
        part: Part,
        secret: Option<Secret>,
        at_seq: u64,
        image: &mut ImageReader<'_>,
    ) -> Result<Vec<Self::Record>, InstallError>;

    /// What of a part differs, and what a repair is to do about it. Changes nothing.
    fn plan(
        &self,
        part: Part,
        theirs: Vec<Self::Record>,
        secret: Secret,
    ) -> Result<(Self::Plan, Vec<Mismatch>), RepairError>;

    /// Why a plan cannot be carried out unless the last shard is replaced with it.
    fn needs_whole(&self, plan: &Self::Plan, secret: Secret) -> Option<&'static str>;

    /// Carries all plans out, with what the records imply. What breaks off in the middle is told.
    fn repair(&self, cx: Applying<'_, O>, plans: Vec<Self::Plan>) -> Result<(), String>;

    /// Carries all plans out; what the records imply is built anew after it.
    fn replace(&self, plans: Vec<Self::Plan>) -> Result<(), String>;

    /// From now on the digest of the part is that of its records.
    fn recount(&self, part: Part, secret: Secret);
}

/// A shard that stays as it is for as long as this is held.
pub trait LockedShard {
    /// As kept, of each bucket.
    fn kept(&self) -> &[Digest];

    /// From the records themselves.
    fn counted(&self, secret: Secret) -> Vec<Digest>;

    /// Grows with every change of a record.
    fn changes(&self) -> u64;

    /// Of the last change, also of a record that is gone since.
    fn last_seq(&self) -> u64;

    /// All records; tells how many. Behind the secret under which their keys are hashed, since the
    /// last shard, which has it too, comes later.
    fn capture(&self, secret: Secret, image: &mut ImageWriter) -> u64;

    /// The records of one bucket, as [`Shards::read`] takes them.
    fn capture_bucket(&self, bucket: u32, image: &mut ImageWriter);

    fn hashes(&self, bucket: u32) -> Vec<u64>;

    /// Of the records whose hashes are within these, both included, each with the seq of its last
    /// change.
    fn samples(&self, bucket: u32, hash_first: u64, hash_last: u64) -> Vec<(SampleRecord, u64)>;

    /// Places of records, for a look at some of them at a time. A record keeps its place until
    /// something changes.
    fn slots(&self) -> usize;

    /// Counted, of the records in these places.
    fn counted_in(&self, slots: Range<usize>, secret: Secret) -> Digest;

    fn digest(&self) -> Digest {
        self.kept().iter().copied().sum()
    }
}

/// Of a domain that has none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoShards;

/// There is no such shard.
#[derive(Clone, Copy, Debug)]
pub enum NoShard {}

impl<O> Shards<O> for NoShards {
    type Locked<'a> = NoShard;
    type Record = NoShard;
    type Plan = NoShard;

    const COUNT: u32 = 0;
    const BUCKETS: u32 = 0;

    fn lock(&self, shard: u32) -> NoShard {
        panic!("shard {shard} of none was asked for")
    }

    fn digest(&self, _: u32) -> Digest {
        Digest::default()
    }

    fn install(&self, image: &ShardImage, _: Option<Secret>) -> Result<Option<Secret>, InstallError> {
        Err(crate::image::inconsistent(format!("there is no shard {}", image.shard)))
    }

    fn read(part: Part, _: Option<Secret>, _: u64, _: &mut ImageReader<'_>) -> Result<Vec<NoShard>, InstallError> {
        Err(crate::image::inconsistent(format!("there is no shard {}", part.shard)))
    }

    fn plan(&self, part: Part, _: Vec<NoShard>, _: Secret) -> Result<(NoShard, Vec<Mismatch>), RepairError> {
        Err(RepairError::Inconsistent { what: format!("there is no shard {}", part.shard) })
    }

    fn needs_whole(&self, plan: &NoShard, _: Secret) -> Option<&'static str> {
        match *plan {}
    }

    fn repair(&self, _: Applying<'_, O>, _: Vec<NoShard>) -> Result<(), String> {
        Ok(())
    }

    fn replace(&self, _: Vec<NoShard>) -> Result<(), String> {
        Ok(())
    }

    fn recount(&self, _: Part, _: Secret) {}
}

impl LockedShard for NoShard {
    fn kept(&self) -> &[Digest] {
        match *self {}
    }

    fn counted(&self, _: Secret) -> Vec<Digest> {
        match *self {}
    }

    fn changes(&self) -> u64 {
        match *self {}
    }

    fn last_seq(&self) -> u64 {
        match *self {}
    }

    fn capture(&self, _: Secret, _: &mut ImageWriter) -> u64 {
        match *self {}
    }

    fn capture_bucket(&self, _: u32, _: &mut ImageWriter) {
        match *self {}
    }

    fn hashes(&self, _: u32) -> Vec<u64> {
        match *self {}
    }

    fn samples(&self, _: u32, _: u64, _: u64) -> Vec<(SampleRecord, u64)> {
        match *self {}
    }

    fn slots(&self) -> usize {
        match *self {}
    }

    fn counted_in(&self, _: Range<usize>, _: Secret) -> Digest {
        match *self {}
    }
}
