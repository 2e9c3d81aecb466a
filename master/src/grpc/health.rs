//! gRPC health checking. Each service answers one question:
//!
//! | service | is SERVING while |
//! |---|---|
//! | `understudy.v1.Metadata` | this member accepts calls of clients: it is the primary, and has its tenure |
//! | `""`, the member as a whole | the same, or it is a standby that could take over and hears its primary: as `/readyz` |
//! | `understudy.v1.Admin` | the member is not stopping |
//!
//! Invariants: `""` and `/readyz` say the same, since one function decides both; a watcher is told
//! only what has changed.

use std::sync::Arc;
use std::time::Duration;

use proto::v1::{admin_server, metadata_server};
use tokio::time::timeout;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::gate::Standing;
use crate::http::probes;
use crate::node::Node;

const NODE: &str = "";

/// A tenure ends, and a primary falls silent, without a change of the standing.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the watchers know.
pub(crate) struct Health {
    node: Arc<Node>,
    reporter: HealthReporter,
    told: [Option<bool>; 3],
}

impl Health {
    pub(crate) fn new(node: &Arc<Node>, reporter: HealthReporter) -> Health {
        Health { node: Arc::clone(node), reporter, told: [None; 3] }
    }

    /// Follows the gate until it is dropped.
    pub(crate) async fn follow(mut self) {
        let mut standings = self.node.gate.watch();
        loop {
            standings.borrow_and_update();
            self.tell().await;
            if let Ok(Err(_)) = timeout(LOOK_EVERY, standings.changed()).await {
                return;
            }
        }
    }

    pub(crate) async fn tell(&mut self) {
        let says = [
            (NODE, probes::ready(&self.node).is_ok()),
            (metadata_server::SERVICE_NAME, self.node.gate.check_open().is_ok()),
            (admin_server::SERVICE_NAME, self.node.gate.standing() != Standing::Stopping),
        ];
        for ((service, serves), told) in says.into_iter().zip(&mut self.told) {
            if told.replace(serves) != Some(serves) {
                let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
                self.reporter.set_service_status(service, status).await;
            }
        }
    }
}

/// Watchers have seen the last status. Their streams end.
pub(crate) async fn close(mut reporter: HealthReporter) {
    for service in [NODE, metadata_server::SERVICE_NAME, admin_server::SERVICE_NAME] {
        reporter.clear_service_status(service).await;
    }
}
