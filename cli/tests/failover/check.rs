//! Whether a history and what the members hold in the end fit each other, by the checkers of
//! `tests/histories`.
//!
//! Deliberately absent: how the history came about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{Client, ListKeys, Object, Reason};
use histories::{
    Buffer, Fault, FinalVersions, Hold, Linear, Moment, Op, at_most_once, by_key, held_apart, holds, linearizable,
    one_writer, set_full,
};

use crate::cluster::Cluster;
use crate::history::History;
use crate::load::{buffers, connect, version_of};

const KEYS_AT_ONCE: usize = 1000;
/// A few are enough to see what is wrong.
const FAULTS_SHOWN: usize = 20;

/// All objects, by key.
pub(crate) type Objects = BTreeMap<String, Object>;

/// All checks, after the load has ended and the cluster has healed.
pub(crate) async fn check(cluster: &Cluster, history: &History) {
    nothing_is_lost(cluster, history).await;
    cluster.check_logs();
}

/// All checks except of the logs, for tests that expect bad lines.
pub(crate) async fn nothing_is_lost(cluster: &Cluster, history: &History) {
    let client = connect(&cluster.addresses()).await;
    let keys = all_keys(&client).await;
    let objects = all_objects(&client, &keys).await;
    let faults = faults_of(history, &keys, &objects);
    drop(client);
    let shown = faults.iter().take(FAULTS_SHOWN).collect::<Vec<_>>();
    assert!(faults.is_empty(), "{} faults: {shown:#?}\n{}", faults.len(), history.summary());
    cluster.converged().await;
}

/// The faults of a history, if these keys and objects exist afterwards.
fn faults_of(history: &History, keys: &BTreeSet<String>, objects: &Objects) -> Vec<Fault> {
    let mut faults: Vec<Fault> = history.diaries.iter().flat_map(|diary| diary.faults.clone()).collect();
    let ops: Vec<Op> = history.ops().cloned().collect();
    faults.extend(by_key(&ops).values().filter_map(|ops| match linearizable(ops) {
        Linear::Fits => None,
        Linear::Broken(fault) | Linear::Undecided(fault) => Some(fault),
    }));
    faults.extend(set_full(&ops, &held(keys, objects)));
    faults.extend(one_writer(&ops));
    let put_ids = history.diaries.iter().enumerate();
    faults.extend(at_most_once(
        "put id",
        put_ids.flat_map(|(who, diary)| diary.put_ids.iter().map(move |id| (*id, who))),
    ));
    faults.extend(held_apart(&holds(&ops)));
    faults.extend(held_apart(&live(objects)));
    faults
}

/// A key that is listed but not found counts as held, as a version that no client wrote.
fn held(keys: &BTreeSet<String>, objects: &Objects) -> FinalVersions {
    let version = |key: &String| objects.get(key).map_or(u64::MAX, version_of);
    keys.iter().map(|key| (Arc::from(key.as_str()), version(key))).collect()
}

/// What live objects hold, at one moment.
pub(crate) fn live(objects: &Objects) -> Vec<Hold> {
    let hold =
        |(key, buffer): (&String, Buffer)| Hold { buffer, since: Moment::ZERO, until: Moment::MAX, who: key.clone() };
    let of = |(key, object): (&'_ String, &Object)| {
        buffers(&object.replicas, object.size).into_iter().map(|buffer| hold((key, buffer))).collect::<Vec<_>>()
    };
    objects.iter().flat_map(of).collect()
}

pub(crate) async fn all_keys(client: &Client) -> BTreeSet<String> {
    let (mut keys, mut page_token) = (BTreeSet::new(), Bytes::new());
    loop {
        let list = ListKeys { limit: 10_000, page_token, ..ListKeys::default() };
        let page = client.list_keys(list).await.expect("a healthy pair lists its keys");
        // An unfinished put is no object yet.
        let complete = page.keys.iter().filter(|info| info.complete);
        keys.extend(complete.map(|info| String::from_utf8_lossy(&info.key).into_owned()));
        match page.next_page_token {
            Some(token) => page_token = token,
            None => return keys,
        }
    }
}

pub(crate) async fn all_objects(client: &Client, keys: &BTreeSet<String>) -> Objects {
    let keys: Vec<&String> = keys.iter().collect();
    let mut objects = BTreeMap::new();
    for some in keys.chunks(KEYS_AT_ONCE) {
        let found = client.get_replicas(some).await.expect("a healthy pair answers reads");
        for (key, result) in some.iter().zip(found.results) {
            match result {
                Ok(object) => drop(objects.insert((*key).clone(), object)),
                Err(refused) => assert_eq!(refused.reason, Reason::NotFound, "{key}: {refused}"),
            }
        }
    }
    objects
}

/// Prints quantiles.
pub(crate) fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() as f64 * share).ceil() as usize).saturating_sub(1));
    let shown = |time: Option<&Duration>| time.map_or("none".to_owned(), |time| format!("{time:.1?}"));
    let (p50, p90, p99, longest) = (shown(at(0.5)), shown(at(0.9)), shown(at(0.99)), shown(times.last()));
    println!("{what}: {} times, p50 {p50}, p90 {p90}, p99 {p99}, longest {longest}", times.len());
    let mut buckets = BTreeMap::<u128, usize>::new();
    for time in &times {
        *buckets.entry(time.as_millis() / 50 * 50).or_default() += 1;
    }
    for (from, count) in buckets {
        println!("  {from:>5} ms {}", "#".repeat(count));
    }
}
