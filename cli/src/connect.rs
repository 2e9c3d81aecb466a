//! How a command finds a master, and who it says that it is.
//!
//! Invariants: a command sends no signs of life and no request numbers (the next one under the same id could not go on
//! from them), so it is done when it has its answer; and what it says as the next command works when it is pasted.
//!
//! Deliberately absent: long sessions. Commands that stay (`segments mount`, `dev`) have clients of their own.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, ClientId, EtcdDiscovery, Heartbeat, Numbering, Options, Transport};
use master::health::{Trouble, Verdict as Judged};
use master::node_name;

use crate::etcd::{EtcdArgs, Shown};
use crate::fault::{Fault, Verdict, note};
use crate::health;
use crate::output::{Form, Output, waiting};
use crate::words::shell;

/// What `serve` and `dev` listen on where nothing else is said.
pub(crate) const DEFAULT_ADDRESS: &str = "127.0.0.1:7400";
const ADDRESS_VARIABLE: &str = "UNDERSTUDY_ADDRESS";
const TENANT_VARIABLE: &str = "UNDERSTUDY_TENANT";
const CLIENT_ID_VARIABLE: &str = "UNDERSTUDY_CLIENT_ID";

/// One call with its retries, where `--timeout-ms` says nothing.
const TIMEOUT: Duration = Duration::from_secs(5);
/// One that goes through all objects.
const LONG_TIMEOUT: Duration = Duration::from_secs(600);
/// After which a command says what it waits for.
const PATIENCE: Duration = Duration::from_secs(1);
/// A key that no client has: only a primary answers for it.
const PROBE: &str = "understudy: is a primary here?";
/// Until one of the addresses must have taken the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The members that are known before any of them is asked.
#[derive(Debug)]
pub(crate) struct Directory {
    /// Address and, where it is known, name.
    pub(crate) members: Vec<(String, Option<String>)>,
    /// Why it may not have all of them.
    pub(crate) trouble: Option<Trouble>,
}

/// In every command that talks to a member.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connect {
    /// Addresses of the members: once for each, or separated by commas.
    #[arg(long, global = true, env = ADDRESS_VARIABLE, value_name = "HOST:PORT", value_delimiter = ',')]
    #[arg(default_value = DEFAULT_ADDRESS)]
    address: Vec<String>,
    #[command(flatten)]
    etcd: EtcdArgs,
    /// Tenant that the keys live in; "" is the default one.
    #[arg(long, global = true, env = TENANT_VARIABLE, value_name = "NAME", default_value = "", hide_default_value = true)]
    tenant: String,
    /// Client that the command acts as [default: one made from this machine and user]
    ///
    /// The default is always the same, so that one command can end what an earlier one has started. Commands send no
    /// signs of life: what they have not ended is discarded when the client's time to live is over.
    #[arg(long, global = true, env = CLIENT_ID_VARIABLE, value_name = "32 HEX DIGITS")]
    client_id: Option<ClientId>,
    /// How long one call may take with all its retries [default: 5000]
    ///
    /// The default is 600000 for calls that go through all objects (rm by pattern or all, ls), once a primary is there to
    /// work on them; that has 5000.
    #[arg(long, global = true, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: Option<u64>,
    /// Answer with one JSON document, and errors with one JSON object on stderr.
    #[arg(long, global = true)]
    json: bool,
}

impl Connect {
    /// As if this address had been said, and nothing else.
    pub(crate) fn to(address: &str) -> Connect {
        let address = vec![address.to_owned()];
        let etcd = EtcdArgs::default();
        Connect { address, etcd, tenant: String::new(), client_id: None, timeout_ms: None, json: false }
    }

    /// A command from its arguments to its exit code.
    pub(crate) fn run(&self, command: impl AsyncFnOnce(&mut Output) -> Result<Verdict, Fault>) -> ExitCode {
        let mut out = Output::new(if self.json { Form::Json } else { Form::People });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = match runtime {
            Ok(runtime) => {
                let done = runtime.block_on(async {
                    let done = command(&mut out);
                    tokio::select! {
                        biased;
                        done = done => done,
                        never = self.say_what_is_waited_for() => match never {},
                    }
                });
                // A name that is still being looked up is not waited for.
                runtime.shutdown_background();
                done
            }
            Err(error) => Err(Fault::new("RUNTIME", format!("cannot start: {error}"), "Look at the process limits.")),
        };
        out.finish(done)
    }

    pub(crate) fn tenant(&self) -> &str {
        &self.tenant
    }

    /// The id was said, and is not ours to make assumptions about.
    pub(crate) fn names_client(&self) -> bool {
        self.client_id.is_some()
    }

    /// A client for one command.
    pub(crate) async fn client(&self) -> Result<Client, Fault> {
        let id = self.client_id.unwrap_or_else(id_of_this_user);
        self.client_as(id).await
    }

    /// The same in another one's name.
    pub(crate) async fn client_as(&self, id: ClientId) -> Result<Client, Fault> {
        let mut options = self.options();
        options.client_id = Some(id);
        options.heartbeat = Heartbeat::Off;
        options.numbering = Numbering::Off;
        options.transport = Transport::Unary;
        self.discover(&mut options).await?;
        Ok(waiting("connecting", Client::connect(options)).await?)
    }

    /// A client that stays and has things of its own: fresh, unless it was said which one.
    pub(crate) async fn lasting_client(&self) -> Result<Client, Fault> {
        let mut options = self.options();
        options.client_id = self.client_id;
        if self.names_client() {
            options.numbering = Numbering::Off;
        }
        self.discover(&mut options).await?;
        Ok(waiting("connecting", Client::connect(options)).await?)
    }

    /// By etcd, if that was said: any of its members, and the primary that is announced there later.
    async fn discover(&self, options: &mut Options) -> Result<(), Fault> {
        let Some(etcd) = self.etcd.options()? else { return Ok(()) };
        let Shown { members, trouble } = self.etcd.show(etcd.clone()).await?;
        if let Some(Trouble { reason, .. }) = trouble {
            return Err(Fault::new("COORDINATOR", reason.what, &format!("{}.", reason.next)));
        }
        options.addresses = members.into_iter().map(|info| info.address).collect();
        options.discovery = Some(Arc::new(EtcdDiscovery::connect(etcd).await?));
        Ok(())
    }

    /// Where members are to be asked: those that were named, and those that etcd names.
    pub(crate) async fn directory(&self) -> Result<Directory, Fault> {
        let said = || self.address.iter().map(|address| (address.trim().to_owned(), None));
        let Some(etcd) = self.etcd.options()? else {
            return Ok(Directory { members: said().collect(), trouble: None });
        };
        let Shown { members, trouble } = self.etcd.show(etcd).await?;
        let shown = members.into_iter().map(|info| (info.address, Some(info.name)));
        let said = said().filter(|(address, _)| address != DEFAULT_ADDRESS);
        Ok(Directory { members: shown.chain(said).collect(), trouble })
    }

    fn options(&self) -> Options {
        let mut options = Options::new(self.address.iter().map(|address| address.trim()));
        options.tenant = self.tenant.clone();
        options.host = node_name("");
        options.deadline = self.timeout(TIMEOUT);
        // Enough for each address to be silent once.
        let silence = options.connect_timeout * u32::try_from(self.address.len()).unwrap_or(u32::MAX);
        options.connect_deadline = self.timeout(CONNECT_TIMEOUT.max(silence)).min(TIMEOUT.max(silence));
        options
    }

    fn timeout(&self, otherwise: Duration) -> Duration {
        self.timeout_ms.map_or(otherwise, Duration::from_millis)
    }

    /// A handle for calls that go through all objects. They may take their time, once a primary is there to work on them.
    pub(crate) async fn patient(&self, client: &Client) -> Result<Client, Fault> {
        client.exists_one(PROBE).await?;
        Ok(client.with_deadline(self.timeout(LONG_TIMEOUT)))
    }

    /// A command that takes long without a primary says so, once. In JSON an error is the only word on stderr.
    async fn say_what_is_waited_for(&self) -> Infallible {
        if !self.json {
            tokio::time::sleep(PATIENCE).await;
            if let Ok(health) = health::look(self).await
                && health.verdict >= Judged::NoPrimary
            {
                note(&format!("waiting: {}", health::line(&health)));
            }
        }
        std::future::pending().await
    }

    /// The beginning of a command line for the same member, as the same client: `understudy` with what was said on the
    /// command line, but not what stands in the environment or is the default.
    pub(crate) fn command(&self, command: &str) -> String {
        let mut line = format!("{} {command}", program());
        let addresses = self.address.join(",");
        let without = std::env::var(ADDRESS_VARIABLE).unwrap_or_else(|_| DEFAULT_ADDRESS.to_owned());
        if self.etcd.is_used() {
            line.push_str(&self.etcd.words());
        } else if addresses != without {
            line.push_str(&format!(" --address {}", shell(&addresses)));
        }
        if self.tenant != std::env::var(TENANT_VARIABLE).unwrap_or_default() {
            line.push_str(&format!(" --tenant {}", shell(&self.tenant)));
        }
        let from_environment = || std::env::var(CLIENT_ID_VARIABLE).ok()?.parse().ok();
        if let Some(id) = self.client_id.filter(|id| Some(*id) != from_environment()) {
            line.push_str(&format!(" --client-id {id}"));
        }
        line
    }
}

/// This program as a shell finds it again: by its name if it was found by that, else by its whole path.
pub(crate) fn program() -> String {
    let called_as = std::env::args().next().unwrap_or_default();
    if !called_as.is_empty() && !called_as.contains('/') {
        return shell(&called_as);
    }
    let path = std::env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
    shell(&path.unwrap_or(called_as))
}

/// The same for all commands of a user on a machine, and for no other user or machine.
fn id_of_this_user() -> ClientId {
    use std::os::unix::fs::MetadataExt as _;
    let user = std::fs::metadata("/proc/self").map(|process| process.uid()).unwrap_or_default();
    // Hosts may share a name, machines do not share this.
    let machine = std::fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let host = node_name("");
    let text = format!("understudy command line\n{user}\n{host}\n{}", machine.trim());
    ClientId(xxhash_rust::xxh3::xxh3_128(text.as_bytes()).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        connect: Connect,
    }

    fn connect(words: &[&str]) -> Connect {
        Command::try_parse_from([&["understudy"], words].concat()).expect("it parses").connect
    }

    #[test]
    fn id_of_a_user_stays_and_is_not_empty() {
        assert_eq!(id_of_this_user(), id_of_this_user());
        assert_ne!(id_of_this_user(), ClientId([0; 16]));
    }

    #[test]
    fn addresses_come_one_by_one_or_in_a_list() {
        let options = connect(&["--address", "a:1,b:2", "--address", "c:3"]).options();
        assert_eq!(options.addresses, ["a:1", "b:2", "c:3"]);
        assert_eq!(options.connect_deadline, Duration::from_millis(1500), "each may be silent once");
        assert_eq!(connect(&["--timeout-ms", "70"]).options().connect_deadline, Duration::from_millis(70));
        assert_eq!(connect(&["--timeout-ms", "60000"]).options().connect_deadline, Duration::from_secs(5));
    }

    #[test]
    fn next_command_repeats_what_was_said() {
        let id = "00000000-0000-0000-0000-0000000000ff";
        let line = connect(&["--address", "a:1", "--tenant", "it's", "--client-id", id]).command("kv ls");
        assert!(line.ends_with(&format!(r" kv ls --address a:1 --tenant 'it'\''s' --client-id {id}")), "{line}");
        assert!(connect(&[]).command("kv ls").ends_with(" kv ls"));
        let line = connect(&["--etcd", "http://e:1,http://f:2", "--cluster-name", "c"]).command("kv ls");
        assert!(line.ends_with(" kv ls --etcd http://e:1,http://f:2 --cluster-name c"), "{line}");
    }
}
