//! `understudy dev`: a pair that is ready to use, of real processes on this host, with commands to paste.
//!
//! Invariants: what it prints as a command works as it is printed; nothing outlives it, whatever ends it. A put that a hand has started
//! has minutes here, not seconds, which is said where it matters.
//!
//! Deliberately absent: settings. `serve` has them.

mod demo;
mod etcd;
mod members;
mod ports;
pub(super) mod tied;
mod worker;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use master::config::Logging;
use master::logging;
use master::serve::StopSignals;
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::dev::etcd::Etcd;
use crate::dev::members::{Members, RESTART_AFTER};
use crate::dev::tied::Sweeper;
use crate::fault::note;
use crate::output::print;
use crate::words;

/// How long a put may stay unfinished, and a client silent: hands are slow.
const PATIENCE: Duration = Duration::from_secs(600);
/// Between two looks at the state for the line at the bottom.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Address and port of each member [default: 127.0.0.1:7400, or the next free port]
    ///
    /// Those that are not named take the free ports after the last one that is.
    #[arg(long, value_name = "ADDRESS:PORT", value_delimiter = ',')]
    listen: Vec<SocketAddr>,
    /// Members: one primary, the others its standbys.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=6))]
    members: u16,
    /// With an etcd of its own as the coordinator, instead of a directory. `etcd` must be installed.
    #[arg(long)]
    etcd: bool,
    /// Without segments and objects to play with.
    #[arg(long, overrides_with = "demo")]
    no_demo: bool,
    /// With segments and objects to play with; the default.
    #[arg(long)]
    demo: bool,
    /// Segments to play with, each of a client of its own.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    segments: u16,
    /// Bytes of each of them: only counted, no memory is taken.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = words::parse_size)]
    segment_size: u64,
    /// Say what is ready as one JSON object on one line, and errors as one JSON object on stderr.
    #[arg(long)]
    pub(super) json: bool,
}

impl Args {
    /// For people, beside what was asked for.
    fn note(&self, line: &str) {
        if !self.json {
            note(line);
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    logging::start(&Logging { log_level: "warn".to_owned(), ..Logging::default() }, "")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(dev(args)).map(|()| ExitCode::SUCCESS)
}

async fn dev(args: &Args) -> anyhow::Result<()> {
    // SIGHUP: its terminal is gone.
    let signals = StopSignals::catch()?.or_hangup()?;
    let (addresses, line) = ports::choose(&args.listen, args.members).await?;
    line.iter().for_each(|line| args.note(line));
    let dir = tempfile::Builder::new().prefix("understudy-dev-").tempdir().context("no place for logs")?;
    let mut sweeper = Sweeper::start(dir.path())?;
    let etcd = match args.etcd {
        true => Some(Etcd::start(dir.path()).await?),
        false => None,
    };
    let coordinator = etcd.as_ref().map_or_else(|| format!("file:{}", dir.path().display()), Etcd::coordinator);
    let mut members = Members::start(dir.path(), &coordinator, &addresses)?;
    let stop_signal = signals.stop();
    tokio::pin!(stop_signal);
    let ended = tokio::select! {
        biased;
        _ = &mut stop_signal => Ok(()),
        ended = play(args, &mut members) => ended,
    };
    args.note("stopping");
    members.stop().await;
    if let Some(etcd) = etcd {
        etcd.stop().await;
    }
    if ended.is_err() {
        sweeper.keep();
        args.note(&format!("logs are kept in {}", dir.keep().display()));
    } else {
        // Before the sweeper looks.
        drop(dir);
    }
    ended
}

/// All that goes on while they serve. Ends only by an error.
async fn play(args: &Args, members: &mut Members) -> anyhow::Result<()> {
    members.wait_until_whole().await?;
    let addresses = members.addresses();
    let clients = match args.no_demo {
        true => Vec::new(),
        false => {
            demo::set_up(&addresses, args.segments, args.segment_size).await.context("the demo cannot be set up")?
        }
    };
    let primary = members.primary_pid().await;
    // A reader that has gone, or a full disk, does not end the members.
    let text = if args.json { document(args, members, primary).to_string() } else { banner(args, members, primary) };
    if let Err(error) = print(&text) {
        args.note(&format!("standard output takes nothing: {error}"));
    }
    let mut workers: tokio::task::JoinSet<()> = clients.into_iter().map(worker::carry_out_tasks).collect();
    tokio::select! {
        never = keep_going(args, members) => never,
        Some(_) = workers.join_next() => anyhow::bail!("a demo client has ended"),
    }
}

fn banner(args: &Args, members: &Members, primary: Option<u32>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let connect = Connect::to(&members.addresses().join(","));
    let mut text =
        format!("understudy {version} listens on {} (gRPC). All of it is gone when this ends.\n", members.list());
    if !args.no_demo {
        let (count, size) = (args.segments, words::size(args.segment_size));
        let plural = if count == 1 { "" } else { "s" };
        text += &format!("{count} demo segment{plural} of {size} and {} demo objects are there.\n", demo::OBJECTS);
    }
    text += "\nIn another terminal:\n\n";
    for command in commands(args) {
        text += &format!("  {}\n", connect.command(&command));
    }
    if let Some(pid) = primary.filter(|_| args.members > 1) {
        text += &format!(
            "\nKill any of them and look again, e.g. the primary: kill -9 {pid}. It is started anew after {} s. Logs: {}\n",
            RESTART_AFTER.as_secs(),
            members.dir().display(),
        );
    }
    text += &format!(
        "\nAn unfinished put and a silent client live {} min here (`serve`: 30 s and 10 s, unless set). Ctrl-C stops.",
        PATIENCE.as_secs() / 60
    );
    text
}

fn document(args: &Args, members: &Members, primary: Option<u32>) -> Value {
    let connect = Connect::to(&members.addresses().join(","));
    let commands: Vec<String> = commands(args).iter().map(|command| connect.command(command)).collect();
    json!({
        "members": members.document(),
        "primary_pid": primary,
        "segments": if args.no_demo { 0 } else { args.segments },
        "logs": members.dir().display().to_string(),
        "commands": commands,
    })
}

/// In this order they work, also a second time; but for the copy, once it is there.
fn commands(args: &Args) -> Vec<String> {
    let mut commands = vec!["status".to_owned(), "segments".to_owned()];
    let put = "kv put-start greeting --size 4KiB";
    match args.no_demo {
        true => commands.extend(["segments mount --size 1GiB".to_owned(), put.to_owned()]),
        false => commands.extend(["kv ls".to_owned(), format!("{put} --preferred demo-0")]),
    }
    commands.extend(["kv put-end greeting", "kv get greeting", "kv rm greeting --force"].map(str::to_owned));
    if !args.no_demo && args.segments > 1 {
        commands.push(format!("tasks create copy {} --to demo-1", demo::COPY_ME));
        commands.push("tasks".to_owned());
    }
    if args.members > 1 {
        commands.push("transfer".to_owned());
        commands.push("members".to_owned());
    }
    commands
}

/// One line at the bottom of a terminal (none where stderr is no terminal), and members that end are started anew.
async fn keep_going(args: &Args, members: &mut Members) -> anyhow::Result<()> {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is right");
    let line = ProgressBar::new_spinner().with_style(style);
    loop {
        for said in members.look_after()? {
            line.suspend(|| args.note(&said));
        }
        if !line.is_hidden() {
            line.set_message(members.state_line().await);
            line.tick();
        }
        tokio::time::sleep(LOOK).await;
    }
}
