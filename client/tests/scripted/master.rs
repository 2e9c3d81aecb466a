//! A master in its own runtime that records every call and asks the test's script what to do.
//!
//! It can be killed: its runtime goes away with all its sockets, like a process. Its records
//! survive restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use proto::v1::admin_server::AdminServer;
use proto::v1::metadata_server::MetadataServer;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{CallError, Caller};
use test_ports::Port;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use understudy_client::{Client, Heartbeat, Options};

use crate::canned::canned;
use crate::service::{Fake, caller};

/// A call as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The stream on which it came, counted over all streams of the master. 0: unary.
    pub(crate) stream: u64,
    /// How often a call with this client and number has arrived, this time included. For reads:
    /// always 1.
    pub(crate) attempt: usize,
    pub(crate) name: &'static str,
    pub(crate) caller: Caller,
    pub(crate) call: Call,
}

/// What to do with a call.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// The default answer.
    Answer,
    AnswerAfter(Duration),
    AnswerWith(Box<Answer>),
    Fail(CallError),
    /// Hold calls until there are this many on the stream, then answer all of them, the last one
    /// first.
    HoldUntil(usize),
    /// Never answers.
    Swallow,
    /// The stream ends with an error before this call is answered. A unary call fails as by the
    /// transport.
    Break,
}

type Script = dyn Fn(&Seen) -> Act + Send + Sync;

pub(crate) struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    streams: AtomicU64,
    connections: AtomicU64,
    pub(crate) epoch: AtomicU64,
    pub(crate) seq: AtomicU64,
    /// The quota of its only tenant.
    pub(crate) quota_bytes: AtomicU64,
    /// The number of the last deletion.
    pub(crate) deletion: AtomicU64,
}

impl Shared {
    pub(crate) fn next_stream(&self) -> u64 {
        self.streams.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn on_call(&self, stream: u64, call: Call) -> Act {
        let (name, caller) = caller(&call);
        let mut seen = self.seen.lock();
        let same = |earlier: &&Seen| {
            caller.request_number > 0
                && (&earlier.caller.client_id, earlier.caller.request_number)
                    == (&caller.client_id, caller.request_number)
        };
        let attempt = seen.iter().filter(same).count() + 1;
        let now = Seen { stream, attempt, name, caller, call };
        seen.push(now.clone());
        drop(seen);
        (self.script)(&now)
    }

    pub(crate) fn canned(&self, call: &Call) -> Answer {
        canned(self, call)
    }
}

pub(crate) struct Master {
    port: Port,
    pub(crate) shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Master {
    pub(crate) async fn start(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Master {
        let shared = Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            streams: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            epoch: AtomicU64::new(1),
            seq: AtomicU64::new(0),
            quota_bytes: AtomicU64::new(0),
            deletion: AtomicU64::new(0),
        };
        let mut master = Master { port: test_ports::free_port(), shared: Arc::new(shared), runtime: None };
        master.restart().await;
        master
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", *self.port)
    }

    /// Like kill -9.
    pub(crate) fn kill(&mut self) {
        self.runtime.take().expect("it runs").shutdown_background();
    }

    /// Restarts it on the same port, with the same records.
    pub(crate) async fn restart(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be built");
        let (address, shared) = (self.address(), Arc::clone(&self.shared));
        let listening = runtime.spawn(async move {
            tokio::spawn(serve(bind(&address).await, shared));
        });
        listening.await.expect("it listens");
        self.runtime = Some(runtime);
    }

    /// Connections accepted since the start.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().clone()
    }

    /// The recorded calls of one kind.
    pub(crate) fn seen_of(&self, name: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.name == name).collect()
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        self.shared.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Options without heartbeats, which would be recorded, too.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::new([self.address()]);
        options.heartbeat = Heartbeat::Off;
        options
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.options()).await.expect("the master listens")
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        if self.runtime.is_some() {
            self.kill();
        }
    }
}

/// A killed runtime gives its listener up a moment later.
async fn bind(address: &str) -> TcpListener {
    for _ in 0..500 {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => panic!("{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} is in use for 5 s");
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let admin = AdminServer::new(Fake(Arc::clone(&shared)));
    let counting = Arc::clone(&shared);
    let service = MetadataServer::new(Fake(shared))
        .max_decoding_message_size(proto::limits::MESSAGE_BYTES_MAX)
        .max_encoding_message_size(proto::limits::MESSAGE_BYTES_MAX);
    // Small answers must not wait for the other end's acknowledgements.
    let incoming = TcpListenerStream::new(listener).map(move |accepted| {
        let stream = accepted?;
        counting.connections.fetch_add(1, Ordering::Relaxed);
        stream.set_nodelay(true)?;
        Ok::<_, std::io::Error>(stream)
    });
    let serving = Server::builder().add_service(service).add_service(admin).serve_with_incoming(incoming);
    serving.await.expect("it serves until it is killed");
}

/// Waits until it is so, or fails.
pub(crate) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: not within 10 s");
}
