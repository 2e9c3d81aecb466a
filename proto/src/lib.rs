//! The wire contracts of Understudy: the types generated from `proto/understudy/v1/*.proto`, the
//! one map between a failed call and its gRPC status ([`status`]), the table of calls ([`calls`]),
//! and the bounds of what a member accepts ([`limits`]).
//!
//! Deliberately absent: any behaviour. Prost types stay at the edge; the core has types of its own.

pub mod calls;
mod details;
pub mod limits;
mod reasons;
pub mod status;

/// Generated from `proto/understudy/v1`.
#[allow(
    unreachable_pub,
    missing_debug_implementations,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("understudy.v1");
}

/// Metadata of a session that a standby may accept, for reads with a `StandbyRead`.
pub const STANDBY_READ_METADATA: &str = "understudy-standby-read";

/// Metadata of each answer of a member that holds data: the id of the history that its log belongs
/// to, as 32 hexadecimal digits.
pub const HISTORY_METADATA: &str = "understudy-history";

/// The compiled descriptors, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/understudy.v1.bin"));
