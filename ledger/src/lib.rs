//! What every domain of a replicated state needs, and none of them owns.
//!
//! | file | decides |
//! |---|---|
//! | `errors` | why an op does not fit, and the small checks that tell |
//! | `bounds`, `call` | who calls, what is answered, why a call is refused, and at which bound |
//! | `hash` | hashes of requests and of records |
//! | `config` | what each member is started with |
//! | `settings` | what all members must agree on, and what a change of it owes |
//! | `clients` | who is alive, and what was answered |
//! | `tenants` | names, quotas, what each holds in each domain |
//! | `accounts` | all of those together |
//! | `domain`, `shards` | what is asked of a kind of state, and of what it has in shards of its own |
//! | `ops` | what the log says of clients, tenants and settings |
//! | `run`, `calls` | one part of a call: decided, applied and logged item by item; the whole call |
//! | `tenancy` | how tenants come and go |
//! | `steps` | what the primary does of its own accord |
//! | `writer`, `held` | the writer lock, and how long it was held |
//! | `entry` | the way of an entry into the log, and out of it into the state |
//! | `image`, `last` | a shard as bytes; the last shard |
//! | `state`, `replicated`, `rebuild` | a domain with its ledger, as the engine sees them; one made from images |
//! | `verify`, `parts`, `scrub`, `repair` | what members compare, records looked at again, a repair of just what differs |
//!
//! Deliberately absent: tokio, sockets, clocks, thread-local randomness, wire types. Times come as arguments.

mod accounts;
mod bounds;
mod call;
mod calls;
mod clients;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod domain;
mod entry;
mod errors;
mod hash;
mod held;
mod image;
mod last;
mod ops;
mod parts;
mod rebuild;
mod repair;
mod replicated;
mod run;
mod scrub;
mod settings;
mod shards;
mod state;
mod steps;
mod tenancy;
mod tenants;
mod verify;
mod writer;

pub use accounts::{Accounts, Applying, Deciding, Mode};
pub use bounds::{AtBound, Bound};
pub use call::{
    Address, Answer, BOUND_RETRY_MS, CALL_ITEMS_MAX, Call, CallRefused, ENTRY_ITEMS_MAX, ITEM_BYTES, ItemId, Now, Op,
    Source, TEXT_BYTES_MAX, TenantIx, Who, check_bound, check_call, check_count, check_text, forget_one,
};
pub use calls::{Answered, check_request, run, unreadable};
pub use clients::{AnswerRecord, Client, Clients, Keep, Known};
pub use config::Config;
pub use domain::{Domain, Emptied, Step, Stepping, Steps, UnknownOp, is_over};
pub use errors::{Applied, Inconsistent, OpError, require, same};
#[cfg(feature = "faults")]
pub use hash::COLLIDING;
pub use hash::{Fingerprint, RecordHash, RequestBody, Table, digest_of_numbers, digest_of_secret, history_of, seed};
pub use held::{Held, LockTimes};
pub use image::{CHUNK_RECORDS, ImageReader, ImageWriter, check_found, inconsistent};
pub use ops::{ClientLeftOp, ClientOp, ForgetAnswersOp, LedgerOp, TenantGoneOp, TenantKept, TenantOp};
pub use parts::read_parts;
pub use rebuild::{Rebuilding, check_secret};
pub use run::{ItemCall, Outcome, PartOf};
pub use settings::{ClusterSettings, InForce, Settings, SettingsOp, TOMBSTONES_LIMIT};
pub use shards::{LockedShard, NoShard, NoShards, Shards};
pub use state::{State, digest_of};
pub use tenancy::DeleteTenant;
pub use tenants::{DEFAULT_TENANT, NO_TENANT, Tenant, Tenants, Usage};
pub use writer::{Ledger, Writer, WriterGuard};
