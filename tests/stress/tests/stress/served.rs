//! The node under load: in this process, on threads of its own, with times and bounds so small that
//! a minute reaches them all, and with locks measured in CPU time, since the machine is shared.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use master::config::Config;
use master::{CommitRule, Node, Server};
use metadata::Metadata;
use oplog::Position;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) struct Served {
    node: Arc<Node>,
    address: SocketAddr,
    runtime: Runtime,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
    _port: test_ports::Port,
}

/// CPU time of the calling thread. A lock is taken and given back by the same thread.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn config(listen: SocketAddr) -> Config {
    let mut config = Config::default();
    config.serving.listen = listen;
    config.serving.stop_timeout_ms = 4000;
    let state = &mut config.state;
    state.placement_seed = 7;
    state.client_ttl_ms = 3000;
    state.object_lease_ms = 300;
    state.soft_pin_ttl_ms = 500;
    state.put_start_timeout_ms = 1000;
    state.put_release_timeout_ms = 500;
    state.task_timeout_ms = 1000;
    state.tasks_max = 2000;
    state.finished_tasks_max = 200;
    state.tombstones_max = 300;
    state.tenants_max = 12;
    state.segments_max = 200;
    config.validate().expect("the settings are valid");
    config
}

impl Served {
    pub(crate) fn start() -> Served {
        let port = test_ports::free_port();
        let node = Node::with_lock_clock(config(port.addr()), CommitRule::Alone, cpu_ns);
        let runtime = crate::runtime("node");
        let server = runtime.block_on(Server::bind(Arc::clone(&node))).expect("the port is ours");
        let address = server.local_addr();
        let (stop, asked) = oneshot::channel::<()>();
        let ended = runtime.spawn(server.run(async {
            drop(asked.await);
            tokio::time::Instant::now()
        }));
        Served { node, address, runtime, stop, ended, _port: port }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(crate) fn state(&self) -> std::sync::Arc<Metadata> {
        self.node.state()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What another member begins with.
    pub(crate) fn empty_state(&self) -> Metadata {
        Metadata::new(metadata::Config::default(), Position { epoch: 1, seq: 0 })
    }

    /// No member needs any of it.
    pub(crate) fn forget_log(&self) {
        self.node.tail().set_floor(None);
        self.node.tail().truncate_before(u64::MAX);
    }

    pub(crate) fn stop(self) {
        drop(self.stop);
        self.runtime.block_on(self.ended).expect("the server ends by itself");
        self.runtime.shutdown_timeout(Duration::from_secs(5));
    }
}
