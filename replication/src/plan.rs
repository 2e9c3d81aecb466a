//! Where a peer continues: after the last entry that its log and this one share, or with a full
//! sync.
//!
//! An epoch has one writer. So if two logs hold entries of one epoch, these entries are the same up
//! to where the shorter log ends in it, and so are all before them. The plan uses nothing else.
//!
//! Invariants: a peer is never asked to drop what it has applied; what is promised from the log is
//! in the log.
//!
//! Deliberately absent: whether a full sync would be faster than a long log.

use oplog::Position;

/// What a peer says it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerLog {
    /// The last position of each epoch in its log, oldest first; see `oplog::Tail::history`.
    pub history: Vec<Position>,
    pub applied: Position,
    pub partial: Option<SyncedPart>,
}

/// A full sync that was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncedPart {
    /// All shards before this one are installed.
    pub next_shard: u32,
    /// The positions of the oldest and the newest of their images.
    pub oldest: Position,
    pub newest: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The log follows from here on. The peer drops what it holds beyond this.
    Log { fork_seq: u64 },
    /// Images from this shard on, then the log after `after` (`None`: after the first image that is
    /// captured).
    FullSync { first_shard: u32, after: Option<u64> },
}

/// `mine` is the history of this log. Its entries after `base_seq` can still be sent.
pub fn plan(mine: &[Position], base_seq: u64, peer: &PeerLog) -> Start {
    if let Some(part) = peer.partial
        && holds(mine, part.newest)
        && (base_seq..=part.newest.seq).contains(&part.oldest.seq)
    {
        return Start::FullSync { first_shard: part.next_shard, after: Some(part.oldest.seq) };
    }
    match common_seq(mine, base_seq, &peer.history) {
        Some(fork_seq) if fork_seq >= peer.applied.seq => Start::Log { fork_seq },
        _ => Start::FullSync { first_shard: 0, after: None },
    }
}

/// The last seq that both logs hold, or that stands right before both of them.
fn common_seq(mine: &[Position], base_seq: u64, theirs: &[Position]) -> Option<u64> {
    let shared = theirs.iter().rev().find_map(|at| {
        let last = mine.iter().find(|mine| mine.epoch == at.epoch)?;
        Some(last.seq.min(at.seq))
    })?;
    (shared >= base_seq).then_some(shared)
}

fn holds(mine: &[Position], at: Position) -> bool {
    mine.iter().any(|last| last.epoch == at.epoch && last.seq >= at.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at((epoch, seq): (u64, u64)) -> Position {
        Position { epoch, seq }
    }

    fn history(ends: &[(u64, u64)]) -> Vec<Position> {
        ends.iter().copied().map(at).collect()
    }

    fn planned(mine: &[(u64, u64)], theirs: &[(u64, u64)], applied: (u64, u64)) -> Start {
        plan(&history(mine), mine[0].1, &PeerLog { history: history(theirs), applied: at(applied), partial: None })
    }

    const FULL: Start = Start::FullSync { first_shard: 0, after: None };

    #[test]
    fn peer_that_holds_nothing_gets_the_whole_log_while_it_is_whole() {
        assert_eq!(planned(&[(0, 0), (1, 50)], &[(0, 0)], (0, 0)), Start::Log { fork_seq: 0 });
        assert_eq!(planned(&[(1, 10), (1, 50)], &[(0, 0)], (0, 0)), FULL, "entries 1 to 10 are gone");
    }

    #[test]
    fn peer_that_is_behind_goes_on_where_it_stands() {
        assert_eq!(planned(&[(0, 0), (1, 50), (2, 70)], &[(0, 0), (1, 30)], (1, 30)), Start::Log { fork_seq: 30 });
        assert_eq!(planned(&[(1, 40), (2, 70)], &[(0, 0), (1, 30)], (1, 30)), FULL, "31 to 40 are gone");
        assert_eq!(planned(&[(1, 30), (2, 70)], &[(1, 30)], (1, 30)), Start::Log { fork_seq: 30 });
    }

    #[test]
    fn what_was_never_committed_is_dropped_unless_it_is_applied() {
        // There, epoch 1 went on to 60; here, epoch 2 began after 50.
        let (mine, theirs) = ([(0, 0), (1, 50), (2, 70)], [(0, 0), (1, 60)]);
        assert_eq!(planned(&mine, &theirs, (1, 50)), Start::Log { fork_seq: 50 });
        assert_eq!(planned(&mine, &theirs, (1, 60)), FULL);
    }

    #[test]
    fn epochs_that_only_one_of_them_knows_are_passed_over() {
        // The peer wrote epoch 3 alone, after both had 1.
        let (mine, theirs) = ([(0, 0), (1, 50), (4, 70)], [(0, 0), (1, 40), (3, 45)]);
        assert_eq!(planned(&mine, &theirs, (1, 40)), Start::Log { fork_seq: 40 });
        assert_eq!(planned(&mine, &theirs, (3, 45)), FULL);
        assert_eq!(planned(&[(7, 9)], &[(8, 3)], (0, 0)), FULL, "nothing in common");
    }

    #[test]
    fn peer_that_began_anew_shares_nothing_but_the_beginning() {
        let (mine, theirs) = ([(0, 0), (5, 3)], [(0, 0), (4, 1000)]);
        assert_eq!(planned(&mine, &theirs, (4, 1000)), FULL);
        assert_eq!(planned(&mine, &theirs, (0, 0)), Start::Log { fork_seq: 0 });
    }

    #[test]
    fn full_sync_is_resumed_while_its_log_is_here() {
        let resumed = |mine: &[(u64, u64)], oldest, newest| {
            let partial = Some(SyncedPart { next_shard: 9, oldest: at(oldest), newest: at(newest) });
            plan(&history(mine), mine[0].1, &PeerLog { history: history(&[(0, 0)]), applied: at((0, 0)), partial })
        };
        let goes_on = Start::FullSync { first_shard: 9, after: Some(40) };
        assert_eq!(resumed(&[(1, 40), (2, 70)], (1, 40), (2, 60)), goes_on);
        assert_eq!(resumed(&[(1, 41), (2, 70)], (1, 40), (2, 60)), FULL, "an entry is missing");
        assert_eq!(resumed(&[(1, 30), (2, 55)], (1, 40), (2, 60)), FULL, "it holds what never was");
        assert_eq!(resumed(&[(1, 40), (2, 70)], (9, u64::MAX), (2, 60)), FULL, "the oldest behind the newest");
    }

    /// Compared with the definition: two logs, written entry by entry, and their longest common
    /// beginning.
    #[test]
    fn fork_is_the_longest_common_beginning_of_random_logs() {
        let mut rng = oplog::Rng::new(7);
        let mut below = |n: usize| rng.below(n);
        for _ in 0..20_000 {
            // A chain of primaries, each of which continues a prefix of one of two logs.
            let mut logs = [vec![0_u64], vec![0_u64]];
            for epoch in 1..=1 + below(5) as u64 {
                let (from, to) = (below(2), below(2));
                let kept = 1 + below(logs[from].len());
                let mut log = logs[from][..kept].to_vec();
                log.extend(std::iter::repeat_n(epoch, 1 + below(4)));
                logs[to] = log;
            }
            let ends = |log: &[u64], base: usize| -> Vec<Position> {
                let end = |seq: usize| seq == base || seq + 1 == log.len() || log[seq + 1] != log[seq];
                let ends = (base..log.len()).filter(|seq| end(*seq)).map(|seq| at((log[seq], seq as u64)));
                let mut ends: Vec<Position> = ends.collect();
                if ends.len() > 1 && ends[0].epoch == ends[1].epoch {
                    ends.remove(0);
                }
                ends
            };
            let [mine, theirs] = &logs;
            let base = below(mine.len());
            let common = mine.iter().zip(theirs).take_while(|(a, b)| a == b).count() as u64 - 1;
            let peer = PeerLog { history: ends(theirs, 0), applied: at((0, 0)), partial: None };
            match plan(&ends(mine, base), base as u64, &peer) {
                Start::Log { fork_seq } => assert_eq!(fork_seq, common, "{mine:?} from {base}, {theirs:?}"),
                Start::FullSync { .. } => assert!(common < base as u64, "{mine:?} from {base}, {theirs:?}"),
            }
        }
    }
}
