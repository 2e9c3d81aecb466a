//! This state as the engine sees it: [`oplog::ReplicatedState`]. Shards 0 to 1023 hold the objects, the last one holds
//! the directory, so that its image is never older than any object's.

use oplog::{ApplyError, Digest, Entry, Position, ReplicatedState, Secret, ShardImage};

use crate::apply::{Apply, Source};
use crate::apply_op::op_type_of;
use crate::fit::check_next;
use crate::image::{DIRECTORY_SHARD, MetadataRebuild, directory_image, object_image};
use crate::state::{Metadata, Writer};
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
        assert!(writer.log.is_none(), "a primary applies nothing but its own ops (entry {})", entry.position());
        self.apply_next(&mut writer, entry)?;
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
        let (at, secret) = (writer.applied, writer.accounts.secret);
        drop(writer);
        object_image(&objects, shard, at, secret)
    }

    fn shard_digest(&self, shard: u32) -> (Position, Digest) {
        let writer = self.write();
        if shard == DIRECTORY_SHARD {
            return (writer.applied, writer.directory_digest());
        }
        (writer.applied, self.shards[shard as usize].lock().digest())
    }

    fn digest(&self) -> (Position, Digest) {
        let writer = self.write();
        (writer.applied, self.digest_of(&writer))
    }

    fn rebuild(&self) -> MetadataRebuild {
        MetadataRebuild::new(self.config.clone())
    }
}

impl Metadata {
    pub(crate) fn apply_next(&self, writer: &mut Writer, entry: &Entry) -> Result<(), ApplyError> {
        if let Some(lost) = &writer.lost {
            return Err(lost.clone());
        }
        check_next(writer.applied, entry)?;
        let live = writer.accounts.is_live();
        if let Some(op) = op_type_of(entry)? {
            let stamp = entry.request.as_ref().filter(|_| live);
            let source = Source::Logged;
            let mut apply = Apply {
                accounts: &mut writer.accounts,
                dir: &mut writer.dir,
                shards: &self.shards,
                seq: entry.seq,
                source,
            };
            let items = apply.stamped_op(op, &entry.payload, stamp).map_err(|error| {
                let error = error.at(entry.seq);
                if matches!(error, ApplyError::Inconsistent { .. }) {
                    writer.lost = Some(error.clone());
                }
                error
            })?;
            if let Some(stamp) = stamp {
                writer.accounts.clients.record(
                    stamp,
                    op.into(),
                    op.keep(),
                    entry.payload.clone(),
                    items,
                    (entry.seq, 0),
                );
            }
        } else if let Some(secret) = Secret::of_entry(entry)?.filter(|_| live) {
            writer.accounts.secret = secret;
            writer.dir.view_stale = true;
        }
        writer.applied = entry.position();
        Ok(())
    }
}
