//! One look at the coordinator: the questions that it consists of, and what the election learns
//! from the answers.
//!
//! ```text
//!   members here? ─► the record ─► which members of its set have ended? ─► which one announces itself?
//! ```
//!
//! Invariants: the members are read before the record, so what they have seen by then is no newer
//! than what a sound coordinator shows afterwards; everything else is reported before the record; a
//! question without an answer reports nothing.
//!
//! Deliberately absent: when to look (`election`), and how the questions travel.

use election::{Event, Incarnation, Look, Millis, Seen, Versioned};

use crate::member::Member;

/// The answers.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    pub record: Option<Versioned>,
    /// The store's id; see [`Look::store`].
    pub store: u64,
    /// Which members are here, and what each says it has seen. `None`: unknown, or not asked.
    pub members: Option<Vec<(Incarnation, Option<Seen>)>>,
    /// Those that have ended, among the ones that were asked about.
    pub ended: Vec<Incarnation>,
    /// Which member announces itself as the primary, and of which epoch, or that none does. `None`:
    /// unknown.
    pub announced: Option<Option<(Incarnation, u64)>>,
}

impl Member {
    /// Which members are here is the first question. A primary need not ask it.
    pub fn looks_for_members(&self) -> bool {
        self.leads().is_none()
    }

    /// The members of the set whose end would be news. A member that commits wait for need not be
    /// asked about.
    pub fn looks_for_ends<'a>(&self, record: Option<&'a Versioned>) -> impl Iterator<Item = Incarnation> + use<'a> {
        let (me, leads) = (self.me, self.leads().is_some());
        let set = record.filter(|_| !leads).map(|known| &known.record.insync);
        set.into_iter().flatten().copied().filter(move |who| *who != me)
    }

    /// Whether the primary of the record may be gone without a member that can take over.
    pub fn looks_for_a_primary(&self, record: Option<&Versioned>) -> bool {
        record.is_some() && self.election.unclean().asks_who_leads() && self.leads().is_none()
    }

    pub fn on_looked(&mut self, looked: Looked, now: Millis) {
        let Looked { record, store, members, ended, announced } = looked;
        for who in ended {
            self.on(Event::ProvenDead(who), now);
        }
        if let Some(announced) = announced {
            let other = announced.filter(|(who, _)| *who != self.me);
            self.on(other.map_or(Event::NobodyAnnounced, |(_, epoch)| Event::Announced { epoch }), now);
        }
        let is_here = members.iter().flatten().any(|(who, _)| *who == self.me);
        let others = members.into_iter().flatten().filter(|(who, _)| *who != self.me).filter_map(|(_, seen)| seen);
        let is_of_record = |seen: &Seen| record.as_ref().is_none_or(|known| known.record.cluster_id == seen.cluster_id);
        let (others, foreign): (Vec<Seen>, Vec<Seen>) = others.partition(is_of_record);
        let others = others.into_iter().max_by_key(|seen| (seen.epoch, seen.version));
        self.on(Event::Read(Look { record, store, others, is_present: is_here && foreign.is_empty() }), now);
    }
}
