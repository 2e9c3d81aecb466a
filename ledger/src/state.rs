//! A domain with its ledger: the state of one member.

use std::ops::Deref;
use std::panic::Location;

use oplog::{Appender, Digest, Digests, DomainId, OP_DIGEST, Position};

use crate::call::{Answer, CallRefused, Now, Op};
use crate::domain::Domain;
use crate::errors::same;
use crate::last;
use crate::settings::InForce;
use crate::shards::Shards;
use crate::writer::Writer;

/// The state of one member. What its domain offers to callers is reached through it.
#[derive(Debug)]
pub struct State<D>(D);

impl<D> Deref for State<D> {
    type Target = D;
    fn deref(&self) -> &D {
        &self.0
    }
}

impl<D: Domain> State<D> {
    /// Empty, at `applied`; a standby until it leads.
    pub fn new(config: D::Config, applied: Position) -> State<D> {
        State(D::new(config, applied))
    }

    /// From now on this member writes, into `log`; the settings of the cluster first, where it has
    /// none. Costs the same however much there is. `born`: the epoch in which the cluster began with
    /// nothing.
    pub fn lead(&self, log: Appender, now: Now, born: u64) {
        let mut writer = self.ledger().write();
        self.0.on_lead(&mut writer.own, born, now);
        if let Some(own) = writer.lead(log, now) {
            // Without room in the log it is the first step of the upkeep.
            drop(writer.commit_settings(&self.0, own.change_to(own.settings), now));
        }
    }

    /// From now on this member only applies.
    pub fn follow(&self) -> Option<Appender> {
        self.ledger().write().follow()
    }

    pub fn position(&self) -> Position {
        self.ledger().write().applied()
    }

    /// Changes some settings of the cluster, by name. What they shorten stays owed to what was
    /// promised before. Where all of them have these values already, nothing is logged.
    pub fn set_settings(&self, changes: &[(&str, &str)], now: Now) -> Result<Answer<InForce>, CallRefused> {
        let mut writer = self.ledger().write();
        writer.check_primary()?;
        let before = writer.in_force();
        let settings = before.settings.with_all(changes)?;
        if settings != before.settings || writer.accounts.settings.get().is_none() {
            writer.commit_settings(&self.0, before.change_to(settings), now)?;
        }
        Ok(Answer { results: writer.in_force(), position: writer.applied() })
    }

    /// Longest time that a lock of this state was held so far. 0 without a clock.
    pub fn lock_held_ns_max(&self) -> u64 {
        self.ledger().times.longest_ns()
    }

    /// Where the lock was taken that was held longest.
    pub fn lock_held_at(&self) -> Option<&'static Location<'static>> {
        self.ledger().times.taken_at()
    }

    /// As the primary: logs the digests of the state as it stands, for every other member to
    /// compare with its own at the same seq.
    pub fn log_digests(&self, now: Now) -> Result<Digests, CallRefused> {
        let mut writer = self.ledger().write();
        let digests = self.digests_of(&writer);
        let op = Op { domain: DomainId::ENGINE, number: OP_DIGEST };
        let at = writer.append(&self.0, op, now, |payload| digests.encode(payload))?;
        Ok(Digests { at, ..digests })
    }

    /// For tests of all kinds: everything that can be derived twice is, and compared. Costs the
    /// whole state, under its locks; that hold is not one of the state's own, and is not counted as
    /// one.
    pub fn check(&self) -> Result<(), String> {
        let writer = self.ledger().unmeasured();
        let Writer { accounts, own, .. } = &*writer;
        accounts.check()?;
        same("digest of the domain", D::counted_digest(own), D::digest(own))?;
        self.0.check(accounts, own)
    }

    /// The position moves on; the state does not.
    #[cfg(feature = "faults")]
    pub fn skip_to(&self, at: Position) {
        self.ledger().unmeasured().stand_at(at);
    }

    pub(crate) fn last_shard(&self) -> u32 {
        D::Shards::COUNT
    }

    /// Of every shard and of what they imply. Every shard's lock is taken for a moment.
    pub(crate) fn digests_of(&self, writer: &Writer<D::Own>) -> Digests {
        let Writer { accounts, own, .. } = writer;
        let mut shards: Vec<Digest> = (0..self.last_shard()).map(|shard| self.0.shards().digest(shard)).collect();
        shards.push(last::digest::<D>(accounts, own));
        Digests { at: writer.applied(), shards, implied: last::implied_digest::<D>(accounts, own) }
    }
}

/// Of all shards.
pub fn digest_of<D: Domain>(domain: &D, writer: &Writer<D::Own>) -> Digest {
    let shards = domain.shards();
    let digest: Digest = (0..D::Shards::COUNT).map(|shard| shards.digest(shard)).sum();
    digest + last::digest::<D>(&writer.accounts, &writer.own)
}
