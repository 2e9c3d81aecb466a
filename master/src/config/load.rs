//! From the sources of settings to a valid [`Config`]: file, then environment, then flags; a later
//! source wins.
//!
//! Invariant: an unknown key of the file is an error, never ignored. Unknown variables are ignored,
//! since orchestrators set some with any prefix.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Serialized, Toml};
use figment::{Figment, Provider as _};

use super::differences::SECRETS;
use super::pages::sections;
use super::{
    AdminHttp, AdminHttpFlags, Cluster, ClusterFlags, Config, Logging, LoggingFlags, Serving, ServingFlags, StateFlags,
    StateSettings, TailFlags, TailSettings, Upkeep, UpkeepFlags, Verification, VerificationFlags,
};

/// Every setting as a flag. clap takes missing ones from the environment.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// File with settings (TOML). Flags and UNDERSTUDY_* variables win over it.
    #[arg(long, env = "UNDERSTUDY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    serving: ServingFlags,
    #[command(flatten)]
    admin: AdminHttpFlags,
    #[command(flatten)]
    cluster: ClusterFlags,
    #[command(flatten)]
    logging: LoggingFlags,
    #[command(flatten)]
    tail: TailFlags,
    #[command(flatten)]
    state: StateFlags,
    #[command(flatten)]
    upkeep: UpkeepFlags,
    #[command(flatten)]
    verification: VerificationFlags,
}

/// The address of the coordinator, for commands that ask it and are not members.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Coordinator")]
pub struct CoordinatorFlags {
    /// Where the members keep their record, as they were started: file:DIR or
    /// etcd:http://HOST:PORT,...
    #[arg(long, env = "UNDERSTUDY_COORDINATOR", value_name = "WHERE")]
    coordinator: Option<String>,
    /// The same as --coordinator etcd:URL, as other commands say it. It comes before --coordinator.
    #[arg(long, value_name = "URL")]
    etcd: Option<String>,
    /// Which cluster, where the coordinator has several [default: default]
    #[arg(long, env = "UNDERSTUDY_CLUSTER_NAME", value_name = "NAME")]
    cluster_name: Option<String>,
    /// File with the settings (TOML) of a member: the coordinator is taken from it.
    #[arg(long, env = "UNDERSTUDY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long the coordinator has for one answer, in milliseconds [default: 1000]
    #[arg(long, env = "UNDERSTUDY_COORDINATOR_TIMEOUT_MS", value_name = "MS")]
    coordinator_timeout_ms: Option<u64>,
    /// User at etcd. The password is in --etcd-password-file, or in UNDERSTUDY_ETCD_PASSWORD.
    #[arg(long, env = "UNDERSTUDY_ETCD_USER", hide_env_values = true, value_name = "NAME")]
    etcd_user: Option<String>,
    /// File whose first line is that password.
    #[arg(long, env = "UNDERSTUDY_ETCD_PASSWORD_FILE", value_name = "FILE")]
    etcd_password_file: Option<String>,
    /// Certificates (PEM) that etcd's is checked against.
    #[arg(long, env = "UNDERSTUDY_ETCD_CA_FILE", value_name = "FILE")]
    etcd_ca_file: Option<String>,
    /// The certificate (PEM) that is shown to etcd.
    #[arg(long, env = "UNDERSTUDY_ETCD_CERT_FILE", value_name = "FILE")]
    etcd_cert_file: Option<String>,
    /// Its key (PEM).
    #[arg(long, env = "UNDERSTUDY_ETCD_KEY_FILE", value_name = "FILE")]
    etcd_key_file: Option<String>,
}

impl CoordinatorFlags {
    pub fn load(&self) -> Result<Cluster, ConfigError> {
        let CoordinatorFlags { etcd_user, etcd_ca_file, etcd_cert_file, etcd_key_file, .. } = self.clone();
        let etcd = self.etcd.as_ref().map(|url| format!("etcd:{url}"));
        let cluster = ClusterFlags {
            coordinator: etcd.or_else(|| self.coordinator.clone()),
            cluster_name: self.cluster_name.clone(),
            coordinator_timeout_ms: self.coordinator_timeout_ms,
            etcd_user,
            etcd_password: std::env::var("UNDERSTUDY_ETCD_PASSWORD").ok(),
            etcd_password_file: self.etcd_password_file.clone(),
            etcd_ca_file,
            etcd_cert_file,
            etcd_key_file,
            ..ClusterFlags::default()
        };
        Ok(Flags { config: self.config.clone(), cluster, ..Flags::default() }.load()?.cluster)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {why}", path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("{at}: unknown key {key:?}{}", did_you_mean(near.as_deref()))]
    UnknownKey { at: Place, key: String, near: Option<String> },
    #[error("{at}: this is not TOML: {why}")]
    Syntax { at: Place, why: String },
    #[error("{}{key}: {why}", before(at.as_ref()))]
    Value { at: Option<Place>, key: String, why: String },
    #[error("{field}: {rule}")]
    Rule { field: &'static str, rule: String },
    #[error("{at}: {field}: {rule}")]
    RuleInFile { at: Place, field: &'static str, rule: String },
}

/// A place in a file of settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    path: PathBuf,
    /// From 1 on.
    line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

fn before(at: Option<&Place>) -> String {
    at.map(|at| format!("{at}: ")).unwrap_or_default()
}

/// The first line of the file, without its end. `Err`: what is wrong with it, without any of its
/// content.
pub fn read_password(path: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(format!("{} has no password in its first line", path.display())),
    }
}

/// Other users of the host must not read secrets in the list of processes.
pub fn refuse_secrets(mut command_line: impl Iterator<Item = OsString>) -> Result<(), ConfigError> {
    let is_secret = |word: OsString| {
        word.to_str().is_some_and(|word| word == "--etcd-password" || word.starts_with("--etcd-password="))
    };
    match command_line.any(is_secret) {
        false => Ok(()),
        true => Err(ConfigError::Rule {
            field: "etcd_password",
            rule: "other users of this host can read the command line: put it into the file that --etcd-password-file names, or \
                   into UNDERSTUDY_ETCD_PASSWORD"
                .to_owned(),
        }),
    }
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map(|name| format!(", did you mean {name:?}?")).unwrap_or_default()
}

impl Flags {
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = &self.config {
            figment = figment.merge(read(path)?);
        }
        let figment = figment
            .merge(Serialized::defaults(&self.serving))
            .merge(Serialized::defaults(&self.admin))
            .merge(Serialized::defaults(&self.cluster))
            .merge(Serialized::defaults(&self.logging))
            .merge(Serialized::defaults(&self.tail))
            .merge(Serialized::defaults(&self.state))
            .merge(Serialized::defaults(&self.upkeep))
            .merge(Serialized::defaults(&self.verification));
        let config = extract(&figment).map_err(|error| value(&figment, &error))?;
        config.validate().map_err(|error| match error {
            ConfigError::Rule { field, rule } => match in_file(&figment, field) {
                Some(at) => ConfigError::RuleInFile { at, field, rule },
                None => ConfigError::Rule { field, rule },
            },
            other => other,
        })?;
        Ok(config)
    }
}

fn extract(figment: &Figment) -> Result<Config, Box<figment::Error>> {
    Ok(Config {
        serving: figment.extract::<Serving>()?,
        admin: figment.extract::<AdminHttp>()?,
        cluster: figment.extract::<Cluster>()?,
        logging: figment.extract::<Logging>()?,
        tail: figment.extract::<TailSettings>()?,
        state: figment.extract::<StateSettings>()?,
        upkeep: figment.extract::<Upkeep>()?,
        verification: figment.extract::<Verification>()?,
    })
}

/// A value of another kind than its setting's. A secret is not shown.
fn value(figment: &Figment, error: &figment::Error) -> ConfigError {
    let key = error.path.join(".");
    let why = match SECRETS.contains(&&*key) {
        true => "must be text, in quotes".to_owned(),
        false => error.kind.to_string(),
    };
    ConfigError::Value { at: in_file(figment, &key), key, why }
}

/// Where the value of a setting stands, if the value in force is in the file.
fn in_file(figment: &Figment, key: &str) -> Option<Place> {
    let path = figment.find_metadata(key)?.source.as_ref()?.file_path()?;
    Some(place(path, &std::fs::read_to_string(path).unwrap_or_default(), key))
}

/// Settings stand at the left end of their lines.
fn place(path: &Path, text: &str, key: &str) -> Place {
    let names = |line: &str| {
        let line = line.trim_start().trim_start_matches('[').trim_start_matches(['"', '\'']);
        line.strip_prefix(key)
            .is_some_and(|rest| rest.trim_start_matches(['"', '\'']).trim_start().starts_with(['=', '.', ']']))
    };
    Place { path: path.to_owned(), line: text.lines().position(names).map(|line| line + 1) }
}

fn read(path: &Path) -> Result<figment::providers::Data<Toml>, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|why| ConfigError::Unreadable { path: path.to_owned(), why })?;
    let file = Toml::file_exact(path);
    let data = file.data().map_err(|error| syntax(path, &error.kind.to_string()))?;
    for key in data.values().flat_map(|dict| dict.keys()) {
        check_known(path, &text, key)?;
    }
    Ok(file)
}

/// From the parser's message: the place, then the line itself, which may hold a secret, then what
/// is wrong.
fn syntax(path: &Path, said: &str) -> ConfigError {
    let line = said.split_once("at line ").and_then(|(_, rest)| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    });
    let is_shown =
        |line: &&str| line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    let why: Vec<&str> = said.lines().skip(1).filter(|line| !is_shown(line)).collect();
    let why = if why.is_empty() { "it cannot be read".to_owned() } else { why.join(", ") };
    ConfigError::Syntax { at: Place { path: path.to_owned(), line }, why }
}

fn check_known(path: &Path, text: &str, key: &str) -> Result<(), ConfigError> {
    let names = || sections().into_iter().flat_map(|section| section.fields).map(|field| field.name);
    if names().any(|name| name == key) {
        return Ok(());
    }
    let near = names().map(|name| (strsim::damerau_levenshtein(name, key), name)).min();
    let near = near.filter(|(distance, _)| *distance <= 3).map(|(_, name)| name.to_owned());
    Err(ConfigError::UnknownKey { at: place(path, text, key), key: key.to_owned(), near })
}

#[cfg(test)]
#[path = "load_test.rs"]
mod tests;
