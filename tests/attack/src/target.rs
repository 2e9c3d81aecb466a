//! The member under attack: a single process without a cluster, with objects whose keys are long.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use harness::cluster::{understudy, understudy_at};
use harness::process::Process;
use proto::v1::metadata_client::MetadataClient;
use proto::v1::{Caller, MountSegmentRequest, PutStartItem, PutStartRequest, Segment};
use tempfile::TempDir;
use test_ports::Port;
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};

const PATIENCE: Duration = Duration::from_secs(30);
const KEYS: usize = 4000;
/// Keys of 4 KiB each, so that a list of all takes 16 MiB, and a pattern takes long.
const KEY_TAIL: usize = 2045;

/// The client that fills it stays silent afterwards, and ends none of its puts.
const KEEPS: [&str; 4] = ["--client-ttl-ms", "3600000", "--put-start-timeout-ms", "3600000"];

#[derive(Debug)]
pub struct Target {
    process: Process,
    pub address: SocketAddr,
    _port: Port,
    _dir: TempDir,
}

impl Target {
    /// With these settings, as flags. `program`: an earlier build, if it is not this one.
    pub async fn start(program: Option<&Path>, args: &[&str]) -> Target {
        let (port, dir) = (test_ports::free_port(), TempDir::new().expect("there is a temp dir"));
        let mut command = program.map_or_else(understudy, understudy_at);
        command.args(["serve", "--node-name", "target", "--listen", &port.addr().to_string()]).args(KEEPS).args(args);
        let process = Process::start(command, &dir.path().join("target.log"));
        let target = Target { process, address: port.addr(), _port: port, _dir: dir };
        target.fill().await;
        target
    }

    pub async fn dial(&self) -> Result<MetadataClient<Channel>, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("it is an address");
        let connected = endpoint.connect_timeout(Duration::from_secs(5)).connect().await?;
        Ok(MetadataClient::new(connected).max_decoding_message_size(32 << 20))
    }

    async fn fill(&self) {
        let began = Instant::now();
        let mut client = loop {
            match self.dial().await {
                Ok(client) => break client,
                Err(why) => assert!(began.elapsed() < PATIENCE, "{why}; its log:\n{}", self.process.log()),
            }
            sleep(Duration::from_millis(20)).await;
        };
        let caller = || Some(Caller { client_id: Bytes::from_static(&[1; 16]), ..Caller::default() });
        let segment = Segment {
            id: Bytes::from_static(&[1; 16]),
            name: "s".to_owned(),
            base: 1 << 40,
            size: 1 << 30,
            endpoint: "10.0.0.1:9000".to_owned(),
            protocol: "tcp".to_owned(),
            host: "h".to_owned(),
            ..Segment::default()
        };
        let mount = MountSegmentRequest { caller: caller(), segments: vec![segment] };
        client.mount_segment(mount).await.expect("it is mounted");
        let keys: Vec<usize> = (0..KEYS).collect();
        for keys in keys.chunks(500) {
            let items = keys.iter().map(|at| PutStartItem { key: key(*at), size: 64 }).collect();
            let put = PutStartRequest { caller: caller(), items, ..PutStartRequest::default() };
            client.put_start(put).await.expect("there is room");
        }
    }

    pub fn resident_bytes(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.process.pid())).expect("it runs");
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("statm has pages") * 4096
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    pub fn log_bytes(&self) -> u64 {
        self.process.log_bytes()
    }
}

pub(crate) fn key(at: usize) -> Bytes {
    format!("{at:06}{}", "ab".repeat(KEY_TAIL)).into()
}
