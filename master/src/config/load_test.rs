//! Tests of the sources of settings, of which one wins, and of what is refused.

use std::path::PathBuf;

use clap::{Args as _, Command, FromArgMatches as _};
use figment::value::{Dict, Map};

use super::*;
use crate::config::{LogFormat, sample_toml};

/// As from the command line, with a file of this text.
fn flags(file: Option<&str>, args: &[&str]) -> (tempfile::TempDir, Flags) {
    let dir = tempfile::tempdir().expect("there is a temp dir");
    let path = dir.path().join("u.toml");
    let mut all = vec!["test".to_owned()];
    if let Some(text) = file {
        std::fs::write(&path, text).expect("it can be written");
        all.extend(["--config".to_owned(), path.display().to_string()]);
    }
    all.extend(args.iter().map(|arg| (*arg).to_owned()));
    let matches = Flags::augment_args(Command::new("test")).try_get_matches_from(all).expect("clap takes it");
    (dir, Flags::from_arg_matches(&matches).expect("clap takes it"))
}

fn load(file: Option<&str>, args: &[&str]) -> Result<Config, ConfigError> {
    flags(file, args).1.load()
}

fn refused(file: &str) -> String {
    load(Some(file), &[]).expect_err("it must be refused").to_string()
}

#[test]
fn without_any_source_the_defaults_hold() {
    assert_eq!(load(None, &[]).expect("they are valid"), Config::default());
}

#[test]
fn flag_wins_over_file() {
    let file = "tail_entries = 5\nclient_ttl_ms = 3000\nlog_format = \"json\"\neviction_ratio = 0";
    let config = load(Some(file), &["--tail-entries", "7"]).expect("it is valid");
    assert_eq!(config.tail.tail_entries, 7);
    assert_eq!(config.state.client_ttl_ms, 3000);
    assert_eq!(config.logging.log_format, LogFormat::Json);
    assert_eq!(config.state.eviction_ratio, 0.0);
    assert_eq!(config.upkeep, Upkeep::default());
}

#[test]
fn unknown_key_is_named_with_the_one_that_was_meant() {
    let text = refused("tail_entrys = 5");
    assert!(text.contains("unknown key \"tail_entrys\", did you mean \"tail_entries\"?"), "{text}");
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_the_file_and_the_line() {
    for (file, expected) in [
        ("\n# a\ntail_entries = \"many\"", "u.toml:3: tail_entries: invalid type: found string \"many\""),
        ("log_level = \"info\"\ntail_entries = ", "u.toml:2: this is not TOML: "),
        ("log_level = \"info\"\nlog_level = \"warn\"", "u.toml:2: this is not TOML: "),
        ("\n\ntail_entrys = 5", "u.toml:3: unknown key \"tail_entrys\""),
        ("\n[tail]\nentries = 5", "u.toml:2: unknown key \"tail\""),
        ("log_level = \"info\"\n  tail_bytes=1", "u.toml:2: tail_bytes: tail_bytes (1) must hold"),
    ] {
        let text = refused(file);
        assert!(text.contains(expected), "{file}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    // A fault in a flag is not searched in the file.
    let text = load(Some("tail_bytes = 999999999"), &["--tail-bytes", "1"]).expect_err("too few").to_string();
    assert!(text.starts_with("tail_bytes: "), "{text}");
}

#[test]
fn secrets_are_in_no_error_and_on_no_command_line() {
    for file in [
        "etcd_password = 271828",
        "etcd_password = \"271828",
        "etcd_password = 271828x",
        "a = 1\netcd_password = \"271828\"",
        "coordinator = \"etcd:http://root:271828@h:2379\"",
        "coordinator = \"http://root:271828@h:2379\"",
    ] {
        let text = refused(file);
        assert!(text.contains("u.toml:") && !text.contains("271828"), "{file}: {text}");
    }
    for words in [&["serve", "--etcd-password", "271828"][..], &["serve", "--etcd-password=271828"]] {
        let text = refuse_secrets(words.iter().map(OsString::from)).expect_err("it can be read").to_string();
        assert!(text.starts_with("etcd_password: ") && !text.contains("271828"), "{text}");
    }
    assert!(refuse_secrets(["--etcd-password-file", "/x"].iter().map(OsString::from)).is_ok());
    let dir = tempfile::tempdir().expect("there is a temp dir");
    let path = dir.path().join("password");
    for (text, password) in [("hush\n", "hush"), ("hush\r\nmore", "hush"), ("two words", "two words")] {
        std::fs::write(&path, text).expect("it can be written");
        assert_eq!(read_password(&path).as_deref(), Ok(password));
    }
    std::fs::write(&path, "\nhush").expect("it can be written");
    let why = read_password(&path).expect_err("the first line is empty");
    assert!(why.contains("password has no password") && !why.contains("hush"), "{why}");
    assert!(read_password(Path::new("/no/such")).is_err_and(|why| why.contains("cannot read /no/such")));
}

#[test]
fn names_are_words() {
    let named = |name: &str| load(None, &["--node-name", name]);
    for right in ["a", "node-1.example_x", ""] {
        assert!(named(right).is_ok(), "{right:?}");
    }
    for wrong in ["a/b c", "a b", "a\u{1b}[0m", "\n", " ", "ä", &"a".repeat(129)] {
        let text = named(wrong).expect_err("it can be no name").to_string();
        assert!(text.starts_with("node_name: ") && !text.contains('\u{1b}'), "{text}");
    }
}

/// Each bound that the pages name is kept.
#[test]
fn values_beyond_the_bounds_of_the_pages_are_refused_by_the_name_of_the_setting() {
    let beyond = [
        ("worker_threads", "1025"),
        ("long_calls_max", "0"),
        ("stream_window_bytes", "65534"),
        ("stop_timeout_ms", "4501"),
        ("etcd_lease_ttl_s", "0"),
        ("batch_bytes", "0"),
        ("window_entries", "0"),
        ("entries_per_shard", "2001"),
        ("upkeep_interval_ms", "0"),
        ("background_cpu_ratio", "1e-300"),
        ("background_cpu_ratio", "1.1"),
        ("sample_ratio", "1e-300"),
        ("eviction_ratio", "1e-300"),
        ("eviction_high_watermark", "1e-300"),
        ("tenure_ms", "49"),
        ("tenure_ms", "60001"),
        ("client_ttl_ms", "3600001"),
        ("lag_ms_max", "3600001"),
        ("tombstones_max", "0"),
        ("request_bytes_max", "16777220"),
        ("client_answers_max", "4095"),
    ];
    for (name, value) in beyond {
        assert!(super::super::validate::bounds(name).is_some(), "{name}: the pages say nothing");
        let text = refused(&format!("{name} = {value}"));
        assert!(text.contains(&format!("u.toml:1: {name}: ")), "{text}");
    }
}

#[test]
fn missing_file_is_named() {
    let flags = Flags { config: Some(PathBuf::from("/no/such.toml")), ..Flags::default() };
    let text = flags.load().expect_err("it is not there").to_string();
    assert!(text.contains("cannot read /no/such.toml: No such file"), "{text}");
}

#[test]
fn broken_rules_are_named_with_both_values() {
    let rules = [
        ("client_ttl_ms = 550", "stall_ms: upkeep_interval_ms + stall_ms is 550 and must be below client_ttl_ms"),
        ("stream_window_bytes = 8000000", "stream_window_bytes: 8000000 must not exceed connection_window_bytes"),
        ("connection_window_bytes = 1", "connection_window_bytes: 1, must be 65535 to 2147483647"),
        ("tail_bytes = 1", "tail_bytes: tail_bytes (1) must hold the largest entry"),
        ("eviction_high_watermark = 1.5", "eviction_high_watermark: 1.5 must be 0.001 to 1"),
        ("put_release_timeout_ms = 1", "put_release_timeout_ms: 1 must not be below object_lease_ms, which is 10000"),
        ("client_answers_max = 10", "client_answers_max: 10 must be at least 4096"),
        ("stop_timeout_ms = 9000", "stop_timeout_ms: 9000, must be 0 to 4500"),
        ("stop_linger_ms = 4000", "stop_linger_ms: 4000 must be below stop_timeout_ms"),
        ("request_bytes_max = 5", "request_bytes_max: 5 must hold the largest request"),
        ("unread_bytes_max = 5", "unread_bytes_max: 5 must hold the largest answer"),
        ("connection_request_bytes_max = 5", "connection_request_bytes_max: 5 must hold the largest request"),
        ("first_bytes_ms_max = 0", "first_bytes_ms_max: 0, must be at least 1"),
        ("admin_listen = \"7480\"", "admin_listen: \"7480\", must be ADDRESS:PORT, as 127.0.0.1:7480, or empty"),
        ("admin_listen = \"127.0.0.1:7400\"", "admin_listen: 127.0.0.1:7400 must not be the same as listen"),
        ("connections_max = 0", "connections_max: 0, must be at least 1"),
        ("cold_after_ms = 30000", "cold_after_ms: is for `coordinator = etcd:...`"),
        (
            "cold_after_ms = 30000\nunclean = \"wait\"\ncoordinator = \"etcd:http://h:1\"",
            "cold_after_ms: is for `unclean = cold`",
        ),
        (
            "cold_after_ms = 9999\ncoordinator = \"etcd:http://h:1\"",
            "cold_after_ms: 9999 must be at least 10000: 5000, and twice etcd_lease_ttl_s",
        ),
        (
            "cold_after_ms = 30000\nsafety_window_ms = 22500\ncoordinator = \"etcd:http://h:1\"",
            "safety_window_ms: with 1.5 × etcd_lease_ttl_s it is 30000 ms, not below cold_after_ms, 30000",
        ),
        (
            "cold_after_ms = 10000\nask_again_ms = 500\ncoordinator = \"etcd:http://h:1\"",
            "cold_after_ms: 10000 must be above four times ask_again_ms + 2 × coordinator_timeout_ms, which is 2500",
        ),
        (
            "cold_after_ms = 30000\netcd_lease_ttl_s = 3\ncoordinator = \"etcd:http://h:1\"",
            "etcd_lease_ttl_s: 3000 ms must be above look_every_ms + ask_again_ms + 2 × coordinator_timeout_ms, which is 3050",
        ),
        ("log_level = \"loud\"", "log_level: \"loud\" is not understood, must be off, error"),
        ("guarded = true", "guarded: needs other members"),
        ("advertise = \"foo\"", "advertise: \"foo\" has no port, must be HOST:PORT"),
        ("advertise = \":1\"", "advertise: \":1\" has \"\" in the place of a host"),
        ("peer_advertise = \"h:99999\"", "peer_advertise: \"h:99999\" has the port \"99999\""),
        ("peer_advertise = \"http://h:1\"", "peer_advertise: \"http://h:1\" is a URL"),
        ("coordinator = \"etcd:http://:1\"", "coordinator: \"http://:1\" has \"\" in the place of a host"),
        ("coordinator = \"etcd:http://h:99999\"", "coordinator: \"http://h:99999\" has the port \"99999\""),
        ("finished_tasks_max = 100000", "finished_tasks_max: must be below tasks_max"),
    ];
    for (file, text) in rules {
        let refused = refused(file);
        assert!(refused.contains(text), "{file}: {refused}");
    }
}

/// With every line of the sample, the result is the defaults.
#[test]
fn sample_file_says_the_defaults() {
    let is_setting = |line: &&str| line.starts_with("# ") && line.contains(" = ") && !line.contains("Generated");
    let sample = sample_toml();
    let settings: Vec<_> = sample.lines().filter(is_setting).map(|line| &line[2..]).collect();
    let config = load(Some(&settings.join("\n")), &[]).expect("the sample is valid");
    assert_eq!(config, Config::default());
    let known: usize = sections().iter().map(|section| section.fields.len()).sum();
    assert_eq!(settings.len(), known);
}

#[test]
fn variables_are_named_after_their_settings() {
    let command = Flags::augment_args(Command::new("test"));
    let mut names: Map<String, Dict> = Map::new();
    for arg in command.get_arguments() {
        let name = arg.get_id().as_str().to_owned();
        let variable = arg.get_env().expect("every setting has one").to_string_lossy().into_owned();
        assert_eq!(variable, format!("UNDERSTUDY_{}", name.to_uppercase()));
        assert_eq!(arg.get_long(), Some(name.replace('_', "-").as_str()));
        names.insert(name, Dict::new());
    }
    let known: usize = sections().iter().map(|section| section.fields.len()).sum();
    assert_eq!(names.len(), known + 1);
}

/// The setting that a refusal names must exist, so that it can be changed.
#[test]
fn every_bound_of_the_state_and_of_the_log_is_named_as_its_setting() {
    let known: Vec<&str> = crate::config::pages::sections()
        .iter()
        .flat_map(|section| section.fields.iter().map(|field| field.name))
        .collect();
    for bound in metadata::Bound::ALL {
        assert!(bound.setting().is_none_or(|setting| known.contains(&setting)), "{bound:?}");
    }
    let of_log = [
        oplog::Bound::TailEntries { entries: 11, max: 22, floor: 1 },
        oplog::Bound::TailBytes { bytes: 11, needed: 1, max: 22, floor: 1 },
        oplog::Bound::EntryBytes { needed: 11, max: 22 },
        oplog::Bound::Waiters { max: 22 },
    ];
    for bound in of_log {
        let told = bound.to_string();
        let setting = told.split(':').next().expect("there is a first part");
        assert!(known.contains(&setting) && told.contains("22"), "{told}");
    }
}
