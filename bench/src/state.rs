//! What the state itself costs, called directly.

use anyhow::{Result, bail};
use metadata::{
    Call, Config, Metadata, Now, Outcome, Placement, PutEndItem, PutStart, PutStartItem, Scope, SegmentId, SegmentKind,
    SegmentSpec, Settings,
};
use oplog::{ClientId, Position, Tail, TailConfig};
use rustix::time::{ClockId, clock_gettime};

use crate::load::shuffled;
use crate::measure::{Process, report};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[arg(long, default_value_t = 1_000_000)]
    objects: usize,
    #[arg(long, default_value_t = 500)]
    batch: usize,
    /// Bytes that the log's tail may take.
    #[arg(long, default_value_t = 16 << 20)]
    tail_bytes: usize,
    /// Rounds of removing everything and putting it again, in memory that is warm.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
}

struct Bench {
    state: Metadata,
    number: u64,
    keys: Vec<[u8; 40]>,
    batch: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let config = TailConfig { bytes_max: args.tail_bytes, ..TailConfig::default() };
    let (_tail, appender) = Tail::new(config, Position { epoch: 1, seq: 0 });
    // As the server does.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    // The bench is its only client, and never silent in its own time.
    let config = Config {
        settings: Settings { client_ttl_ms: 3_600_000, ..Settings::default() },
        lock_clock_ns: thread_cpu_ns,
        ..Config::default()
    };
    let state = Metadata::new(config, Position { epoch: 1, seq: 0 });
    state.lead(appender, Now { ttl_ms: 1, wall_ms: 1 }, 1);
    let keys = shuffled_keys(args.objects);
    let mut bench = Bench { state, number: 0, keys, batch: args.batch };
    bench.mount(args.objects as u64)?;

    let own = Process::own();
    let before = own.resident_bytes()?;
    let count = args.objects as u64;
    report("put (start + end), batches", own, count, || bench.put_all())?;
    let grown = own.resident_bytes()?.saturating_sub(before + args.tail_bytes as u64);
    println!("{:<38} {:>9.0} bytes/object beside the tail", "memory", grown as f64 / args.objects as f64);
    bench.print_lock_hold();
    report("exists, batches", own, count, || bench.lookup_all(false))?;
    report("lookup, batches", own, count, || bench.lookup_all(true))?;
    report("put refused (it exists), batches", own, count, || bench.put_again())?;
    for _ in 0..args.rounds {
        bench.keys.reverse();
        report("remove (forced), batches", own, count, || bench.remove_all())?;
        bench.release()?;
        report("put again, warm memory", own, count, || bench.put_all())?;
    }
    bench.print_lock_hold();
    bench.state.check().map_err(anyhow::Error::msg)
}

/// Of this thread: what others do on the same cores is no matter of the state.
fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn shuffled_keys(count: usize) -> Vec<[u8; 40]> {
    let key = |at| {
        let mut key = [b'k'; 40];
        key[..20].copy_from_slice(format!("{at:020}").as_bytes());
        key
    };
    shuffled(count).into_iter().map(key).collect()
}

impl Bench {
    fn call(&mut self) -> Call<'static> {
        self.number += 1;
        Call {
            client: ClientId([7; 16]),
            number: self.number,
            answered_below: self.number,
            address: None,
            tenant: "",
            now: Now { ttl_ms: 2, wall_ms: 2 },
        }
    }

    fn mount(&mut self, objects: u64) -> Result<()> {
        let spec = SegmentSpec {
            id: SegmentId([1; 16]),
            name: "bench",
            kind: SegmentKind::Memory,
            base: 1 << 40,
            size: objects * 4096 * 2,
            endpoint: "127.0.0.1:1",
            protocol: "tcp",
            host: "bench",
            path: "",
        };
        let call = self.call();
        all_done(&self.state.mount(&call, &[spec])?.results)
    }

    fn print_lock_hold(&self) {
        let micros = self.state.lock_held_ns_max() / 1000;
        println!("{:<38} {micros:>9} µs of CPU at most", "a lock was held for");
    }

    fn put_all(&mut self) -> Result<()> {
        let how =
            PutStart { placement: Placement { memory_replicas: 1, ..Placement::default() }, ..PutStart::default() };
        for start in (0..self.keys.len()).step_by(self.batch) {
            let call = self.call();
            let keys = &self.keys[start..self.keys.len().min(start + self.batch)];
            let items: Vec<_> = keys.iter().map(|key| PutStartItem { key, size: 4096 }).collect();
            all_done(&self.state.put_start(&call, &how, &items)?.results)?;
            let call = self.call();
            let keys = &self.keys[start..self.keys.len().min(start + self.batch)];
            let items: Vec<_> =
                keys.iter().map(|key| PutEndItem { key, put: metadata::ItemId::NONE, checksum: None }).collect();
            all_done(&self.state.put_end(&call, Scope::All, &items)?.results)?;
        }
        Ok(())
    }

    fn remove_all(&mut self) -> Result<()> {
        for start in (0..self.keys.len()).step_by(self.batch) {
            let call = self.call();
            let keys: Vec<&[u8]> =
                self.keys[start..self.keys.len().min(start + self.batch)].iter().map(|key| &key[..]).collect();
            all_done(&self.state.remove(&call, true, &keys)?.results)?;
        }
        Ok(())
    }

    /// What was leased when it was removed becomes free.
    fn release(&self) -> Result<()> {
        while self.state.step(Now { ttl_ms: 20_000, wall_ms: 2 })?.more {}
        Ok(())
    }

    fn put_again(&mut self) -> Result<()> {
        let how =
            PutStart { placement: Placement { memory_replicas: 1, ..Placement::default() }, ..PutStart::default() };
        for start in (0..self.keys.len()).step_by(self.batch) {
            let call = self.call();
            let keys = &self.keys[start..self.keys.len().min(start + self.batch)];
            let items: Vec<_> = keys.iter().map(|key| PutStartItem { key, size: 4096 }).collect();
            if self.state.put_start(&call, &how, &items)?.results.iter().any(Result::is_ok) {
                bail!("a key was put twice");
            }
        }
        Ok(())
    }

    fn lookup_all(&self, with_places: bool) -> Result<()> {
        let mut hits = 0;
        for keys in self.keys.chunks(self.batch) {
            let now = Now { ttl_ms: 2, wall_ms: 2 };
            self.state.lookup("", keys.iter().map(|key| &key[..]), now, |found| {
                let Some(found) = found else { return };
                hits += if with_places { found.places().count() } else { 1 };
            })?;
        }
        if hits == self.keys.len() { Ok(()) } else { bail!("{hits} of {} keys found", self.keys.len()) }
    }
}

fn all_done<T>(results: &[Outcome<T>]) -> Result<()> {
    match results.iter().find_map(|result| result.as_ref().err()) {
        Some(refusal) => bail!("refused: {refusal}"),
        None => Ok(()),
    }
}
