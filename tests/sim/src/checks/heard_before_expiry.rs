//! No client expires for time in which its primary could not answer.
//!
//! For each primary, this counts once more the time in which it accepted and answered calls, and
//! when in that time it last heard each client. An expiry earlier than a TTL after that counts time
//! in which the client's heartbeats were refused, or not read.

use std::collections::BTreeMap;

use election::{Incarnation, Service};
use metadata::LedgerOp;
use oplog::{ClientId, DomainId, Entry};

use super::violated;
use crate::member::TTL_STEP_MS_MAX;

/// Rounding to whole milliseconds, in both counts.
const SLACK_MS: u64 = 5;

/// One epoch of one member.
#[derive(Debug, Default)]
struct Reign {
    epoch: u64,
    /// Its clock, when it was last checked.
    seen_ms: u64,
    /// Whether it could answer then.
    served: bool,
    /// When its commits last moved, or had nothing left to commit.
    moved_ms: u64,
    committed: u64,
    /// Where the log ended then.
    appended: u64,
    /// The time for which it could answer, in all.
    served_ms: u64,
    /// When in that time each client was heard. Clients that are not here: at its start.
    clients: BTreeMap<ClientId, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Heard {
    reigns: BTreeMap<Incarnation, Reign>,
}

impl Heard {
    /// Called in each millisecond in which the member runs.
    pub(crate) fn lives(&mut self, who: Incarnation, epoch: Option<u64>, clock: u64, service: &Service) {
        let Some(epoch) = epoch else { return drop(self.reigns.remove(&who)) };
        let reign = self.reigns.entry(who).or_default();
        if reign.epoch != epoch {
            *reign = Reign { epoch, seen_ms: clock, moved_ms: clock, ..Reign::default() };
        }
        if reign.served {
            reign.served_ms += clock.saturating_sub(reign.seen_ms).min(TTL_STEP_MS_MAX);
        }
        // Entries appended since the last look had no time to be committed.
        let had_nothing = service.committed >= reign.appended || service.committed == service.appended;
        if had_nothing || service.committed != reign.committed {
            reign.moved_ms = clock;
        }
        (reign.committed, reign.appended) = (service.committed, service.appended);
        reign.served = clock < service.until_ms && clock <= reign.moved_ms + TTL_STEP_MS_MAX + SLACK_MS;
        reign.seen_ms = clock;
    }

    pub(crate) fn heard(&mut self, who: Incarnation, client: ClientId) {
        if let Some(reign) = self.reigns.get_mut(&who) {
            reign.clients.insert(client, reign.served_ms);
        }
    }

    /// An entry of the primary.
    pub(crate) fn logged(&mut self, who: Incarnation, entry: &Entry, client_ttl_ms: u64) {
        if let Some(stamp) = entry.request {
            return self.heard(who, stamp.client);
        }
        let Some(reign) = self.reigns.get(&who) else { return };
        if entry.domain != DomainId::ENGINE || entry.op_type != LedgerOp::ClientExpire as u8 {
            return;
        }
        let client = ClientId(oplog::decode_payload(&entry.payload).expect("its only field is the client"));
        let heard_ms = reign.clients.get(&client).copied().unwrap_or(0);
        if reign.served_ms + SLACK_MS < heard_ms + client_ttl_ms {
            violated!(
                "{who:?} expires {client} at {}: it was heard after {heard_ms} ms in which it could be, and that is only {} ms by now",
                entry.position(),
                reign.served_ms
            );
        }
    }
}
