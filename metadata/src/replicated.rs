//! This state as the engine sees it: [`oplog::ReplicatedState`]. Shards 0 to 1023 hold the objects, the last one holds
//! the directory, so that its image is never older than any object's.

use std::sync::Arc;

use ledger::{Accounts, Applied, Applying, Domain, Inconsistent, Keep, OpError, UnknownOp};
use oplog::{ApplyError, ClientId, Digest, DomainId, Entry, Position, ReplicatedState, ShardImage};

use crate::apply::Apply;
use crate::image::{DIRECTORY_SHARD, MetadataRebuild, directory_image, object_image};
use crate::op::OpType;
use crate::state::{Metadata, Own, directory_digest};
use crate::types::OBJECT_SHARDS;

impl ReplicatedState for Metadata {
    type Rebuild = MetadataRebuild;

    fn shards(&self) -> u32 {
        OBJECT_SHARDS as u32 + 1
    }

    fn applied(&self) -> Position {
        self.position()
    }

    fn apply(&self, entry: &Entry) -> Result<(), ApplyError> {
        let mut writer = self.write();
        assert!(!writer.is_primary(), "a primary applies nothing but its own ops (entry {})", entry.position());
        writer.apply_entry(self, entry)?;
        writer.refresh_view();
        Ok(())
    }

    fn capture(&self, shard: u32) -> ShardImage {
        let writer = self.write();
        if shard == DIRECTORY_SHARD {
            return directory_image(&writer);
        }
        // Whoever changes an object holds both locks, so with the shard's the writers are free to go on elsewhere.
        let objects = self.scan(shard as usize);
        let (at, secret) = (writer.applied(), writer.accounts.secret);
        drop(writer);
        object_image(&objects, shard, at, secret)
    }

    fn shard_digest(&self, shard: u32) -> (Position, Digest) {
        let writer = self.write();
        if shard == DIRECTORY_SHARD {
            return (writer.applied(), directory_digest(&writer));
        }
        (writer.applied(), self.shards[shard as usize].lock().digest())
    }

    fn digest(&self) -> (Position, Digest) {
        let writer = self.write();
        (writer.applied(), self.digest_of(&writer))
    }

    fn rebuild(&self) -> MetadataRebuild {
        MetadataRebuild::new(self.config.clone())
    }
}

impl Domain for Metadata {
    const ID: DomainId = DomainId::METADATA;
    type Own = Own;

    fn answers(op: u8) -> Result<Option<Keep>, UnknownOp> {
        let op = OpType::from_number(op).ok_or(UnknownOp)?;
        Ok(op.is_of_request().then(|| op.keep()))
    }

    fn apply(&self, cx: Applying<'_, Own>, op: u8, payload: &[u8]) -> Result<u64, OpError> {
        let known = OpType::from_number(op).ok_or_else(|| Inconsistent::Other(format!("there is no op {op}")))?;
        Apply::of(self, cx).op(known, payload)
    }

    fn on_client_expired(&self, cx: Applying<'_, Own>, client: ClientId) -> Applied {
        Apply::of(self, cx).client_expired(client)
    }

    fn holds(own: &Own, client: ClientId) -> bool {
        !own.dir.owners.is_bare(client)
    }

    fn on_client_gone(own: &mut Own, client: ClientId) {
        own.dir.owners.remove(client);
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
}
