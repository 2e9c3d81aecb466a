//! `serve --guarded` (the setting `guarded`): a tiny parent that sees its member's process end, and
//! reports it.
//!
//! A standby must wait until a silent primary can have no tenure left. It need not wait if the
//! process is known to have ended: the parent learns this from the kernel, which says so only after
//! the last thread is gone. It reports it to the coordinator, where a standby that is about to take
//! over looks.
//!
//! The parent holds the member by a pidfd, from its start on: a signal or a wait can meet no other
//! process that has got the same id.
//!
//! Invariants: a death is reported only after the kernel has told it; the member ends when its
//! parent does, in whatever way. Silence, a broken stream or a stopped process is never reported.
//!
//! Deliberately absent: starting the member again. That is up to the supervisor of this process.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use coordinator::Coordinator;
use election::Incarnation;
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::membership::{incarnation, open_coordinator};
use crate::process::node_name;
use crate::serve::StopSignals;

/// Between two attempts to report.
const REPORT_PAUSE: Duration = Duration::from_millis(100);
/// After this the coordinator is given up, and the standbys wait as they would without a guard.
const REPORT_WITHIN: Duration = Duration::from_secs(5);

pub fn run(config: &Config) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(guard(config))
}

async fn guard(config: &Config) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::catch()?;
    let mut hangups = signal(SignalKind::hangup()).context("signals cannot be caught")?;
    // Before there is anything to report, so that it is known to work.
    let coordinator = open_coordinator(&config.cluster).await?;
    let who = incarnation(&node_name(&config.serving.node_name));
    let mut child = spawn(who)?;
    // Held until the member has ended: this end of the pipe shows the member that this process
    // lives.
    let held = child.stdin.take();
    let member = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).context("the member cannot be watched")?;
    let member = Arc::new(member);
    let mut ended = wait_for(Arc::clone(&member));
    loop {
        tokio::select! {
            biased;
            end = &mut ended => break end.context("the wait for the member has ended by a fault")??,
            name = signals.next() => {
                tracing::info!("{name}: the member is told to stop");
                // An error: it has ended just now.
                let _ = pidfd_send_signal(&*member, Signal::TERM);
            }
            Some(()) = hangups.recv() => {
                // An error: it has ended just now.
                let _ = pidfd_send_signal(&*member, Signal::HUP);
            }
        }
    }
    let status = child.wait().context("the member has ended, and the kernel does not say how")?;
    drop(held);
    if timeout(REPORT_WITHIN, report(&*coordinator, who)).await.is_err() {
        tracing::warn!(%status, "the member has ended, but its end could not be reported: a takeover waits for the tenure");
    } else {
        tracing::info!(%status, "the member has ended, and the coordinator knows");
    }
    Ok(code(status))
}

/// Until the coordinator has accepted it.
async fn report(coordinator: &dyn Coordinator, who: Incarnation) {
    while let Err(error) = coordinator.report_dead(who).await {
        tracing::debug!("the member's end could not be reported yet: {error}");
        sleep(REPORT_PAUSE).await;
    }
}

fn spawn(who: Incarnation) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("this program cannot find itself")?;
    // The number tells the member that it has a guard.
    let words = std::env::args_os().skip(1);
    let ours = ["--until-stdin-ends".to_owned(), "--incarnation".to_owned(), who.number.to_string()];
    let mut command = Command::new(program);
    command.args(words).args(ours.map(OsString::from)).stdin(Stdio::piped());
    command.spawn().context("the member cannot be started")
}

/// Ends once the last thread of the member is gone. Its exit status can still be read then.
fn wait_for(member: Arc<OwnedFd>) -> oneshot::Receiver<rustix::io::Result<()>> {
    let (ended, ends) = oneshot::channel();
    std::thread::spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let end = retry_on_intr(|| waitid(WaitId::PidFd(member.as_fd()), options));
        ended.send(end.map(drop))
    });
    ends
}

/// The exit code as a shell would return it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
