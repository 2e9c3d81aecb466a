//! How a peer says, beside its proof, what it holds; and how that is read back without trust.

use oplog::Position;
use proto::v1;

use crate::plan::{PeerLog, SyncedPart};

fn position(wire: &v1::Position) -> Position {
    Position { epoch: wire.epoch, seq: wire.seq }
}

fn to_wire(at: Position) -> v1::Position {
    v1::Position { epoch: at.epoch, seq: at.seq }
}

/// A peer's history is cut to its newest epochs. If a peer shares none of these, a full sync is
/// faster.
const HISTORY_MAX: usize = 1000;

impl From<&v1::Proof> for PeerLog {
    fn from(proof: &v1::Proof) -> PeerLog {
        let partial = proof.partial.as_ref().and_then(|part| {
            let (oldest, newest) = (position(part.oldest.as_ref()?), position(part.newest.as_ref()?));
            Some(SyncedPart { next_shard: part.next_shard, oldest, newest })
        });
        let applied = proof.applied.as_ref().map(position).unwrap_or_default();
        let first = proof.history.len().saturating_sub(HISTORY_MAX);
        PeerLog { history: proof.history[first..].iter().map(position).collect(), applied, partial }
    }
}

/// All that is about the log. The caller adds the proof itself.
impl From<PeerLog> for v1::Proof {
    fn from(holds: PeerLog) -> v1::Proof {
        let first = holds.history.len().saturating_sub(HISTORY_MAX);
        v1::Proof {
            history: holds.history.into_iter().skip(first).map(to_wire).collect(),
            applied: Some(to_wire(holds.applied)),
            partial: holds.partial.map(|part| v1::PartialSync {
                next_shard: part.next_shard,
                oldest: Some(to_wire(part.oldest)),
                newest: Some(to_wire(part.newest)),
            }),
            ..v1::Proof::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_back_from_its_proof() {
        let at = |epoch, seq| Position { epoch, seq };
        let partial = Some(SyncedPart { next_shard: 7, oldest: at(1, 2), newest: at(2, 9) });
        let holds = PeerLog { history: vec![at(1, 4), at(2, 9)], applied: at(2, 8), partial };
        assert_eq!(PeerLog::from(&v1::Proof::from(holds.clone())), holds);
        assert_eq!(PeerLog::from(&v1::Proof::default()), PeerLog::default());
    }

    #[test]
    fn long_history_is_cut_to_its_newest_epochs() {
        let history: Vec<Position> = (1..=5000).map(|epoch| Position { epoch, seq: epoch }).collect();
        let said = v1::Proof::from(PeerLog { history: history.clone(), ..PeerLog::default() });
        assert_eq!(said.history.len(), HISTORY_MAX);
        let all = v1::Proof { history: history.iter().copied().map(to_wire).collect(), ..v1::Proof::default() };
        assert_eq!(PeerLog::from(&all).history, history[4000..]);
        assert_eq!(PeerLog::from(&said), PeerLog::from(&all));
    }
}
