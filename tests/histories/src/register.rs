//! One key as its callers see it: the version that readers find, and the put that is under way.
//!
//! A put that replaces a version is written beside it, and readers find the old one until the put
//! ends; or in place, and then they find none until then, nor after a revoke. Which of them it was
//! is seen by what it was given: the buffers of the old version, or others. Of a put of unknown
//! outcome both may be true.
//!
//! Deliberately absent: whatever ends a put or drops an object by itself (time-outs, expiry,
//! eviction). Whoever records histories keeps those out.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::history::{Answer, Buffer, Call, IfExists, Op, Outcome, Why};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct Register {
    visible: Put,
    open: Put,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
struct Put {
    /// 0: there is none.
    version: u64,
    /// Names its buffers. 0: they are not known.
    place: u64,
}

impl Put {
    const NONE: Put = Put { version: 0, place: 0 };
}

fn place_of(buffers: &[Buffer]) -> u64 {
    let mut hasher = DefaultHasher::new();
    buffers.hash(&mut hasher);
    if buffers.is_empty() { 0 } else { hasher.finish() | 1 }
}

impl Register {
    /// What the key is after this operation; none: it cannot have been answered so in this state.
    /// An operation of unknown outcome that would have been refused here changes nothing, which is
    /// as if it never ran.
    pub(crate) fn after(self, op: &Op) -> Option<Register> {
        let place = match &op.outcome {
            Outcome::Acknowledged(Answer::Started(buffers)) => place_of(buffers),
            _ => 0,
        };
        let told = self.told(&op.call, place);
        match &op.outcome {
            Outcome::Unknown => told.ok(),
            Outcome::Refused(why) => (told == Err(*why)).then_some(self),
            Outcome::Acknowledged(answer) => told.ok().filter(|_| self.answers(&op.call, answer)),
        }
    }

    /// What else the key may be after it: a put of unknown outcome may have gone in place.
    pub(crate) fn in_place_after(self, op: &Op) -> Option<Register> {
        let may_be = op.outcome == Outcome::Unknown
            && matches!(op.call, Call::Start { if_exists: IfExists::Replace, .. })
            && self.visible != Put::NONE;
        let beside = self.after(op).filter(|_| may_be)?;
        Some(Register { visible: Put::NONE, ..beside })
    }

    /// What the call makes of it, or why it refuses. `place`: what a put was given.
    fn told(self, call: &Call, place: u64) -> Result<Register, Why> {
        let Register { visible, open } = self;
        let is_nothing = self == Register::default();
        match *call {
            Call::Start { if_exists: IfExists::Fail, .. } if visible != Put::NONE => Err(Why::AlreadyExists),
            Call::Start { .. } if open != Put::NONE => Err(Why::InProgress),
            Call::Start { version, .. } => {
                let in_place = place != 0 && place == visible.place;
                Ok(Register { visible: if in_place { Put::NONE } else { visible }, open: Put { version, place } })
            }
            Call::End { .. } | Call::Revoke { .. } | Call::Remove if is_nothing => Err(Why::NotFound),
            Call::End { version } | Call::Revoke { version } if open.version != version => Err(Why::NotWriting),
            Call::End { .. } => Ok(Register { visible: open, open: Put::NONE }),
            Call::Revoke { .. } => Ok(Register { visible, open: Put::NONE }),
            Call::Remove => Ok(Register::default()),
            Call::Get | Call::Exists | Call::Other(_) => Ok(self),
        }
    }

    fn answers(self, call: &Call, answer: &Answer) -> bool {
        match (call, answer) {
            (Call::Get, Answer::Found(version)) => version.unwrap_or(0) == self.visible.version,
            (Call::Exists, Answer::Exists(is_there)) => *is_there == (self.visible != Put::NONE),
            (Call::Get | Call::Exists, _) => false,
            (_, Answer::Done | Answer::Started(_)) => true,
            (_, Answer::Found(_) | Answer::Exists(_)) => false,
        }
    }
}
