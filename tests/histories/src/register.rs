//! One key as its callers see it: the version that readers find, and the put that is under way.
//!
//! Deliberately absent: whatever ends a put or drops an object by itself (time-outs, expiry, eviction). Whoever records
//! histories keeps those out.

use crate::history::{Answer, Call, IfExists, Op, Outcome, Why};

/// Versions; 0: none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub(crate) struct Register {
    visible: u64,
    open: u64,
}

impl Register {
    /// What the key is after this operation; none: it cannot have been answered so in this state. An operation of unknown
    /// outcome that would have been refused here changes nothing, which is as if it never ran.
    pub(crate) fn after(self, op: &Op) -> Option<Register> {
        let told = self.told(&op.call);
        match &op.outcome {
            Outcome::Unknown => told.ok(),
            Outcome::Refused(why) => (told == Err(*why)).then_some(self),
            Outcome::Acknowledged(answer) => told.ok().filter(|_| self.answers(&op.call, answer)),
        }
    }

    /// What the call makes of it, or why it refuses.
    fn told(self, call: &Call) -> Result<Register, Why> {
        let Register { visible, open } = self;
        match *call {
            Call::Start { if_exists: IfExists::Fail, .. } if visible != 0 => Err(Why::AlreadyExists),
            Call::Start { .. } if open != 0 => Err(Why::InProgress),
            Call::Start { version, .. } => Ok(Register { visible, open: version }),
            Call::End { .. } | Call::Revoke { .. } | Call::Remove if visible == 0 && open == 0 => Err(Why::NotFound),
            Call::End { version } | Call::Revoke { version } if open != version => Err(Why::NotWriting),
            Call::End { version } => Ok(Register { visible: version, open: 0 }),
            Call::Revoke { .. } => Ok(Register { visible, open: 0 }),
            Call::Remove => Ok(Register::default()),
            Call::Get | Call::Exists | Call::Other(_) => Ok(self),
        }
    }

    fn answers(self, call: &Call, answer: &Answer) -> bool {
        match (call, answer) {
            (Call::Get, Answer::Found(version)) => version.unwrap_or(0) == self.visible,
            (Call::Exists, Answer::Exists(is_there)) => *is_there == (self.visible != 0),
            (Call::Get | Call::Exists, _) => false,
            (_, Answer::Done | Answer::Started(_)) => true,
            (_, Answer::Found(_) | Answer::Exists(_)) => false,
        }
    }
}
