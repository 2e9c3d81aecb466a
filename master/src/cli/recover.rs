//! `understudy recover`: what an operator knows and no member can: that members have ended for good, or which member goes on
//! after the coordinator has lost data.
//!
//! | found | with `--yes` |
//! |---|---|
//! | all of the in-sync set have gone, and not provably (etcd, no guard, all died at once) | they are declared dead; under `unclean = cold` another member begins anew with nothing |
//! | the coordinator has no record, an older one, or one of another store or cluster, and a member holds more | the record is written anew, with the survivor that the operator names as its only member |
//!
//! Invariants: a member that can be seen is not declared dead; what is written is newer than what any member that can be seen
//! has seen.
//!
//! Deliberately absent: choosing the survivor. Which one holds what counts is shown, and the operator says.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use coordinator::{Coordinator, MemberInfo, Stored, Swap};
use election::{ConfigRecord, Incarnation, Versioned};
use serde_json::{Value, json};

use crate::cli::connect::Connect;
use crate::cli::json;
use crate::cli::output::print;
use crate::config::{ConfigError, Flags, Logging};
use crate::logging;
use crate::membership::open_coordinator;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Do it. Without this it only says what would be done.
    #[arg(long)]
    yes: bool,
    /// Where the coordinator has lost data: the member that goes on with what it holds [default: the only one that holds anything]
    #[arg(long, value_name = "MEMBER")]
    survivor: Option<String>,
    /// Say it as one JSON document, and errors as one JSON object on stderr.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let config = args.flags.load()?;
    logging::start(&Logging { log_level: "error".to_owned(), ..Logging::default() }, "")?;
    if !config.cluster.is_on() {
        let rule = "none is named. Say the same --coordinator that the members were started with".to_owned();
        return Err(ConfigError::Rule { field: "coordinator", rule }.into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let coordinator = open_coordinator(&config.cluster).await?;
        recover(&*coordinator, args).await
    })
}

async fn recover(coordinator: &dyn Coordinator, args: &Args) -> Result<ExitCode> {
    // In this order: what members have seen by then is no newer than what a sound coordinator shows after that.
    let members = coordinator.members().await?;
    let stored = coordinator.read().await?;
    if has_lost_data(&stored, &members) {
        return go_on(coordinator, &stored, &members, args).await;
    }
    let Some(known) = stored.record else {
        bail!("there is no record of roles, and no member holds anything: nothing is lost here");
    };
    declare_dead(coordinator, &known, &members, args).await
}

/// A member that is here has seen what the coordinator does not show, or the record was written elsewhere.
fn has_lost_data(stored: &Stored, members: &[MemberInfo]) -> bool {
    let mut seen = members.iter().filter_map(|info| info.seen);
    let Some(Versioned { record, .. }) = &stored.record else { return seen.next().is_some() };
    let is_copy = record.is_copy_in(stored.store);
    is_copy
        || seen.any(|seen| {
            seen.cluster_id != record.cluster_id || seen.epoch > record.epoch || seen.version > record.version
        })
}

/// The record is written anew for the member that is to go on.
async fn go_on(
    coordinator: &dyn Coordinator,
    stored: &Stored,
    members: &[MemberInfo],
    args: &Args,
) -> Result<ExitCode> {
    let survivors: Vec<&MemberInfo> = members.iter().filter(|info| info.seen.is_some()).collect();
    let mut positions = Vec::new();
    for info in &survivors {
        positions.push(position(info).await);
    }
    if !args.json {
        print(&survivors_text(stored, &survivors, &positions))?;
    }
    let chosen = choose(stored, &survivors, args.survivor.as_deref());
    let written = match (args.yes, chosen) {
        (false, _) => None,
        (true, Err(why)) => bail!("{why}"),
        (true, Ok(to)) => Some(write(coordinator, stored, to).await?),
    };
    if args.json {
        print(&format!("{:#}", survivors_json(stored, &survivors, &positions, written.as_ref())))?;
    } else if let Some(record) = &written {
        let name = args.survivor_name(&survivors);
        print(&format!("The record is written anew, in epoch {}: {name} goes on.", record.epoch))?;
    } else {
        print("Nothing was done. To go on with what one of them holds: --survivor MEMBER --yes")?;
    }
    Ok(if written.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Args {
    fn survivor_name<'a>(&'a self, survivors: &[&'a MemberInfo]) -> &'a str {
        let named = self.survivor.as_deref().or_else(|| survivors.first().map(|info| info.name.as_str()));
        named.unwrap_or("the cluster that the copy names")
    }
}

/// What is to be written, or why the operator must say more.
fn choose(stored: &Stored, survivors: &[&MemberInfo], named: Option<&str>) -> Result<ConfigRecord, String> {
    let chosen = match (named, survivors) {
        (Some(name), _) => survivors
            .iter()
            .find(|info| info.name == name)
            .ok_or_else(|| format!("{name:?} is not running, or holds nothing"))?,
        (None, [only]) => only,
        (None, []) => return of_a_copy(stored),
        (None, _) => return Err("several members hold something: name the one that goes on with --survivor".to_owned()),
    };
    let Some(seen) = chosen.seen else { return Err(format!("{:?} holds nothing", chosen.name)) };
    let of_others = survivors.iter().filter(|info| info.seen.is_some_and(|other| other.cluster_id != seen.cluster_id));
    let others: Vec<&str> = of_others.map(|info| info.name.as_str()).collect();
    if !others.is_empty() {
        return Err(format!(
            "these members hold another cluster, and would go on to serve it: stop them first ({}), then say this again, and \
             start them afterwards",
            others.join(", ")
        ));
    }
    let ours = stored.record.as_ref().map(|known| &known.record).filter(|record| record.cluster_id == seen.cluster_id);
    let seen_by_all = survivors.iter().filter_map(|info| info.seen);
    let (epoch, version) =
        seen_by_all.fold((0, 0), |(epoch, version), seen| (epoch.max(seen.epoch), version.max(seen.version)));
    let found = ours.map_or((0, 0), |record| (record.epoch, record.version));
    let (epoch, version) = (epoch.max(found.0) + 1, version.max(found.1) + 1);
    let first = ConfigRecord::first(seen.cluster_id, chosen.who, ours.map_or(1, |record| record.level));
    // Where the record that said it is lost, the member that goes on adds what it goes by.
    let timing = ours.and_then(|record| record.timing);
    Ok(ConfigRecord { epoch, version, timing, ..first })
}

/// No member holds anything. The roles are those of the copy, in this store: then its members can be declared dead.
fn of_a_copy(stored: &Stored) -> Result<ConfigRecord, String> {
    let Some(known) = &stored.record else { return Err("no member that is running holds anything".to_owned()) };
    let record = known.record.renewed();
    Ok(ConfigRecord { epoch: record.epoch + 1, ..record })
}

async fn write(coordinator: &dyn Coordinator, stored: &Stored, to: ConfigRecord) -> Result<ConfigRecord> {
    let to = ConfigRecord { store: stored.store, ..to };
    match coordinator.swap(stored.record.clone(), to.clone()).await? {
        Swap::Done { .. } => Ok(to),
        Swap::Refused => bail!("the record has changed meanwhile: a primary has written it again. Look once more"),
    }
}

/// Up to where its log reaches, as it says itself.
async fn position(info: &MemberInfo) -> Option<(u64, bool)> {
    let asked = async {
        let status = Connect::to(&info.address).client().await.ok()?.status().await.ok()?;
        let mine = status.cluster?.members.into_iter().find(|member| member.name == info.name)?;
        Some((mine.received?, mine.in_sync))
    };
    tokio::time::timeout(Duration::from_secs(2), asked).await.ok().flatten()
}

fn survivors_text(stored: &Stored, survivors: &[&MemberInfo], positions: &[Option<(u64, bool)>]) -> String {
    let found = match &stored.record {
        None => "it has no record".to_owned(),
        Some(known) if known.record.is_copy_in(stored.store) => {
            format!("its record (epoch {}) is a copy from another etcd", known.record.epoch)
        }
        Some(known) => format!("its record is of epoch {}, version {}", known.record.epoch, known.record.version),
    };
    let mut text = format!("LOST DATA: the coordinator does not show what its members have seen; {found}.");
    if survivors.is_empty() {
        text.push_str("\nNo member that is running holds anything. --yes takes the copy's roles over, so that its members can be declared dead.");
    }
    for (info, position) in survivors.iter().zip(positions) {
        let seen = info.seen.map_or_else(String::new, |seen| {
            format!("has seen epoch {}, version {} of cluster {:032x}", seen.epoch, seen.version, seen.cluster_id)
        });
        let holds = match position {
            Some((seq, in_sync)) => {
                format!("holds entries up to {seq}, {}", if *in_sync { "in sync" } else { "not in sync" })
            }
            None => "did not answer".to_owned(),
        };
        text.push_str(&format!("\n  {} at {} {seen}, {holds}", info.name, info.address));
    }
    text
}

fn survivors_json(
    stored: &Stored,
    survivors: &[&MemberInfo],
    positions: &[Option<(u64, bool)>],
    written: Option<&ConfigRecord>,
) -> Value {
    let survivor = |(info, position): (&&MemberInfo, &Option<(u64, bool)>)| {
        json!({
            "name": info.name,
            "address": info.address,
            "cluster": info.seen.map(|seen| format!("{:032x}", seen.cluster_id)),
            "epoch": info.seen.map(|seen| seen.epoch),
            "version": info.seen.map(|seen| seen.version),
            "received": position.map(|(seq, _)| seq),
            "in_sync": position.map(|(_, in_sync)| in_sync),
        })
    };
    json!({
        "lost_data": true,
        "record": stored.record.as_ref().map(|known| json!({
            "epoch": known.record.epoch,
            "version": known.record.version,
            "copy": known.record.is_copy_in(stored.store),
        })),
        "survivors": survivors.iter().zip(positions).map(survivor).collect::<Vec<_>>(),
        "written_epoch": written.map(|record| record.epoch),
    })
}

async fn declare_dead(
    coordinator: &dyn Coordinator,
    known: &Versioned,
    members: &[MemberInfo],
    args: &Args,
) -> Result<ExitCode> {
    let mut unknown = Vec::new();
    for &who in &known.record.insync {
        if let Some(info) = members.iter().find(|info| info.who == who) {
            bail!(
                "member {:?} of the in-sync set is running, at {}, for all that the coordinator shows: there is nothing to recover. If \
                 it has just ended without a word, etcd shows it for one lease more (5 s): say this again then",
                info.name,
                info.address
            );
        }
        if !coordinator.is_dead(who).await? {
            unknown.push(who);
        }
    }
    let declares = args.yes && !unknown.is_empty();
    if declares {
        for &who in &unknown {
            coordinator.report_dead(who).await?;
        }
    }
    if args.json {
        print(&format!("{:#}", document(known, members, &unknown, declares)))?;
    } else {
        print(&situation(known, members, &unknown))?;
        match (unknown.is_empty(), declares) {
            (true, _) => {}
            (false, true) => print("They are declared dead.")?,
            (false, false) => {
                print("Nothing was done. If you are sure that they will not be back with their state: --yes")?;
            }
        }
    }
    Ok(if unknown.is_empty() || declares { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn document(known: &Versioned, members: &[MemberInfo], unknown: &[Incarnation], declared: bool) -> Value {
    // Both take all 64 bits.
    let who = |who: &Incarnation| json!({ "member": json::wide(who.member.0), "incarnation": json::wide(who.number) });
    json!({
        "lost_data": false,
        "epoch": known.record.epoch,
        "insync": known.record.insync.iter().map(who).collect::<Vec<_>>(),
        "not_known_to_have_ended": unknown.iter().map(who).collect::<Vec<_>>(),
        "declared_dead": declared,
        "running": members.iter().map(|info| json!({ "name": info.name, "address": info.address })).collect::<Vec<_>>(),
    })
}

fn situation(known: &Versioned, members: &[MemberInfo], unknown: &[Incarnation]) -> String {
    let here: Vec<&str> = members.iter().map(|info| info.name.as_str()).collect();
    let here =
        if here.is_empty() { "no member is running".to_owned() } else { format!("running: {}", here.join(", ")) };
    let lost = format!(
        "Epoch {}: of the {} members that held every acknowledged write none is running, and {} of them are not known to have \
         ended; {here}.",
        known.record.epoch,
        known.record.insync.len(),
        unknown.len(),
    );
    format!(
        "{lost}\nOnce all of them are known to have ended, a member with `unclean = cold` begins anew with NO objects."
    )
}

#[cfg(test)]
mod tests {
    use election::{MemberId, Seen};

    use super::*;

    fn info(member: u64, seen: Option<(u128, u64, u64)>) -> MemberInfo {
        MemberInfo {
            who: Incarnation { member: MemberId(member), number: 1 },
            name: format!("m{member}"),
            address: String::new(),
            peer_address: String::new(),
            process: String::new(),
            secret: None,
            seen: seen.map(|(cluster_id, epoch, version)| Seen { cluster_id, epoch, version }),
        }
    }

    fn stored(epoch: u64, version: u64, written_to: u64) -> Stored {
        let first = ConfigRecord::first(7, info(1, None).who, 1);
        let record = ConfigRecord { epoch, version, store: written_to, ..first };
        Stored { record: Some(Versioned { record, revision: 3 }), store: 5 }
    }

    #[test]
    fn data_is_lost_where_a_member_has_seen_more_than_the_store_shows() {
        let (fresh, holder) = (info(1, None), info(2, Some((7, 2, 9))));
        let members = [fresh.clone(), holder];
        assert!(!has_lost_data(&Stored { record: None, store: 5 }, &[fresh]));
        assert!(has_lost_data(&Stored { record: None, store: 5 }, &members));
        assert!(!has_lost_data(&stored(2, 9, 5), &members));
        for (epoch, version, store) in [(1, 9, 5), (2, 8, 5), (2, 9, 4)] {
            assert!(has_lost_data(&stored(epoch, version, store), &members), "{epoch} {version} {store}");
        }
        assert!(has_lost_data(&stored(2, 9, 5), &[info(3, Some((8, 1, 1)))]));
    }

    #[test]
    fn the_survivor_goes_on_above_whatever_was_seen_and_never_beside_another_cluster() {
        let (one, other) = (info(1, Some((7, 2, 9))), info(2, Some((7, 3, 8))));
        let empty = Stored { record: None, store: 5 };
        assert!(choose(&empty, &[&one, &other], None).is_err(), "the operator says which");
        let record = choose(&empty, &[&one, &other], Some("m1")).expect("it was named");
        assert_eq!((record.epoch, record.version, record.primary), (4, 10, one.who));
        let record = choose(&stored(6, 40, 5), &[&one], None).expect("the only one");
        assert_eq!((record.epoch, record.version, record.cluster_id), (7, 41, 7));
        assert!(choose(&empty, &[&one], Some("m2")).is_err());
        let foreign = info(3, Some((8, 1, 1)));
        assert!(choose(&empty, &[&one, &foreign], Some("m1")).is_err_and(|why| why.contains("m3")));
        let copy = choose(&stored(6, 40, 4), &[], None).expect("its roles");
        assert_eq!((copy.epoch, copy.version), (7, 41));
    }
}
