//! What a peer's receipt counts for.
//!
//! Invariants: a peer has received nothing beyond what it was sent, or what it was found to share
//! when its stream began; no peer has answered a message that was not sent yet; what a peer still
//! holds from before a full sync is no reason to wait for it.

use proto::v1;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    pub received: u64,
    /// When the message was sent that it answers.
    pub echo_ms: u64,
    pub sound: bool,
    /// It counts for commits and the tenure; otherwise only for the window.
    pub is_member: bool,
}

/// `sent`: this stream has sent the log up to here. `sent_ms`: the stamp of its newest message.
pub fn counted(receipt: &v1::Receipt, sent: u64, sent_ms: u64) -> Counted {
    Counted {
        // A peer that says more than that is wrong.
        received: receipt.received.min(sent),
        echo_ms: receipt.echo_ms.min(sent_ms),
        sound: !receipt.unsound,
        is_member: !receipt.syncing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_has_no_more_than_was_sent_and_has_answered_no_later_message() {
        let receipt = v1::Receipt { received: 90, echo_ms: 700, ..v1::Receipt::default() };
        let expected = Counted { received: 90, echo_ms: 700, sound: true, is_member: true };
        assert_eq!(counted(&receipt, 100, 800), expected);
        assert_eq!(counted(&receipt, 80, 600), Counted { received: 80, echo_ms: 600, ..expected });
    }

    #[test]
    fn peer_in_a_full_sync_or_not_sound_says_so() {
        let receipt = v1::Receipt { syncing: true, unsound: true, ..v1::Receipt::default() };
        assert_eq!(counted(&receipt, 0, 0), Counted { received: 0, echo_ms: 0, sound: false, is_member: false });
    }
}
