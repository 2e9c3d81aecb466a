//! One key as its callers see it: the version that readers find, and the put that is under way.
//!
//! A put that replaces a version is written beside it, and readers find the old one until the put
//! ends; or it is written in place, and then readers find none until it ends, nor after a revoke.
//! Its buffers show which it was: those of the old version, or others. For a put of unknown outcome
//! both may be true.
//!
//! Deliberately absent: what ends a put or drops an object by itself (time-outs, expiry, eviction).
//! The recorder prevents these.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::history::{Answer, Buffer, IfExists, Op, OpKind, Outcome, Why};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct Register {
    visible: Put,
    open: Put,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
struct Put {
    /// 0: there is none.
    version: u64,
    /// Identifies its buffers. 0: they are not known.
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
    /// The key after this operation. None: it cannot have been answered so in this state. An
    /// operation of unknown outcome that would have been refused here changes nothing, which is as
    /// if it never ran.
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

    /// What else the key may be after it: a put of unknown outcome may have been in place.
    pub(crate) fn in_place_after(self, op: &Op) -> Option<Register> {
        let may_be = op.outcome == Outcome::Unknown
            && matches!(op.call, OpKind::Start { if_exists: IfExists::Replace, .. })
            && self.visible != Put::NONE;
        let beside = self.after(op).filter(|_| may_be)?;
        Some(Register { visible: Put::NONE, ..beside })
    }

    /// The result of the call, or why it is refused. `place`: what a put was given.
    fn told(self, call: &OpKind, place: u64) -> Result<Register, Why> {
        let Register { visible, open } = self;
        let is_nothing = self == Register::default();
        match *call {
            OpKind::Start { if_exists: IfExists::Fail, .. } if visible != Put::NONE => Err(Why::AlreadyExists),
            OpKind::Start { .. } if open != Put::NONE => Err(Why::InProgress),
            OpKind::Start { version, .. } => {
                let in_place = place != 0 && place == visible.place;
                Ok(Register { visible: if in_place { Put::NONE } else { visible }, open: Put { version, place } })
            }
            OpKind::End { .. } | OpKind::Revoke { .. } | OpKind::Remove if is_nothing => Err(Why::NotFound),
            OpKind::End { version } | OpKind::Revoke { version } if open.version != version => Err(Why::NotWriting),
            OpKind::End { .. } => Ok(Register { visible: open, open: Put::NONE }),
            OpKind::Revoke { .. } => Ok(Register { visible, open: Put::NONE }),
            OpKind::Remove => Ok(Register::default()),
            OpKind::Get | OpKind::Exists | OpKind::Other(_) => Ok(self),
        }
    }

    fn answers(self, call: &OpKind, answer: &Answer) -> bool {
        match (call, answer) {
            (OpKind::Get, Answer::Found(version)) => version.unwrap_or(0) == self.visible.version,
            (OpKind::Exists, Answer::Exists(is_there)) => *is_there == (self.visible != Put::NONE),
            (OpKind::Get | OpKind::Exists, _) => false,
            (_, Answer::Done | Answer::Started(_)) => true,
            (_, Answer::Found(_) | Answer::Exists(_)) => false,
        }
    }
}
