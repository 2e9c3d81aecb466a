//! Which fault comes next: a function of the seed.
//!
//! Each round first draws which kinds of faults it has. So faults that would hide each other (etcd
//! away, and a takeover that needs it) get rounds of their own, and a long run has every mixture of
//! kinds.
//!
//! Deliberately absent: which member is the primary at that time. `breaker` looks.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// What happens to the victim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Kill,
    Term,
    Pause,
    /// Cut off from all other members.
    CutPeers,
    /// The same, in one direction.
    CutRequests,
    CutAnswers,
    CutEtcd,
    /// Cut off from all other processes.
    CutOff,
    Narrow,
    Lengthen,
    /// Connections break and may be opened again.
    Reset,
    StopEtcd,
    /// Its data is lost, or as old as a backup.
    EmptyEtcd,
    RollBackEtcd,
    Transfer,
    Join,
    Leave,
}

impl Kind {
    pub(crate) const ALL: [Kind; 17] = [
        Kind::Kill,
        Kind::Term,
        Kind::Pause,
        Kind::CutPeers,
        Kind::CutRequests,
        Kind::CutAnswers,
        Kind::CutEtcd,
        Kind::CutOff,
        Kind::Narrow,
        Kind::Lengthen,
        Kind::Reset,
        Kind::StopEtcd,
        Kind::EmptyEtcd,
        Kind::RollBackEtcd,
        Kind::Transfer,
        Kind::Join,
        Kind::Leave,
    ];

    fn needs_etcd(self) -> bool {
        matches!(self, Kind::CutEtcd | Kind::CutOff | Kind::StopEtcd | Kind::EmptyEtcd | Kind::RollBackEtcd)
    }

    /// Whether a primary loses the lead by it in any case.
    pub(crate) fn ends_its_term(self) -> bool {
        matches!(self, Kind::Kill | Kind::Term | Kind::Transfer)
    }

    /// How long it lasts, at least and at most. For faults that end a process: until it is started
    /// again.
    fn lasting_ms(self) -> (u64, u64) {
        match self {
            Kind::Kill | Kind::Term => (50, 3000),
            Kind::Pause => (50, 2500),
            Kind::CutPeers | Kind::CutRequests | Kind::CutAnswers | Kind::CutOff => (50, 4000),
            Kind::CutEtcd | Kind::StopEtcd => (200, 8000),
            Kind::Narrow | Kind::Lengthen => (500, 5000),
            Kind::Reset | Kind::EmptyEtcd | Kind::RollBackEtcd | Kind::Transfer | Kind::Join | Kind::Leave => (0, 1),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Kill => "kill -9",
            Kind::Term => "SIGTERM",
            Kind::Pause => "SIGSTOP, SIGCONT",
            Kind::CutPeers => "cut off from members",
            Kind::CutRequests => "cut, towards it",
            Kind::CutAnswers => "cut, from it",
            Kind::CutEtcd => "cut off from etcd",
            Kind::CutOff => "cut off from all",
            Kind::Narrow => "narrow link",
            Kind::Lengthen => "long link",
            Kind::Reset => "connections reset",
            Kind::StopEtcd => "etcd killed, restarted",
            Kind::EmptyEtcd => "etcd emptied",
            Kind::RollBackEtcd => "etcd rolled back",
            Kind::Transfer => "transfer",
            Kind::Join => "member added",
            Kind::Leave => "member removed",
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Who {
    Primary,
    Standby,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) who: Who,
    pub(crate) lasting: Duration,
    /// Rest before it.
    pub(crate) after: Duration,
    /// The strength of a narrow or a long link.
    pub(crate) strength: u64,
}

#[derive(Debug)]
pub(crate) struct Plan {
    rng: Rng,
    possible: Vec<Kind>,
    kinds: Vec<Kind>,
}

impl Plan {
    pub(crate) fn new(seed: u64, has_etcd: bool) -> Plan {
        let possible: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| has_etcd || !kind.needs_etcd()).collect();
        let mut plan = Plan { rng: Rng::with_seed(seed), kinds: possible.clone(), possible };
        plan.next_round();
        plan
    }

    /// About half of the kinds, and always the most important one.
    pub(crate) fn next_round(&mut self) {
        let rng = &mut self.rng;
        self.kinds = self.possible.iter().copied().filter(|kind| *kind == Kind::Kill || rng.bool()).collect();
    }

    pub(crate) fn next(&mut self) -> Fault {
        let often = self.rng.u8(..4) == 0;
        let kind = if often { Kind::Kill } else { self.kinds[self.rng.usize(..self.kinds.len())] };
        let who = if self.rng.u8(..3) < 2 { Who::Primary } else { Who::Standby };
        let (least, most) = kind.lasting_ms();
        // Short ones are more frequent: what matters lies around the time-outs of the election.
        let share = self.rng.f64() * self.rng.f64();
        let lasting = Duration::from_millis(least + ((most - least) as f64 * share) as u64);
        let after = Duration::from_millis(self.rng.u64(50..2000));
        Fault { kind, who, lasting, after, strength: self.rng.u64(..) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn faults(seed: u64, has_etcd: bool) -> Vec<Fault> {
        let mut plan = Plan::new(seed, has_etcd);
        let round = |_| {
            plan.next_round();
            (0..20).map(|_| plan.next()).collect::<Vec<_>>()
        };
        (0..30).flat_map(round).collect()
    }

    #[test]
    fn plan_is_a_function_of_the_seed() {
        assert_eq!(faults(7, true), faults(7, true));
        assert_ne!(faults(7, true), faults(8, true));
    }

    #[test]
    fn every_kind_comes_except_those_that_need_a_missing_etcd() {
        let kinds = |has_etcd| faults(1, has_etcd).iter().map(|fault| fault.kind).collect::<BTreeSet<_>>();
        assert_eq!(kinds(true), BTreeSet::from(Kind::ALL));
        assert_eq!(kinds(false).len(), Kind::ALL.len() - 5);
    }
}
