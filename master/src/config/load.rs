//! Settings from where they stand to a valid [`Config`]: file, then environment, then flags; the later one wins.
//!
//! Invariant: a key of the file that nobody knows is an error, never ignored. Variables that nobody knows are ignored:
//! orchestrators make some under any prefix.

use std::path::{Path, PathBuf};

use figment::providers::{Format as _, Serialized, Toml};
use figment::{Figment, Provider as _};

use super::pages::sections;
use super::{
    AdminHttp, AdminHttpFlags, Cluster, ClusterFlags, Config, Logging, LoggingFlags, Serving, ServingFlags, StateFlags,
    StateSettings, TailFlags, TailSettings, Upkeep, UpkeepFlags, Verification, VerificationFlags,
};

/// Every setting as a flag; clap takes those that are missing from the environment.
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

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}: {why}", path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("{}: unknown key {key:?}{}", path.display(), did_you_mean(near.as_deref()))]
    UnknownKey { path: PathBuf, key: String, near: Option<String> },
    #[error("{0}")]
    Value(Box<figment::Error>),
    #[error("{field}: {rule}")]
    Rule { field: &'static str, rule: String },
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
        let config = extract(&figment)?;
        config.validate()?;
        Ok(config)
    }
}

fn extract(figment: &Figment) -> Result<Config, ConfigError> {
    fn section<'a, T: serde::Deserialize<'a>>(figment: &Figment) -> Result<T, ConfigError> {
        figment.extract().map_err(|error| ConfigError::Value(Box::new(error)))
    }
    Ok(Config {
        serving: section::<Serving>(figment)?,
        admin: section::<AdminHttp>(figment)?,
        cluster: section::<Cluster>(figment)?,
        logging: section::<Logging>(figment)?,
        tail: section::<TailSettings>(figment)?,
        state: section::<StateSettings>(figment)?,
        upkeep: section::<Upkeep>(figment)?,
        verification: section::<Verification>(figment)?,
    })
}

fn read(path: &Path) -> Result<figment::providers::Data<Toml>, ConfigError> {
    // Only to say clearly why it cannot be read.
    std::fs::File::open(path).map_err(|why| ConfigError::Unreadable { path: path.to_owned(), why })?;
    let file = Toml::file_exact(path);
    let data = file.data().map_err(|error| ConfigError::Value(Box::new(error)))?;
    for key in data.values().flat_map(|dict| dict.keys()) {
        check_known(path, key)?;
    }
    Ok(file)
}

fn check_known(path: &Path, key: &str) -> Result<(), ConfigError> {
    let names = || sections().into_iter().flat_map(|section| section.fields).map(|field| field.name);
    if names().any(|name| name == key) {
        return Ok(());
    }
    let near = names().map(|name| (strsim::damerau_levenshtein(name, key), name)).min();
    let near = near.filter(|(distance, _)| *distance <= 3).map(|(_, name)| name.to_owned());
    Err(ConfigError::UnknownKey { path: path.to_owned(), key: key.to_owned(), near })
}

#[cfg(test)]
#[path = "load_test.rs"]
mod tests;
