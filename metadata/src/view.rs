//! What readers may know of the directory without its lock: segments, tenants and settings, as of
//! the last change.
//!
//! A view is made from the one before: what has not changed is shared. So a change of one segment
//! costs a chunk of them, and a pointer for each other chunk; a tenant that comes or goes costs a
//! bucket of names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ledger::history_of;
use ledger::{Accounts, DEFAULT_TENANT, InForce, NO_TENANT, TenantIx};
use oplog::Secret;

use crate::directory::Directory;
use crate::hash::KeyHash;
use crate::segments::{CHUNK, SegmentInfo, chunk_of};
use crate::types::SegmentIx;

/// Sorted by number.
type Chunk = Arc<[Arc<SegmentInfo>]>;

#[derive(Debug, Default)]
pub struct View {
    /// Sorted by number, none is empty.
    chunks: Vec<(u32, Chunk)>,
    tenants: Arc<Names>,
    /// They have been the same since.
    tenants_seq: u64,
    secret: Secret,
    /// Of the secret: each answer tells it.
    history: Option<u128>,
    in_force: Option<InForce>,
    /// What this shows was so at this seq.
    seq: u64,
}

impl View {
    /// The next one, where so much has changed since this one was made: chunks of segments, names
    /// of tenants.
    pub(crate) fn next(
        &self,
        accounts: &Accounts,
        dir: &Directory,
        changed: BTreeSet<u32>,
        names: Vec<Arc<str>>,
        seq: u64,
    ) -> View {
        let mut chunks = self.chunks.clone();
        for number in changed {
            let first = number * CHUNK;
            let segments = dir.segments.range(first..=first + (CHUNK - 1)).map(|segment| segment.info.clone());
            let chunk: Chunk = segments.collect();
            match (chunks.binary_search_by_key(&number, |(number, _)| *number), chunk.is_empty()) {
                (Ok(at), true) => drop(chunks.remove(at)),
                (Ok(at), false) => chunks[at].1 = chunk,
                (Err(_), true) => {}
                (Err(at), false) => chunks.insert(at, (number, chunk)),
            }
        }
        let (mut tenants, mut tenants_seq) = (Arc::clone(&self.tenants), self.tenants_seq);
        let mut names = names;
        if accounts.secret != self.secret {
            tenants = Arc::default();
            names = all_names(accounts);
        }
        for name in names {
            let ix = accounts.tenants.ix_of(&name);
            if tenants.get(accounts.secret, &name) != ix {
                Arc::make_mut(&mut tenants).set(accounts.secret, name, ix);
                tenants_seq = seq;
            }
        }
        let (secret, in_force) = (accounts.secret, accounts.settings.get());
        let history = match secret == self.secret {
            true => self.history,
            false => (secret != Secret::default()).then(|| history_of(secret)),
        };
        View { chunks, tenants, tenants_seq, secret, history, in_force, seq }
    }

    /// From nothing.
    pub(crate) fn of(accounts: &Accounts, dir: &Directory, seq: u64) -> View {
        let chunks = dir.segments.iter().map(|segment| chunk_of(segment.info.ix)).collect();
        View::default().next(accounts, dir, chunks, all_names(accounts), seq)
    }

    /// As if the tenants were the same for as long as in `other`: what they are does not tell.
    pub(crate) fn since(self, other: &View) -> View {
        View { tenants_seq: other.tenants_seq, ..self }
    }

    pub(crate) fn secret(&self) -> Secret {
        self.secret
    }

    /// Names the log that this comes from, from its first entry on. `None`: it has none yet.
    pub fn history(&self) -> Option<u128> {
        self.history
    }

    pub(crate) fn in_force(&self) -> Option<InForce> {
        self.in_force
    }

    /// Whoever tells what a segment's state hides must wait for this.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// Whoever tells that a tenant holds no such object must wait for this: the name may have been
    /// another tenant's before.
    pub(crate) fn tenants_seq(&self) -> u64 {
        self.tenants_seq
    }

    pub fn segment(&self, ix: SegmentIx) -> Option<&Arc<SegmentInfo>> {
        let chunk = self.chunks.binary_search_by_key(&chunk_of(ix), |(number, _)| *number).ok()?;
        let chunk = &self.chunks[chunk].1;
        chunk.binary_search_by_key(&ix, |info| info.ix).ok().map(|at| &chunk[at])
    }

    pub(crate) fn tenant(&self, name: &str) -> Option<TenantIx> {
        if name.is_empty() { Some(DEFAULT_TENANT) } else { self.tenants.get(self.secret, name) }
    }
}

fn all_names(accounts: &Accounts) -> Vec<Arc<str>> {
    accounts.tenants.iter().map(|(_, tenant)| Arc::clone(&tenant.name)).collect()
}

/// Buckets of names.
const BUCKETS: usize = 64;

/// The names of the tenants, in buckets: a change copies one of them, and the pointers to the
/// others. A bucket is chosen under the cluster's secret, since clients choose the names.
#[derive(Clone, Debug)]
struct Names(Vec<Arc<BTreeMap<Arc<str>, TenantIx>>>);

impl Default for Names {
    fn default() -> Names {
        Names(vec![Arc::default(); BUCKETS])
    }
}

impl Names {
    fn bucket(secret: Secret, name: &str) -> usize {
        KeyHash::of(secret, NO_TENANT, name.as_bytes()).shard() % BUCKETS
    }

    fn get(&self, secret: Secret, name: &str) -> Option<TenantIx> {
        self.0[Names::bucket(secret, name)].get(name).copied()
    }

    fn set(&mut self, secret: Secret, name: Arc<str>, ix: Option<TenantIx>) {
        let bucket = Arc::make_mut(&mut self.0[Names::bucket(secret, &name)]);
        match ix {
            Some(ix) => drop(bucket.insert(name, ix)),
            None => drop(bucket.remove(&name)),
        }
    }
}
