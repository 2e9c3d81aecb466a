//! Which processes hold every acknowledged write, as the coordinator shows it: the set of the
//! record, and its members' processes.
//!
//! A member of the set counts as here if its presence names the same incarnation and a running
//! process of this host that a test has started. A process that was killed and started again is
//! another one, whatever its name.
//!
//! Deliberately absent: what members say of themselves. It may be old.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::etcd::Etcd;

const PREFIX: &str = "/understudy/default/";

/// What the coordinator holds at about one moment.
#[derive(Clone, Debug)]
pub struct Record {
    pub epoch: u64,
    /// Ids of the processes that are members of the set.
    pub insync: BTreeSet<u32>,
    /// Members of the set, including those whose process has ended.
    pub members: usize,
}

/// `None`: the coordinator does not answer, or has no record yet.
pub fn read(etcd: Option<&Etcd>, dir: &Path) -> Option<Record> {
    let (record, members) = match etcd {
        Some(etcd) => of_etcd(etcd)?,
        None => of_dir(&dir.join("coordinator/default"))?,
    };
    let set: Vec<(u64, u64)> = record["insync"].as_array()?.iter().filter_map(who).collect();
    let in_set = |member: &&Value| who(member).is_some_and(|who| set.contains(&who));
    let insync = members.iter().filter(in_set).filter_map(pid).collect();
    Some(Record { epoch: record["epoch"].as_u64()?, insync, members: set.len() })
}

fn who(value: &Value) -> Option<(u64, u64)> {
    Some((value["member"].as_u64()?, value["incarnation"].as_u64()?))
}

/// `boot/namespace/pid/ticks`.
fn pid(member: &Value) -> Option<u32> {
    member["process"].as_str()?.rsplit('/').nth(1)?.parse().ok()
}

fn of_etcd(etcd: &Etcd) -> Option<(Value, Vec<Value>)> {
    let record = etcd.ctl(&["get", "--print-value-only", &format!("{PREFIX}config")])?;
    let members = etcd.ctl(&["get", "--prefix", "--print-value-only", &format!("{PREFIX}members/")])?;
    let members = members.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Some((serde_json::from_str(&record).ok()?, members))
}

fn of_dir(dir: &Path) -> Option<(Value, Vec<Value>)> {
    let files = |dir: &Path| -> Option<Vec<PathBuf>> {
        Some(std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect())
    };
    let read = |path: &Path| serde_json::from_slice(&std::fs::read(path).ok()?).ok();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
    let newest = files(&dir.join("record"))?.into_iter().filter(|path| number(path).is_some()).max_by_key(number)?;
    let members = files(&dir.join("members"))?;
    let members = members.iter().filter(|path| path.extension().is_some_and(|end| end == "json"));
    let held = |path: &PathBuf| {
        let (mut member, lock): (Value, _) = (read(path)?, path.with_extension("lock"));
        let holder: u64 = std::fs::read_to_string(&lock).ok()?.trim_end().parse().ok()?;
        let is_it = member["incarnation"].as_u64() == Some(holder);
        member["process"] = format!("//{}/", is_it.then(|| who_locks(&lock)).flatten()?).into();
        Some(member)
    };
    Some((read(&newest)?, members.filter_map(held).collect()))
}

/// The process that has this file locked. A lock of an open file belongs to no process, but the
/// kernel says which open file has it.
fn who_locks(path: &Path) -> Option<u32> {
    let path = path.canonicalize().ok()?;
    let pids = std::fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let holds = |pid: &u32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let same = open.filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == path));
        let info = |name| std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}")).unwrap_or_default();
        same.into_iter().any(|fd| info(fd.file_name().display().to_string()).contains("lock:"))
    };
    pids.into_iter().find(holds)
}
