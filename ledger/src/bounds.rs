//! Bounds that a call or an item can meet, each with the setting that moves it.

use bincode::{Decode, Encode};

macro_rules! bounds {
    ($($name:ident: $setting:expr, $what:literal;)*) => {
        /// A bound that a call or an item can meet. The order is the log's format.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
        pub enum Bound { $($name,)* }

        impl Bound {
            pub const ALL: &'static [Bound] = &[$(Bound::$name,)*];

            /// As members' flags are called; a limit of the format has none.
            pub fn setting(self) -> Option<&'static str> {
                match self { $(Bound::$name => $setting,)* }
            }

            fn what(self) -> &'static str {
                match self { $(Bound::$name => $what,)* }
            }
        }
    };
}

bounds! {
    Objects: Some("objects_max"), "objects are there";
    Segments: Some("segments_max"), "segments are there";
    ClientSegments: Some("client_segments_max"), "segments of this client are there";
    ClientSegmentBytes: Some("client_segment_bytes_max"), "bytes would be in the segments of this client";
    SegmentBytes: None, "bytes would be in all segments";
    Tasks: Some("tasks_max"), "tasks are there";
    Replicas: None, "replicas would be of this object";
    Clients: Some("clients_max"), "clients are known";
    ClientsPerAddress: Some("clients_per_address_max"), "clients of this address are known";
    ClientPuts: Some("client_puts_max"), "puts and transfers of this client would be under way";
    RetiredExtents: Some("retired_extents_max"), "pieces of space wait until no client can be using them any more";
    Tenants: Some("tenants_max"), "tenants are known, and each holds an object, has an open task or a quota";
    TenantsPerAddress: Some("tenants_per_address_max"), "tenants that are not empty were made from this address";
    ClientAnswers: Some("client_answers_max"), "answers are kept that this client has not said it has";
    ClientAnswerBytes: Some("client_answer_bytes_max"), "bytes of answers are kept that this client has not said it has";
    AnswerBytes: Some("answer_bytes_total_max"), "bytes of answers are kept for retries";
    TailEntries: Some("tail_entries"), "entries are in the log, and peers need them";
    TailBytes: Some("tail_bytes"), "bytes would be in the log, and peers need them";
    SegmentsPerAddress: Some("segments_per_address_max"), "segments were mounted from this address";
    ExtentsPerAddress: Some("extents_per_address_max"), "pieces of space are of puts and transfers that clients of this address began";
}

/// Which bound, what was there, and what is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct AtBound {
    pub bound: Bound,
    pub have: u64,
    pub limit: u64,
}

impl std::fmt::Display for AtBound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let AtBound { bound, have, limit } = self;
        if let Some(setting) = bound.setting() {
            write!(f, "{setting}: ")?;
        }
        write!(f, "{have} {}, the limit is {limit}", bound.what())
    }
}
