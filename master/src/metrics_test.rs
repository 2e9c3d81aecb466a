//! What the text says, and that it is in form.

use std::collections::{BTreeMap, BTreeSet};

use proto::status;
use proto::v1::ExistsRequest;
use proto::v1::session_request::Call;

use super::*;
use crate::config::Serving;
use crate::http::Member;
use crate::http::{Cluster, HealthOf, Limits, Mine, PeerWindow, Place, Reign, Setting, Status, Verification};
use crate::listen::{Links, Ports};

fn member(name: &str, state: &str) -> Member {
    Member {
        name: name.to_owned(),
        address: "10.0.0.1:7400".to_owned(),
        role: "standby".to_owned(),
        in_sync: false,
        state: state.to_owned(),
        received: None,
        applied: None,
        lag_ops: None,
        lag_ms: None,
        apply_lag_ops: None,
        sync_shards_done: None,
        sync_shards: None,
        verified: None,
        sound: true,
    }
}

/// A primary with one peer in sync, one in a full sync, and one that is away.
pub(crate) fn example() -> Facts {
    let insync = Member {
        in_sync: true,
        received: Some(90),
        applied: Some(80),
        lag_ops: Some(10),
        lag_ms: Some(1500),
        apply_lag_ops: Some(10),
        ..member("b", "in sync")
    };
    let syncing = Member { sync_shards_done: Some(3), sync_shards: Some(64), ..member("c \"\\", "full sync") };
    let peers = vec![insync, syncing, member("d", "not connected")];
    let cluster = Cluster {
        id: "00ff".to_owned(),
        epoch: 7,
        primary: "a".to_owned(),
        version: 9,
        revision: 12,
        lost_data: None,
        tenure_left_ms: Some(400),
        takeovers: 2,
        full_syncs: 5,
        coordinator_errors: 1,
        coordinator_trouble: None,
        has_primary: true,
        born: 1,
        members: peers.clone(),
    };
    let window = PeerWindow { peer: "b".to_owned(), entries: 4, bytes: 800 };
    let requests = Requests::new();
    let taken = requests.take(&Call::Exists(ExistsRequest::default()));
    requests.answered(taken);
    requests.refused(Method::PutStart, &status::overloaded(5));
    Facts {
        status: Status {
            health: HealthOf { verdict: "degraded", title: "DEGRADED", reasons: Vec::new(), notes: Vec::new() },
            node: "<a> \"1\"".to_owned(),
            version: "0.1.0".to_owned(),
            role: "primary".to_owned(),
            ready: true,
            not_ready: None,
            promotable: true,
            not_promotable: None,
            position: Place { epoch: 7, seq: 100 },
            committed_seq: 90,
            committed: false,
            uptime_ms: 1250,
            objects: 3,
            objects_unfinished: 1,
            segments: 2,
            clients: 1,
            capacity_bytes: 1 << 40,
            used_bytes: 1 << 30,
            retired_bytes: 0,
            retired_extents: 0,
            full: Vec::new(),
            tenants: 1,
            tasks: 0,
            evicted_total: 9,
            tail_first_seq: 1,
            tail_entries: 100,
            tail_bytes: 12_345,
            digest: "ab".to_owned(),
            lock_held_us_max: 250,
            memory_resident_bytes: 1 << 24,
            verification: Verification { condition: "sound".to_owned(), ..Verification::default() },
            settings: vec![Setting {
                name: "tenure_ms".to_owned(),
                value: Some("800".to_owned()),
                started_with: "500".to_owned(),
                still_kept: None,
            }],
            cluster: Some(cluster),
        },
        role: Role::Primary,
        appended: 100,
        limits: Limits { ports: Ports::new(&Serving::default()).all().map(Links::counts).into(), ..Limits::default() },
        reign: Some(Reign { insync: 2, peers, windows: vec![window] }),
        mine: Some(Mine::default()),
        rate_errors: vec![("b".to_owned(), -31_000)],
        requests: requests.counted(),
        log: crate::logging::Counts { lost: 3, repeated: 4 },
    }
}

/// Samples by name and labels. Anything that is not in form panics.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut families, mut family) = (BTreeMap::new(), BTreeMap::new(), String::new());
    let body = text.strip_suffix("# EOF\n").expect("it ends as it must");
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help has a text");
            assert!(text.ends_with('.') && families.insert(name.to_owned(), None).is_none(), "{line}");
            family = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type is named");
            assert!(name == family && families.insert(name.to_owned(), Some(kind.to_owned())) == Some(None), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
            let bare = name.split('{').next().expect("there is a first part");
            let ends: &[&str] = match families[&family].as_deref().expect("TYPE comes before samples") {
                "gauge" => &[""],
                "counter" => &["_total"],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_count", "_sum"],
                other => panic!("{other} is no kind"),
            };
            assert!(ends.iter().any(|end| bare == format!("{family}{end}")), "{line} stands under {family}");
            let value = value.parse().expect("a value is a number");
            assert!(samples.insert(name.to_owned(), value).is_none(), "{line} stands twice");
        }
    }
    assert!(families.values().all(Option::is_some));
    assert_eq!(families.len(), METRICS.len());
    samples
}

#[test]
fn text_says_what_is_known() {
    let samples = parse(&render(example()));
    let expected = [
        ("node_info{node=\"<a> \\\"1\\\"\",version=\"0.1.0\"}", 1.0),
        ("uptime_seconds", 1.25),
        ("role{role=\"primary\"}", 1.0),
        ("role{role=\"standby\"}", 0.0),
        ("role{role=\"stopping\"}", 0.0),
        ("epoch", 7.0),
        ("seq_appended", 100.0),
        ("seq_committed", 90.0),
        ("tenure_left_seconds", 0.4),
        ("insync_members", 2.0),
        ("peer_in_sync{peer=\"b\"}", 1.0),
        ("peer_in_sync{peer=\"d\"}", 0.0),
        ("peer_lag_ops{peer=\"b\"}", 10.0),
        ("peer_lag_seconds{peer=\"b\"}", 1.5),
        ("peer_apply_lag_ops{peer=\"b\"}", 10.0),
        ("coordinator_reachable", 1.0),
        ("settings_differ", 1.0),
        ("peer_window_entries{peer=\"b\"}", 4.0),
        ("peer_window_bytes{peer=\"b\"}", 800.0),
        ("peer_full_sync_shards_done{peer=\"c \\\"\\\\\"}", 3.0),
        ("clock_rate_error_ppm{peer=\"b\"}", -31_000.0),
        ("takeovers_total", 2.0),
        ("full_syncs_total", 5.0),
        ("coordinator_errors_total", 1.0),
        ("health{verdict=\"degraded\"}", 1.0),
        ("health{verdict=\"ok\"}", 0.0),
        ("capacity_bytes", (1_u64 << 40) as f64),
        ("evicted_total", 9.0),
        ("lock_held_max_seconds", 0.00025),
        ("requests_total{method=\"Exists\",result=\"ok\"}", 1.0),
        ("requests_total{method=\"PutStart\",result=\"ok\"}", 0.0),
        ("requests_total{method=\"PutStart\",result=\"OVERLOADED\"}", 1.0),
        ("request_seconds_count{method=\"Exists\"}", 1.0),
        ("request_seconds_bucket{le=\"+Inf\",method=\"Exists\"}", 1.0),
    ];
    for (name, value) in expected {
        assert_eq!(samples.get(&format!("understudy_{name}")), Some(&value), "{name} in {samples:#?}");
    }
}

/// What `promtool check metrics` looks at, too.
#[test]
fn older_format_has_the_same_samples_under_their_own_names() {
    let facts = example();
    let (new, old) = (render(facts.clone()), Format::Prometheus.render(facts));
    let samples = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    assert_eq!(samples(&new), samples(&old));
    assert!(!old.contains("# EOF") && !old.contains(" info\n"), "{old}");
    let mut family = String::new();
    let mut kind = String::new();
    for line in old.lines() {
        if let Some(type_of) = line.strip_prefix("# TYPE ") {
            let (name, of) = type_of.split_once(' ').expect("a type is named");
            assert_eq!(name, family, "HELP comes first");
            kind = of.to_owned();
        } else if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().expect("a help has a name").to_owned();
        } else {
            let bare = line.split(['{', ' ']).next().expect("there is a first part");
            let ends: &[&str] = if kind == "histogram" { &["_bucket", "_count", "_sum"] } else { &[""] };
            assert!(ends.iter().any(|end| bare == format!("{family}{end}")), "{line} stands under {family}");
            assert_eq!(kind == "counter", bare.ends_with("_total"), "{line}");
        }
    }
}

#[test]
fn openmetrics_comes_where_it_is_asked_for() {
    for accept in ["application/openmetrics-text", "text/plain;q=0.5,application/openmetrics-text; version=1.0.0;q=0.8"]
    {
        assert_eq!(Format::asked_for(accept), Format::OpenMetrics, "{accept}");
    }
    for accept in ["", "*/*", "text/plain", "application/openmetrics-text;q=0", "application/openmetrics-textual"] {
        assert_eq!(Format::asked_for(accept), Format::Prometheus, "{accept}");
    }
}

#[test]
fn control_characters_are_in_no_label() {
    let mut facts = example();
    facts.status.node = "a\u{1b}[2J\u{7}\nb".to_owned();
    facts.rate_errors = vec![("\0\r".to_owned(), 1)];
    let text = render(facts);
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text}");
    assert!(text.contains(r"a\\u{1b}[2J\\u{7}\\nb"), "{text}");
    parse(&text);
}

#[test]
fn what_is_not_known_has_no_sample() {
    let mut facts = example();
    // By the metric's name: a label may say the same of something else.
    let is_of = |key: &str, name: &str| key.split('{').next().is_some_and(|metric| metric.contains(name));
    let of = |samples: &BTreeMap<String, f64>, name: &str| samples.keys().filter(|key| is_of(key, name)).count();
    let samples = parse(&render(facts.clone()));
    for (name, peers) in [("peer_lag_ops", 1), ("peer_lag_seconds", 1), ("peer_seq_received", 1), ("peer_in_sync", 3)] {
        assert_eq!(of(&samples, name), peers, "{name}");
    }
    assert_eq!((of(&samples, "understudy_lag_ops"), of(&samples, "understudy_full_sync_shards")), (0, 0));
    (facts.reign, facts.mine, facts.status.cluster) = (None, None, None);
    facts.rate_errors.clear();
    let samples = parse(&render(facts));
    for name in ["peer", "tenure", "insync", "takeovers", "full_syncs", "coordinator", "lag"] {
        assert_eq!(of(&samples, name), 0, "{name}");
    }
}

#[test]
fn names_are_unique_and_labels_are_those_that_are_named() {
    let names: BTreeSet<_> = METRICS.iter().map(Metric::full_name).collect();
    assert_eq!(names.len(), METRICS.len());
    for sample in parse(&render(example())).keys() {
        let metric = METRICS.iter().rfind(|metric| {
            let ends = ["", "_bucket", "_count", "_sum"];
            let bare = sample.split('{').next().expect("there is a first part");
            ends.iter().any(|end| bare == format!("{}{end}", metric.full_name()))
        });
        let metric = metric.unwrap_or_else(|| panic!("{sample} is in no table"));
        for label in metric.labels {
            assert!(sample.contains(&format!("{label}=\"")), "{sample} lacks {label}");
        }
    }
}

#[test]
fn page_is_the_one_that_stands_in_the_docs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let stands = std::fs::read_to_string(path).expect("the page is there");
    assert!(stands == metrics_markdown(), "docs/metrics.md is old: cargo run -p understudy -- docs");
}
