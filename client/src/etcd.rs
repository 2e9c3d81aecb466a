//! Discovery through the etcd that a cluster has as its coordinator.
//!
//! Deliberately absent: the layout of the keys, which belongs to the coordinator.

use coordinator::{Coordinator as _, EtcdCoordinator};

pub use coordinator::{EtcdOptions, EtcdTls, EtcdUser};

use crate::discovery::{Announced, Discovered, Discovery};
use crate::error::Error;

/// Reads the address that the primary has announced, for as long as its lease lives.
///
/// ```no_run
/// # use understudy_client::{Client, EtcdDiscovery, EtcdOptions, Options};
/// # use std::sync::Arc;
/// # async fn example() -> Result<(), understudy_client::Error> {
/// let etcd = EtcdOptions { endpoints: vec!["http://10.0.0.1:2379".to_owned()], ..EtcdOptions::default() };
/// let mut options = Options::new::<String>([]);
/// options.discovery = Some(Arc::new(EtcdDiscovery::connect(etcd).await?));
/// let client = Client::connect(options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EtcdDiscovery {
    coordinator: EtcdCoordinator,
}

impl EtcdDiscovery {
    /// Fails only if these options can never work. etcd need not run yet.
    pub async fn connect(options: EtcdOptions) -> Result<EtcdDiscovery, Error> {
        match EtcdCoordinator::connect(options).await {
            Ok(coordinator) => Ok(EtcdDiscovery { coordinator }),
            Err(error) => Err(Error::invalid("discovery", error.to_string())),
        }
    }
}

impl Discovery for EtcdDiscovery {
    fn primary(&self) -> Discovered<'_> {
        Box::pin(async move {
            let announced = self.coordinator.announced().await.map_err(|error| error.to_string())?;
            Ok(announced.map(|(_, member)| Announced { address: member.address }))
        })
    }
}
