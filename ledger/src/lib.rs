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
//! | `domain` | what is asked of a kind of state |
//! | `ops` | what the log says of clients, tenants and settings |
//! | `run` | one part of a call: decided, applied and logged item by item |
//! | `writer`, `held` | the writer lock, the way into the log and out of it, and how long that lock was held |
//!
//! Deliberately absent: tokio, sockets, clocks, thread-local randomness, wire types. Times come as arguments.

mod accounts;
mod bounds;
mod call;
mod clients;
mod domain;
mod errors;
mod hash;
mod held;
mod ops;
mod run;
mod settings;
mod tenants;
mod writer;

pub use accounts::{Accounts, Mode};
pub use bounds::{AtBound, Bound};
pub use call::{
    Address, Answer, BOUND_RETRY_MS, CALL_ITEMS_MAX, Call, CallRefused, ENTRY_ITEMS_MAX, ITEM_BYTES, ItemId, Now, Op,
    Source, TEXT_BYTES_MAX, TenantIx, Who, check_bound, check_call, check_count, check_text, forget_one,
};
pub use clients::{AnswerRecord, Client, Clients, Keep, Known};
pub use domain::{Applying, Domain, UnknownOp};
pub use errors::{Applied, Inconsistent, OpError, require, same};
#[cfg(feature = "faults")]
pub use hash::COLLIDING;
pub use hash::{Fingerprint, RecordHash, RequestBody, Table, digest_of_numbers, digest_of_secret, history_of, seed};
pub use held::{Held, LockTimes};
pub use ops::{ClientLeftOp, ForgetAnswersOp, LedgerOp, TenantGoneOp, TenantOp};
pub use run::{ClientOp, Deciding, ItemCall, PartOf};
pub use settings::{ClusterSettings, InForce, Settings, SettingsOp, TOMBSTONES_LIMIT};
pub use tenants::{DEFAULT_TENANT, NO_TENANT, Tenant, Tenants, Usage};
pub use writer::{Ledger, SEQ_MAX, Writer, WriterGuard, check_next};
