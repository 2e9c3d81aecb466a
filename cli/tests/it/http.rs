//! The admin HTTP: each page over a plain socket, from a node in this process and from members as
//! processes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use master::{CommitRule, Standing};
use proto::v1::Reason;
use proto::v1::session_request::Call;

use crate::support::process::Master;
use crate::support::requests::{Client, exists, list_all, segment};
use crate::support::wire::answer;
use crate::support::{Running, start_with};

#[derive(Debug)]
struct Page {
    code: u16,
    head: String,
    body: String,
}

/// Until the server closes the connection.
fn exchange(address: SocketAddr, request: &str) -> Page {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it is answered, in text");
    let (head, body) = text.split_once("\r\n\r\n").expect("headers come first");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("there is a status line");
    Page { code, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

fn get(address: SocketAddr, path: &str) -> Page {
    exchange(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
}

fn says(address: SocketAddr, path: &str) -> (u16, String) {
    let Page { code, body, .. } = get(address, path);
    (code, body.trim_end().to_owned())
}

/// The samples, by name and labels, without the prefix.
fn metrics(address: SocketAddr) -> BTreeMap<String, f64> {
    let page = exchange(
        address,
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n",
    );
    assert_eq!(page.code, 200, "{page:?}");
    assert!(page.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", page.head);
    assert!(page.body.ends_with("# EOF\n"));
    let samples = page.body.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
        let name = name.strip_prefix("understudy_").expect("all names have the prefix");
        (name.to_owned(), value.parse().expect("it is a number"))
    };
    samples.map(sample).collect()
}

fn status(address: SocketAddr) -> serde_json::Value {
    let page = get(address, "/status");
    assert!(page.code == 200 && page.head.contains("content-type: application/json"), "{page:?}");
    serde_json::from_str(&page.body).expect("it is JSON")
}

struct Admin {
    node: Running,
    address: SocketAddr,
    _port: test_ports::Port,
}

async fn start() -> Admin {
    start_under(CommitRule::Alone).await
}

async fn start_under(rule: CommitRule) -> Admin {
    let port = test_ports::free_port();
    let address = port.addr();
    let set = |config: &mut master::config::Config| {
        config.serving.node_name = "n1".to_owned();
        config.admin.admin_listen = address.to_string();
    };
    Admin { node: start_with(rule, set).await, address, _port: port }
}

#[tokio::test(flavor = "multi_thread")]
async fn lone_node_tells_all_it_knows() {
    let Admin { node, address, _port } = start().await;
    let client = Client::new(1);
    let (mut session, mut unary) = (node.session().await, node.unary().await);
    answer!(MountSegment, session.call(client.mount(vec![segment(1, 1 << 20)])));
    answer!(PutStart, unary.call(Call::PutStart(client.put_start(&["a"], 1000))));
    answer!(PutEnd, session.call(Call::PutEnd(client.put_end(&["a"]))));
    for _ in 0..20 {
        answer!(Exists, session.call(exists(&["a"])));
        answer!(Exists, unary.call(exists(&["a"])));
    }
    answer!(ListKeys, session.call(list_all()));
    let nobody = Call::Remove(proto::v1::RemoveRequest::default());
    for wire in [&mut session, &mut unary] {
        assert_eq!(wire.call(nobody.clone()).await.expect_err("nobody calls").reason(), Reason::InvalidArgument);
    }

    for (path, word) in [("/livez", "alive"), ("/readyz", "primary"), ("/promotable", "yes")] {
        assert_eq!(says(address, path), (200, word.to_owned()), "{path}");
    }
    let metrics = metrics(address);
    let expected = [
        ("node_info{node=\"n1\",version=\"0.1.0\"}", 1.0),
        ("role{role=\"primary\"}", 1.0),
        ("role{role=\"standby\"}", 0.0),
        ("ready", 1.0),
        ("promotable", 1.0),
        ("epoch", 1.0),
        ("seq_appended", 5.0),
        ("seq_committed", 5.0),
        ("seq_applied", 5.0),
        ("tail_entries", 5.0),
        ("objects", 1.0),
        ("segments", 1.0),
        ("clients", 1.0),
        ("capacity_bytes", f64::from(1 << 20)),
        ("requests_total{method=\"Exists\",result=\"ok\"}", 40.0),
        ("requests_total{method=\"ListKeys\",result=\"ok\"}", 1.0),
        ("requests_total{method=\"PutStart\",result=\"ok\"}", 1.0),
        ("requests_total{method=\"Session\",result=\"ok\"}", 1.0),
        ("requests_total{method=\"Remove\",result=\"ok\"}", 0.0),
        ("requests_total{method=\"Remove\",result=\"INVALID_ARGUMENT\"}", 2.0),
        ("request_seconds_bucket{le=\"+Inf\",method=\"ListKeys\"}", 1.0),
    ];
    for (name, value) in expected {
        assert_eq!(metrics.get(name), Some(&value), "{name} in {metrics:#?}");
    }
    // A client that does not ask for OpenMetrics gets the older format.
    let older = get(address, "/metrics");
    assert!(older.head.contains("content-type: text/plain; version=0.0.4"), "{}", older.head);
    assert!(older.body.contains("\n# TYPE understudy_requests_total counter\n") && !older.body.contains("# EOF"));
    let timed = metrics["request_seconds_count{method=\"Exists\"}"];
    assert!((5.0..=20.0).contains(&timed), "{timed} of 40 calls on a few threads");
    assert!(metrics["memory_resident_bytes"] > 1e6 && metrics["uptime_seconds"] < 60.0);
    for absent in ["tenure_left_seconds", "lag_ops", "insync_members", "takeovers_total"] {
        assert!(!metrics.contains_key(absent), "{absent} is nothing that a lone node knows");
    }
    let status = status(address);
    assert_eq!(
        (status["node"].as_str(), status["role"].as_str(), status["ready"].as_bool()),
        (Some("n1"), Some("primary"), Some(true))
    );
    assert_eq!(
        (&status["position"]["seq"], &status["objects"], &status["cluster"]),
        (&5.into(), &1.into(), &().into())
    );
    let page = get(address, "/");
    assert!(page.head.contains("content-type: text/html") && page.body.contains("<h1>n1: primary</h1>"), "{page:?}");
}

/// Not when they have run: no client has an answer then.
#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_when_their_commit_is_known() {
    let Admin { node, address, _port } = start_under(CommitRule::Peers).await;
    let (client, tail) = (Client::new(1), node.node.tail());
    let (mut session, mut unary) = (node.session().await, node.unary().await);
    let mounted = |result: &str| format!("requests_total{{method=\"MountSegment\",result=\"{result}\"}}");
    let [first, second] = [1, 2].map(|number| client.mount(vec![segment(number, 1 << 20)]));
    let calls = [
        tokio::spawn(async move { session.call(first).await.is_ok() }),
        tokio::spawn(async move { unary.call(second).await.is_ok() }),
    ];
    while tail.appended().get() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(metrics(address)[&mounted("ok")], 0.0);
    tail.committed().advance(3);
    tail.committed().advance(4);
    for call in calls {
        assert!(call.await.expect("it runs"));
    }
    let counted = metrics(address);
    assert_eq!((counted[&mounted("ok")], counted["seq_committed"]), (2.0, 4.0));

    let (mut session, mut unary) = (node.session().await, node.unary().await);
    let [first, second] = [3, 4].map(|number| client.mount(vec![segment(number, 1 << 20)]));
    let calls = [
        tokio::spawn(async move { session.call(first).await.is_ok() }),
        tokio::spawn(async move { unary.call(second).await.is_ok() }),
    ];
    while tail.appended().get() < 6 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tail.committed().close(oplog::CloseReason::Deposed { epoch: 9 });
    for call in calls {
        assert!(!call.await.expect("it runs"));
    }
    let counted = metrics(address);
    assert_eq!((counted[&mounted("ok")], counted[&mounted("OUTCOME_UNKNOWN")]), (2.0, 2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_turned_away() {
    let Admin { node: _node, address, _port } = start().await;
    assert_eq!(says(address, "/nothing").0, 404);
    assert_eq!(get(address, "/livez?verbose").code, 200);
    let posted = exchange(address, "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    assert!(posted.code == 405 && posted.head.contains("allow: get, head"), "{posted:?}");
    let head = exchange(address, "HEAD /status HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.code == 200 && head.body.is_empty() && head.head.contains("content-length: "), "{head:?}");
    assert_eq!(exchange(address, "\r\n\r\nhello\r\n\r\n").code, 400);
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let mut stream = TcpStream::connect(address).expect("it listens");
    // It may be closed before all of it is sent.
    let _ = stream.write_all(long.as_bytes()).and_then(|()| stream.read_to_end(&mut Vec::new()));
    assert_eq!(get(address, "/livez").code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_follow_the_gate_until_the_port_is_free() {
    let Admin { node, address, _port } = start().await;
    node.node.gate().set(Standing::NotPrimary { hint: "10.0.0.9:7400".to_owned(), epoch: 4 });
    let (code, why) = says(address, "/readyz");
    assert!(code == 503 && why.contains("10.0.0.9:7400"), "{code} {why}");
    assert_eq!(says(address, "/livez"), (200, "alive".to_owned()));
    let seen = metrics(address);
    assert_eq!((seen["ready"], seen["role{role=\"standby\"}"], seen["role{role=\"primary\"}"]), (0.0, 1.0, 0.0));
    node.node.gate().set(Standing::Stopping);
    for path in ["/livez", "/readyz", "/promotable"] {
        assert_eq!(says(address, path).0, 503, "{path}");
    }
    assert_eq!(status(address)["role"], "stopping");
    tokio::time::timeout(Duration::from_secs(3), node.stop()).await.expect("it ends in time").expect("it ends well");
    TcpStream::connect(address).expect_err("no process listens any more");
    drop(std::net::TcpListener::bind(address).expect("the port is free"));
}

/// All threads that serve calls are busy: facts are shown all the same, and after a while also that
/// the node does not live.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_come_while_no_call_can_be_served() {
    let Admin { node: _node, address, _port } = start().await;
    let (busy, done) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
    for _ in 0..2 {
        let (busy, done) = (Arc::clone(&busy), Arc::clone(&done));
        tokio::spawn(async move {
            busy.wait();
            done.wait();
        });
    }
    busy.wait();
    let began = Instant::now();
    for path in ["/metrics", "/status", "/", "/readyz", "/promotable"] {
        assert_eq!(get(address, path).code, 200, "{path}");
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let (code, why) = says(address, "/livez");
    done.wait();
    assert!(code == 503 && why.contains("have run no new task"), "{code} {why}");
    assert_eq!(says(address, "/livez").0, 200);
}

/// Probes that wait for their answer take the places: those beyond the bound are told so, the
/// others get theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_beyond_the_bound_are_told_503_and_the_others_are_answered() {
    let Admin { node: _node, address, _port } = start().await;
    let (busy, done) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
    for _ in 0..2 {
        let (busy, done) = (Arc::clone(&busy), Arc::clone(&done));
        tokio::spawn(async move {
            busy.wait();
            done.wait();
        });
    }
    busy.wait();
    let mut probes: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is taken");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set");
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_secs(1));
    done.wait();
    let mut counts = (0, 0);
    for stream in &mut probes {
        let mut text = String::new();
        // One that was silent may have made room for another.
        let _ = stream.read_to_string(&mut text);
        match text.split(' ').nth(1) {
            Some("200") => counts.0 += 1,
            Some("503") => {
                assert!(text.ends_with("\r\n\r\ntoo many connections are being answered now\n"), "{text}");
                assert!(text.contains("\r\nretry-after: 1\r\n"), "{text}");
                counts.1 += 1;
            }
            _ => {}
        }
    }
    // A few are told so at a time. The rest of such a burst finds its connection closed.
    assert!(counts.0 >= 40 && counts.1 >= 8, "{counts:?}: answered, told 503");
    assert_eq!(says(address, "/readyz"), (200, "primary".to_owned()));
}

/// Silent connections keep no probe out, and are gone after a while.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_keep_no_probe_out() {
    let Admin { node: _node, address, _port } = start().await;
    let mut silent: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(b"GET /livez HT").expect("it is taken");
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(says(address, "/livez").0, 200);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // The first one had to go for a later one. The last one stays until its time is over.
    let _ = silent[0].read_to_end(&mut Vec::new());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("it can be set");
        // Closed or reset: either is an end.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let all = began.elapsed();
    assert!(all > Duration::from_secs(4) && all < Duration::from_secs(12), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn taken_port_is_named_with_its_setting() {
    let (port, admin) = (test_ports::free_port(), test_ports::free_port());
    let _taken = std::net::TcpListener::bind(admin.addr()).expect("it is ours");
    let mut config = master::config::Config::default();
    config.serving.listen = port.addr();
    config.admin.admin_listen = admin.addr().to_string();
    let refused = master::Server::bind(master::Node::alone(config)).await.expect_err("the port is taken").to_string();
    let expected = format!("cannot serve the admin HTTP on {}: the port is taken by another process", admin.addr());
    assert!(refused.starts_with(&expected) && refused.contains("--admin-listen"), "{refused}");
    std::net::TcpListener::bind(port.addr()).expect("nothing of it is left");
}

struct Process {
    process: Master,
    admin: SocketAddr,
    _port: test_ports::Port,
}

impl Process {
    fn start(name: &str, coordinator: &str) -> Process {
        let port = test_ports::free_port();
        let admin = port.addr();
        let listen = admin.to_string();
        let args =
            ["--node-name", name, "--coordinator", coordinator, "--admin-listen", &listen, "--client-ttl-ms", "60000"];
        let process = Master::start(&args);
        assert!(process.line.ends_with(&format!("; admin HTTP on http://{admin}/\n")), "{}", process.line);
        Process { process, admin, _port: port }
    }

    fn comes_to(&self, path: &str, expected: &str) {
        self.until(path, |page| page.code == 200 && page.body.trim_end() == expected);
    }

    fn until(&self, path: &str, done: impl Fn(&Page) -> bool) {
        let began = Instant::now();
        loop {
            let page = get(self.admin, path);
            if done(&page) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{path} still gives {page:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn pair_tells_of_both_members_and_of_no_lag_that_it_does_not_know() {
    let dir = tempfile::tempdir().expect("there is a temp dir");
    let coordinator = format!("file:{}", dir.path().display());
    let first = Process::start("first", &coordinator);
    first.comes_to("/readyz", "primary");
    let second = Process::start("second", &coordinator);
    second.comes_to("/readyz", "standby");
    second.comes_to("/promotable", "yes");
    assert_eq!(says(second.admin, "/livez").0, 200);

    first.until("/metrics", |page| page.body.contains("understudy_peer_lag_ops{peer=\"second\"} 0\n"));
    let of_first = metrics(first.admin);
    assert_eq!((of_first["insync_members"], of_first["peer_in_sync{peer=\"second\"}"]), (2.0, 1.0));
    assert_eq!((of_first["takeovers_total"], of_first["peer_window_entries{peer=\"second\"}"]), (1.0, 0.0));
    assert!(of_first["tenure_left_seconds"] <= 0.5, "{of_first:#?}");
    assert!(!of_first.contains_key("lag_ops"));
    let of_second = metrics(second.admin);
    assert_eq!(
        (of_second["role{role=\"standby\"}"], of_second["lag_ops"], of_second["epoch"]),
        (1.0, 0.0, of_first["epoch"])
    );
    assert!(!of_second.keys().any(|name| name.starts_with("peer_") || name.starts_with("tenure")), "{of_second:#?}");
    let members = status(first.admin)["cluster"]["members"].clone();
    assert_eq!(members.as_array().map(Vec::len), Some(2));

    second.process.signal("STOP");
    first.until("/metrics", |page| !page.body.contains("peer_lag_ops{") && !page.body.contains("peer_lag_seconds{"));
    assert_eq!(says(first.admin, "/readyz"), (200, "primary".to_owned()));
    second.process.signal("CONT");
    second.comes_to("/readyz", "standby");
    first.process.signal("KILL");
    second.comes_to("/readyz", "primary");
    assert_eq!(metrics(second.admin)["takeovers_total"], 1.0);
}
