//! A state as the engine sees it: [`oplog::ReplicatedState`].
//!
//! The shards of the domain come first, the last one is the ledger's, so that its image is never
//! older than that of any other.

use oplog::{ApplyError, Digest, Entry, Position, ReplicatedState, ShardImage};

use crate::domain::Domain;
use crate::image::ImageWriter;
use crate::last;
use crate::rebuild::Rebuilding;
use crate::shards::{LockedShard, Shards};
use crate::state::{State, digest_of};

impl<D: Domain> ReplicatedState for State<D> {
    type Rebuild = Rebuilding<D>;

    fn shards(&self) -> u32 {
        self.last_shard() + 1
    }

    fn applied(&self) -> Position {
        self.position()
    }

    fn apply(&self, entry: &Entry) -> Result<(), ApplyError> {
        let mut writer = self.ledger().write();
        assert!(!writer.is_primary(), "a primary applies nothing but its own ops (entry {})", entry.position());
        writer.apply_entry(&**self, entry)?;
        writer.tell(&**self);
        Ok(())
    }

    fn capture(&self, shard: u32) -> ShardImage {
        let writer = self.ledger().write();
        if shard == self.last_shard() {
            return last::capture::<D>(&writer, self.last_shard());
        }
        // What changes a record holds both locks, so with the shard's the writers are free to go on elsewhere.
        let locked = (**self).shards().lock(shard);
        let (at, secret) = (writer.applied(), writer.accounts.secret);
        drop(writer);
        let mut image = ImageWriter::new();
        let records = locked.capture(secret, &mut image);
        ShardImage { shard, at, records, digest: locked.digest(), bytes: image.finish() }
    }

    fn shard_digest(&self, shard: u32) -> (Position, Digest) {
        let writer = self.ledger().write();
        let digest = match shard < self.last_shard() {
            true => (**self).shards().digest(shard),
            false => last::digest::<D>(&writer.accounts, &writer.own),
        };
        (writer.applied(), digest)
    }

    fn digest(&self) -> (Position, Digest) {
        let writer = self.ledger().write();
        (writer.applied(), digest_of(&**self, &writer))
    }

    fn rebuild(&self) -> Rebuilding<D> {
        Rebuilding::new(State::new(self.config().clone(), Position::default()))
    }
}
