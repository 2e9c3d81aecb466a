//! The options of a run.

use std::path::PathBuf;
use std::time::Duration;

/// The store of the members' record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Coordinator {
    #[default]
    Etcd,
    File,
}

#[derive(Clone, Debug, clap::Parser)]
#[command(name = "./x chaos", about = "Random faults under load, and a check of everything that clients were told")]
pub struct Options {
    /// Minutes. The run ends with the round that is under way then.
    #[arg(long, value_name = "M", default_value_t = 10.0)]
    pub minutes: f64,
    /// The seed of the plan: which faults come, in which order. Default: random, and printed.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Members find each other through an etcd of their own. The default.
    #[arg(long, conflicts_with = "file")]
    pub etcd: bool,
    /// Members find each other through a directory.
    #[arg(long)]
    pub file: bool,
    /// Members at the beginning. One more may come, and one may leave.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=7))]
    pub members: u8,
    /// Seconds of faults in each round.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    pub round: f64,
    /// Where chaos.md and chaos.svg are written.
    #[arg(long, value_name = "DIR", default_value = "docs/reports")]
    pub report: PathBuf,
    /// Further settings of all members, after `--`. With `-- --fault AnswersEarly` the checks must
    /// find lost writes.
    #[arg(last = true)]
    pub settings: Vec<String>,
}

impl Options {
    pub fn coordinator(&self) -> Coordinator {
        if self.file { Coordinator::File } else { Coordinator::Etcd }
    }

    pub(crate) fn lasting(&self) -> Duration {
        Duration::from_secs_f64(self.minutes.max(0.0) * 60.0)
    }

    pub(crate) fn of_a_round(&self) -> Duration {
        Duration::from_secs_f64(self.round.max(1.0))
    }
}
