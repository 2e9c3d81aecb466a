//! What a peer holds, as it says so in its hello; and back, with nothing believed.

use oplog::Position;
use proto::v1;

use crate::plan::{PeerLog, SyncedPart};

fn position(wire: &v1::Position) -> Position {
    Position { epoch: wire.epoch, seq: wire.seq }
}

fn to_wire(at: Position) -> v1::Position {
    v1::Position { epoch: at.epoch, seq: at.seq }
}

impl From<&v1::Hello> for PeerLog {
    fn from(hello: &v1::Hello) -> PeerLog {
        let partial = hello.partial.as_ref().and_then(|part| {
            let (oldest, newest) = (position(part.oldest.as_ref()?), position(part.newest.as_ref()?));
            Some(SyncedPart { next_shard: part.next_shard, oldest, newest })
        });
        let applied = hello.applied.as_ref().map(position).unwrap_or_default();
        PeerLog { history: hello.history.iter().map(position).collect(), applied, partial }
    }
}

/// All of a hello that is about the log; who says it is for others to add.
impl From<PeerLog> for v1::Hello {
    fn from(holds: PeerLog) -> v1::Hello {
        v1::Hello {
            history: holds.history.into_iter().map(to_wire).collect(),
            applied: Some(to_wire(holds.applied)),
            partial: holds.partial.map(|part| v1::PartialSync {
                next_shard: part.next_shard,
                oldest: Some(to_wire(part.oldest)),
                newest: Some(to_wire(part.newest)),
            }),
            ..v1::Hello::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_back_from_its_hello() {
        let at = |epoch, seq| Position { epoch, seq };
        let partial = Some(SyncedPart { next_shard: 7, oldest: at(1, 2), newest: at(2, 9) });
        let holds = PeerLog { history: vec![at(1, 4), at(2, 9)], applied: at(2, 8), partial };
        assert_eq!(PeerLog::from(&v1::Hello::from(holds.clone())), holds);
        assert_eq!(PeerLog::from(&v1::Hello::default()), PeerLog::default());
    }
}
