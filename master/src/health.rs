//! One verdict on a cluster, with its reasons and what to do next, from what its members say of themselves.
//!
//! | verdict | is | exit code of `understudy health` |
//! |---|---|---|
//! | OK | one leads, all others are in sync with it, all members say the same | 0 |
//! | DEGRADED | it serves, and one more failure may cost service | 3 |
//! | UNKNOWN | the coordinator cannot be asked where the members are: a primary may serve, and it is not known | 6 |
//! | NO PRIMARY | nothing is served | 4 |
//! | LOST DATA | the coordinator has forgotten what members have seen, or there are two clusters | 5 |
//!
//! `/status`, the page and the metric of a member hold the same verdict by what that member alone knows; the commands ask
//! all members.
//!
//! Invariants: a worse verdict hides no reason of a milder one; a cluster in which nothing is served is never OK.
//!
//! Deliberately absent: asking anybody, a clock, and anything that a member decides by.

use std::collections::BTreeSet;

/// The worst one last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Verdict {
    Ok,
    Degraded,
    /// Of commands alone: a member knows.
    Unknown,
    NoPrimary,
    LostData,
}

impl Verdict {
    /// What a member may say of itself.
    pub const ALL: [Verdict; 4] = [Verdict::Ok, Verdict::Degraded, Verdict::NoPrimary, Verdict::LostData];

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::Degraded => "DEGRADED",
            Verdict::Unknown => "UNKNOWN",
            Verdict::NoPrimary => "NO PRIMARY",
            Verdict::LostData => "LOST DATA",
        }
    }

    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Degraded => "degraded",
            Verdict::Unknown => "unknown",
            Verdict::NoPrimary => "no_primary",
            Verdict::LostData => "lost_data",
        }
    }

    /// 1 and 2 are those of any command that fails.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Ok => 0,
            Verdict::Degraded => 3,
            Verdict::NoPrimary => 4,
            Verdict::LostData => 5,
            Verdict::Unknown => 6,
        }
    }
}

/// What is the matter, and what an operator does about it.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Reason {
    pub what: String,
    pub next: String,
}

/// The verdict, and all reasons for it, the gravest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Health {
    pub verdict: Verdict,
    pub reasons: Vec<Reason>,
    /// What is no reason for a worse verdict, and should be known.
    pub notes: Vec<Reason>,
}

/// A member that was asked. `said`: nothing, where it has not answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Asked {
    /// Its name, or its address where that is not known.
    pub name: String,
    pub said: Option<Said>,
    /// What it answered to being asked; empty: it did not say that it takes no more connections.
    pub turned_away: String,
}

impl Asked {
    pub fn said(name: &str, said: Said) -> Asked {
        Asked { name: name.to_owned(), said: Some(said), turned_away: String::new() }
    }
}

/// What one member says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Said {
    /// It says that it leads.
    pub leads: bool,
    /// As the primary: it may answer no client at this moment.
    pub is_mute: bool,
    /// `None`: it was started without a coordinator, and is alone.
    pub cluster: Option<InCluster>,
    /// As the primary: bounds of all clients together that are met.
    pub full: Vec<String>,
    /// Why its state is not what its log says; empty: it is.
    pub unsound: String,
    /// In which settings it was started with other values than the cluster goes by: see [`difference`].
    pub started_otherwise: Vec<String>,
}

/// Of a setting of the cluster, and of one member's start.
pub fn difference(name: &str, value: &str, started_with: &str) -> String {
    format!("{name} {started_with}, the cluster's is {value}")
}

/// What a member of a cluster says of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct InCluster {
    /// In hex; empty: it has seen no record yet.
    pub id: String,
    pub epoch: u64,
    /// In which it began with no objects; 0: not known.
    pub born: u64,
    /// By name; empty: it is not here.
    pub primary: String,
    pub lost_data: Option<String>,
    /// Why the coordinator cannot be used; empty: it can.
    pub coordinator_trouble: String,
    /// Why it could not be promoted; empty: it could.
    pub not_promotable: String,
    pub members: Vec<Peer>,
}

/// A member, as another one sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Peer {
    pub name: String,
    pub in_sync: bool,
    pub state: String,
    pub sound: bool,
}

pub const RECOVER: &str =
    "Start the members that are down. If they are gone for good, `understudy recover` says what is left";
const LOOK_AT_COORDINATOR: &str = "Bring the coordinator back, or the way to it; its own log says more";

/// The verdict on what was said.
pub fn judge(asked: &[Asked]) -> Health {
    let answers: Vec<_> = asked.iter().filter_map(|one| Some((one.name.as_str(), one.said.as_ref()?))).collect();
    let mut found = Found::default();
    lost_data(&answers, &mut found);
    let turns_away = asked.iter().any(|one| !one.turned_away.is_empty());
    let primary = primary(&answers, turns_away, &mut found);
    silent(asked, &mut found);
    for (name, said) in &answers {
        coordinator(name, said, &mut found);
    }
    if let Some((name, said)) = primary {
        full(name, said, &mut found);
        followers(name, said, &mut found);
        disagreement(name, said, &answers, &mut found);
        if said.cluster.is_none() {
            heirs(&answers, &mut found);
        }
    }
    Health { notes: notes(&answers), ..found.into_health() }
}

fn notes(answers: &[(&str, &Said)]) -> Vec<Reason> {
    born_again(answers).into_iter().chain(differences(answers)).collect()
}

/// The cluster is well, and its clients may miss what was there before.
fn born_again(answers: &[(&str, &Said)]) -> Option<Reason> {
    let newest = clusters(answers).map(|(_, cluster)| cluster).max_by_key(|cluster| cluster.epoch)?;
    (newest.born > 1).then(|| Reason {
        what: format!(
            "the cluster began anew with no objects in epoch {}: every member of its set had ended, or counted as gone",
            newest.born
        ),
        next: "Clients store again what they miss. The logs of that time say which members were gone".to_owned(),
    })
}

/// A member that was started with other values goes by the cluster's: nothing is wrong until it is to begin a cluster.
fn differences(answers: &[(&str, &Said)]) -> Vec<Reason> {
    let differ = answers.iter().filter(|(_, said)| !said.started_otherwise.is_empty());
    let note = |(name, said): &(&str, &Said)| Reason {
        what: format!(
            "{name} was started with values other than those that the cluster goes by: {}",
            said.started_otherwise.join("; ")
        ),
        next: "Start it with the cluster's when it is convenient; `understudy config diff` lists them".to_owned(),
    };
    differ.map(note).collect()
}

/// Why a directory may not have named all members, and the verdict where it has named none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    pub alone: Verdict,
    pub reason: Reason,
}

/// The verdict where members were looked for in a directory.
pub fn judge_found(trouble: Option<Trouble>, asked: &[Asked]) -> Health {
    match trouble {
        Some(Trouble { alone, reason }) if asked.is_empty() => {
            Health { verdict: alone, reasons: vec![reason], notes: Vec::new() }
        }
        trouble => {
            let mut health = judge(asked);
            if let Some(Trouble { reason, .. }) = trouble {
                health.verdict = health.verdict.max(Verdict::Degraded);
                health.reasons.push(reason);
            }
            health
        }
    }
}

#[derive(Default)]
struct Found(Vec<(Verdict, Reason)>);

impl Found {
    fn add(&mut self, verdict: Verdict, what: impl Into<String>, next: &str) {
        self.0.push((verdict, Reason { what: what.into(), next: next.to_owned() }));
    }

    fn into_health(mut self) -> Health {
        self.0.sort_by_key(|(verdict, _)| std::cmp::Reverse(*verdict));
        let verdict = self.0.first().map_or(Verdict::Ok, |(verdict, _)| *verdict);
        Health { verdict, reasons: self.0.into_iter().map(|(_, reason)| reason).collect(), notes: Vec::new() }
    }
}

fn clusters<'a>(answers: &'a [(&'a str, &'a Said)]) -> impl Iterator<Item = (&'a str, &'a InCluster)> {
    answers.iter().filter_map(|(name, said)| Some((*name, said.cluster.as_ref()?)))
}

fn lost_data(answers: &[(&str, &Said)], found: &mut Found) {
    for (name, lost) in clusters(answers).filter_map(|(name, cluster)| Some((name, cluster.lost_data.as_ref()?))) {
        let what = format!("{name} says that the coordinator has lost data: {lost}");
        found.add(
            Verdict::LostData,
            what,
            "Stop nothing that runs. Look at what happened to the coordinator; `understudy recover` lists the survivors",
        );
    }
    let ids: BTreeSet<_> = clusters(answers).map(|(_, cluster)| &cluster.id).filter(|id| !id.is_empty()).collect();
    if ids.len() > 1 {
        let whose = clusters(answers).filter(|(_, cluster)| !cluster.id.is_empty());
        let whose: Vec<_> = whose.map(|(name, cluster)| format!("{name} is of {}", cluster.id)).collect();
        found.add(
            Verdict::LostData,
            format!("these members are of different clusters: {}", whose.join(", ")),
            "Compare `understudy status` of each, keep the one with the data, and start the others anew",
        );
    }
}

/// The one that serves, by its own word: of several the one of the latest epoch. A member that turns a command away may be the primary.
fn primary<'a>(answers: &[(&'a str, &'a Said)], turns_away: bool, found: &mut Found) -> Option<(&'a str, &'a Said)> {
    let epoch = |said: &Said| said.cluster.as_ref().map_or(0, |cluster| cluster.epoch);
    let leads: Vec<_> = answers.iter().copied().filter(|(_, said)| said.leads).collect();
    let serves = leads.iter().copied().filter(|(_, said)| !said.is_mute).max_by_key(|(_, said)| epoch(said));
    if leads.len() > 1 {
        let who: Vec<_> = leads.iter().map(|(name, said)| format!("{name} (epoch {})", epoch(said))).collect();
        let what = format!("more than one member says that it is the primary: {}", who.join(", "));
        found.add(
            Verdict::Degraded,
            what,
            "Only the one of the latest epoch can answer. Look again; the other one must notice",
        );
    }
    if serves.is_some() {
        return serves;
    }
    if let Some((name, said)) = leads.first() {
        let what = format!(
            "{name} leads epoch {} and may answer no client now: it does not hear from its in-sync standbys, or from the \
             coordinator",
            epoch(said)
        );
        found.add(Verdict::NoPrimary, what, "Look at the links between the members, and at the coordinator");
        return None;
    }
    let whys = clusters(answers).filter(|(_, cluster)| !cluster.not_promotable.is_empty());
    let whys: Vec<_> = whys.map(|(name, cluster)| format!("{name}: {}", cluster.not_promotable)).collect();
    let what = match (answers.is_empty(), whys.is_empty()) {
        (true, _) => "no member answers".to_owned(),
        (false, true) => "no member that answers leads".to_owned(),
        (false, false) => format!("no member that answers leads ({})", whys.join("; ")),
    };
    match turns_away {
        false => found.add(Verdict::NoPrimary, what, RECOVER),
        true => found.add(Verdict::Unknown, what, "Ask again once all members take this command's connection"),
    }
    None
}

fn silent(asked: &[Asked], found: &mut Found) {
    for one in asked.iter().filter(|one| one.said.is_none()) {
        let Asked { name, turned_away, .. } = one;
        let (what, next) = match turned_away.as_str() {
            "" => (format!("{name} does not answer"), "Start it, or look at its log and the way to it"),
            why => (
                format!("{name} turns this command away: {why}"),
                "Ask from another host, or end connections of this one; its admin port (`/status`) has limits of its own",
            ),
        };
        found.add(Verdict::Degraded, what, next);
    }
}

fn coordinator(name: &str, said: &Said, found: &mut Found) {
    if let Some(trouble) =
        said.cluster.as_ref().map(|cluster| &cluster.coordinator_trouble).filter(|why| !why.is_empty())
    {
        let what = format!("{name} cannot use the coordinator: {trouble}. Until it can, no role changes there");
        found.add(Verdict::Degraded, what, LOOK_AT_COORDINATOR);
    }
    if !said.unsound.is_empty() {
        let what = format!("{name} is not what its log says: {}", said.unsound);
        found.add(Verdict::Degraded, what, "It is repaired by itself; `understudy verify` shows whether that is done");
    }
}

fn full(primary: &str, said: &Said, found: &mut Found) {
    if !said.full.is_empty() {
        found.add(
            Verdict::Degraded,
            format!("{primary} refuses what needs more of a bound that is met: {}", said.full.join("; ")),
            "Look for the client that takes so much, or raise the setting at the next start of each member",
        );
    }
}

/// By the primary's word: only it knows.
fn followers(primary: &str, said: &Said, found: &mut Found) {
    let Some(cluster) = &said.cluster else { return };
    let others = || cluster.members.iter().filter(|member| member.name != primary);
    for member in others().filter(|member| !member.in_sync) {
        let what = format!("{} is not in sync with the primary {primary}: {}", member.name, member.state);
        found.add(Verdict::Degraded, what, "It joins by itself once it can; its log says what it waits for");
    }
    for member in others().filter(|member| !member.sound) {
        let what = format!("{} differs from the primary {primary}", member.name);
        found.add(Verdict::Degraded, what, "It is repaired by itself; `understudy verify` shows whether that is done");
    }
    if !others().any(|member| member.in_sync) {
        let what = format!("no standby is in sync with {primary}: what it alone holds is lost with it");
        found.add(Verdict::Degraded, what, "Start another member");
    }
}

/// Where the primary was only heard of: what its standbys say of themselves.
fn heirs(answers: &[(&str, &Said)], found: &mut Found) {
    for (name, cluster) in clusters(answers).filter(|(_, cluster)| !cluster.not_promotable.is_empty()) {
        let what = format!("{name} could not take over now: {}", cluster.not_promotable);
        found.add(Verdict::Degraded, what, "It joins by itself once it can; its log says what it waits for");
    }
}

/// Who sees the cluster in another way than its primary does.
fn disagreement(primary: &str, said: &Said, answers: &[(&str, &Said)], found: &mut Found) {
    let Some(ours) = &said.cluster else { return };
    for (name, theirs) in clusters(answers).filter(|(name, _)| *name != primary) {
        if (theirs.epoch, &theirs.primary) != (ours.epoch, &ours.primary) {
            let who = if theirs.primary.is_empty() { "no member that is here" } else { theirs.primary.as_str() };
            let what = format!(
                "{name} does not agree: by its word {who} leads epoch {}, by {primary}'s {} leads epoch {}",
                theirs.epoch, ours.primary, ours.epoch
            );
            found.add(
                Verdict::Degraded,
                what,
                "Look again in a moment. If it stays so, look at its way to the coordinator",
            );
        } else if !ours.members.iter().any(|member| member.name == *name) {
            let what = format!("{name} answers, and the primary {primary} does not know it");
            found.add(Verdict::Degraded, what, "Look at its log: it says why it cannot join");
        }
    }
}

#[cfg(test)]
#[path = "health_test.rs"]
mod tests;
