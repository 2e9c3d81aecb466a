//! The work beside which the client calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use client::{Client, Force, Heartbeat, ListKeys, Options, PutOptions, PutStartItem, Segment, SegmentId, Transport};

use crate::load::{OBJECT_BYTES, connect, key, run_all};
use crate::members::{Members, both_in_sync, wait_for};
use crate::pair::Writer;
use crate::process::{Server, program};
use crate::server::put_many;

const BATCH: usize = 500;
const PATIENCE: Duration = Duration::from_secs(300);
const CROWD: usize = 64;
/// Calls in flight of each session in `Crowd`.
const CROWD_WIDTH: usize = 64;
const EVICTED_PER_S: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Work {
    Nothing,
    /// Memory is full, and 10,000 more objects come per second.
    Evict,
    RemoveMatching,
    RemoveAll,
    Unmount,
    /// The client that owns the space of all objects falls silent.
    Expire,
    /// Puts of a quarter of the objects that never end.
    Discard,
    /// List all keys, page by page, again and again.
    List,
    /// Scrub all records once in five seconds.
    Scrub,
    /// A full sync of a member that comes back with nothing.
    FullSync,
    /// `understudy verify --full`
    Verify,
    /// Other clients: 64 sessions that call as fast as possible.
    Crowd,
}

impl Work {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::Nothing => "nothing",
            Work::Evict => "eviction",
            Work::RemoveMatching => "remove matching",
            Work::RemoveAll => "remove all",
            Work::Unmount => "unmount",
            Work::Expire => "expiry of a client",
            Work::Discard => "discarded puts",
            Work::List => "list",
            Work::Scrub => "scrub",
            Work::FullSync => "full sync",
            Work::Verify => "verify",
            Work::Crowd => "64 busy sessions",
        }
    }

    pub(crate) fn needs_standby(self) -> bool {
        matches!(self, Work::FullSync | Work::Verify)
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Work::Expire => &["--client-ttl-ms", "3000"],
            Work::Discard => &["--put-start-timeout-ms", "5000"],
            Work::Scrub => &["--scrub-cycle-ms", "5000"],
            _ => &[],
        }
    }
}

pub(crate) struct Bench {
    work: Work,
    objects: usize,
    /// The client that does the work, or falls silent if that is the work.
    client: Client,
    segment: SegmentId,
    /// Only watches the server.
    observer: Client,
    primary: Server,
    standby: Option<Server>,
    members: Members,
}

impl Bench {
    pub(crate) async fn start(work: Work, objects: usize, count: usize, server: &[String]) -> Result<Bench> {
        let arguments: Vec<String> = work.arguments().iter().map(|a| (*a).to_owned()).chain(server.to_vec()).collect();
        let members = Members::new(&arguments)?;
        let primary = members.start("a")?;
        let observer = connect(&primary.address(), Transport::Unary).await?;
        wait_for(&observer, "a primary", |cluster| cluster.primary == "a").await?;
        let mut options = Options::new([primary.address()]);
        options.heartbeat = Heartbeat::Auto;
        options.deadline = PATIENCE;
        let client = Client::connect(options).await?;
        let segment = Segment::memory("work", 1 << 40, space(work, objects), "127.0.0.1:1");
        client.mount_segment(&segment).await?;
        let numbers: Vec<usize> = (0..objects).collect();
        let calls = numbers.chunks(BATCH).map(|chunk| {
            let keys = chunk.iter().map(|at| key("work", *at)).collect();
            put_many(&client, keys, PutOptions::default())
        });
        run_all(4, calls).await?;
        if work == Work::Discard {
            begin_puts(&client, objects / 4).await?;
        }
        // If the standby is the work, it comes later.
        let standby = (count == 2 && work != Work::FullSync).then(|| members.start("b")).transpose()?;
        if standby.is_some() {
            wait_for(&observer, "a standby in sync", both_in_sync).await?;
        }
        Ok(Bench { work, objects, client, segment: segment.id, observer, primary, standby, members })
    }

    pub(crate) fn address(&self) -> String {
        self.primary.address()
    }

    pub(crate) async fn lock_held_max(&self) -> Result<Duration> {
        Ok(self.observer.status().await?.lock_held_max)
    }

    /// Runs until it is done, or for this long if it has no end. Returns a remark.
    pub(crate) async fn work(&mut self, lasting: Duration) -> Result<String> {
        let few = self.objects as u64 / 20;
        match self.work {
            Work::Nothing | Work::Scrub => tokio::time::sleep(lasting).await,
            Work::Evict => {
                let writer = Writer::start(self.client.clone(), EVICTED_PER_S, "evicting").await;
                tokio::time::sleep(lasting).await;
                writer.stop().await?;
                ensure!(self.observer.status().await?.evicted_total > 0, "nothing was evicted");
            }
            Work::RemoveMatching => {
                let removed = self.client.remove_matching("^work", Force::No).await?;
                ensure!(removed.removed == self.objects as u64, "{removed:?}");
            }
            Work::RemoveAll => {
                let removed = self.client.remove_all(Force::No).await?;
                ensure!(removed.removed == self.objects as u64, "{removed:?}");
            }
            Work::Unmount => {
                self.client.unmount_segments(&[self.segment], Duration::ZERO).await?.all()?;
                self.until("the segment is empty", |objects, _| objects <= few).await?;
            }
            Work::Expire => {
                self.client = self.observer.clone();
                self.until("the client's objects are gone", |objects, _| objects <= few).await?;
            }
            Work::Discard => {
                self.until("all puts are discarded", |_, unfinished| unfinished < 100).await?;
            }
            Work::List => {
                let began = Instant::now();
                while began.elapsed() < lasting {
                    let mut list = ListKeys { limit: 10_000, ..ListKeys::default() };
                    loop {
                        let page = self.client.list_keys(list.clone()).await?;
                        let Some(next) = page.next_page_token.filter(|_| began.elapsed() < lasting) else { break };
                        list.page_token = next;
                    }
                }
            }
            Work::FullSync => {
                self.standby = Some(self.members.start("b")?);
                wait_for(&self.observer, "a standby in sync", both_in_sync).await?;
            }
            Work::Crowd => {
                let calls = self.crowd(lasting).await?;
                return Ok(format!("{:.0} calls/s of theirs", calls as f64 / lasting.as_secs_f64()));
            }
            Work::Verify => {
                let standby = self.standby.as_ref().context("a pair is needed")?;
                let addresses = format!("{},{}", self.primary.address(), standby.address());
                let mut command = tokio::process::Command::new(program()?);
                command.args(["verify", "--full", "--address", &addresses]).stdout(std::process::Stdio::null());
                let status = command.status().await.context("`understudy verify` can't be started")?;
                ensure!(status.success(), "`understudy verify` ended with {status}");
            }
        }
        Ok(String::new())
    }

    /// Returns how many calls were answered.
    async fn crowd(&self, lasting: Duration) -> Result<usize> {
        let until = Instant::now() + lasting;
        let mut sessions = Vec::new();
        for _ in 0..CROWD {
            sessions.push(connect(&self.primary.address(), Transport::Session).await?);
        }
        let (objects, taken) = (self.objects, &AtomicUsize::new(0));
        let busy = sessions.iter().enumerate().map(|(which, client)| {
            let calls = (0..).take_while(move |_| Instant::now() < until);
            run_all(
                CROWD_WIDTH,
                calls.map(move |nth| {
                    taken.fetch_add(1, Ordering::Relaxed);
                    push(client, which, nth, objects)
                }),
            )
        });
        futures_util::future::try_join_all(busy).await?;
        Ok(taken.load(Ordering::Relaxed))
    }

    /// `is_so` gets the number of objects, and of those that are unfinished.
    async fn until(&self, what: &str, is_so: impl Fn(u64, u64) -> bool) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let status = self.observer.status().await?;
            if is_so(status.objects, status.objects_unfinished) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("{what}: not after {PATIENCE:?}")
    }
}

/// One call of a busy session.
async fn push(client: &Client, which: usize, nth: usize, objects: usize) -> Result<()> {
    let own = |nth| key(&format!("crowd{which}"), nth);
    match nth % 4 {
        0 => put_many(client, vec![own(nth)], PutOptions::default()).await?,
        // An object that was put long before.
        1 if nth > 2 * CROWD_WIDTH => client.remove(&[own(nth - 1 - 2 * CROWD_WIDTH)], Force::No).await.map(drop)?,
        _ => client.exists_one(key("work", nth % objects)).await.map(drop)?,
    }
    Ok(())
}

async fn begin_puts(client: &Client, count: usize) -> Result<()> {
    let numbers: Vec<usize> = (0..count).collect();
    let calls = numbers.chunks(BATCH).map(async |chunk| {
        let items: Vec<_> = chunk.iter().map(|at| PutStartItem::new(key("begun", *at), OBJECT_BYTES)).collect();
        let started = client.put_start(&items, PutOptions::default()).await?;
        ensure!(started.results.iter().all(|put| put.is_ok()), "a put could not begin");
        Ok(())
    });
    run_all(4, calls).await
}

/// For evictions it is full from the start; otherwise there is room for everything.
fn space(work: Work, objects: usize) -> u64 {
    let bytes = objects as u64 * OBJECT_BYTES;
    if work == Work::Evict { bytes * 10 / 9 } else { bytes * 3 / 2 + (64 << 20) }
}
