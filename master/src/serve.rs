//! A node from its configuration to its end.
//!
//! Invariant: a stop takes at most five seconds; a second signal ends the process at once.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::config::Config;
use crate::grpc::server::{self, BindError};
use crate::http::{self, AdminServer};
use crate::listen::fit_open_files;
use crate::logging;
use crate::membership::Membership;
use crate::node::Node;
use crate::pair::Pair;
use crate::pair::transfer::NotHandedOver;
use crate::scrub;
use crate::upkeep;

/// The rest of the five seconds after `stop_timeout_ms`, for threads that are still working.
const RUNTIME_STOP: Duration = Duration::from_millis(300);

/// For another member to take over first. Mostly it takes some milliseconds, and more if one is
/// just joining.
const HAND_OVER_WITHIN: Duration = Duration::from_millis(2500);

/// A node with its listener, not yet serving.
#[derive(Debug)]
pub struct Server {
    node: Arc<Node>,
    listener: TcpListener,
    local_addr: SocketAddr,
    /// It serves already.
    admin: Option<AdminServer>,
}

impl Server {
    /// Listens at the address in the configuration.
    pub async fn bind(node: Arc<Node>) -> Result<Server, BindError> {
        let address = node.config.serving.listen;
        let listener = server::bind(address).await?;
        let local_addr = listener.local_addr().map_err(|why| BindError::Other { address, why })?;
        let admin = node.config.admin.address().map(|address| http::bind(Arc::clone(&node), address));
        let admin = admin.transpose().map_err(BindError::Admin)?;
        Ok(Server { node, listener, local_addr, admin })
    }

    /// The address, with the port that was chosen for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    pub fn node_name(&self) -> &str {
        &self.node.name
    }

    /// False: there is no such fault.
    #[cfg(feature = "faults")]
    pub fn inflict(&self, fault: &str) -> bool {
        crate::faults::inflict(&self.node, fault).is_some()
    }

    /// The same for the admin HTTP. `None`: it is not served.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminServer::local_addr)
    }

    /// Serves until `stop` is over and running calls are answered. `stop` returns when it was asked
    /// for.
    pub async fn run(self, stop: impl Future<Output = Instant>) {
        let mut tasks = JoinSet::new();
        tasks.spawn(upkeep::run(Arc::clone(&self.node)));
        tasks.spawn(scrub::run(Arc::clone(&self.node)));
        server::serve(self.node, self.listener, stop).await;
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
    }
}

/// Turns of connections between two checks of the sockets. With tokio's 61, a client whose call has
/// come would wait for as many turns before it is even queued.
const EVENT_INTERVAL: u32 = 2;

/// The runtime that the configuration asks for.
pub fn runtime(config: &Config) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("understudy").max_blocking_threads(config.serving.long_calls_max + 16);
    builder.event_interval(EVENT_INTERVAL);
    if config.serving.worker_threads > 0 {
        builder.worker_threads(config.serving.worker_threads);
    }
    builder.build().context("the runtime cannot be started")
}

/// What stops a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StopsAt {
    Signal,
    /// Or when standard input ends: the process that started this one is gone.
    SignalOrEndOfInput,
}

/// What only the process that started this one can say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Started {
    pub stops_at: StopsAt,
    /// The number of the member's incarnation, if its guard has chosen it.
    pub incarnation: Option<u64>,
}

/// SIGTERM and Ctrl-C, and the end of standard input if that was asked for.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
    input_ends: Option<oneshot::Receiver<()>>,
}

impl StopSignals {
    /// From now on they no longer end the process by themselves.
    pub fn catch() -> anyhow::Result<StopSignals> {
        let catch = |kind| signal(kind).context("signals cannot be caught");
        let (terminate, interrupt) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
        Ok(StopSignals { terminate, interrupt, hangup: None, input_ends: None })
    }

    /// SIGHUP, too.
    pub fn or_hangup(mut self) -> anyhow::Result<StopSignals> {
        self.hangup = Some(signal(SignalKind::hangup()).context("signals cannot be caught")?);
        Ok(self)
    }

    fn or(mut self, until: StopsAt) -> StopSignals {
        if until == StopsAt::SignalOrEndOfInput {
            let (ended, ends) = oneshot::channel();
            // Blocked for as long as the process lives, so not one of the runtime's threads.
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
                let _ = ended.send(());
            });
            self.input_ends = Some(ends);
        }
        self
    }

    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = async { self.hangup.as_mut().expect("it is there").recv().await }, if self.hangup.is_some() => "SIGHUP",
            _ = async { self.input_ends.as_mut().expect("it is there").await }, if self.input_ends.is_some() => {
                self.input_ends = None;
                "end of standard input"
            }
        }
    }

    /// Returns at the first signal, with its time. A second one ends the process.
    pub async fn stop(mut self) -> Instant {
        let name = self.next().await;
        let asked_at = Instant::now();
        tracing::info!("{name}: no new calls are accepted, running ones are finished");
        tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!("{name} again: ending now");
            logging::finish();
            std::process::exit(1);
        });
        asked_at
    }
}

/// Logs the version, and the settings that differ from their defaults.
fn tell_start(config: &Config) {
    let differ = Config::default().differences(config);
    let told: Vec<String> = differ.iter().map(|one| format!("{} = {}", one.name, one.to)).collect();
    let settings = match told.is_empty() {
        true => "all settings have their defaults".to_owned(),
        false => format!("settings that differ from the defaults: {}", told.join(", ")),
    };
    tracing::info!("understudy {} starts, pid {}; {settings}", env!("CARGO_PKG_VERSION"), std::process::id());
}

/// The pair's own runtime, beside the one that serves clients: beacons must not wait for clients.
fn pair_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().thread_name("understudy-pair").worker_threads(1);
    builder.build().context("the runtime of the pair cannot be started")
}

/// A member as a process; see [`run_process`].
fn run_member(config: Config, started: Started, on_listening: impl FnOnce(&Server)) -> anyhow::Result<()> {
    let (runtime, pairs) = (runtime(&config)?, pair_runtime()?);
    let served = runtime.block_on(async {
        let mut signals = StopSignals::catch()?.or(started.stops_at);
        let (node, log) = Node::member(config);
        logging::follow(node.gate_shared());
        let server = Server::bind(Arc::clone(&node)).await?;
        tell_start(&node.config);
        let listens = server.local_addr();
        // Sockets and tasks of the pair belong to its own runtime.
        let starting = pairs.spawn(async move {
            let member = Membership::open(&node, listens, started.incarnation).await?;
            anyhow::Ok(Pair::start(member.into_start(node, log)).await?)
        });
        let running = tokio::select! {
            biased;
            name = signals.next() => {
                tracing::info!("{name}: stopped before this member had joined");
                return Ok(());
            }
            running = starting => running.context("the pair could not be started")??,
        };
        on_listening(&server);
        let (pair, kept) = (Arc::clone(&running.pair), OnceLock::new());
        server
            .run(async {
                let asked_at = signals.stop().await;
                let late = |_| Err(NotHandedOver { why: format!("it took longer than {HAND_OVER_WITHIN:?}") });
                if let Err(why) = timeout(HAND_OVER_WITHIN, pair.hand_over()).await.unwrap_or_else(late) {
                    tracing::warn!("{why}");
                    let _ = kept.set(why);
                }
                asked_at
            })
            .await;
        drop(running);
        kept.into_inner().map_or(Ok(()), |why| Err(why.into()))
    });
    // The presence has gone with its tasks. Removals on long threads need not be waited for.
    pairs.shutdown_background();
    runtime.shutdown_timeout(RUNTIME_STOP);
    served
}

/// A node as a process: prints where it listens once it does, serves until a signal, and returns
/// when all is done.
pub fn run_process(mut config: Config, started: Started, on_listening: impl FnOnce(&Server)) -> anyhow::Result<()> {
    fit_open_files(&mut config)?;
    if config.cluster.is_on() {
        return run_member(config, started, on_listening);
    }
    let runtime = runtime(&config)?;
    let served = runtime.block_on(async {
        let signals = StopSignals::catch()?.or(started.stops_at);
        let node = Node::alone(config);
        let server = Server::bind(Arc::clone(&node)).await?;
        tell_start(&node.config);
        on_listening(&server);
        server.run(signals.stop()).await;
        Ok(())
    });
    // A removal of a hundred million objects need not be waited for.
    runtime.shutdown_timeout(RUNTIME_STOP);
    served
}
