//! A real etcd of one member, on ports and in a directory of its own. It ends with its guard, even
//! when a test panics.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use etcd_client::Client;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;
use test_ports::{Port, free_port};
use understudy_coordinator::conformance::eventually;

pub(crate) struct Etcd {
    dir: TempDir,
    client_port: Port,
    peer_port: Port,
    tls: bool,
    running: Option<Child>,
}

impl Etcd {
    /// Not started yet.
    pub(crate) fn new() -> Etcd {
        let dir = tempfile::tempdir().expect("a directory");
        Etcd { dir, client_port: free_port(), peer_port: free_port(), tls: false, running: None }
    }

    /// Not started yet. It will admit only clients with a certificate. `ca.pem`, `client.pem` and
    /// `client.key` stand in its directory.
    pub(crate) fn with_tls() -> Etcd {
        let mut etcd = Etcd::new();
        etcd.tls = true;
        write_certificates(etcd.path());
        etcd
    }

    pub(crate) async fn running() -> Etcd {
        let mut etcd = Etcd::new();
        etcd.start();
        eventually("etcd serves", async || etcd.is_serving().await).await;
        etcd
    }

    async fn is_serving(&self) -> bool {
        let Ok(mut client) = Client::connect([self.endpoint()], None).await else { return false };
        let limit = std::time::Duration::from_secs(1);
        matches!(tokio::time::timeout(limit, client.get("nothing", None)).await, Ok(Ok(_)))
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn log(&self) -> PathBuf {
        self.path().join("etcd.log")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect([self.endpoint()], None).await.expect("connected")
    }

    pub(crate) fn start(&mut self) {
        let scheme = if self.tls { "https" } else { "http" };
        let client_url = format!("{scheme}://127.0.0.1:{}", self.client_port);
        let peer_url = format!("http://127.0.0.1:{}", self.peer_port);
        let mut command = Command::new("etcd");
        command
            .args(["--name", "test", "--log-level", "error", "--unsafe-no-fsync"])
            // The shortest lease is one and a half of the election time-out.
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("test={peer_url}")])
            .arg("--data-dir")
            .arg(self.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(self.log()).expect("a log"));
        if self.tls {
            let file = |name| self.path().join(name);
            command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(file("ca.pem"));
            command.arg("--cert-file").arg(file("server.pem")).arg("--key-file").arg(file("server.key"));
        }
        let started = command.spawn();
        self.running = Some(started.unwrap_or_else(|error| panic!("etcd (Debian: etcd-server) can't be run: {error}")));
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn pid(&self) -> Pid {
        let child = self.running.as_ref().expect("it runs");
        Pid::from_raw(child.id().cast_signed()).expect("not 0")
    }

    /// Returns when all its threads have stopped: on a busy machine one may go on for a while after
    /// the signal was sent.
    pub(crate) fn stop(&self) {
        kill_process(self.pid(), Signal::STOP).expect("sent");
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).expect("it is ours").expect("waited");
        assert!(status.stopped(), "it has ended: {status:?}");
    }

    pub(crate) fn go_on(&self) {
        kill_process(self.pid(), Signal::CONT).expect("sent");
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("etcd said:\n{}", std::fs::read_to_string(self.log()).unwrap_or_default());
        }
    }
}

fn write_certificates(dir: &Path) {
    let write = |name: &str, text: String| std::fs::write(dir.join(name), text).expect("written");
    let key = || KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, key()).expect("signed");
    write("ca.pem", ca.pem());
    for (name, usage) in
        [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
        // etcd connects to itself, with the certificate that it serves.
        params.extended_key_usages = vec![usage, ExtendedKeyUsagePurpose::ClientAuth];
        let key = key();
        write(&format!("{name}.pem"), params.signed_by(&key, &ca).expect("signed").pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}
