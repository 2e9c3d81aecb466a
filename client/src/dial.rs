//! Connections: one for each session and a spare one, and one that unary calls share.

use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use crate::error::Error;
use crate::link::Link;
use crate::route::Target;

impl Link {
    pub(crate) fn endpoint(&self, address: &str) -> Result<Endpoint, tonic::transport::Error> {
        Ok(Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(self.options.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout)
            .keep_alive_while_idle(true))
    }

    /// A new connection.
    pub(crate) async fn dial(&self, address: &str) -> Result<Channel, String> {
        let endpoint = self.endpoint(address).map_err(|error| chain(&error))?;
        match timeout(self.options.connect_timeout, endpoint.connect()).await {
            Ok(connected) => connected.map_err(|error| chain(&error)),
            Err(_) => Err(format!("no connection within {} ms", self.options.connect_timeout.as_millis())),
        }
    }

    /// The spare connection, if it goes to this address. If it has broken meanwhile, it is made
    /// again when it is used.
    pub(crate) fn take_spare(&self, address: &str) -> Option<Channel> {
        let spare = self.spare.lock().take_if(|(kept, _)| kept == address)?;
        Some(spare.1)
    }

    /// The connection for unary calls to the current target.
    pub(crate) fn channel(&self, target: &Target) -> Result<Channel, Error> {
        let mut slot = self.channel.lock();
        if let Some((address, channel)) = slot.as_ref()
            && *address == target.address
        {
            return Ok(channel.clone());
        }
        let endpoint = self.endpoint(&target.address).map_err(|error| Error::invalid("addresses", chain(&error)))?;
        let channel = endpoint.connect_lazy();
        *slot = Some((target.address.clone(), channel.clone()));
        Ok(channel)
    }

    /// Keeps a connection that exists, so that unary calls begin on it.
    pub(crate) fn keep_channel(&self, target: &Target, channel: Channel) {
        *self.channel.lock() = Some((target.address.clone(), channel));
    }
}

/// An error with its causes, which tonic leaves out of the text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let line = error.to_string();
        if !text.ends_with(&line) {
            text = format!("{text}: {line}");
        }
        cause = error.source();
    }
    text
}
