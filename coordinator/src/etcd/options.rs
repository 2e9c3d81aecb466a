//! Which etcd, under which name, with which rights and time limits.
//!
//! Invariants: options that can't work are refused by name before any request to etcd; a password
//! is never printed.
//!
//! Deliberately absent: the system's list of authorities. An operator who serves a config record by
//! TLS knows which authority signed it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use crate::contract::Error;

/// While a call waits for its answer, its connection is pinged this often. etcd cuts off clients
/// that ping more often than every 5 seconds.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EtcdOptions {
    /// `host:port`, with or without `http://` or `https://` before it; several members of one etcd
    /// cluster.
    pub endpoints: Vec<String>,
    /// The name of this cluster: all keys begin with `/understudy/<cluster>/`.
    pub cluster: String,
    /// No call takes longer.
    pub request_timeout_ms: u64,
    /// The time that is asked for. What etcd grants counts, which is at least one and a half of its
    /// election time-outs.
    pub lease_ttl_s: u32,
    pub user: Option<EtcdUser>,
    pub tls: Option<EtcdTls>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct EtcdUser {
    pub name: String,
    pub password: String,
}

/// Files in PEM.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct EtcdTls {
    /// The authority that signs the servers' certificates.
    pub ca_file: PathBuf,
    /// This client's own certificate and key: both or none.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    /// The name in the servers' certificates, if it is not the endpoint's.
    pub domain: Option<String>,
}

impl Default for EtcdOptions {
    fn default() -> EtcdOptions {
        EtcdOptions {
            endpoints: vec!["127.0.0.1:2379".to_owned()],
            cluster: "default".to_owned(),
            request_timeout_ms: 1000,
            lease_ttl_s: 5,
            user: None,
            tls: None,
        }
    }
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with a password", self.name)
    }
}

impl EtcdOptions {
    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(super) fn prefix(&self) -> String {
        format!("/understudy/{}/", self.cluster)
    }

    pub(super) fn place(&self) -> String {
        format!("etcd at {}", self.endpoints.join(", "))
    }

    fn check(&self) -> Result<(), String> {
        let rules = [
            (self.endpoints.is_empty(), "no endpoint is given"),
            (self.endpoints.iter().any(String::is_empty), "an endpoint is empty"),
            (
                self.cluster.is_empty() || self.cluster.contains('/'),
                "a cluster's name is not empty and has no slash in it",
            ),
            (self.request_timeout_ms == 0, "request_timeout_ms is 0"),
            (self.lease_ttl_s == 0, "lease_ttl_s is 0"),
            (self.tls.is_none() && self.has_scheme("https://"), "https:// needs a CA file"),
            (self.tls.is_some() && self.has_scheme("http://"), "http:// is not TLS"),
        ];
        match rules.into_iter().find(|(broken, _)| *broken) {
            Some((_, why)) => Err(why.to_owned()),
            None => Ok(()),
        }
    }

    fn has_scheme(&self, scheme: &str) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.starts_with(scheme))
    }

    /// Reads the TLS files.
    pub(super) fn connect_options(&self) -> Result<ConnectOptions, Error> {
        let refused = |why| Error::Denied { what: "these options", place: self.place(), why };
        self.check().map_err(refused)?;
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.timeout())
            .with_keep_alive(PING_EVERY, PING_TIMEOUT)
            // An etcd member that is cut off from its cluster then returns an error instead of a
            // silent stream.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(EtcdUser { name, password }) = &self.user {
            options = options.with_user(name, password);
        }
        if let Some(tls) = &self.tls {
            options = options.with_tls(tls.read().map_err(refused)?);
        }
        Ok(options)
    }
}

impl EtcdTls {
    fn read(&self) -> Result<TlsOptions, String> {
        let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(&self.ca_file)?));
        match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?)),
            (None, None) => {}
            _ => return Err("a certificate needs its key, and a key its certificate".to_owned()),
        }
        if let Some(domain) = &self.domain {
            tls = tls.domain_name(domain);
        }
        Ok(tls)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(options: &EtcdOptions) -> String {
        options.connect_options().expect_err("it can't work").to_string()
    }

    #[test]
    fn what_cannot_work_is_refused_by_name() {
        let good = EtcdOptions::default();
        good.connect_options().expect("the defaults work");
        let with = |endpoint: &str, tls: Option<EtcdTls>| EtcdOptions {
            endpoints: vec!["h:1".into(), endpoint.to_owned()],
            tls,
            ..good.clone()
        };
        assert!(refusal(&with("https://h:1", None)).ends_with("https:// needs a CA file"));
        assert!(refusal(&with("http://h:1", Some(EtcdTls::default()))).ends_with("http:// is not TLS"));
        assert!(refusal(&EtcdOptions { endpoints: vec![], ..good.clone() }).contains("no endpoint"));
        assert!(refusal(&EtcdOptions { cluster: "a/b".into(), ..good.clone() }).contains("slash"));
        let tls = EtcdTls { ca_file: "/not/there.pem".into(), ..EtcdTls::default() };
        assert!(refusal(&with("h:2", Some(tls.clone()))).contains("/not/there.pem: No such file"));
        let ca_file = std::env::current_exe().expect("some file that is there");
        let half = EtcdTls { ca_file, cert_file: Some("/c".into()), ..tls };
        assert!(refusal(&with("h:2", Some(half))).contains("needs its key"));
    }

    #[test]
    fn a_password_is_not_printed() {
        let user = EtcdUser { name: "root".into(), password: "secret".into() };
        let printed = format!("{:?}", EtcdOptions { user: Some(user), ..EtcdOptions::default() });
        assert!(printed.contains("root") && !printed.contains("secret"), "{printed}");
    }
}
