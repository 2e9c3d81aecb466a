//! What the tests of this crate share: a node in this process, the binary as a process, and one way
//! to make a call over either transport.

pub(crate) mod process;
pub(crate) mod requests;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use master::config::Config;
use master::{CommitRule, Node, Server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A node in this process, served over a real port.
pub(crate) struct Running {
    pub(crate) node: Arc<Node>,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    _port: test_ports::Port,
}

pub(crate) async fn start() -> Running {
    start_with(CommitRule::Alone, |_| {}).await
}

pub(crate) async fn start_with(rule: CommitRule, set: impl FnOnce(&mut Config)) -> Running {
    let port = test_ports::free_port();
    let mut config = Config::default();
    config.serving.listen = port.addr();
    config.serving.stop_linger_ms = 50;
    config.serving.stop_timeout_ms = 2000;
    set(&mut config);
    config.validate().expect("the settings of a test are valid");
    let node = Node::new(config, rule);
    let server = Server::bind(Arc::clone(&node)).await.expect("the port is ours");
    let (stop, stopped) = oneshot::channel();
    let address = server.local_addr();
    let served = tokio::spawn(server.run(async {
        drop(stopped.await);
        tokio::time::Instant::now()
    }));
    Running { node, address, stop, served, _port: port }
}

impl Running {
    /// Asks for the stop. The handle ends when it is done.
    pub(crate) fn stop(self) -> JoinHandle<()> {
        drop(self.stop);
        self.served
    }

    pub(crate) async fn session(&self) -> wire::Wire {
        wire::Wire::session(self.address).await
    }

    pub(crate) async fn unary(&self) -> wire::Wire {
        wire::Wire::unary(self.address).await
    }
}
