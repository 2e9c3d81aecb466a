//! The coordinator as members see it: one record, changed by compare-and-swap; it may be slow,
//! away, or silent about an outcome. It shows which members are here and what each has seen. It may
//! lose its data, or be restored from a backup: then what it shows is wrong until a member or an
//! operator has written the record again.

use std::collections::{BTreeMap, BTreeSet};

use election::{ConfigRecord, Incarnation, Seen, Versioned};
use member::Looked;
use replication::Secret;

use crate::checks::{founded_once, members_are_listed, promoted_from_set};
use crate::rng::Rng;

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "few at a time")]
pub(crate) enum Request {
    /// `members`: first read which members are here.
    Read {
        members: bool,
    },
    Members,
    Swap {
        expect: Option<Versioned>,
        to: ConfigRecord,
    },
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "few at a time, and gone as soon as they are looked at")]
pub(crate) enum Answer {
    /// Ended members are not known yet.
    Read(Looked),
    /// The members that are here, each with its secret.
    Members(Vec<(Incarnation, Secret)>),
    Swapped(u64),
    SwapRefused,
}

/// A member that is shown.
#[derive(Debug)]
struct Present {
    who: Incarnation,
    secret: Secret,
    until: u64,
    /// What it says it has seen.
    seen: Option<Seen>,
}

#[derive(Debug)]
pub(crate) struct Coordinator {
    /// The newest record that was ever written.
    record: Option<Versioned>,
    /// The record that it shows.
    shown: Option<Versioned>,
    /// All records that it has shown.
    backups: Vec<Versioned>,
    store: u64,
    /// Since when the shown record is wrong.
    lost_since: Option<u64>,
    /// An operator wrote the newest record, and no member has read it yet.
    is_entrusted: bool,
    /// The announced primary, its epoch, and until when the announcement lasts.
    leader: Option<(Incarnation, u64, u64)>,
    present: BTreeMap<usize, Present>,
    /// After a loss it takes members a while to be shown again.
    seen_from: BTreeMap<usize, u64>,
    /// All incarnations that were ever here.
    pub(crate) listed: BTreeSet<Incarnation>,
    pub(crate) down_until: u64,
    /// Members whose requests do not reach it, until then,
    cut: BTreeMap<usize, u64>,
    /// and members that it does not show, although their requests may be answered.
    unseen: BTreeMap<usize, u64>,
}

/// For how long a silent member is still shown.
pub(crate) const LEASE_MS: u64 = 400;

impl Default for Coordinator {
    fn default() -> Coordinator {
        Coordinator {
            record: None,
            shown: None,
            backups: Vec::new(),
            store: 1,
            lost_since: None,
            is_entrusted: false,
            leader: None,
            present: BTreeMap::new(),
            seen_from: BTreeMap::new(),
            listed: BTreeSet::new(),
            down_until: 0,
            cut: BTreeMap::new(),
            unseen: BTreeMap::new(),
        }
    }
}

impl Coordinator {
    /// The true record, whatever it shows.
    pub(crate) fn record(&self) -> Option<&Versioned> {
        self.record.as_ref()
    }

    pub(crate) fn lost_since(&self) -> Option<u64> {
        self.lost_since
    }

    /// No data is lost, and members have acted on the newest record.
    pub(crate) fn is_settled(&self) -> bool {
        self.record.is_some() && self.lost_since.is_none() && !self.is_entrusted
    }

    pub(crate) fn backups(&self) -> &[Versioned] {
        &self.backups
    }

    pub(crate) fn is_cut(&self, member: usize, now: u64) -> bool {
        self.cut.get(&member).is_some_and(|until| now < *until)
    }

    fn is_unseen(&self, member: usize, now: u64) -> bool {
        self.unseen.get(&member).is_some_and(|until| now < *until)
    }

    /// Every member can be shown, and can ask.
    pub(crate) fn is_calm(&self, now: u64) -> bool {
        let is_over = |until: &u64| now >= *until;
        is_over(&self.down_until) && self.cut.values().all(is_over) && self.unseen.values().all(is_over)
    }

    /// Called by the members' shells all the time. `seen`: see [`election::Look::others`].
    pub(crate) fn be_present(
        &mut self,
        member: usize,
        (who, secret, seen): (Incarnation, Secret, Option<Seen>),
        leads: Option<u64>,
        now: u64,
    ) {
        // No member begins before it has been here once.
        self.listed.insert(who);
        let is_late = self.seen_from.get(&member).is_some_and(|from| now < *from);
        if now < self.down_until || self.is_unseen(member, now) || is_late {
            return;
        }
        if !self.is_cut(member, now) {
            self.present.insert(member, Present { who, secret, until: now + LEASE_MS, seen });
        }
        if let Some(epoch) = leads
            && self.leader.is_none_or(|(_, held, until)| held <= epoch || now >= until)
        {
            self.leader = Some((who, epoch, now + LEASE_MS));
        }
    }

    pub(crate) fn cut(&mut self, member: usize, until: u64) {
        self.cut.insert(member, until);
    }

    pub(crate) fn heal(&mut self) {
        self.down_until = 0;
        self.cut.clear();
        self.unseen.clear();
    }

    pub(crate) fn hide(&mut self, member: usize, until: u64) {
        self.unseen.insert(member, until);
    }

    /// It shows `backup` from here on, with the same store id or a new one. Presences are gone in
    /// either case.
    pub(crate) fn lose(
        &mut self,
        backup: Option<Versioned>,
        is_new_store: bool,
        members: usize,
        rng: &mut Rng,
        now: u64,
    ) {
        self.shown = backup;
        self.store += u64::from(is_new_store);
        if is_new_store || self.shown != self.record {
            self.lost_since.get_or_insert(now);
        }
        (self.leader, self.present) = (None, BTreeMap::new());
        self.seen_from = (0..members).map(|member| (member, now + rng.below(LEASE_MS / 2))).collect();
    }

    /// An operator's decision.
    pub(crate) fn recover(&mut self, to: ConfigRecord) {
        let to = ConfigRecord { store: self.store, ..to };
        self.write(to);
        self.is_entrusted = true;
    }

    fn write(&mut self, to: ConfigRecord) -> u64 {
        let revision = self.shown.as_ref().map_or(0, |known| known.revision) + 1;
        // A member that has not read since the store was replaced writes what looks like a copy.
        let is_whole = to.store == self.store;
        let known = Versioned { record: to, revision };
        self.backups.push(known.clone());
        (self.shown, self.record) = (Some(known.clone()), Some(known));
        (self.lost_since, self.is_entrusted) = (self.lost_since.filter(|_| !is_whole), false);
        revision
    }

    fn here(&self, now: u64) -> impl Iterator<Item = &Present> {
        self.present.values().filter(move |present| now < present.until)
    }

    pub(crate) fn handle(&mut self, request: &Request, now: u64) -> Answer {
        match request {
            Request::Read { members } => {
                let leader = self.leader.filter(|(_, _, until)| now < *until);
                let members = members.then(|| self.here(now).map(|present| (present.who, present.seen)).collect());
                Answer::Read(Looked {
                    record: self.shown.clone(),
                    store: self.store,
                    members,
                    ended: Vec::new(),
                    announced: Some(leader.map(|(who, epoch, _)| (who, epoch))),
                })
            }
            Request::Members => Answer::Members(self.here(now).map(|present| (present.who, present.secret)).collect()),
            Request::Swap { expect, to } => {
                if self.shown != *expect {
                    return Answer::SwapRefused;
                }
                members_are_listed::check(&self.listed, to);
                if let Some(known) = &self.record {
                    founded_once::check(&known.record, to);
                    promoted_from_set::check(&known.record, to);
                }
                Answer::Swapped(self.write(to.clone()))
            }
        }
    }
}
