//! The options of a client, with their defaults.
//!
//! Deliberately absent: all that the primary decides (time to live, leases, limits of the wire).

use std::sync::Arc;
use std::time::Duration;

use proto::limits::{MESSAGE_BYTES_MAX, REQUEST_SPAN_MAX, TENANT_BYTES_MAX};
use proto::v1;

use crate::discovery::Discovery;
use crate::error::Error;
use crate::ids::{ClientId, Position};

/// How calls travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Transport {
    /// One stream with many calls in flight. The fastest way.
    #[default]
    Session,
    /// A gRPC call for each, for networks that cut long streams.
    Unary,
}

/// Whether the client sends heartbeats by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Heartbeat {
    /// From the connect until the last handle is dropped. Segments are mounted again when the
    /// primary asks for that.
    #[default]
    Auto,
    /// Never. For tools that make a single call: a silent client loses its segments, its unfinished
    /// puts and, after its time to live, the protection of its request numbers.
    Off,
}

/// Whether requests that change something carry request numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Numbering {
    /// Each has its own, from 1: a request whose answer was lost is sent again, and runs once.
    #[default]
    On,
    /// None. For tools that reuse the client id of an earlier run whose numbers they don't know. A
    /// request that may have run is not sent again: it ends as `Error::OutcomeUnknown` at once.
    Off,
}

/// How fresh the answer of a standby must be. The default allows any age.
///
/// A standby answers only what is committed, so no failover takes it back. But it grants **no
/// lease**: between its answer and the transfer of the bytes, the object may be removed and its
/// space given to another one. A client that reads bytes by such an answer must be able to
/// recognize the right bytes, for example by a checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadOptions {
    /// The answer includes all changes up to here. With the position of its own write, a client
    /// reads that write.
    pub min_position: Option<Position>,
    /// The answer includes all that was committed this long before it. Below about 100 ms, reads of
    /// an idle cluster go to the primary now and then.
    pub max_staleness: Option<Duration>,
}

impl ReadOptions {
    pub(crate) fn to_wire(self) -> v1::StandbyRead {
        v1::StandbyRead {
            min_position: self.min_position.map(|Position { epoch, seq }| v1::Position { epoch, seq }),
            max_staleness_ms: self.max_staleness.map(crate::convert::millis),
        }
    }
}

/// How to reach the members, and how long to try.
#[derive(Clone, Debug)]
pub struct Options {
    /// All members, as `host:port` or `http://host:port`. They are tried in turn. Members that a
    /// redirect names need not be listed.
    pub addresses: Vec<String>,
    /// Another way to find the primary. With one, `addresses` may be empty. Default: none.
    pub discovery: Option<Arc<dyn Discovery>>,
    /// None: random. Never use the id of another process or of an earlier run, since request
    /// numbers start at 1; unless `numbering` is off.
    pub client_id: Option<ClientId>,
    /// Default: `On`.
    pub numbering: Numbering,
    /// The tenant of the keys. Empty: the default tenant.
    pub tenant: String,
    /// The host that the application runs on, as in `Segment::host`, for placement on the same
    /// host.
    pub host: String,
    /// Default: `Session`.
    pub transport: Transport,
    /// Default: `Auto`.
    pub heartbeat: Heartbeat,
    /// How long one call may take with all its retries. Default: 5 s. See also
    /// `Client::with_deadline`.
    pub deadline: Duration,
    /// How long `Client::connect` looks for a member that can be reached. Default: 5 s.
    pub connect_deadline: Duration,
    /// How long one member may take to accept a connection. Default: 500 ms.
    pub connect_timeout: Duration,
    /// A connection that is silent for this long is pinged. Default: 250 ms.
    pub keepalive_interval: Duration,
    /// And given up if no answer comes within this time. Default: 350 ms.
    pub keepalive_timeout: Duration,
    /// Calls in flight at once. More calls wait for a place. 1 to 4096, default: 1024.
    pub window_calls: usize,
    /// Encoded bytes of the calls in flight. More calls wait for a place. At least 16 MiB, default:
    /// 64 MiB.
    pub window_bytes: usize,
    /// The first pause before a retry. It doubles from there. Default: 5 ms.
    pub backoff_min: Duration,
    /// The longest pause before a retry, unless the member asks for more. Default: 100 ms.
    pub backoff_max: Duration,
}

impl Options {
    /// The defaults, with these addresses.
    pub fn new<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Options {
        Options {
            addresses: addresses.into_iter().map(Into::into).collect(),
            discovery: None,
            client_id: None,
            numbering: Numbering::default(),
            tenant: String::new(),
            host: String::new(),
            transport: Transport::default(),
            heartbeat: Heartbeat::default(),
            deadline: Duration::from_secs(5),
            connect_deadline: Duration::from_secs(5),
            connect_timeout: Duration::from_millis(500),
            keepalive_interval: Duration::from_millis(250),
            keepalive_timeout: Duration::from_millis(350),
            window_calls: 1024,
            window_bytes: 64 << 20,
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(100),
        }
    }

    /// The addresses in their normal form, or what is wrong with the options.
    pub(crate) fn validate(&self) -> Result<Vec<String>, Error> {
        check_tenant(&self.tenant)?;
        if self.addresses.is_empty() && self.discovery.is_none() {
            return Err(Error::invalid("addresses", "none is given"));
        }
        if self.window_calls == 0 || self.window_calls as u64 > REQUEST_SPAN_MAX {
            let what = format!("{} calls, must be 1 to {REQUEST_SPAN_MAX}", self.window_calls);
            return Err(Error::invalid("window_calls", what));
        }
        if self.window_bytes < MESSAGE_BYTES_MAX {
            let what = format!("{} bytes, the largest call alone may have {MESSAGE_BYTES_MAX}", self.window_bytes);
            return Err(Error::invalid("window_bytes", what));
        }
        if self.backoff_min.is_zero() || self.backoff_min > self.backoff_max {
            let what =
                format!("{:?}, must be above 0 and at most backoff_max {:?}", self.backoff_min, self.backoff_max);
            return Err(Error::invalid("backoff_min", what));
        }
        self.check_times()?;
        let addresses = self.addresses.iter().map(|address| normalised(address));
        addresses.collect::<Result<_, String>>().map_err(|what| Error::invalid("addresses", what))
    }

    /// Each of them must be above zero.
    fn check_times(&self) -> Result<(), Error> {
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
        ];
        match times.into_iter().find(|(_, time)| time.is_zero()) {
            Some((name, _)) => Err(Error::invalid(name, "0, must be more")),
            None => Ok(()),
        }
    }
}

pub(crate) fn check_tenant(tenant: &str) -> Result<(), Error> {
    match tenant.len() {
        0..=TENANT_BYTES_MAX => Ok(()),
        have => Err(Error::invalid("tenant", format!("{have} bytes, the limit is {TENANT_BYTES_MAX}"))),
    }
}

/// `host:port`, from the forms that users write.
pub(crate) fn normalised(address: &str) -> Result<String, String> {
    let bare = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    if bare.contains("://") {
        return Err(format!("{address:?} has a scheme that is not supported: only http is"));
    }
    let Some((host, port)) = bare.rsplit_once(':') else {
        return Err(format!("{address:?} has no port, must be host:port"));
    };
    if !port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Err(format!("{address:?} has port {port:?}, must be 1 to 65535"));
    }
    let is_v6 = host.starts_with('[') && host.ends_with(']');
    let has_odd = |text: &str| text.chars().any(|c| c.is_whitespace() || "/?#@".contains(c));
    if host.is_empty() || has_odd(host) || (host.contains(':') && !is_v6) {
        return Err(format!("{address:?} has host {host:?}, must be a name, an IPv4 or a bracketed IPv6 address"));
    }
    Ok(bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_accepted_in_all_common_forms() {
        for (written, meant) in [
            ("localhost:7400", "localhost:7400"),
            ("http://10.0.0.7:7400", "10.0.0.7:7400"),
            ("http://10.0.0.7:7400/", "10.0.0.7:7400"),
            ("[::1]:7400", "[::1]:7400"),
        ] {
            assert_eq!(normalised(written).as_deref(), Ok(meant));
        }
    }

    #[test]
    fn other_addresses_are_refused_by_name() {
        for written in
            ["", "host", "host:", "host:0", "host:99999", ":7400", "https://h:1", "::1:7400", "a b:1", "a/b:1"]
        {
            let refused = normalised(written).expect_err(written);
            assert!(refused.contains(&format!("{written:?}")), "{refused}");
        }
    }

    #[test]
    fn relations_between_options_are_checked() {
        let refused = |change: fn(&mut Options)| {
            let mut options = Options::new(["a:1"]);
            change(&mut options);
            options.validate().expect_err("refused").to_string()
        };
        assert_eq!(Options::new(["http://a:1"]).validate(), Ok(vec!["a:1".to_owned()]));
        assert!(refused(|o| o.addresses.clear()).starts_with("addresses: "));
        assert!(refused(|o| o.window_calls = 0).starts_with("window_calls: "));
        assert!(refused(|o| o.window_calls = 4097).contains("4096"));
        assert!(refused(|o| o.window_bytes = 1).contains("16777216"));
        assert!(refused(|o| o.backoff_min = Duration::from_secs(9)).contains("100ms"));
        assert!(refused(|o| o.keepalive_interval = Duration::ZERO).starts_with("keepalive_interval: "));
        assert!(refused(|o| o.tenant = "t".repeat(257)).contains("256"));
    }
}
