//! gRPC health checking: `Metadata` and the node as a whole serve while the gate is open, `Admin` until the node stops.

use std::sync::Arc;

use proto::v1::{admin_server, metadata_server};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::gate::Standing;
use crate::node::Node;

const NODE: &str = "";

/// Follows the gate until it is dropped.
pub(crate) async fn follow(node: Arc<Node>, health: HealthReporter) {
    let mut standings = node.gate.watch();
    loop {
        let standing = standings.borrow_and_update().clone();
        tell(&health, &standing).await;
        if standings.changed().await.is_err() {
            return;
        }
    }
}

pub(crate) async fn tell(health: &HealthReporter, standing: &Standing) {
    let status = |serves| if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    let open = status(*standing == Standing::Serving);
    health.set_service_status(NODE, open).await;
    health.set_service_status(metadata_server::SERVICE_NAME, open).await;
    health.set_service_status(admin_server::SERVICE_NAME, status(*standing != Standing::Stopping)).await;
}

/// Whoever watches has seen the last word: the streams end.
pub(crate) async fn close(mut health: HealthReporter) {
    for service in [NODE, metadata_server::SERVICE_NAME, admin_server::SERVICE_NAME] {
        health.clear_service_status(service).await;
    }
}
