//! Errors of more than one file: bytes that are not what they claim to be, and a bound that is
//! reached.
//!
//! Invariants: each error prints both sides of the comparison that failed. `Overloaded` is worth a
//! retry (except `Bound::EntryBytes`, which a valid configuration excludes).
//!
//! Absent on purpose: errors of a single file (they stand there), and how errors look on the wire.

/// Bytes from a disk, a peer or a payload that cannot be accepted. None of them has been used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{what} is cut off: {need} bytes needed, {have} there")]
    Truncated { what: &'static str, need: usize, have: usize },
    #[error("{what} is followed by something else: {used} bytes used, {have} there")]
    Trailing { what: &'static str, used: usize, have: usize },
    #[error("{what} is too large: {bytes} bytes, at most {max} allowed")]
    TooLarge { what: &'static str, bytes: usize, max: usize },
    #[error("checksum of {what} does not match: {said:#010x} said, {found:#010x} found")]
    Checksum { what: &'static str, said: u32, found: u32 },
    #[error("{what} has format version {found}, this build knows up to {known}")]
    UnknownVersion { what: &'static str, found: u8, known: u8 },
    #[error("{what} has flags {found:#04x}, this build knows {known:#04x}")]
    UnknownFlags { what: &'static str, found: u8, known: u8 },
    #[error("prefix hash does not fit the key: {said:#018x} said, {found:#018x} found")]
    PrefixHash { said: u64, found: u64 },
    #[error("payload cannot be decoded: {reason}")]
    Payload { reason: String },
}

/// A bound is reached: nothing has changed, and a later attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("overloaded: {bound}; try again in {retry_after_ms} ms")]
pub struct Overloaded {
    pub retry_after_ms: u32,
    pub bound: Bound,
}

/// Which bound, with the present and the allowed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Bound {
    #[error("tail_entries: the log's tail holds {entries} entries of {max} and peers need those from seq {floor} on")]
    TailEntries { entries: usize, max: usize, floor: u64 },
    #[error(
        "tail_bytes: the log's tail holds {bytes} bytes of {max}, {needed} more are needed, and peers need all from seq {floor} on"
    )]
    TailBytes { bytes: usize, needed: usize, max: usize, floor: u64 },
    #[error("tail_bytes: an entry that takes {needed} bytes does not fit into a tail of {max}")]
    EntryBytes { needed: usize, max: usize },
    #[error("tail_waiters: {max} waiters wait already, which is the limit")]
    Waiters { max: usize },
}
