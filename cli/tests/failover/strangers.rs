//! Processes that are no members connect to the port for other members: with a member's numbers,
//! with numbers of their own, with far too much data, or by the thousand. They count for nothing,
//! hold no place, and cost next to nothing.
//!
//! The tests read secrets from the directory, as only this user can, to make valid proofs that they
//! then use wrongly.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coordinator::{Coordinator as _, FileCoordinator, MemberInfo};
use election::{Incarnation, MemberId};
use prost::Message as _;
use proto::v1::from_primary::Message as Down;
use proto::v1::from_standby::Message as Up;
use proto::v1::replication_client::ReplicationClient;
use proto::v1::verify_question::Question;
use proto::v1::{self, FromPrimary, FromStandby};
use replication::{Greeting, Pass, PeerLog, Secret};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

use crate::check::check;
use crate::cluster::{Cluster, PATIENCE, Spec};
use crate::linked::Linked;
use crate::load::Load;

const WRITERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(2);
const CHANGES_BETWEEN: u64 = 300;
/// More than the cluster uses anyway.
const GROWTH_BYTES_MAX: u64 = 96 << 20;

fn wire(who: Incarnation) -> v1::Incarnation {
    v1::Incarnation { member: who.member.0, number: who.number }
}

fn secret(info: &MemberInfo) -> Secret {
    Secret(info.secret.expect("a member shows one").0)
}

/// The members' directory.
struct Directory {
    coordinator: Arc<FileCoordinator>,
}

impl Directory {
    fn of(cluster: &Cluster) -> Directory {
        let dir = cluster.dir().join("coordinator/default");
        let opened = FileCoordinator::open(&dir, Duration::from_secs(2));
        Directory { coordinator: Arc::new(opened.expect("it is this user's")) }
    }

    async fn member(&self, name: &str) -> MemberInfo {
        let members = self.coordinator.members().await.expect("it is there");
        members.into_iter().find(|info| info.name == name).expect("it is here")
    }

    async fn cluster_and_epoch(&self) -> (Bytes, u64) {
        let record = self.coordinator.read().await.expect("it is there").record.expect("one leads").record;
        (Bytes::copy_from_slice(&record.cluster_id.to_be_bytes()), record.epoch)
    }
}

/// The sender of a hello, and its receiver.
struct Knock<'a> {
    directory: &'a Directory,
    primary: &'a MemberInfo,
    who: v1::Incarnation,
    nonce: u8,
}

/// A stream that was opened, with its purpose.
struct Open {
    out: mpsc::Sender<FromStandby>,
    incoming: Streaming<FromPrimary>,
    calls: ReplicationClient<Channel>,
    greeting: Greeting,
}

impl Open {
    async fn say(&self, message: Up) {
        // It may have been closed.
        let _ = self.out.send(FromStandby { message: Some(message) }).await;
    }

    /// The next message, or why there is none.
    async fn next(&mut self) -> Result<FromPrimary, Status> {
        let next = timeout(PATIENCE, self.incoming.message()).await.expect("it answers, or closes the stream");
        next.and_then(|message| message.ok_or_else(|| Status::cancelled("closed")))
    }

    async fn challenge(&mut self) -> v1::Challenge {
        match self.next().await {
            Ok(FromPrimary { message: Some(Down::Challenge(challenge)), .. }) => challenge,
            other => panic!("no challenge: {other:?}"),
        }
    }

    /// Whatever it says next: it was not admitted.
    async fn hears_a_refusal(mut self, proof: Up) {
        self.say(proof).await;
        let inflated =
            v1::Receipt { epoch: 1, received: u64::MAX, applied: u64::MAX, echo_ms: 1, ..Default::default() };
        self.say(Up::Receipt(inflated)).await;
        let refused = self.next().await.expect_err("nothing of the log");
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    }
}

async fn dial(address: &str) -> Result<ReplicationClient<Channel>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is an address");
    let connected = endpoint.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(ReplicationClient::new(connected))
}

impl Knock<'_> {
    async fn open(&self) -> Open {
        self.try_open().await.expect("it takes hellos")
    }

    async fn try_open(&self) -> Result<Open, Status> {
        let (cluster_id, epoch) = self.directory.cluster_and_epoch().await;
        let both = (self.who, wire(self.primary.who));
        let greeting = Greeting::new("stranger", both, (cluster_id, epoch), [self.nonce; 16]);
        let mut calls = dial(&self.primary.peer_address).await?;
        let (out, outgoing) = mpsc::channel(8);
        let hello = FromStandby { message: Some(Up::Hello(greeting.hello())) };
        out.send(hello).await.expect("there is room");
        let beside = calls.clone();
        let opened = calls.sync_op_log(ReceiverStream::new(outgoing)).await?;
        Ok(Open { out, incoming: opened.into_inner(), calls: beside, greeting })
    }

    /// A proof that is valid for this challenge, if `mine` is the right secret.
    fn proof(&self, open: &Open, challenge: &v1::Challenge, mine: &Secret) -> (v1::Proof, Pass) {
        let secrets = (mine, &secret(self.primary));
        let proven = open.greeting.clone().on_challenge(challenge, secrets, PeerLog::default());
        proven.expect("the primary has proven itself")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_with_the_numbers_of_a_standby_and_without_its_secret_counts_for_nothing() {
    let mut cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (primary, epoch) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    let directory = Directory::of(&cluster);
    let (primary_info, standby_info) = (directory.member(&primary).await, directory.member(&standby).await);
    let (genuine, wrong) = (secret(&standby_info), Secret([9; 16]));
    let as_standby =
        |nonce| Knock { directory: &directory, primary: &primary_info, who: wire(standby_info.who), nonce };
    load.runs(CHANGES_BETWEEN).await;

    // No proof at all.
    let mut open = as_standby(1).open().await;
    open.challenge().await;
    open.hears_a_refusal(Up::Receipt(v1::Receipt::default())).await;
    // A wrong one, and the primary's own sent back.
    let mut open = as_standby(2).open().await;
    let challenge = open.challenge().await;
    let (proof, _) = as_standby(2).proof(&open, &challenge, &wrong);
    open.hears_a_refusal(Up::Proof(proof)).await;
    let mut open = as_standby(3).open().await;
    let proof = open.challenge().await.proof;
    open.hears_a_refusal(Up::Proof(v1::Proof { proof, ..v1::Proof::default() })).await;
    // A valid one, recorded, with the hello that it was for.
    let mut open = as_standby(4).open().await;
    let challenge = open.challenge().await;
    let (recorded, pass) = as_standby(4).proof(&open, &challenge, &genuine);
    drop(open);
    let mut open = as_standby(4).open().await;
    open.challenge().await;
    let mut calls = open.calls.clone();
    open.hears_a_refusal(Up::Proof(recorded)).await;
    // Nor a token that was never given.
    let question = Bytes::from(v1::VerifyQuestion::default().encode_to_vec());
    let request = v1::VerifyRequest { who: Some(wire(standby_info.who)), epoch, token: pass.token(), question };
    assert_eq!(calls.verify(request).await.expect_err("no token").code(), Code::Unauthenticated);
    // An earlier incarnation, one that does not exist, and the primary itself.
    let number = standby_info.who.number - 1;
    for who in [v1::Incarnation { number, ..wire(standby_info.who) }, v1::Incarnation { member: 99, number: 1 }] {
        let mut open = Knock { who, ..as_standby(5) }.open().await;
        let refused = open.next().await.expect_err("it is not shown");
        assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    }

    load.runs(CHANGES_BETWEEN).await;
    assert_eq!(cluster.in_sync().await, (primary.clone(), epoch), "nothing has changed");
    let log = cluster.log(&primary);
    assert_eq!(cluster.said(&primary, "a peer is connected"), 1, "the standby's stream was never displaced:\n{log}");
    let told = log.matches("is not admitted").count();
    assert!((1..=3).contains(&told), "one line in ten seconds, not one for each: {told}");
    for (file, log) in cluster.logs() {
        for info in [&primary_info, &standby_info] {
            let hex = format!("{:032x}", u128::from_be_bytes(secret(info).0));
            assert!(!log.contains(&hex), "{file} shows a secret");
        }
    }
    cluster.kill(&primary);
    load.goes_on_after(epoch).await;
    let history = load.stop().await;
    cluster.restart(&primary);
    cluster.in_sync().await;
    check(&cluster, &history).await;
}

/// A member that the coordinator shows, and that asks for too much.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_are_too_large_are_refused_before_they_are_decoded() {
    let cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let before = cluster.in_sync().await;
    let directory = Directory::of(&cluster);
    let primary = directory.member(&before.0).await;
    let who = Incarnation { member: MemberId(99), number: 1 };
    let mine = coordinator::Secret([5; 16]);
    let me = MemberInfo { who, name: "greedy".to_owned(), secret: Some(mine), ..primary.clone() };
    let _here = directory.coordinator.join(me).await.expect("nobody else is that member");
    let knock = Knock { directory: &directory, primary: &primary, who: wire(who), nonce: 1 };
    let mut open = knock.open().await;
    let challenge = open.challenge().await;
    let (proof, pass) = knock.proof(&open, &challenge, &Secret(mine.0));
    open.say(Up::Proof(proof)).await;
    let welcome = open.next().await.expect("it is let in");
    assert!(matches!(welcome.message, Some(Down::Welcome(_))), "{welcome:?}");

    let pid = cluster.pid(&before.0).expect("it runs");
    let held = resident_bytes(pid);
    let mut ask = async |question: Bytes| {
        let token = pass.token();
        let request = v1::VerifyRequest { who: Some(wire(who)), epoch: before.1, token, question };
        open.calls.verify(request).await.map(tonic::Response::into_inner)
    };
    // A list in the field of the sample's records, with elements of two bytes each.
    let sample = |records: usize| {
        let sample = v1::Sample {
            at: Some(v1::Position { epoch: before.1, seq: 1 }),
            part: Some(v1::Part { shard: 1, bucket: 1 }),
            records: vec![v1::SampleRecord::default(); records],
            ..v1::Sample::default()
        };
        Bytes::from(v1::VerifyQuestion { question: Some(Question::Sample(sample)) }.encode_to_vec())
    };
    ask(sample(100)).await.expect("a sample as standbys send it");
    for (question, field) in [
        (sample(20_000), "sample.records"),
        (encoded(Question::Buckets(v1::ShardList { shards: vec![1; 33] })), "buckets.shards"),
        (encoded(Question::Parts(v1::PartList { parts: vec![v1::Part::default(); 513] })), "parts.parts"),
    ] {
        let refused = ask(question).await.expect_err("too many");
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(field), "{refused}");
    }
    // As long as 31 million of them, which would be 1.5 GiB: the message itself is too long.
    let question = Bytes::from(vec![0; 62_000_000]);
    for _ in 0..3 {
        let refused = ask(question.clone()).await.expect_err("too long");
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    }
    let grown = resident_bytes(pid).saturating_sub(held);
    assert!(grown < GROWTH_BYTES_MAX, "it has grown by {grown} bytes");
    load.runs(CHANGES_BETWEEN).await;
    let status = cluster.status(&before.0).await.expect("it answers");
    let in_epoch = status.cluster.map_or(0, |cluster| cluster.epoch);
    assert_eq!((&*status.role, in_epoch), ("primary", before.1), "nobody was deposed");
    drop(load.stop().await);
}

fn encoded(question: Question) -> Bytes {
    v1::VerifyQuestion { question: Some(question) }.encode_to_vec().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_half_handshakes_keep_no_member_out_and_are_given_back() {
    const KNOCKS: usize = 3000;
    let mut cluster = Cluster::start(&["a", "b"], Spec::default()).await;
    let load = Load::start(&cluster.addresses(), WRITERS, PAUSE).await;
    let (primary, epoch) = cluster.in_sync().await;
    let standby = cluster.names_but(&primary).remove(0);
    let directory = Directory::of(&cluster);
    let primary_info = directory.member(&primary).await;
    let pid = cluster.pid(&primary).expect("it runs");
    let (held, files) = (resident_bytes(pid), open_files(pid));
    let address = primary_info.peer_address.clone();
    // Silent connections, and hellos with the standby's numbers that are never proven.
    let who = wire(directory.member(&standby).await.who);
    let mut kept = Vec::new();
    let mut streams = Vec::new();
    let (mut files_max, mut held_max) = (0, 0);
    for at in 0..KNOCKS {
        kept.extend(TcpStream::connect(&address).await);
        if at % 30 == 0 {
            let knock = Knock { directory: &directory, primary: &primary_info, who, nonce: at as u8 };
            // It may be cut off before it is done, since others come after it.
            streams.extend(timeout(Duration::from_secs(2), knock.try_open()).await.ok().and_then(Result::ok));
            files_max = files_max.max(open_files(pid));
            held_max = held_max.max(resident_bytes(pid));
        }
        if kept.len() > 500 {
            kept.remove(0);
        }
        if at == KNOCKS / 2 {
            cluster.kill(&standby);
            cluster.restart(&standby);
        }
    }
    assert_eq!(cluster.in_sync().await, (primary.clone(), epoch), "the standby has come back in");
    load.runs(CHANGES_BETWEEN).await;
    println!("{KNOCKS} knocks: {files} files at first, {files_max} at most; {held} bytes at first, {held_max} at most");
    assert!(files_max < files + 300, "{files_max} files are open, {files} at first");
    assert!(held_max < held + GROWTH_BYTES_MAX, "{held_max} bytes, {held} at first");
    // All that is left is cut off, whether or not the other ends close it.
    let mut left = open_files(pid);
    for _ in 0..100 {
        if left < files + 10 {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        left = open_files(pid);
    }
    assert!(left < files + 10, "{left} files are open, {files} at first");
    drop((kept, streams));
    let history = load.stop().await;
    check(&cluster, &history).await;
}

/// The coordinator has shown the member of the set before; now it cannot be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn member_of_the_set_proves_itself_again_while_etcd_is_away_and_after_it_has_lost_all_presences() {
    let mut linked = Linked::start(&["a", "b"], &[]).await;
    let load = Load::start(&linked.cluster.addresses(), WRITERS, PAUSE).await;
    let before = linked.cluster.in_sync().await;
    load.runs(CHANGES_BETWEEN).await;
    let etcd = linked.etcd.as_ref().expect("it has one");
    etcd.ctl(&["del", "--prefix", "/understudy/default/members/"]).expect("it answers");
    linked.peer(&before.0).reset();
    load.runs(CHANGES_BETWEEN).await;
    assert_eq!(linked.cluster.in_sync().await, before, "the standby has come back to the same primary");
    linked.etcd.as_mut().expect("it has one").kill();
    for _ in 0..3 {
        sleep(Duration::from_millis(500)).await;
        linked.peer(&before.0).reset();
        load.runs(CHANGES_BETWEEN).await;
    }
    let status = linked.cluster.status(&before.0).await.expect("it answers");
    let in_epoch = status.cluster.map_or(0, |cluster| cluster.epoch);
    assert_eq!((&*status.role, in_epoch), ("primary", before.1), "it went on");
    linked.etcd.as_mut().expect("it has one").restart().await;
    let history = load.stop().await;
    linked.cluster.in_sync().await;
    check(&linked.cluster, &history).await;
}

fn resident_bytes(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).expect("it runs");
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("statm has pages") * 4096
}

fn open_files(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count()
}
