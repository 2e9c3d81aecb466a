//! The secret of a cluster: 16 bytes that every member holds and no client knows. It keys the
//! hashes of what clients choose, so that no client can make two requests, or many keys, with the
//! same hash.
//!
//! ```text
//!   the first primary draws it ─► entry 1 of the log, EPOCH_START ─► every state, and its images and digest
//! ```
//!
//! Invariants: a log has one secret, in its first entry and in no other; a state that begins anew
//! takes the secret of its own first entry. A log that does not begin with EPOCH_START (in tests
//! and benches) has a secret of zeros.
//!
//! Absent on purpose: where the random bytes come from, and what is hashed with them.

use std::fmt;

use crate::codec::{decode_payload, encode_payload};
use crate::entry::{DomainId, Entry, OP_EPOCH_START};
use crate::error::DecodeError;

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Secret(pub [u8; 16]);

impl Secret {
    /// The payload of the EPOCH_START that continues a log after seq `held`.
    pub fn payload_behind(self, held: u64) -> Vec<u8> {
        let mut payload = Vec::new();
        if held == 0 {
            encode_payload(&self.0, &mut payload);
        }
        payload
    }

    /// The secret in an EPOCH_START. `None`: the entry has none, because it is another one, or the
    /// log has its secret already.
    pub fn of_entry(entry: &Entry) -> Result<Option<Secret>, DecodeError> {
        match (entry.domain, entry.op_type, entry.seq) {
            (DomainId::ENGINE, OP_EPOCH_START, 1) => decode_payload(&entry.payload).map(Secret).map(Some),
            (DomainId::ENGINE, OP_EPOCH_START, _) if !entry.payload.is_empty() => {
                let reason = format!("an epoch that starts behind entry 1 brings {} bytes", entry.payload.len());
                Err(DecodeError::Payload { reason })
            }
            _ => Ok(None),
        }
    }
}

/// It is kept out of logs and messages.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn start(seq: u64, payload: &[u8]) -> Entry {
        let payload = Bytes::copy_from_slice(payload);
        let (domain, op_type) = (DomainId::ENGINE, OP_EPOCH_START);
        Entry { seq, epoch: 1, timestamp_ms: 0, domain, op_type, request: None, key: Bytes::new(), payload }
    }

    #[test]
    fn the_first_entry_of_a_log_brings_it_and_no_other_does() {
        let secret = Secret([7; 16]);
        assert_eq!(Secret::of_entry(&start(1, &secret.payload_behind(0))), Ok(Some(secret)));
        assert_eq!(Secret::of_entry(&start(2, &secret.payload_behind(1))), Ok(None));
        assert!(Secret::of_entry(&start(2, &secret.payload_behind(0))).is_err(), "a second secret");
        assert!(Secret::of_entry(&start(1, b"")).is_err(), "a log that begins without one");
        assert!(Secret::of_entry(&start(1, &secret.payload_behind(0)[..16])).is_err(), "one that is cut off");
        let other = Entry { domain: DomainId::METADATA, ..start(1, b"") };
        assert_eq!(Secret::of_entry(&other), Ok(None));
    }

    #[test]
    fn it_is_not_printed() {
        assert_eq!(format!("{:?}", Secret([0xab; 16])), "Secret");
    }
}
