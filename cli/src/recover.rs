//! `understudy recover`: what an operator knows and no member can: that members have ended for good, or which member goes on
//! after the coordinator has lost data.
//!
//! | found | with `--yes` |
//! |---|---|
//! | all of the in-sync set have gone, and not provably (etcd, no guard, all died at once) | they are declared dead; under `unclean = cold` another member begins anew with nothing |
//! | the coordinator has no record, an older one, or one of another store or cluster, and a member holds more | the record is written anew, with the survivor that the operator names as its only member |
//!
//! Invariants: a member that can be seen is not declared dead; what is written is newer than what any member that can be seen
//! has seen; whom an operator is to declare dead is named. The record has numbers of members only, which are made from their
//! names: running members know the names of those that were there with them.
//!
//! Deliberately absent: choosing the survivor. Which one holds what counts is shown, and the operator says.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use client::Status;
use coordinator::{Coordinator, MemberInfo, Stored, Swap};
use election::{ConfigRecord, Incarnation, MemberId, Versioned};
use master::config::{Cluster, ConfigError, CoordinatorFlags, Logging};
use master::membership::{incarnation, named, open_what_is_there};
use master::{clock, logging};
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::output::print;
use crate::{json, words};

/// One member, for what it says of itself.
const ASK_WITHIN: Duration = Duration::from_secs(2);

#[derive(clap::Args, Debug)]
#[command(after_help = WHEN)]
pub(super) struct Args {
    /// Do it. Without this the command changes nothing: it says what it has found and what it would do.
    #[arg(long)]
    yes: bool,
    /// Where the coordinator has lost data: the member that goes on with what it holds [default: the only one that holds anything]
    #[arg(long, value_name = "MEMBER")]
    survivor: Option<String>,
    /// Say it as one JSON document, and errors as one JSON object on stderr.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    coordinator: CoordinatorFlags,
}

/// The end of `--help`.
const WHEN: &str = "Begin without --yes, and as often as you like: that changes nothing. It finds one of these:\n\
- A member that holds every acknowledged write is running. Then there is nothing to recover; see `understudy health`.\n\
- All of those are gone, and not provably. With --yes they are declared dead, and a member that was started with `--unclean cold` \
begins anew with NO objects. Look first for one that still runs and cannot reach the coordinator: it may hold everything.\n\
- The coordinator has lost data, and members hold more than it shows. With --survivor MEMBER --yes that member goes on with what it \
holds; the others follow it, and drop what it lacks.\n\
Exit code 0: it was done, or all of them are known to have ended. 1: there is nothing to recover, an operator must decide, or it could \
not be done. 2: the command is wrong.";

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let settings = args.coordinator.load()?;
    logging::start(&Logging { log_level: "error".to_owned(), ..Logging::default() }, "")?;
    if !settings.is_on() {
        let rule =
            "none is named. Say the same --coordinator that the members were started with, or --etcd URL".to_owned();
        return Err(ConfigError::Rule { field: "coordinator", rule }.into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let coordinator = open_what_is_there(&settings).await?;
        recover(&*coordinator, &settings, args).await
    })
}

async fn recover(coordinator: &dyn Coordinator, settings: &Cluster, args: &Args) -> Result<ExitCode> {
    // In this order: what members have seen by then is no newer than what a sound coordinator shows after that.
    let members = coordinator.members().await?;
    let stored = coordinator.read().await?;
    if has_lost_data(&stored, &members) {
        return go_on(coordinator, &stored, &members, args).await;
    }
    let Some(known) = stored.record else {
        bail!(
            "{} has no record of the cluster {:?}, and {}. Nothing can be recovered from here. If there is such a cluster, check \
             --coordinator and --cluster-name; and a member that runs and cannot reach the coordinator may hold everything: bring it \
             back before another one begins with nothing",
            settings.coordinator,
            settings.cluster_name,
            match members.len() {
                0 => "no member is there".to_owned(),
                _ => format!("none of the members that are there holds anything ({})", all_named(members.iter())),
            }
        );
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
        print(&format!(
            "The record is written anew, in epoch {}: {name} goes on, the others follow it.",
            record.epoch
        ))?;
    } else {
        print("Nothing was done. To go on with what one of them holds, say this again with --survivor MEMBER --yes")?;
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
    position_in(&status(info).await?, info)
}

fn position_in(status: &Status, info: &MemberInfo) -> Option<(u64, bool)> {
    let mine = status.cluster.as_ref()?.members.iter().find(|member| member.name == info.name)?;
    Some((mine.received?, mine.in_sync))
}

async fn status(info: &MemberInfo) -> Option<Status> {
    let asked = async { Connect::to(&info.address).client().await.ok()?.status().await.ok() };
    tokio::time::timeout(ASK_WITHIN, asked).await.ok().flatten()
}

fn all_named<'a>(members: impl Iterator<Item = &'a MemberInfo>) -> String {
    members.map(named).collect::<Vec<_>>().join(", ")
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

/// A member of the in-sync set that is not there.
struct Gone {
    who: Incarnation,
    /// And where it was; `None`: no member that is running knows.
    name: Option<(String, String)>,
    is_primary: bool,
    has_ended: bool,
}

impl Gone {
    /// For people.
    fn named(&self) -> String {
        match &self.name {
            Some((name, address)) if address.is_empty() => name.clone(),
            Some((name, address)) => format!("{name} ({address})"),
            None => format!("a member whose name no running member knows (number {:#x})", self.who.member.0),
        }
    }

    fn line(&self, epoch: u64) -> String {
        let role = if self.is_primary { format!(", the primary of epoch {epoch}") } else { String::new() };
        // An incarnation counts from the moment that it began.
        let age_ns = clock::wall_ns().saturating_sub(self.who.number);
        let ended = if self.has_ended { "known to have ended" } else { "NOT known to have ended" };
        format!("  {}{role}, started {} ago: {ended}", self.named(), words::time(Duration::from_nanos(age_ns)))
    }

    fn document(&self) -> Value {
        json!({
            // Both take all 64 bits.
            "member": json::wide(self.who.member.0),
            "incarnation": json::wide(self.who.number),
            "name": self.name.as_ref().map(|(name, _)| name),
            "address": self.name.as_ref().map(|(_, address)| address),
            "primary": self.is_primary,
            "known_to_have_ended": self.has_ended,
        })
    }
}

/// What was found where no member of the in-sync set is there.
struct Found<'a> {
    epoch: u64,
    gone: Vec<Gone>,
    /// With what each of them says of itself.
    running: Vec<(&'a MemberInfo, Option<Status>)>,
}

async fn declare_dead(
    coordinator: &dyn Coordinator,
    known: &Versioned,
    members: &[MemberInfo],
    args: &Args,
) -> Result<ExitCode> {
    let record = &known.record;
    if let Some(info) = members.iter().find(|info| record.insync.contains(&info.who)) {
        bail!(
            "{}, which holds every acknowledged write, is running, for all that the coordinator shows: there is nothing to recover. If \
             it has just ended without a word, etcd shows it for one lease more (5 s): say this again then",
            named(info)
        );
    }
    let mut running = Vec::new();
    for info in members {
        running.push((info, status(info).await));
    }
    let names = names(&running);
    let mut gone = Vec::new();
    for &who in &record.insync {
        let (name, has_ended) = (names.get(&who.member).cloned(), coordinator.is_dead(who).await?);
        gone.push(Gone { who, name, is_primary: record.primary == who, has_ended });
    }
    let found = Found { epoch: record.epoch, gone, running };
    let unknown: Vec<&Gone> = found.gone.iter().filter(|gone| !gone.has_ended).collect();
    let declares = args.yes && !unknown.is_empty();
    if declares {
        for gone in &unknown {
            coordinator.report_dead(gone.who).await?;
        }
    }
    if args.json {
        print(&format!("{:#}", document(&found, declares)))?;
    } else {
        print(&situation(&found))?;
        let whom = unknown.iter().map(|gone| gone.named()).collect::<Vec<_>>().join(", ");
        match (unknown.is_empty(), declares) {
            (true, _) => print("All of them are known to have ended: there is no member to be declared dead.")?,
            (false, true) => print(&format!("Declared dead: {whom}."))?,
            (false, false) => print(&format!(
                "Nothing was done. With --yes this is declared dead: {whom}. Be sure that it will not come back with its state."
            ))?,
        }
    }
    Ok(if unknown.is_empty() || declares { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Names and addresses by number: of those that are running, and of those that they remember.
fn names(running: &[(&MemberInfo, Option<Status>)]) -> BTreeMap<MemberId, (String, String)> {
    let remembered = running.iter().filter_map(|(_, status)| status.as_ref()?.cluster.as_ref());
    let remembered = remembered.flat_map(|cluster| &cluster.members).map(|one| (one.name.clone(), one.address.clone()));
    let shown = running.iter().map(|(info, _)| (info.name.clone(), info.address.clone()));
    remembered.chain(shown).map(|(name, address)| (incarnation(&name).member, (name, address))).collect()
}

fn document(found: &Found<'_>, declared: bool) -> Value {
    let running = |(info, status): &(&MemberInfo, Option<Status>)| {
        let position = status.as_ref().and_then(|status| position_in(status, info));
        let received = position.map(|(received, _)| received);
        json!({ "name": info.name, "address": info.address, "received": received })
    };
    let unknown = found.gone.iter().filter(|gone| !gone.has_ended);
    json!({
        "lost_data": false,
        "epoch": found.epoch,
        "insync": found.gone.iter().map(Gone::document).collect::<Vec<_>>(),
        "not_known_to_have_ended": unknown.map(Gone::document).collect::<Vec<_>>(),
        "declared_dead": declared,
        "running": found.running.iter().map(running).collect::<Vec<_>>(),
    })
}

fn situation(found: &Found<'_>) -> String {
    let mut lines = vec![format!("Of epoch {}, each member that holds every acknowledged write is gone:", found.epoch)];
    lines.extend(found.gone.iter().map(|gone| gone.line(found.epoch)));
    lines.push(
        if found.running.is_empty() { "No member is running." } else { "Running, and short of some of it:" }.to_owned(),
    );
    lines.extend(found.running.iter().map(|(info, status)| {
        let position = status.as_ref().and_then(|status| position_in(status, info));
        let holds = position.map_or_else(
            || "did not answer".to_owned(),
            |(received, _)| match received {
                0 => "holds nothing".to_owned(),
                received => format!("holds entries up to {received}"),
            },
        );
        format!("  {}: {holds}", named(info))
    }));
    lines.push(
        "Once all that are gone are known to have ended, a member that was started with `--unclean cold` begins anew with NO objects."
            .to_owned(),
    );
    lines.iter().map(|line| words::plain(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use election::Seen;

    use super::*;

    #[test]
    fn who_is_gone_is_named_with_what_is_known() {
        let gone = Gone { who: incarnation("a"), name: None, is_primary: true, has_ended: false };
        assert!(
            gone.line(7).starts_with("  a member whose name no running member knows (number 0x"),
            "{}",
            gone.line(7)
        );
        let gone = Gone { name: Some(("a".to_owned(), "h:1".to_owned())), ..gone };
        assert!(gone.line(7).starts_with("  a (h:1), the primary of epoch 7, started "), "{}", gone.line(7));
        assert!(gone.line(7).ends_with("NOT known to have ended"));
        assert!(Gone { has_ended: true, ..gone }.line(7).ends_with(": known to have ended"));
        let info = MemberInfo { name: "b".to_owned(), address: "h:2".to_owned(), ..info(1, None) };
        assert_eq!(names(&[(&info, None)])[&incarnation("b").member], ("b".to_owned(), "h:2".to_owned()));
    }

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
