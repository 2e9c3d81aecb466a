//! Removal by pattern, or of all: shard by shard, in steps that others can slip between.
//!
//! How many there will be is not known beforehand. So each part of a numbered request says how many went so far, the
//! last one says that it is and is the answer, and only the newest part is kept. A retry of a request that was cut off
//! goes over the shards again and adds what is left; of two copies that run at the same time the one that is through
//! first answers for both.

use ledger::{
    Answer, AnswerRecord, Call, CallRefused, Fingerprint, Inconsistent, Known, NO_TENANT, RequestBody, TenantIx, Who,
    check_call, unreadable,
};
use oplog::DecodeError;

use crate::apply::Apply;
use crate::calls::Decide;
use crate::calls::pattern::{Going, Matching, Pace, Unhurried, caller_is_gone, pattern};
use crate::hash::KeyHash;
use crate::op::{OpType, RemoveManyOp, Removed, Retire};
use crate::state::{Objects, WriterGuard};
use crate::steps::STEP_OBJECTS_MAX;

/// An entry holds no more than this of keys.
const ENTRY_KEY_BYTES_MAX: usize = 256 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RemovedMany {
    pub removed: u64,
    /// Left, since leased, pinned or being written.
    pub refused: u64,
}

impl Objects {
    pub fn remove_matching(
        &self,
        call: &Call<'_>,
        regex: &str,
        force: bool,
    ) -> Result<Answer<RemovedMany>, CallRefused> {
        self.remove_matching_at(call, regex, force, &mut Unhurried)
    }

    /// As [`Objects::remove_matching`], for as long as `pace` lets it.
    pub fn remove_matching_at(
        &self,
        call: &Call<'_>,
        regex: &str,
        force: bool,
        pace: &mut dyn Pace,
    ) -> Result<Answer<RemovedMany>, CallRefused> {
        if regex.is_empty() {
            return Err(CallRefused::invalid("regex", "empty, a pattern is needed (RemoveAll removes everything)"));
        }
        let matcher = pattern("regex", regex)?;
        self.remove_many(call, regex, force, &mut Picks { matches: &|key| matcher.is_match(key), pace })
    }

    pub fn remove_all(&self, call: &Call<'_>, force: bool) -> Result<Answer<RemovedMany>, CallRefused> {
        self.remove_all_at(call, force, &mut Unhurried)
    }

    /// As [`Objects::remove_all`], for as long as `pace` lets it.
    pub fn remove_all_at(
        &self,
        call: &Call<'_>,
        force: bool,
        pace: &mut dyn Pace,
    ) -> Result<Answer<RemovedMany>, CallRefused> {
        self.remove_many(call, "", force, &mut Picks { matches: &|_| true, pace })
    }

    fn remove_many(
        &self,
        call: &Call<'_>,
        regex: &str,
        force: bool,
        picks: &mut Picks<'_>,
    ) -> Result<Answer<RemovedMany>, CallRefused> {
        check_call(call)?;
        let mut print = Fingerprint::new(self.view().secret(), OpType::RemoveMany.into(), call.tenant);
        print.text(regex.as_bytes());
        print.number(u64::from(force));
        // Its parts count nothing but whether it is through.
        let body = print.finish(1);
        let tenant = {
            let writer = self.write();
            if call.number != 0 {
                writer.check_client_bound(call)?;
            }
            writer.accounts.tenants.ix_of(call.tenant).unwrap_or(NO_TENANT)
        };
        let mut run = Run { call, body, tenant, force, sum: RemovedMany::default(), removed_before: 0 };
        // A part of it may have run before: then no error of this one says that nothing has.
        let known = self.look_up(&self.write(), &run)?;
        run.removed_before = match known {
            Ok(removed) => removed,
            Err(answer) => return Ok(answer),
        };
        self.go_over(&mut run, picks)
            .map_err(|refused| refused.after(run.removed_before.saturating_add(run.sum.removed)))
    }

    fn go_over(&self, run: &mut Run<'_>, picks: &mut Picks<'_>) -> Result<Answer<RemovedMany>, CallRefused> {
        for shard in 0..self.shards.len() {
            let mut keys = self.keys_of(shard, run.tenant);
            picks.pace.pause();
            // A pattern takes its time, so it runs without a lock.
            picks.pick(&mut keys)?;
            let mut rest = &keys[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(count_that_fits(rest));
                rest = later;
                if let Some(answer) = self.remove_part(run, now)? {
                    return Ok(answer);
                }
                picks.pace.pause();
            }
        }
        self.finish_many(run)
    }

    fn keys_of(&self, shard: usize, tenant: TenantIx) -> Vec<Box<[u8]>> {
        let mut keys = Vec::new();
        self.scan_in_pieces(shard, |shard, slots| {
            if slots.start == 0 {
                keys.clear();
            }
            let objects = slots.filter_map(|slot| shard.slot(slot)).filter(|object| object.tenant == tenant);
            keys.extend(objects.map(|object| object.key.clone()));
        });
        keys
    }

    /// What the request has removed so far, in all of its runs; or its answer, when one of them is through.
    fn look_up(
        &self,
        writer: &WriterGuard<'_>,
        run: &Run<'_>,
    ) -> Result<Result<u64, Answer<RemovedMany>>, CallRefused> {
        writer.check_primary()?;
        let Known::Begun(record) = writer.known(run.call, &run.body)? else {
            return Ok(Ok(if run.call.number == 0 { run.sum.removed } else { 0 }));
        };
        let last = last_part(record).map_err(|_| unreadable(run.call))?;
        if last.finished {
            let results = RemovedMany { removed: last.removed_so_far, refused: last.refused };
            return Ok(Err(Answer { results, position: writer.applied() }));
        }
        Ok(Ok(last.removed_so_far))
    }

    /// `Some`: another copy of the request is through.
    fn remove_part(&self, run: &mut Run<'_>, keys: &[Box<[u8]>]) -> Result<Option<Answer<RemovedMany>>, CallRefused> {
        let mut writer = self.write();
        let before = match self.look_up(&writer, run)? {
            Ok(before) => before,
            Err(answer) => return Ok(Some(answer)),
        };
        run.removed_before = before.saturating_sub(run.sum.removed);
        let (removed, refused) = self.decide_many(&mut writer, run, keys);
        run.sum.refused += refused;
        if removed.is_empty() {
            writer.hand_over();
            return Ok(None);
        }
        writer.make_answer_room(self, run.call)?;
        let stamp = writer.stamp(run.call, &run.body);
        // Its size is reserved as it is now, so it counts what may yet be left out.
        let so_far = before.saturating_add(removed.len() as u64);
        let op = run.op(removed, so_far);
        let op = writer.commit_items(OpType::RemoveMany, op, run.call.now, stamp, |op, apply| {
            run.sum.refused += apply_part(op, apply, run.force)?;
            op.removed_so_far = before.saturating_add(op.removed.len() as u64);
            Ok(())
        })?;
        run.sum.removed += op.removed.len() as u64;
        writer.accounts.clients.came_from(run.call.client, run.call.address);
        writer.hand_over();
        Ok(None)
    }

    /// The last part of a numbered request is its answer.
    fn finish_many(&self, run: &mut Run<'_>) -> Result<Answer<RemovedMany>, CallRefused> {
        let mut writer = self.write();
        let removed = match self.look_up(&writer, run)? {
            Ok(removed) => removed,
            Err(answer) => return Ok(answer),
        };
        run.removed_before = removed.saturating_sub(run.sum.removed);
        writer.make_answer_room(self, run.call)?;
        let results = RemovedMany { removed, refused: run.sum.refused };
        if let Some(stamp) = writer.stamp(run.call, &run.body) {
            let op = RemoveManyOp { refused: results.refused, finished: true, ..run.op(Vec::new(), removed) };
            writer.commit_stamped(OpType::RemoveMany, &op, run.call.now, Some(stamp), 1)?;
            writer.accounts.clients.came_from(run.call.client, run.call.address);
        }
        Ok(Answer { results, position: writer.applied() })
    }

    fn decide_many<'a>(
        &self,
        writer: &mut WriterGuard<'_>,
        run: &Run<'_>,
        keys: &'a [Box<[u8]>],
    ) -> (Vec<Removed<'a>>, u64) {
        let secret = writer.accounts.secret;
        let who = Who { client: run.call.client, tenant: run.tenant };
        let decide = Decide::of(self, writer.deciding(who, run.call));
        let mut removed = Vec::with_capacity(keys.len());
        let mut refused = 0;
        for key in keys {
            let hash = KeyHash::of(secret, run.tenant, key);
            let shard = self.shards[hash.shard()].lock();
            let Some(object) = shard.find(hash, run.tenant, key) else { continue };
            match decide.may_remove(object, run.force) {
                Ok(retire) => removed.push(Removed { key, retire }),
                Err(_) => refused += 1,
            }
        }
        (removed, refused)
    }
}

/// Which keys go.
struct Picks<'a> {
    matches: &'a dyn Fn(&[u8]) -> bool,
    pace: &'a mut dyn Pace,
}

impl Picks<'_> {
    fn pick(&mut self, keys: &mut Vec<Box<[u8]>>) -> Result<(), CallRefused> {
        let mut matching = Matching::begin(self.pace);
        let mut going = Going::On;
        keys.retain(|key| {
            if going == Going::On {
                going = matching.next(key);
            }
            going == Going::On && (self.matches)(key)
        });
        match if going == Going::On { matching.end() } else { going } {
            Going::On => Ok(()),
            Going::TimeIsUp => Err(CallRefused::Slow),
            Going::CallerIsGone => Err(caller_is_gone()),
        }
    }
}

/// One run of a request: of its first copy, or of a retry.
struct Run<'a> {
    call: &'a Call<'a>,
    body: RequestBody,
    tenant: TenantIx,
    force: bool,
    /// By this run alone.
    sum: RemovedMany,
    /// By others of the same request, as was last known.
    removed_before: u64,
}

impl Run<'_> {
    fn op<'k>(&self, removed: Vec<Removed<'k>>, removed_so_far: u64) -> RemoveManyOp<'k> {
        let (client, tenant) = (self.call.client.0, self.tenant);
        RemoveManyOp { client, tenant, removed, removed_so_far, refused: 0, finished: false }
    }
}

fn count_that_fits(keys: &[Box<[u8]>]) -> usize {
    let mut bytes = 0;
    let sizes = keys.iter().take(STEP_OBJECTS_MAX).map(|key| key.len());
    let fit = sizes.take_while(|size| {
        bytes += size;
        bytes <= ENTRY_KEY_BYTES_MAX
    });
    fit.count()
}

/// Leaves out what was promised to a reader since it was decided about, or, by force, lets its space wait. Tells how
/// many were left out.
fn apply_part(op: &mut RemoveManyOp<'_>, apply: &mut Apply<'_>, force: bool) -> Result<u64, Inconsistent> {
    let mut left_out = 0;
    let mut failed = Ok(());
    let tenant = op.tenant;
    op.removed.retain_mut(|item| {
        let mut done = apply.remove(tenant, item);
        if matches!(done, Err(Inconsistent::DecideAnew)) {
            if !force {
                left_out += 1;
                return false;
            }
            item.retire = Retire::AfterLease;
            done = apply.remove(tenant, item);
        }
        failed = std::mem::replace(&mut failed, Ok(())).and(done);
        true
    });
    failed.map(|()| left_out)
}

/// The one that is kept: each part says what came before it.
fn last_part(record: &AnswerRecord) -> Result<RemoveManyOp<'_>, DecodeError> {
    let (_, payload) = record.parts.last().expect("a record has the part that made it");
    oplog::decode_payload(payload)
}
