//! A client that calls at a steady rate, however long answers take, and a probe that does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use client::{Client, Force, Options, PutOptions, Segment};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::load::{OBJECT_BYTES, key};
use crate::server::put_many;

const TENANT: &str = "polite";
const OBJECTS: usize = 10_000;
/// The interval of the client's and the probe's ticks.
const TICK: Duration = Duration::from_millis(1);

/// In µs.
pub(crate) struct Felt {
    pub(crate) calls: Histogram<u64>,
    /// How much longer the probe slept than it should have.
    pub(crate) probe: Histogram<u64>,
    pub(crate) refused: u64,
}

impl Felt {
    fn nothing() -> Felt {
        let empty = || Histogram::new(3).expect("three digits can be kept");
        Felt { calls: empty(), probe: empty(), refused: 0 }
    }

    fn note_call(&mut self, took: Duration, refused: bool) {
        self.refused += u64::from(refused);
        self.calls.record(took.as_micros() as u64).expect("it grows");
    }

    fn note_probe(&mut self, over: Duration) {
        self.probe.record(over.as_micros() as u64).expect("it grows");
    }
}

/// On threads of its own, so that other work of this process has no influence.
pub(crate) struct Polite {
    felt: Arc<Mutex<Felt>>,
    ends: Arc<AtomicBool>,
    caller: JoinHandle<Result<()>>,
    prober: JoinHandle<()>,
}

impl Polite {
    /// Calls from now on.
    pub(crate) async fn start(address: String, rate: u64) -> Result<Polite> {
        let (felt, ends) = (Arc::new(Mutex::new(Felt::nothing())), Arc::new(AtomicBool::new(false)));
        let (ready, is_ready) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let caller = {
            let (felt, ends) = (Arc::clone(&felt), Arc::clone(&ends));
            std::thread::spawn(move || {
                runtime.block_on(async {
                    let client = prepare(address).await?;
                    // The caller may have given up.
                    let _ = ready.send(());
                    call_steadily(client, rate, felt, ends).await
                })
            })
        };
        if is_ready.await.is_err() {
            caller.join().map_err(|_| anyhow!("the polite client panicked"))??;
            bail!("the polite client ended at once");
        }
        let prober = {
            let (felt, ends) = (Arc::clone(&felt), Arc::clone(&ends));
            std::thread::spawn(move || probe(&felt, &ends))
        };
        Ok(Polite { felt, ends, caller, prober })
    }

    /// What was recorded since the last time.
    pub(crate) fn take(&self) -> Felt {
        std::mem::replace(&mut *self.felt.lock(), Felt::nothing())
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        self.prober.join().map_err(|_| anyhow!("the probe panicked"))?;
        self.caller.join().map_err(|_| anyhow!("the polite client panicked"))?
    }
}

fn probe(felt: &Mutex<Felt>, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        let began = Instant::now();
        std::thread::sleep(TICK);
        let over = began.elapsed().saturating_sub(TICK);
        felt.lock().note_probe(over);
    }
}

async fn prepare(address: String) -> Result<Client> {
    let mut options = Options::new([address]);
    options.tenant = TENANT.to_owned();
    let client = Client::connect(options).await?;
    let bytes = 3 * OBJECTS as u64 * OBJECT_BYTES;
    client.mount_segment(&Segment::memory(TENANT, 2 << 40, bytes, "127.0.0.1:2")).await?;
    for at in (0..OBJECTS).step_by(500) {
        put_many(&client, (at..at + 500).map(|at| key(TENANT, at)).collect(), own_place()).await?;
    }
    Ok(client)
}

fn own_place() -> PutOptions {
    PutOptions { preferred_segments: vec![TENANT.to_owned()], ..PutOptions::default() }
}

async fn call_steadily(client: Client, rate: u64, felt: Arc<Mutex<Felt>>, ends: Arc<AtomicBool>) -> Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut owed = 0.0;
    let mut nth = 0;
    while !ends.load(Ordering::Relaxed) {
        let due = ticks.tick().await.into_std();
        owed += rate as f64 * TICK.as_secs_f64();
        while owed >= 1.0 {
            owed -= 1.0;
            nth += 1;
            let (client, felt) = (client.clone(), Arc::clone(&felt));
            tokio::spawn(async move {
                let done = call(&client, nth).await;
                felt.lock().note_call(due.elapsed(), done.is_err());
            });
        }
    }
    Ok(())
}

/// In each four calls, one puts a new object and one removes an older one.
async fn call(client: &Client, nth: usize) -> Result<()> {
    match nth % 4 {
        0 => put_many(client, vec![key("new", nth)], own_place()).await?,
        1 if nth > 401 => client.remove(&[key("new", nth - 401)], Force::No).await.map(drop)?,
        2 => client.get(key(TENANT, nth * 7919 % OBJECTS)).await.map(drop)?,
        _ => client.exists_one(key(TENANT, nth * 7919 % OBJECTS)).await.map(drop)?,
    }
    Ok(())
}
