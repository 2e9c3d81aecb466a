//! Ids of histories, clients and segments, and positions in the log.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use proto::HISTORY_METADATA;
use tonic::metadata::MetadataMap;

use crate::error::Error;

/// A point in the history of the log. Ordered by epoch, then by seq.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// Grows by one with each change of the primary.
    pub epoch: u64,
    /// Number of the last op.
    pub seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.seq)
    }
}

/// Identifies a history: a log from its first entry on, with all that follows from it. A cluster
/// that is founded anew, or that begins anew, begins another history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HistoryId(pub u128);

impl HistoryId {
    /// `None`: the member does not know it yet.
    pub(crate) fn of_answer(metadata: &MetadataMap) -> Option<HistoryId> {
        let text = metadata.get(HISTORY_METADATA)?.to_str().ok()?;
        u128::from_str_radix(text, 16).ok().map(HistoryId)
    }
}

impl fmt::Display for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for HistoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Drawn from the system's randomness.
            pub fn random() -> $name {
                let mut bytes = [0; 16];
                getrandom::fill(&mut bytes).expect("the system has randomness");
                $name(bytes)
            }

            pub(crate) fn to_wire(self) -> Bytes {
                Bytes::copy_from_slice(&self.0)
            }

            pub(crate) fn from_wire(call: &'static str, bytes: &[u8]) -> Result<$name, Error> {
                let wrong = |_| Error::protocol(call, format!("an id of {} bytes, must be 16", bytes.len()));
                bytes.try_into().map($name).map_err(wrong)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for (at, byte) in self.0.iter().enumerate() {
                    let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
                    write!(f, "{dash}{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        /// 32 hex digits, with dashes or without.
        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<$name, Error> {
                let digits: String = text.chars().filter(|&c| c != '-').collect();
                let all_hex = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                match u128::from_str_radix(&digits, 16) {
                    Ok(number) if all_hex => Ok($name(number.to_be_bytes())),
                    _ => Err(Error::invalid($field, format!("{text:?} is not an id of 32 hex digits"))),
                }
            }
        }
    };
}

id! {
    /// Identifies a client. Each client draws one.
    ClientId, "client id"
}

id! {
    /// Identifies one mapping of one piece of memory, or one directory. The client that mounts it
    /// draws it.
    SegmentId, "segment id"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_as_they_print() {
        let id = SegmentId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().replace('-', "").parse(), Ok(id));
        assert_eq!(id.to_string().len(), 36);
        assert_ne!(SegmentId::random(), id);
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "12", "+1234567890123456789012345678901", "zz345678901234567890123456789012"] {
            assert!(matches!(text.parse::<ClientId>(), Err(Error::Invalid { field: "client id", .. })), "{text}");
        }
    }

    #[test]
    fn positions_compare_epoch_first() {
        assert!(Position { epoch: 2, seq: 1 } > Position { epoch: 1, seq: 9 });
    }
}
