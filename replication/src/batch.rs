//! Which entries go into one message: what is there, up to the limits and the peer's window. It
//! waits for nothing.
//!
//! Invariant: the frames of a batch follow each other, and the first one follows what was sent
//! before.

use bytes::Bytes;
use oplog::{Tail, TailError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most entries of one message.
    pub entries: usize,
    /// The most bytes of one message, unless a single entry is larger.
    pub bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// One after the other.
    pub frames: Bytes,
    pub last_seq: u64,
}

/// What follows `sent`, at most up to `window_end`. `None`: nothing follows yet.
pub fn next_batch(tail: &Tail, sent: u64, window_end: u64, limits: BatchLimits) -> Result<Option<Batch>, TailError> {
    let room = window_end.saturating_sub(sent).min(limits.entries as u64) as usize;
    if room == 0 {
        return Ok(None);
    }
    let joined = tail.joined_since(sent, room, limits.bytes)?;
    Ok(joined.map(|(frames, last_seq)| Batch { frames, last_seq }))
}

#[cfg(test)]
mod tests {
    use oplog::{DomainId, Draft, Frame, Position, TailConfig};

    use super::*;

    #[test]
    fn batch_holds_what_follows_up_to_every_limit() {
        let (tail, mut log) = Tail::new(TailConfig::default(), Position { epoch: 1, seq: 10 });
        let draft =
            Draft { domain: DomainId::ENGINE, op_type: 1, timestamp_ms: 0, request: None, key: b"", payload: &[7; 52] };
        for _ in 0..20 {
            log.reserve(52).expect("there is room").append(&draft);
        }
        let upto = |sent, window_end, entries, bytes| {
            let batch = next_batch(&tail, sent, window_end, BatchLimits { entries, bytes }).expect("it is held");
            batch.map(|batch| {
                let (mut frames, mut seqs) = (batch.frames, Vec::new());
                while let Some(frame) = Frame::split_first(&mut frames).expect("they are whole") {
                    seqs.push(frame.position().seq);
                }
                assert_eq!(seqs.last(), Some(&batch.last_seq));
                assert_eq!(seqs, (sent + 1..=batch.last_seq).collect::<Vec<_>>());
                batch.last_seq
            })
        };
        assert_eq!(upto(10, 100, 512, 1 << 20), Some(30));
        assert_eq!(upto(10, 15, 512, 1 << 20), Some(15), "the window");
        assert_eq!(upto(10, 100, 3, 1 << 20), Some(13), "entries");
        assert_eq!(upto(10, 100, 512, 250), Some(12), "bytes");
        assert_eq!(upto(10, 100, 512, 1), Some(11), "one goes in any case");
        assert_eq!(upto(30, 100, 512, 1), None);
        assert_eq!(upto(10, 10, 512, 1), None, "a full window");
        let gone = next_batch(&tail, 9, 100, BatchLimits { entries: 1, bytes: 1 });
        assert!(matches!(gone, Err(TailError::Purged { first: 11, asked: 9 })));
    }
}
