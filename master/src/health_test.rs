//! The table of what members may say, and the verdict on it.

use super::*;

fn peer(name: &str) -> Peer {
    Peer { name: name.to_owned(), in_sync: true, state: "in sync".to_owned(), sound: true }
}

fn cluster() -> InCluster {
    let members = vec![peer("a"), peer("b")];
    InCluster { id: "aaaaaaaa01".to_owned(), epoch: 7, primary: "a".to_owned(), members, ..InCluster::default() }
}

/// A pair, and all is well.
fn pair() -> Vec<Asked> {
    ["a", "b"]
        .map(|name| {
            let said = Said { leads: name == "a", cluster: Some(cluster()), ..Said::default() };
            Asked::said(name, said)
        })
        .into()
}

fn said(asked: &mut [Asked], at: usize) -> &mut Said {
    asked[at].said.as_mut().expect("it answers")
}

fn cluster_of(asked: &mut [Asked], at: usize) -> &mut InCluster {
    said(asked, at).cluster.as_mut().expect("it is in one")
}

/// A change of what a sound pair says, the verdict on it, and a reason that must be named.
type Row = (&'static str, fn(&mut Vec<Asked>), Verdict, &'static str);

const TABLE: &[Row] = &[
    ("standby is silent", |pair| pair[1].said = None, Verdict::Degraded, "b does not answer"),
    (
        "primary is silent",
        |pair| {
            pair[0].said = None;
            cluster_of(pair, 1).not_promotable = "nothing fresh was heard".to_owned();
        },
        Verdict::NoPrimary,
        "no member that answers leads (b: nothing fresh was heard)",
    ),
    (
        "primary turns the command away",
        |pair| {
            pair[0].said = None;
            pair[0].turned_away = "connections_per_address_max: the limit of 8 is met".to_owned();
        },
        Verdict::Unknown,
        "a turns this command away: connections_per_address_max: the limit of 8 is met",
    ),
    ("all are silent", |pair| pair.iter_mut().for_each(|one| one.said = None), Verdict::NoPrimary, "no member answers"),
    (
        "primary has no tenure",
        |pair| said(pair, 0).is_mute = true,
        Verdict::NoPrimary,
        "a leads epoch 7 and may answer no client now",
    ),
    (
        "two say that they lead",
        |pair| {
            said(pair, 1).leads = true;
            cluster_of(pair, 1).epoch = 8;
            cluster_of(pair, 1).primary = "b".to_owned();
        },
        Verdict::Degraded,
        "more than one member says that it is the primary: a (epoch 7), b (epoch 8)",
    ),
    (
        "standby catches up",
        |pair| {
            let member = &mut cluster_of(pair, 0).members[1];
            (member.in_sync, member.state) = (false, "catching up".to_owned());
        },
        Verdict::Degraded,
        "b is not in sync with the primary a: catching up",
    ),
    (
        "standby differs",
        |pair| cluster_of(pair, 0).members[1].sound = false,
        Verdict::Degraded,
        "b differs from the primary a",
    ),
    (
        "member is rotten",
        |pair| said(pair, 0).unsound = "shard 3".to_owned(),
        Verdict::Degraded,
        "a is not what its log says: shard 3",
    ),
    (
        "a bound is met",
        |pair| said(pair, 0).full = vec!["clients_max: 9 clients are known, the limit is 9".to_owned()],
        Verdict::Degraded,
        "a refuses what needs more of a bound that is met: clients_max: 9 clients are known, the limit is 9",
    ),
    (
        "only one member",
        |pair| {
            pair.pop();
            cluster_of(pair, 0).members.pop();
        },
        Verdict::Degraded,
        "no standby is in sync with a",
    ),
    (
        "coordinator does not answer",
        |pair| cluster_of(pair, 0).coordinator_trouble = "no answer within 1 s".to_owned(),
        Verdict::Degraded,
        "a cannot use the coordinator: no answer within 1 s",
    ),
    (
        "coordinator lost data",
        |pair| cluster_of(pair, 1).lost_data = Some("it is gone".to_owned()),
        Verdict::LostData,
        "b says that the coordinator has lost data: it is gone",
    ),
    (
        "two clusters",
        |pair| cluster_of(pair, 1).id = "bbbbbbbb02".to_owned(),
        Verdict::LostData,
        "these members are of different clusters: a is of aaaaaaaa01, b is of bbbbbbbb02",
    ),
    (
        "standby follows another epoch",
        |pair| cluster_of(pair, 1).epoch = 6,
        Verdict::Degraded,
        "b does not agree: by its word a leads epoch 6, by a's a leads epoch 7",
    ),
    (
        "primary does not know a member",
        |pair| {
            let mut third = pair[1].clone();
            third.name = "c".to_owned();
            pair.push(third);
        },
        Verdict::Degraded,
        "c answers, and the primary a does not know it",
    ),
];

#[test]
fn each_fault_has_its_verdict_its_reason_and_what_to_do() {
    for (name, change, verdict, what) in TABLE {
        let mut asked = pair();
        change(&mut asked);
        let health = judge(&asked);
        assert_eq!(health.verdict, *verdict, "{name}: {health:#?}");
        assert!(health.reasons.iter().any(|reason| reason.what.starts_with(what)), "{name}: {health:#?}");
        assert!(health.reasons.iter().all(|reason| !reason.next.is_empty()), "{name}: {health:#?}");
    }
}

#[test]
fn sound_pair_and_node_that_is_alone_are_ok() {
    assert_eq!(judge(&pair()), Health { verdict: Verdict::Ok, reasons: Vec::new(), notes: Vec::new() });
    let alone = Asked::said("n", Said { leads: true, ..Said::default() });
    assert_eq!(judge(&[alone]).verdict, Verdict::Ok);
}

#[test]
fn member_that_was_started_with_other_settings_is_noted_and_no_reason_for_a_worse_verdict() {
    let mut asked = pair();
    said(&mut asked, 1).started_otherwise = vec![difference("tenure_ms", "800", "500")];
    let health = judge(&asked);
    assert_eq!((health.verdict, health.reasons.len()), (Verdict::Ok, 0));
    let what =
        "b was started with values other than those that the cluster goes by: tenure_ms 500, the cluster's is 800";
    assert_eq!(health.notes[0].what, what);
}

#[test]
fn directory_that_cannot_be_asked_is_a_verdict_where_it_names_no_member_and_no_more_than_a_doubt_elsewhere() {
    let trouble = |alone| {
        let reason = Reason { what: "etcd is away".to_owned(), next: "Bring it back".to_owned() };
        Some(Trouble { alone, reason })
    };
    for alone in [Verdict::Unknown, Verdict::NoPrimary] {
        let health = judge_found(trouble(alone), &[]);
        assert_eq!((health.verdict, health.reasons[0].what.as_str()), (alone, "etcd is away"));
    }
    let health = judge_found(trouble(Verdict::Unknown), &pair());
    assert_eq!((health.verdict, health.reasons.len()), (Verdict::Degraded, 1));
    assert_eq!(judge_found(None, &pair()), judge(&pair()));
    assert_eq!(judge_found(None, &[]).verdict, Verdict::NoPrimary);
}

#[test]
fn worst_verdict_comes_first_and_hides_no_other_reason() {
    let mut asked = pair();
    cluster_of(&mut asked, 1).lost_data = Some("it is gone".to_owned());
    cluster_of(&mut asked, 1).coordinator_trouble = "away".to_owned();
    asked[0].said = None;
    let health = judge(&asked);
    assert_eq!(health.verdict, Verdict::LostData);
    let starts = [
        "b says that the coordinator has lost data",
        "no member that answers leads",
        "a does not answer",
        "b cannot use",
    ];
    assert_eq!(health.reasons.len(), starts.len(), "{health:#?}");
    for (reason, start) in health.reasons.iter().zip(starts) {
        assert!(reason.what.starts_with(start), "{health:#?}");
    }
}

/// For all that one member can say by itself, as `/status` and the metric show it.
#[test]
fn nothing_that_serves_nobody_is_ok() {
    for leads in [false, true] {
        for is_mute in [false, true] {
            let said = Said { leads, is_mute, cluster: Some(cluster()), ..Said::default() };
            let health = judge(&[Asked::said("a", said)]);
            assert!(health.verdict != Verdict::Ok || leads && !is_mute, "{health:?}");
        }
    }
}

#[test]
fn exit_codes_tell_verdicts_apart_from_failed_commands() {
    let all = Verdict::ALL.iter().chain(&[Verdict::Unknown]);
    let codes: BTreeSet<_> = all.map(|verdict| verdict.exit_code()).collect();
    assert_eq!(codes, BTreeSet::from([0, 3, 4, 5, 6]));
    assert!(Verdict::ALL.is_sorted());
}
