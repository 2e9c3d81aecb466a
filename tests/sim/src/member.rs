//! A simulated member: the production core of the election, a log, and a clock of its own.
//!
//! The log's transport is the simplest that is right: the primary sends what a peer lacks, with the position before it; a
//! peer that does not hold that position drops what it has from there on and says what it holds.

use std::collections::BTreeMap;

use election::{Incarnation, Member, MemberId, Timing, Unclean};

/// One entry: the epoch it was written in, and a value that no other entry has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) epoch: u64,
    pub(crate) value: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    Entries {
        from: Incarnation,
        epoch: u64,
        sent_ms: u64,
        before: Before,
        entries: Vec<Entry>,
    },
    Holds {
        from: Incarnation,
        epoch: u64,
        received: u64,
        echo_ms: u64,
        asks_from: u64,
        sound: bool,
    },
    /// The last word of a primary that has resigned.
    Resigned {
        epoch: u64,
    },
}

/// The position that a batch follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
}

#[derive(Debug)]
pub(crate) struct SimMember {
    pub(crate) me: Incarnation,
    pub(crate) core: Member,
    pub(crate) log: Vec<Entry>,
    pub(crate) committed: u64,
    /// Written in this tenure, not acknowledged yet, by seq.
    pub(crate) pending: BTreeMap<u64, u64>,
    /// As the primary: what each peer is to be sent next.
    pub(crate) next: BTreeMap<MemberId, u64>,
    pub(crate) sent_at: u64,
    pub(crate) up: bool,
    pub(crate) paused_until: u64,
    pub(crate) restart_at: u64,
    /// It was asked to stop, and will have by then.
    pub(crate) stops_at: Option<u64>,
    /// It was told that it ends, and had no claim under way: it must not come to lead any more.
    pub(crate) retired: bool,
    /// Its state was found to be another one than its log says, until then.
    pub(crate) unsound_until: u64,
    pub(crate) sound: bool,
    /// Per mille of the world's clock, and where it began.
    rate: u64,
    offset: u64,
}

impl SimMember {
    pub(crate) fn new(me: Incarnation, timing: Timing, now: u64, rate: u64, offset: u64) -> SimMember {
        let clock = offset + now * rate / 1000;
        SimMember {
            me,
            core: Member::new(me, 7, timing, Unclean::Cold, clock),
            log: Vec::new(),
            committed: 0,
            pending: BTreeMap::new(),
            next: BTreeMap::new(),
            sent_at: 0,
            up: true,
            paused_until: 0,
            restart_at: 0,
            stops_at: None,
            retired: false,
            unsound_until: 0,
            sound: true,
            rate,
            offset,
        }
    }

    /// Its memory is gone; it is somebody else now.
    pub(crate) fn restart(&mut self, timing: Timing, now: u64) {
        let me = Incarnation { member: self.me.member, number: self.me.number + 1 };
        *self = SimMember::new(me, timing, now, self.rate, self.offset);
    }

    pub(crate) fn clock(&self, now: u64) -> u64 {
        self.offset + now * self.rate / 1000
    }

    pub(crate) fn runs(&self, now: u64) -> bool {
        self.up && now >= self.paused_until
    }

    fn epoch_at(&self, seq: u64) -> u64 {
        if seq == 0 { 0 } else { self.log[seq as usize - 1].epoch }
    }

    pub(crate) fn batch_for(&self, peer: MemberId) -> (Before, Vec<Entry>) {
        let last = self.log.len() as u64;
        let seq = self.next.get(&peer).copied().unwrap_or(last).min(last);
        (Before { seq, epoch: self.epoch_at(seq) }, self.log[seq as usize..].to_vec())
    }

    /// As a standby: what is held afterwards of the primary's log, if the batch fits on.
    pub(crate) fn take(&mut self, before: Before, entries: &[Entry]) -> Result<u64, u64> {
        let length = self.log.len() as u64;
        if before.seq > length {
            return Err(length);
        }
        if self.epoch_at(before.seq) != before.epoch {
            self.log.truncate(before.seq as usize - 1);
            return Err(before.seq - 1);
        }
        for (at, entry) in entries.iter().enumerate() {
            let at = before.seq as usize + at;
            if self.log.get(at).is_some_and(|held| held != entry) {
                self.log.truncate(at);
            }
            if self.log.len() == at {
                self.log.push(*entry);
            }
        }
        Ok(before.seq + entries.len() as u64)
    }
}
