//! Whether a history and what the members hold in the end fit each other. One function for each promise.
//!
//! Deliberately absent: how the history came about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use client::{Client, ListKeys, Location, Object, Position, Reason, SegmentId};

use crate::cluster::Cluster;
use crate::history::{Fate, History};
use crate::load::{checksum_of, connect, key, size_of};

const KEYS_AT_ONCE: usize = 1000;
/// A few are enough to see what is wrong.
const FAULTS_SHOWN: usize = 20;

/// What is there, by key.
pub(crate) type Objects = BTreeMap<String, Object>;

/// Everything at once, after the load has ended and the cluster has healed.
pub(crate) async fn check(cluster: &Cluster, history: &History) {
    let client = connect(&cluster.addresses()).await;
    let keys = all_keys(&client).await;
    let objects = all_objects(&client, &keys).await;
    let faults = faults_of(history, &keys, &objects);
    drop(client);
    let shown = faults.iter().take(FAULTS_SHOWN).collect::<Vec<_>>();
    assert!(faults.is_empty(), "{} faults: {shown:#?}\n{}", faults.len(), history.summary());
    cluster.converged().await;
    cluster.check_logs();
}

/// What is wrong with a history, after which these keys and objects are there.
pub(crate) fn faults_of(history: &History, keys: &BTreeSet<String>, objects: &Objects) -> Vec<String> {
    let mut faults: Vec<String> = history.diaries.iter().flat_map(|diary| diary.faults.clone()).collect();
    acknowledged_is_there(history, objects, &mut faults);
    nothing_else_is_there(history, keys, &mut faults);
    read_by_others_stays(history, objects, &mut faults);
    put_ids_are_unique(history, &mut faults);
    positions_follow_time(history, &mut faults);
    buffers_do_not_overlap(objects, &mut faults);
    faults
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

fn fates(history: &History) -> impl Iterator<Item = (usize, u64, Fate)> {
    let of = |(client, diary): (usize, &'_ crate::history::Diary)| {
        diary.fates.iter().map(|(number, fate)| (client, *number, *fate)).collect::<Vec<_>>()
    };
    history.diaries.iter().enumerate().flat_map(of)
}

/// Every acknowledged put is there and whole, every acknowledged removal is gone.
fn acknowledged_is_there(history: &History, objects: &Objects, faults: &mut Vec<String>) {
    for (client, number, fate) in fates(history) {
        let key = key(client, number);
        match (fate, objects.get(&key)) {
            (Fate::Present, None) => faults.push(format!("lost: {key} was acknowledged and is not there")),
            (Fate::Gone, Some(_)) => faults.push(format!("back: {key} was removed, or never put, and is there")),
            (Fate::Present | Fate::MaybePut | Fate::MaybeRemoved, Some(object)) => {
                let told = (object.size, object.checksum, object.replicas.len());
                let meant = (size_of(client, number), Some(checksum_of(client, number)), 1);
                if told != meant {
                    faults.push(format!("not whole: {key} is {told:?}, written was {meant:?}"));
                }
            }
            (Fate::Gone | Fate::MaybePut | Fate::MaybeRemoved, None) => {}
        }
    }
}

fn nothing_else_is_there(history: &History, keys: &BTreeSet<String>, faults: &mut Vec<String>) {
    let known: BTreeSet<String> = fates(history).map(|(client, number, _)| key(client, number)).collect();
    faults.extend(keys.difference(&known).map(|key| format!("nobody put {key}")));
}

/// A read shows nothing that can be taken back.
fn read_by_others_stays(history: &History, objects: &Objects, faults: &mut Vec<String>) {
    for (client, number) in &history.seen {
        let fate = history.diaries[*client].fates.get(number);
        let (key, removed) = (key(*client, *number), matches!(fate, Some(Fate::Gone | Fate::MaybeRemoved)));
        if !removed && !objects.contains_key(&key) {
            faults.push(format!("taken back: {key} was read by somebody and is not there ({fate:?})"));
        }
    }
}

fn put_ids_are_unique(history: &History, faults: &mut Vec<String>) {
    let mut ids = BTreeSet::new();
    let again = history.diaries.iter().flat_map(|diary| &diary.put_ids).filter(|id| !ids.insert(**id));
    faults.extend(again.map(|id| format!("put id {id} was given twice")));
}

/// Every acknowledged change stands beyond all changes that were acknowledged before it began, by its epoch and by its seq:
/// nothing acknowledged is ever lost. And it has a position of its own, unless it was sent again: the answer to a retry may
/// be true at a later position than that of the change.
fn positions_follow_time(history: &History, faults: &mut Vec<String>) {
    let changes = history.changes();
    let mut taken = BTreeSet::new();
    for (record, at) in changes.iter().filter(|(record, _)| !record.sent_again) {
        if !taken.insert(*at) {
            faults.push(format!("position {at} was acknowledged twice, also to {record}"));
        }
    }
    let mut by_begin: Vec<_> = changes.iter().collect();
    by_begin.sort_by_key(|(record, _)| record.began);
    let mut ended = changes.iter().peekable();
    let (mut highest, mut highest_seq) = (Position::default(), 0);
    for (record, at) in by_begin {
        while let Some((_, before)) = ended.next_if(|(other, _)| other.ended < record.began) {
            highest = highest.max(*before);
            highest_seq = highest_seq.max(before.seq);
        }
        if *at <= highest || at.seq <= highest_seq {
            faults.push(format!("{record} began after {highest} was acknowledged, and is at {at}"));
        }
    }
}

/// No two live objects have a byte in common.
pub(crate) fn buffers_do_not_overlap(objects: &Objects, faults: &mut Vec<String>) {
    let mut buffers: Vec<(SegmentId, u64, u64, &str)> = Vec::new();
    for (key, object) in objects {
        for replica in &object.replicas {
            if let Location::Memory { address } = replica.location {
                buffers.push((replica.segment.id, address, address + object.size, key));
            }
        }
    }
    buffers.sort_unstable();
    for pair in buffers.windows(2) {
        let ((segment, _, end, key), (next_segment, begin, _, next_key)) = (pair[0], pair[1]);
        if segment == next_segment && begin < end {
            faults.push(format!("{key} and {next_key} overlap in {segment}"));
        }
    }
}

/// Quantiles and a histogram, for people.
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
