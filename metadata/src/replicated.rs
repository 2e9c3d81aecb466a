//! This domain as the ledger sees it: [`ledger::Domain`], and its shards, which hold the objects.

use std::ops::Range;
use std::sync::Arc;

use ledger::{
    Accounts, Applied, Applying, CallRefused, Domain, Emptied, ImageReader, ImageWriter, Inconsistent, Keep, Ledger,
    LockedShard, Now, OpError, Settings, Shards, Step, Stepping, UnknownOp,
};
use oplog::{
    ClientId, Digest, DomainId, InstallError, Mismatch, Part, Position, RepairError, SampleRecord, Secret, ShardImage,
};

use crate::apply::Apply;
use crate::apply_op::check_answer;
use crate::config::Config;
use crate::image::{
    capture_bucket, capture_directory, capture_objects, imply_all, read_bucket, read_directory, read_objects,
};
use crate::object::Object;
use crate::op::OpType;
use crate::repair::{self, Plan};
use crate::shard::in_bucket;
use crate::state::{Objects, Own, ScanGuard};
use crate::steps::{KINDS, Stepped, expire};
use crate::types::{OBJECT_SHARDS, SHARD_BUCKETS};

fn known(op: u8) -> Result<OpType, Inconsistent> {
    OpType::from_number(op).ok_or_else(|| Inconsistent::Other(format!("there is no op {op}")))
}

impl Domain for Objects {
    const ID: DomainId = DomainId::METADATA;
    type Config = Config;
    type Own = Own;
    type Shards = Objects;
    type Steps = Stepped;
    const STEPS: &'static [Step<Objects>] = &KINDS;

    fn new(config: Config, applied: Position) -> Objects {
        Objects::empty(config, applied)
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn ledger(&self) -> &Ledger<Own> {
        &self.ledger
    }

    fn shards(&self) -> &Objects {
        self
    }

    fn secret(&self) -> Secret {
        self.view().secret()
    }

    fn answers(op: u8) -> Result<Option<Keep>, UnknownOp> {
        let op = OpType::from_number(op).ok_or(UnknownOp)?;
        Ok(op.is_of_request().then(|| op.keep()))
    }

    fn apply(&self, cx: Applying<'_, Own>, op: u8, payload: &[u8]) -> Result<u64, OpError> {
        Apply::of(self, cx).op(known(op)?, payload)
    }

    fn check_answer(op: u8, payload: &[u8]) -> Result<u64, OpError> {
        check_answer(known(op)?, payload)
    }

    fn on_client_expired(&self, cx: Applying<'_, Own>, client: ClientId) -> Applied {
        Apply::of(self, cx).client_expired(client)
    }

    fn expires(own: &Own, client: ClientId) -> bool {
        own.dir.owners.get(client).is_some_and(|owner| !owner.living.is_empty())
    }

    fn holds(own: &Own, client: ClientId) -> bool {
        !own.dir.owners.is_bare(client)
    }

    fn empty(step: &mut Stepping<'_, '_, Objects>, client: ClientId) -> Result<Emptied, CallRefused> {
        expire::empty(step, client)
    }

    fn on_client_gone(own: &mut Own, client: ClientId) {
        own.dir.owners.remove(client);
    }

    fn on_lead(&self, own: &mut Own, born: u64, now: Now) {
        (own.pressed, own.evict_to) = (false, None);
        let Settings { object_lease_ms, put_start_timeout_ms, .. } = self.config.settings;
        let promised_ms = object_lease_ms.max(put_start_timeout_ms);
        // Until work begins nothing shows whether the wait is over, so each primary until then waits
        // anew.
        if born > 1 && !own.dir.has_had_work {
            own.closed_until_ms = now.ttl_ms.saturating_add(promised_ms);
        }
    }

    fn on_applied(&self, accounts: &mut Accounts, own: &mut Own, seq: u64) {
        let dir = &mut own.dir;
        if std::mem::take(&mut dir.view_stale) | std::mem::take(&mut accounts.changed) {
            let chunks = std::mem::take(&mut dir.segments.changed_chunks);
            let names = std::mem::take(&mut accounts.tenants.changed_names);
            let view = self.view().next(accounts, dir, chunks, names, seq);
            *self.view.write() = Arc::new(view);
        }
    }

    fn on_replaced(&self, accounts: &mut Accounts, own: &mut Own, seq: u64) {
        self.renew_view(accounts, &mut own.dir, seq);
    }

    fn digest(own: &Own) -> Digest {
        own.dir.digest()
    }

    fn counted_digests(own: &Own) -> Vec<(&'static str, Digest)> {
        vec![("segments", own.dir.segments.counted_digest()), ("tasks", own.dir.tasks.counted_digest())]
    }

    fn implied_digest(own: &Own) -> Digest {
        own.dir.implied_digest()
    }

    fn capture(own: &Own, image: &mut ImageWriter) -> u64 {
        capture_directory(&own.dir, image)
    }

    fn install(&self, accounts: &mut Accounts, image: &mut ImageReader<'_>) -> Result<(Own, u64), InstallError> {
        let (dir, records) = read_directory(accounts, image)?;
        Ok((Own { dir, ..Own::new(&self.config) }, records))
    }

    fn replace(own: &mut Own, repaired: Own) {
        own.dir = repaired.dir;
    }

    fn build_implied(&self, accounts: &mut Accounts, own: &mut Own) -> Result<(), InstallError> {
        imply_all(&self.shards, accounts, &mut own.dir)
    }

    fn records(own: &Own) -> usize {
        own.dir.records()
    }

    fn check_sums(own: &Own) -> Result<(), String> {
        own.dir.check_sums()
    }

    fn check_next(own: &mut Own, next: u128) -> Result<Option<u128>, String> {
        own.dir.segments.check_next(next)
    }

    fn check(&self, accounts: &Accounts, own: &Own) -> Result<(), String> {
        crate::check::check(self, accounts, &own.dir)
    }
}

impl Shards<Own> for Objects {
    type Locked<'a> = ScanGuard<'a>;
    type Record = Object;
    type Plan = Plan;

    const COUNT: u32 = OBJECT_SHARDS as u32;
    const BUCKETS: u32 = SHARD_BUCKETS as u32;

    #[track_caller]
    fn lock(&self, shard: u32) -> ScanGuard<'_> {
        self.scan(shard as usize)
    }

    fn digest(&self, shard: u32) -> Digest {
        self.shards[shard as usize].lock().digest()
    }

    fn install(&self, image: &ShardImage, secret: Option<Secret>) -> Result<Option<Secret>, InstallError> {
        let (secret, filled) = read_objects(image, secret)?;
        *self.shards[image.shard as usize].lock() = filled;
        Ok(secret)
    }

    fn read(
        part: Part,
        secret: Option<Secret>,
        at_seq: u64,
        image: &mut ImageReader<'_>,
    ) -> Result<Vec<Object>, InstallError> {
        read_bucket(part, secret, at_seq, image)
    }

    fn plan(&self, part: Part, theirs: Vec<Object>, secret: Secret) -> Result<(Plan, Vec<Mismatch>), RepairError> {
        repair::plan(self, part, theirs, secret)
    }

    fn needs_whole(&self, plan: &Plan, secret: Secret) -> Option<&'static str> {
        plan.needs_whole(self, secret)
    }

    fn repair(&self, cx: Applying<'_, Own>, plans: Vec<Plan>) -> Result<(), String> {
        repair::carry_out(self, cx, plans)
    }

    fn replace(&self, plans: Vec<Plan>) -> Result<(), String> {
        repair::replace(self, plans)
    }

    fn recount(&self, part: Part, secret: Secret) {
        self.shards[part.shard as usize].lock().recount(part.bucket as usize, secret);
    }
}

impl LockedShard for ScanGuard<'_> {
    fn kept(&self) -> &[Digest] {
        self.buckets()
    }

    fn counted(&self, secret: Secret) -> Vec<Digest> {
        self.counted_buckets(secret).to_vec()
    }

    fn changes(&self) -> u64 {
        (**self).changes()
    }

    fn last_seq(&self) -> u64 {
        (**self).last_seq()
    }

    fn capture(&self, secret: Secret, image: &mut ImageWriter) -> u64 {
        capture_objects(self, secret, image)
    }

    fn capture_bucket(&self, bucket: u32, image: &mut ImageWriter) {
        capture_bucket(self, bucket, image);
    }

    fn hashes(&self, bucket: u32) -> Vec<u64> {
        in_bucket(self, bucket).map(|object| object.hash.0).collect()
    }

    fn samples(&self, bucket: u32, hash_first: u64, hash_last: u64) -> Vec<(SampleRecord, u64)> {
        let within = in_bucket(self, bucket).filter(|object| (hash_first..=hash_last).contains(&object.hash.0));
        let sample = |object: &Object| {
            let prefix_hash = oplog::prefix_hash(&object.key);
            let record = SampleRecord { hash: object.hash.0, prefix_hash, checksum: object.checksum_of_record() };
            (record, object.seq)
        };
        within.map(sample).collect()
    }

    fn slots(&self) -> usize {
        (**self).slots()
    }

    fn counted_in(&self, slots: Range<usize>, secret: Secret) -> Digest {
        slots.filter_map(|slot| self.slot(slot)).map(|object| object.counted_digest(secret)).sum()
    }
}
