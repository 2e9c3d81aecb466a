//! The etcd of a cluster as commands ask it: which members are there, and with whose rights that is asked.
//!
//! Invariant: no secret stands on a command line, where other users of the host can read it (`ps`), or in an error.
//!
//! Deliberately absent: who leads. Members say that themselves.

use std::path::{Path, PathBuf};

use client::{EtcdOptions, EtcdTls, EtcdUser};
use coordinator::{Coordinator as _, Error, EtcdCoordinator, MemberInfo};
use master::config::{check_url, read_password};
use master::health::{RECOVER, Reason, Trouble, Verdict};

use crate::fault::Fault;
use crate::words::shell;

const DEFAULT_CLUSTER: &str = "default";
const PASSWORD_VARIABLE: &str = "UNDERSTUDY_ETCD_PASSWORD";

#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct EtcdArgs {
    /// Find the members in the etcd that is the cluster's coordinator, instead of by --address: its URLs, separated by commas.
    #[arg(long, global = true, value_name = "URL", value_delimiter = ',')]
    etcd: Vec<String>,
    /// With --etcd: which cluster.
    #[arg(long, global = true, value_name = "NAME", default_value = DEFAULT_CLUSTER, hide_default_value = true)]
    cluster_name: String,
    /// With --etcd: the user there. Its password is in --etcd-password-file, or in UNDERSTUDY_ETCD_PASSWORD.
    #[arg(long, global = true, env = "UNDERSTUDY_ETCD_USER", hide_env_values = true, value_name = "NAME")]
    etcd_user: Option<String>,
    /// With --etcd-user: the file whose first line is the password.
    #[arg(long, global = true, env = "UNDERSTUDY_ETCD_PASSWORD_FILE", value_name = "FILE")]
    etcd_password_file: Option<PathBuf>,
    /// With --etcd https://...: the certificates (PEM) that etcd's is checked against.
    #[arg(long, global = true, env = "UNDERSTUDY_ETCD_CA_FILE", value_name = "FILE")]
    etcd_ca_file: Option<PathBuf>,
    /// With --etcd: the certificate (PEM) that this command shows to etcd.
    #[arg(long, global = true, env = "UNDERSTUDY_ETCD_CERT_FILE", value_name = "FILE")]
    etcd_cert_file: Option<PathBuf>,
    /// With --etcd-cert-file: its key (PEM).
    #[arg(long, global = true, env = "UNDERSTUDY_ETCD_KEY_FILE", value_name = "FILE")]
    etcd_key_file: Option<PathBuf>,
}

/// The members that etcd shows, the announced primary first.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) members: Vec<MemberInfo>,
    /// Why there are none, or why that is not known.
    pub(crate) trouble: Option<Trouble>,
}

impl EtcdArgs {
    pub(crate) fn is_used(&self) -> bool {
        !self.etcd.is_empty()
    }

    /// `None`: no etcd is named.
    pub(crate) fn options(&self) -> Result<Option<EtcdOptions>, Fault> {
        if !self.is_used() {
            return Ok(None);
        }
        let endpoints: Vec<String> = self.etcd.iter().map(|url| url.trim().to_owned()).collect();
        for url in &endpoints {
            check_url(url).map_err(|wrong| Fault::usage(format!("--etcd: {wrong}"), "Correct the command."))?;
        }
        let user = self.etcd_user.clone().filter(|user| !user.is_empty());
        let user = user.map(|name| Ok::<_, Fault>(EtcdUser { name, password: self.password()? })).transpose()?;
        let tls = self.etcd_ca_file.clone().map(|ca_file| EtcdTls {
            ca_file,
            cert_file: self.etcd_cert_file.clone(),
            key_file: self.etcd_key_file.clone(),
            ..EtcdTls::default()
        });
        if tls.is_none() && (self.etcd_cert_file.is_some() || self.etcd_key_file.is_some()) {
            return Err(Fault::usage("--etcd-cert-file: needs --etcd-ca-file", "Say whose certificate etcd shows."));
        }
        let cluster = self.cluster_name.clone();
        Ok(Some(EtcdOptions { endpoints, cluster, user, tls, ..EtcdOptions::default() }))
    }

    fn password(&self) -> Result<String, Fault> {
        match &self.etcd_password_file {
            Some(path) => read_password(path)
                .map_err(|why| Fault::usage(format!("--etcd-password-file: {why}"), "Name a file that can be read.")),
            None => Ok(std::env::var(PASSWORD_VARIABLE).unwrap_or_default()),
        }
    }

    /// Who is there. What cannot be seen is in `trouble`, and no fault: only what can never work is one.
    pub(crate) async fn show(&self, options: EtcdOptions) -> Result<Shown, Fault> {
        let place = options.endpoints.join(", ");
        let etcd = EtcdCoordinator::connect(options).await.map_err(wrong_options)?;
        let looked = async {
            let members = etcd.members().await?;
            let announced = etcd.announced().await?.map(|(_, info)| info.who);
            Ok::<_, Error>((members, announced, etcd.read().await?.record))
        };
        let (mut members, announced, record) = match looked.await {
            Ok(looked) => looked,
            Err(error @ Error::Denied { .. }) => return Err(error.into()),
            Err(error) => {
                let trouble = Trouble { alone: Verdict::Unknown, reason: unseen(&error) };
                return Ok(Shown { members: Vec::new(), trouble: Some(trouble) });
            }
        };
        members.sort_by_key(|info| Some(info.who) != announced);
        let epoch = record.map(|known| known.record.epoch);
        let absent = || Trouble { alone: Verdict::NoPrimary, reason: self.no_member(&place, epoch) };
        let trouble = members.is_empty().then(absent);
        Ok(Shown { members, trouble })
    }

    fn no_member(&self, place: &str, epoch: Option<u64>) -> Reason {
        let cluster = &self.cluster_name;
        match epoch {
            Some(epoch) => Reason {
                what: format!(
                    "etcd at {place} shows no member of the cluster {cluster:?}, whose record is of epoch {epoch}"
                ),
                next: RECOVER.to_owned(),
            },
            None => Reason {
                what: format!("etcd at {place} has no cluster {cluster:?}: neither a record of roles nor a member"),
                next:
                    "Check --etcd and --cluster-name, or start members with `understudy serve --coordinator etcd:URL`"
                        .to_owned(),
            },
        }
    }

    /// What of it is to be said again in the next command.
    pub(crate) fn words(&self) -> String {
        let mut words = format!(" --etcd {}", shell(&self.etcd.join(",")));
        if self.cluster_name != DEFAULT_CLUSTER {
            words.push_str(&format!(" --cluster-name {}", shell(&self.cluster_name)));
        }
        let file = |path: &Option<PathBuf>| path.as_deref().map(Path::display).map(|path| path.to_string());
        let said = [
            ("--etcd-user", "UNDERSTUDY_ETCD_USER", self.etcd_user.clone()),
            ("--etcd-password-file", "UNDERSTUDY_ETCD_PASSWORD_FILE", file(&self.etcd_password_file)),
            ("--etcd-ca-file", "UNDERSTUDY_ETCD_CA_FILE", file(&self.etcd_ca_file)),
            ("--etcd-cert-file", "UNDERSTUDY_ETCD_CERT_FILE", file(&self.etcd_cert_file)),
            ("--etcd-key-file", "UNDERSTUDY_ETCD_KEY_FILE", file(&self.etcd_key_file)),
        ];
        for (flag, variable, value) in said {
            if let Some(value) = value.filter(|value| std::env::var(variable).as_ref() != Ok(value)) {
                words.push_str(&format!(" {flag} {}", shell(&value)));
            }
        }
        words
    }
}

/// Nothing was asked of etcd: it could never work.
fn wrong_options(error: Error) -> Fault {
    Fault::usage(error.to_string(), "Correct --etcd, --etcd-user, --etcd-ca-file, --etcd-cert-file or --etcd-key-file.")
}

fn unseen(error: &Error) -> Reason {
    Reason {
        what: format!("the members cannot be found: {error}"),
        next: "Bring etcd back, or the way to it; or name the members with --address".to_owned(),
    }
}
