//! What every domain of a replicated state needs, and none of them owns.
//!
//! | file | decides |
//! |---|---|
//! | `errors` | why an op does not fit, and the small checks that tell |
//! | `bounds`, `call` | who calls, what is answered, why a call is refused, and at which bound |
//! | `hash` | hashes of requests and of records |
//! | `settings` | what all members must agree on, and what a change of it owes |
//! | `clients` | who is alive, and what was answered |
//! | `tenants` | names, quotas, what each holds in each domain |
//! | `accounts` | all of those together |
//!
//! Deliberately absent: tokio, sockets, clocks, thread-local randomness, wire types. Times come as arguments.

mod accounts;
mod bounds;
mod call;
mod clients;
mod errors;
mod hash;
mod settings;
mod tenants;

pub use accounts::{Accounts, Mode};
pub use bounds::{AtBound, Bound};
pub use call::{
    Address, Answer, BOUND_RETRY_MS, CALL_ITEMS_MAX, Call, CallRefused, ENTRY_ITEMS_MAX, ITEM_BYTES, ItemId, Now, Op,
    TEXT_BYTES_MAX, TenantIx, check_bound, check_call, check_count, check_text, forget_one,
};
pub use clients::{AnswerRecord, Client, Clients, Keep, Known};
pub use errors::{Applied, Inconsistent, OpError, require, same};
#[cfg(feature = "faults")]
pub use hash::COLLIDING;
pub use hash::{Fingerprint, RecordHash, RequestBody, Table, digest_of_numbers, digest_of_secret, seed};
pub use settings::{ClusterSettings, InForce, Settings, SettingsOp, TOMBSTONES_LIMIT};
pub use tenants::{DEFAULT_TENANT, NO_TENANT, Tenant, Tenants, Usage};
