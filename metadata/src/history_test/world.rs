//! A primary, a follower and a model, through the same history. After each event all three agree, everything that the
//! primary holds twice is equal, and now and then the follower takes over or is replaced by one made from images.
//!
//! Deliberately absent: what is right (`model`, `expect`, `audit`), how things are compared (`compare`), and threads
//! (`threads`).

use std::sync::Arc;

use oplog::{Entry, Position, Rebuild, ReplicatedState, Tail, TailConfig};

use super::draw::{Event, draw};
use super::expect::same;
use super::model::Model;
use super::request::{From, Reply, Request, client, send};
use crate::*;

pub(super) type Checked = Result<(), String>;

/// Events between two comparisons of everything, which cost most of a history's time.
const COMPARE_EVERY: usize = 3;

/// Small bounds and short times, so that all of them are met.
pub(super) fn config(seed: u64) -> Config {
    Config {
        strategy: if seed.is_multiple_of(2) { Strategy::Random } else { Strategy::FreeRatioFirst },
        settings: Settings {
            client_ttl_ms: 9000,
            object_lease_ms: 2000,
            soft_pin_ttl_ms: 1500,
            put_start_timeout_ms: 3000,
            put_release_timeout_ms: 4000,
            task_timeout_ms: 3000,
            eviction_high_watermark: 0.7,
            eviction_ratio: 0.2,
            tombstones_max: 8,
        },
        answers_max: 6,
        answer_bytes_max: 2000,
        answer_bytes_total_max: 4000,
        objects_max: 20,
        tasks_max: 12,
        finished_tasks_max: 4,
        seed,
        ..Config::default()
    }
}

struct Sent {
    from: From,
    request: Request,
    reply: Reply,
}

/// A state in the making, and how far.
struct Making {
    rebuild: MetadataRebuild,
    next_shard: u32,
    oldest: Position,
}

pub(super) struct World {
    pub(super) state: Metadata,
    pub(super) follower: Metadata,
    tail: Arc<Tail>,
    /// Everything that was ever logged.
    pub(super) log: Vec<Entry>,
    pub(super) model: Model,
    sent: Vec<Sent>,
    numbers: [u64; super::draw::CLIENTS as usize],
    making: Option<Making>,
    trace: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let config = config(seed);
        let state = Metadata::new(config.clone(), Position::default());
        let (tail, appender) = Tail::new(TailConfig::default(), Position::default());
        let model = Model::new(config.clone(), 1000);
        let world = World {
            follower: Metadata::new(config, Position::default()),
            state,
            tail,
            log: Vec::new(),
            model,
            sent: Vec::new(),
            numbers: [0; super::draw::CLIENTS as usize],
            making: None,
            trace: Vec::new(),
        };
        world.state.lead(appender, world.now(), 1);
        world
    }

    fn now(&self) -> Now {
        Now { ttl_ms: self.model.now_ms, wall_ms: self.model.now_ms }
    }

    /// One event of the history, with everything checked after it. The error tells what led there.
    pub(super) fn happen(&mut self, number: u64) -> Checked {
        let event = draw(number, &self.model);
        self.trace.push(format!("{number}: {event:?}"));
        let whole = self.trace.len().is_multiple_of(COMPARE_EVERY);
        let happened = self.carry_out(event).and_then(|()| if whole { self.compare() } else { Ok(()) });
        happened.map_err(|why| self.explain(&why))
    }

    pub(super) fn explain(&self, why: &str) -> String {
        let from = self.trace.len().saturating_sub(30);
        format!("{why}\nat {} ms, after:\n  {}", self.model.now_ms, self.trace[from..].join("\n  "))
    }

    pub(super) fn carry_out(&mut self, event: Event) -> Checked {
        match event {
            Event::Call(from, numbered, request) => self.call(from, numbered, request),
            Event::Retry(at) => self.retry(at),
            Event::Heartbeats(who) => who.into_iter().try_for_each(|who| self.heartbeat(who)),
            Event::Lookup { tenant, keys } => self.lookup(tenant, &keys),
            Event::Quota { tenant, bytes } => {
                self.model.tenants.insert(tenant.to_owned(), bytes);
                self.state.set_tenant_quota(tenant, bytes, self.now()).map(drop).map_err(|why| why.to_string())
            }
            Event::Settings(name, value) => self.change_settings(name, value),
            Event::Pass { ms } => {
                self.model.now_ms += ms;
                Ok(())
            }
            Event::Step => self.step().map(drop),
            Event::Rest => self.rest(),
            Event::Capture { shards } => self.capture(shards),
            Event::FailOver { by_images } => self.fail_over(by_images),
        }
    }

    fn change_settings(&mut self, name: &str, value: &str) -> Checked {
        let to = self.model.settings.with(name, value).map_err(|why| why.to_string())?;
        self.model.change_settings(to);
        let changed = self.state.set_settings(&[(name, value)], self.now()).map_err(|why| why.to_string())?;
        same("settings", (self.model.settings, *self.model.kept()), (changed.results.settings, *changed.results.kept()))
    }

    fn call(&mut self, mut from: From, numbered: bool, request: Request) -> Checked {
        if numbered {
            let last = &mut self.numbers[usize::from(from.client)];
            *last += 1;
            (from.number, from.answered_below) = (*last, last.saturating_sub(3 * from.answered_below));
        }
        let (reply, position) = match send(&self.state, &request, &from.call(self.model.now_ms)) {
            // Answers that it waits for take all the room there is.
            Err(CallRefused::Overloaded { .. }) if numbered => return Ok(()),
            sent => sent.map_err(|why| format!("refused: {why}"))?,
        };
        same("position of an answer", self.state.position(), position)?;
        self.model.expect(from, &request, &reply)?;
        if numbered {
            self.sent.push(Sent { from, request, reply });
        }
        Ok(())
    }

    /// The same answer, or none any more; and in no case does it run again.
    fn retry(&mut self, at: usize) -> Checked {
        if self.sent.is_empty() {
            return Ok(());
        }
        let sent = &self.sent[at % self.sent.len()];
        let Sent { from, request, reply } = sent;
        let (call, before) = (from.call(self.model.now_ms), self.state.digest());
        let introduces = matches!(request, Request::Mount { remount: true, .. });
        let known = self.state.heartbeat(&call, "").map_err(|why| why.to_string())?.known;
        if self.model.clients.get(&client(from.client)).is_some_and(|client| !client.expired) {
            self.model.ensure(client(from.client));
        }
        let (id, number) = (client(from.client), from.number);
        match send(&self.state, request, &call) {
            Ok((again, _)) => {
                same("answer to a retry", self.still(reply), again)?;
                let gone_and_empty = introduces && !known;
                if gone_and_empty {
                    self.model.ensure(id);
                    self.model.clients.get_mut(&id).ok_or("it is gone")?.introduced = true;
                    return Ok(());
                }
            }
            Err(CallRefused::RequestExpired { kept_from, .. }) => {
                same("a number that is refused is below what is kept", true, number < kept_from)?;
            }
            Err(other) => return Err(format!("a retry is refused: {other}")),
        }
        same("digest after a retry", before, self.state.digest())?;
        let mut other = request.clone();
        match &mut other {
            Request::FetchTasks { limit } => *limit += 1,
            Request::RemoveMatching { force, .. } | Request::Remove { force, .. } => *force = !*force,
            Request::PutEnd { items, .. } => items.push(("other".to_owned(), ItemId::NONE, None)),
            _ => return Ok(()),
        }
        let refused = send(&self.state, &other, &call).err();
        let named = matches!(&refused, Some(CallRefused::RequestReused { .. } | CallRefused::RequestExpired { .. }));
        same("another body is refused", true, named)?;
        same("digest after another body", before, self.state.digest())
    }

    /// Tasks that are forgotten since can't be told again.
    fn still(&self, reply: &Reply) -> Reply {
        match reply {
            Reply::Fetched(ids) => {
                Reply::Fetched(ids.iter().copied().filter(|id| self.model.tasks.contains_key(id)).collect())
            }
            other => other.clone(),
        }
    }

    fn heartbeat(&mut self, who: u8) -> Checked {
        let from = From { client: who, tenant: "", number: 0, answered_below: 0 };
        let heard = self.state.heartbeat(&from.call(self.model.now_ms), "even").map_err(|why| why.to_string())?;
        let id = client(who);
        let mut known = false;
        let alive = self.model.clients.get_mut(&id).filter(|client| !client.expired);
        if let Some(alive) = alive {
            alive.heard_ms = self.model.now_ms;
            known = alive.introduced;
        }
        same("known to a heartbeat", known, heard.known)?;
        let waiting = self.model.tasks.values().any(|task| task.assignee == id && task.state == TaskState::Waiting);
        same("tasks of a heartbeat", waiting, heard.tasks_waiting)
    }

    fn lookup(&mut self, tenant: &str, keys: &[String]) -> Checked {
        let mut told = Vec::new();
        let bytes = keys.iter().map(|key| key.as_bytes()).collect::<Vec<_>>();
        let found = self.state.lookup(tenant, bytes.iter().copied(), self.now(), |found| {
            told.push(found.map(|found| (found.size(), found.checksum(), found.places().collect::<Vec<_>>())));
        });
        let looked = found.map_err(|why| why.to_string())?;
        same("lease of a lookup", self.model.settings.object_lease_ms, looked.lease_ms)?;
        same("an answer that waits for what is to come", false, looked.wait_seq > self.state.position().seq)?;
        let until = self.model.now_ms + self.model.settings.object_lease_ms;
        for (key, told) in keys.iter().zip(told) {
            let name = (tenant.to_owned(), key.clone());
            let object = self.model.objects.get(&name);
            let object = object.map(|object| (object.size, object.checksum, self.model.readable(object)));
            let expected = object.filter(|(_, _, places)| !places.is_empty());
            same(&format!("lookup of {name:?}"), &expected, &told)?;
            if let Some(object) = self.model.objects.get_mut(&name).filter(|_| expected.is_some()) {
                object.lease_until_ms = object.lease_until_ms.max(until);
            }
        }
        Ok(())
    }

    /// One step; true: there is more to do.
    fn step(&mut self) -> Result<bool, String> {
        self.read_log()?;
        let known = self.log.len();
        let done = self.state.step(self.now()).map_err(|why| why.to_string())?;
        self.read_log()?;
        let writer = self.state.write();
        let tenants =
            writer.accounts.tenants.iter().map(|(ix, tenant)| (ix, tenant.name.as_ref().to_owned())).collect();
        drop(writer);
        for entry in &self.log[known..] {
            self.model.audit(entry, &tenants)?;
        }
        Ok(done.more)
    }

    pub(super) fn rest(&mut self) -> Checked {
        for _ in 0..1000 {
            if !self.step()? {
                return self.model.check_rest();
            }
        }
        Err("steps without end".to_owned())
    }

    /// The log since the last look, which the follower applies.
    pub(super) fn read_log(&mut self) -> Checked {
        let after = self.log.last().map_or(0, |entry| entry.seq);
        let frames = self.tail.entries_since(after, usize::MAX, usize::MAX).map_err(|why| why.to_string())?;
        for frame in frames {
            let entry = frame.decode().map_err(|why| why.to_string())?;
            self.follower.apply(&entry).map_err(|why| format!("the follower refuses {}: {why}", entry.position()))?;
            self.log.push(entry);
        }
        Ok(())
    }

    fn capture(&mut self, shards: u32) -> Checked {
        let making = self.making.get_or_insert_with(|| Making {
            rebuild: self.follower.rebuild(),
            next_shard: 0,
            oldest: self.state.applied(),
        });
        let end = self.state.shards().min(making.next_shard + shards);
        for shard in making.next_shard..end {
            making.rebuild.install(&self.state.capture(shard)).map_err(|why| why.to_string())?;
        }
        making.next_shard = end;
        if end < self.state.shards() {
            return Ok(());
        }
        // What comes after the last image is applied to the finished state, or to the one in the making.
        self.read_log()?;
        let Some(Making { mut rebuild, oldest, .. }) = self.making.take() else { return Ok(()) };
        for entry in self.log.iter().filter(|entry| entry.seq > oldest.seq) {
            rebuild.apply(entry).map_err(|why| format!("a rebuild refuses {}: {why}", entry.position()))?;
        }
        self.follower = rebuild.finish().map_err(|why| why.to_string())?;
        Ok(())
    }

    /// The primary is gone; the follower leads in the next epoch.
    fn fail_over(&mut self, by_images: bool) -> Checked {
        if by_images {
            self.capture(self.state.shards())?;
        }
        self.making = None;
        self.read_log()?;
        let last = self.follower.applied();
        let (tail, mut appender) = Tail::new(TailConfig::default(), last);
        appender.begin_epoch(last.epoch + 1);
        let next = Metadata::new(self.model.config.clone(), Position::default());
        self.log.iter().try_for_each(|entry| next.apply(entry)).map_err(|why| why.to_string())?;
        self.state = std::mem::replace(&mut self.follower, next);
        self.tail = tail;
        // Where nothing ever was, nobody holds anything.
        if last.seq > 1 {
            self.model.promote();
        }
        self.state.lead(appender, self.now(), 1);
        Ok(())
    }

    /// Everything goes, by request or by time; all space is back.
    pub(super) fn empty(&mut self) -> Checked {
        self.empty_all().map_err(|why| self.explain(&why))
    }

    fn empty_all(&mut self) -> Checked {
        let from = |tenant| From { client: 0, tenant, number: 0, answered_below: 0 };
        for tenant in ["", "blue", "red"] {
            self.call(from(tenant), false, Request::RemoveMatching { force: true, regex: "" })?;
        }
        self.compare()?;
        self.model.now_ms += self.model.kept().put_release_timeout_ms;
        self.rest()?;
        self.compare()?;
        let totals = self.state.totals();
        same(
            "what is left",
            (0, 0, 0, 0),
            (totals.objects, totals.unfinished, totals.memory_used_bytes, totals.retired_bytes),
        )?;
        self.model.now_ms += self.model.kept().client_ttl_ms;
        self.rest()?;
        let totals = self.state.totals();
        same("who is left", (0, 0), (totals.clients, totals.segments))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.explain("a panic"));
        }
    }
}
