//! The clients: who is alive, and the answers kept for their retries. What a client owns, and has
//! under way, is its domains' affair.
//!
//! Exactly once: an answer is kept, as the entries that gave it, until the client says that it has
//! all answers below some number, or a bound is met. Whatever was forgotten is refused when it
//! comes again, never run again. That holds beyond the client's life: a tombstone keeps the first
//! number that may still run.
//!
//! Deliberately absent: when a client is expired, and which answers go; the primary decides and the
//! log says it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use oplog::{ClientId, Digest, RequestStamp};
use smallvec::SmallVec;

use crate::bounds::Bound;
use crate::call::{Address, Call, CallRefused, ENTRY_ITEMS_MAX, Op, forget_one};
use crate::errors::{Inconsistent, require, same};
use crate::hash::{RecordHash, RequestBody, table};
use crate::settings::TOMBSTONES_LIMIT;

/// Until a client has said which answers it has.
const ANSWERS_RETRY_MS: u32 = 50;
/// Tombstones that go at most when one comes: a bound may have come down by any number.
const UNBURIED_MAX: usize = 64;

/// A request that has run, or is running, in one or more entries.
#[derive(Clone, Debug)]
pub struct AnswerRecord {
    pub op: Op,
    pub body_hash: u64,
    /// Items done so far; where only the newest part is kept, 1 once it is finished.
    pub items: u64,
    /// Seq and payload of each, at least one.
    pub parts: SmallVec<[(u64, Bytes); 1]>,
    bytes: usize,
    digest: Digest,
}

#[derive(Debug, Default)]
pub struct Client {
    /// Silent for too long; what it had is being cleaned up.
    pub expired: bool,
    /// It has told its segments since it was last unknown or expired.
    pub introduced: bool,
    /// Numbers below are refused.
    pub kept_from: u64,
    pub number_max: u64,
    answers: BTreeMap<u64, AnswerRecord>,
    pub answer_bytes: usize,
    /// Volatile from here on.
    pub heard_ms: u64,
    /// The first one that this primary has seen it at.
    address: Option<Address>,
}

impl Client {
    fn digest(&self, id: ClientId) -> Digest {
        RecordHash::new(table::CLIENTS)
            .text(&id.0)
            .number(u64::from(self.expired) | (u64::from(self.introduced) << 1))
            .number(self.kept_from)
            .number(self.number_max)
            .finish()
    }

    pub fn answers(&self) -> impl Iterator<Item = (u64, &AnswerRecord)> {
        self.answers.iter().map(|(number, record)| (*number, record))
    }

    /// Below which number its oldest answers stand, so many of them, and no more than so many
    /// bytes. `None`: it has none.
    pub fn oldest_answers(&self, count: usize, bytes_max: usize) -> Option<u64> {
        let mut bytes = 0;
        let few = self.answers.iter().take(count).take_while(|(_, record)| {
            let fits = bytes == 0 || bytes + record.bytes <= bytes_max;
            bytes += record.bytes;
            fits
        });
        few.last().map(|(number, _)| number.saturating_add(1))
    }

    fn is_full(&self, answers_max: usize, bytes_max: usize) -> bool {
        self.answers.len() >= answers_max || (self.answers.len() > 1 && self.answer_bytes > bytes_max)
    }

    /// Whether one more answer, or one more part of one, would push out some that the client may
    /// still be waiting for. Those of a client that never says what it has go without a word; and
    /// the lowest that is waited for is let in, since the others follow on it.
    fn is_waited_for(&self, call: &Call<'_>, answers_max: usize, bytes_max: usize) -> bool {
        call.answered_below > 0
            && call.number > call.answered_below
            && self.kept_from_within(call, answers_max, bytes_max) > self.kept_from.max(call.answered_below)
    }

    /// The number below which answers go, so that one more fits within the bounds. Costs what is
    /// dropped.
    fn kept_from_within(&self, call: &Call<'_>, answers_max: usize, bytes_max: usize) -> u64 {
        let mut kept_from = self.kept_from.max(call.answered_below.min(call.number));
        // Its own record, where it has begun, is not one more.
        let others = self.answers.len() - usize::from(self.answers.contains_key(&call.number));
        let (mut count, mut bytes) = (others, self.answer_bytes);
        for (&number, record) in &self.answers {
            // The newest stays whatever its size: its client may be about to ask again.
            let over = count >= answers_max || (count > 1 && bytes > bytes_max);
            if number >= kept_from && (!over || number >= call.number) {
                break;
            }
            kept_from = kept_from.max(number.saturating_add(1));
            count -= 1;
            bytes -= record.bytes;
        }
        kept_from
    }
}

impl AnswerRecord {
    /// Whether the request is the one that has run. The hash alone does not decide what the
    /// record's bytes are decoded as.
    fn is_of(&self, body: &RequestBody) -> bool {
        // All parts but the last are full, so that what has come to its end has as many items as
        // were asked about.
        let may_go_on = self.items < body.items && self.items.is_multiple_of(ENTRY_ITEMS_MAX as u64);
        self.op == body.op && self.body_hash == body.hash && (self.items == body.items || may_go_on)
    }
}

/// Which parts of an answer are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    AllParts,
    /// Each part says what came before it.
    NewestPart,
}

/// What is known of a request that comes in.
#[derive(Debug)]
pub enum Known<'a> {
    New,
    /// It has run up to here; the rest, if there is one, follows.
    Begun(&'a AnswerRecord),
}

fn part_digest(stamp: &RequestStamp, op: Op, seq: u64, payload: &[u8]) -> Digest {
    RecordHash::new(table::ANSWERS)
        .text(&stamp.client.0)
        .number(stamp.number)
        .number(stamp.body_hash)
        .number(op.as_number())
        .number(seq)
        .number(xxhash_rust::xxh3::xxh3_64(payload))
        .finish()
}

#[derive(Debug, Default)]
pub struct Clients {
    /// Ordered, so that steps over it are the same in every run.
    by_id: BTreeMap<ClientId, Client>,
    pub expired: BTreeSet<ClientId>,
    /// First number that may run, and its place in the order.
    tombstones: BTreeMap<ClientId, (u64, u64)>,
    /// Oldest first.
    tombstone_order: BTreeMap<u64, ClientId>,
    /// Of whom answers are kept, by their bytes.
    by_answer_bytes: BTreeSet<(usize, ClientId)>,
    answer_bytes: usize,
    /// How many came from each, for all that this primary has seen. Volatile.
    by_address: BTreeMap<Address, usize>,
    digest: Digest,
}

impl Clients {
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Clients and those that are gone, counted; of their answers, what each keeps of itself.
    pub fn counted_digest(&self) -> Digest {
        let gone = self.tombstones.iter().map(|(id, (from, _))| tombstone_digest(*id, *from)).sum::<Digest>();
        let here = self.by_id.iter().map(|(id, client)| {
            client.digest(*id) + client.answers.values().map(|record| record.digest).sum::<Digest>()
        });
        gone + here.sum()
    }

    /// Whose sums are counted; an answer, whose digest is at hand, costs an eighth of a client.
    pub fn records(&self) -> usize {
        let answers: usize = self.by_id.values().map(|client| client.answers.len()).sum();
        answers / 8 + self.by_id.len() + self.tombstones.len()
    }

    /// The answers of one client after the other, from the client `next` on. `None`: these were
    /// all.
    pub fn check_next(&self, next: u128) -> Result<Option<u128>, String> {
        let from = ClientId(next.to_be_bytes());
        let Some((id, client)) = self.by_id.range(from..).next() else { return Ok(None) };
        for (&number, record) in &client.answers {
            let stamp = RequestStamp { client: *id, number, body_hash: record.body_hash, forget_below: 0 };
            let parts = record.parts.iter().map(|(seq, payload)| part_digest(&stamp, record.op, *seq, payload));
            same(&format!("digest of the answer to request {number} of client {id}"), parts.sum(), record.digest)?;
        }
        Ok(u128::from_be_bytes(id.0).checked_add(1))
    }

    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    pub fn get(&self, id: ClientId) -> Option<&Client> {
        self.by_id.get(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.by_id.iter().map(|(id, client)| (*id, client))
    }

    /// A sign of life; `false`: the client must tell its segments.
    pub fn heard(&mut self, id: ClientId, now_ms: u64) -> bool {
        match self.by_id.get_mut(&id) {
            Some(client) if !client.expired => {
                client.heard_ms = client.heard_ms.max(now_ms);
                client.introduced
            }
            _ => false,
        }
    }

    /// Of a client that is known; one that is not counts nowhere.
    pub fn came_from(&mut self, id: ClientId, address: Option<Address>) {
        if let (Some(client), Some(address)) = (self.by_id.get_mut(&id), address)
            && client.address.is_none()
        {
            client.address = Some(address);
            *self.by_address.entry(address).or_default() += 1;
        }
    }

    pub fn count_from(&self, address: Address) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }

    pub fn introduce(&mut self, id: ClientId, now_ms: u64) {
        if !self.ensure(id, now_ms).introduced {
            self.set(id, |client| client.introduced = true);
        }
    }

    fn set(&mut self, id: ClientId, change: impl FnOnce(&mut Client)) {
        if let Some(client) = self.by_id.get_mut(&id) {
            self.digest -= client.digest(id);
            change(client);
            self.digest += client.digest(id);
        }
    }

    /// A client that speaks through the log exists and is alive.
    pub fn ensure(&mut self, id: ClientId, now_ms: u64) -> &mut Client {
        if self.by_id.get(&id).is_none_or(|client| client.expired) {
            let kept_from = self.take_tombstone(id);
            self.by_id.entry(id).or_insert_with(|| {
                let client = Client { kept_from, number_max: kept_from.saturating_sub(1), ..Client::default() };
                self.digest += client.digest(id);
                client
            });
            if self.expired.remove(&id) {
                self.set(id, |client| client.expired = false);
            }
        }
        let client = self.by_id.get_mut(&id).expect("it was just made sure of");
        client.heard_ms = client.heard_ms.max(now_ms);
        client
    }

    fn take_tombstone(&mut self, id: ClientId) -> u64 {
        match self.tombstones.remove(&id) {
            Some((kept_from, order)) => {
                self.digest -= tombstone_digest(id, kept_from);
                self.tombstone_order.remove(&order);
                kept_from
            }
            None => 0,
        }
    }

    /// Looks a request up by its number. One that is older than all answers that are kept is
    /// refused while these are as many as may be: nothing is forgotten for its sake, so numbers
    /// that fall would be kept without end.
    pub fn known(
        &self,
        call: &Call<'_>,
        body: &RequestBody,
        answers_max: usize,
        bytes_max: usize,
    ) -> Result<Known<'_>, CallRefused> {
        if call.number == 0 {
            return Ok(Known::New);
        }
        let expired = |kept_from| CallRefused::RequestExpired { number: call.number, kept_from };
        match (self.by_id.get(&call.client), self.tombstones.get(&call.client)) {
            (Some(client), _) => match client.answers.get(&call.number) {
                Some(record) if !record.is_of(body) => Err(CallRefused::RequestReused { number: call.number }),
                Some(record) => Ok(Known::Begun(record)),
                None if call.number < client.kept_from => Err(expired(client.kept_from)),
                None => match client.answers.first_key_value() {
                    // The lowest that its client waits for is one alone.
                    Some((&oldest, _))
                        if call.number < oldest
                            && call.number != call.answered_below
                            && client.is_full(answers_max, bytes_max) =>
                    {
                        Err(expired(oldest))
                    }
                    _ => Ok(Known::New),
                },
            },
            (None, Some(&(kept_from, _))) if call.number < kept_from => Err(expired(kept_from)),
            (None, _) => Ok(Known::New),
        }
    }

    /// An answer that a client may be waiting for is not forgotten for the sake of another one.
    pub fn check_room(&self, call: &Call<'_>, answers_max: usize, bytes_max: usize) -> Result<(), CallRefused> {
        match self.by_id.get(&call.client).filter(|client| client.is_waited_for(call, answers_max, bytes_max)) {
            None => Ok(()),
            Some(client) => {
                let (count, bytes) = (client.answers.len(), client.answer_bytes);
                let (bound, have, limit) = match count >= answers_max {
                    true => (Bound::ClientAnswers, count, answers_max),
                    false => (Bound::ClientAnswerBytes, bytes, bytes_max),
                };
                Err(CallRefused::at_bound(bound, have as u64, limit as u64, ANSWERS_RETRY_MS))
            }
        }
    }

    /// How the next entry of this request is stamped.
    pub fn stamp(&self, call: &Call<'_>, body_hash: u64, answers_max: usize, bytes_max: usize) -> RequestStamp {
        let forget_below = match self.by_id.get(&call.client) {
            Some(client) => client.kept_from_within(call, answers_max, bytes_max),
            None => self.buried_from(call.client).max(call.answered_below.min(call.number)),
        };
        RequestStamp { client: call.client, number: call.number, body_hash, forget_below }
    }

    /// All parts of an answer are of one request, and nothing is answered that is forgotten.
    pub fn check_stamp(&self, stamp: &RequestStamp, op: Op) -> Result<(), Inconsistent> {
        let client = self.by_id.get(&stamp.client);
        let buried = self.buried_from(stamp.client);
        let kept_from = client.map_or(buried, |client| client.kept_from).max(stamp.forget_below);
        let record = client.and_then(|client| client.answers.get(&stamp.number));
        let is_one = record.is_none_or(|record| record.op == op && record.body_hash == stamp.body_hash);
        let fits = is_one && stamp.number >= kept_from && stamp.number != 0;
        require(fits, || format!("request {} of client {} is another one", stamp.number, stamp.client))
    }

    /// An entry of a numbered request was applied: its payload is (a part of) the answer.
    pub fn record(&mut self, stamp: &RequestStamp, op: Op, keep: Keep, payload: Bytes, items: u64, at: (u64, u64)) {
        let (seq, now_ms) = at;
        self.ensure(stamp.client, now_ms);
        self.set(stamp.client, |client| client.number_max = client.number_max.max(stamp.number));
        self.forget(stamp.client, stamp.forget_below);
        let client = self.by_id.get_mut(&stamp.client).expect("it was just made sure of");
        let bytes_before = client.answer_bytes;
        let digest = part_digest(stamp, op, seq, &payload);
        self.digest += digest;
        let record = client.answers.entry(stamp.number).or_insert_with(|| AnswerRecord {
            op,
            body_hash: stamp.body_hash,
            items: 0,
            parts: SmallVec::new(),
            bytes: 0,
            digest: Digest::default(),
        });
        if keep == Keep::NewestPart {
            self.digest -= std::mem::take(&mut record.digest);
            client.answer_bytes -= std::mem::take(&mut record.bytes);
            record.parts.clear();
        }
        record.digest += digest;
        record.items = record.items.saturating_add(items);
        record.bytes += payload.len();
        client.answer_bytes += payload.len();
        record.parts.push((seq, payload));
        let bytes = client.answer_bytes;
        self.count_answers(stamp.client, bytes_before, bytes);
    }

    /// Answers to numbers below go. False: it has not sent as many.
    pub fn forget(&mut self, id: ClientId, below: u64) -> bool {
        let Some(client) = self.by_id.get_mut(&id).filter(|client| below <= client.number_max.saturating_add(1)) else {
            return false;
        };
        if below <= client.kept_from {
            return true;
        }
        let bytes_before = client.answer_bytes;
        self.digest -= client.digest(id);
        while let Some(oldest) = client.answers.first_entry().filter(|oldest| *oldest.key() < below) {
            let record = oldest.remove();
            self.digest -= record.digest;
            client.answer_bytes -= record.bytes;
        }
        client.kept_from = below;
        self.digest += client.digest(id);
        let bytes = client.answer_bytes;
        self.count_answers(id, bytes_before, bytes);
        true
    }

    fn count_answers(&mut self, id: ClientId, before: usize, after: usize) {
        if before != after {
            self.by_answer_bytes.remove(&(before, id));
            if after > 0 {
                self.by_answer_bytes.insert((after, id));
            }
            self.answer_bytes = self.answer_bytes - before + after;
        }
    }

    pub fn has_begun(&self, call: &Call<'_>) -> bool {
        self.by_id.get(&call.client).is_some_and(|client| client.answers.contains_key(&call.number))
    }

    /// Of all clients.
    pub fn answer_bytes(&self) -> usize {
        self.answer_bytes
    }

    /// Whose answers are to go, and below which number, so that `bytes` are saved: of the client
    /// that has the most, the oldest first, but so many at a time, and not the one that is just
    /// being given.
    pub fn answers_to_forget(&self, bytes: usize, count: usize, but: &Call<'_>) -> Option<(ClientId, u64)> {
        self.by_answer_bytes.iter().rev().take(2).find_map(|&(_, id)| {
            let own = id == but.client;
            let mut saved = 0;
            let answers = self.by_id.get(&id)?.answers().take(count);
            let answers = answers.take_while(|(number, record)| {
                let goes = saved < bytes && !(own && *number >= but.number);
                saved += record.bytes;
                goes
            });
            answers.last().map(|(number, _)| (id, number.saturating_add(1)))
        })
    }

    /// False: no such client.
    pub fn expire(&mut self, id: ClientId) -> bool {
        if !self.by_id.contains_key(&id) {
            return false;
        }
        self.set(id, |client| {
            client.expired = true;
            client.introduced = false;
        });
        self.expired.insert(id);
        true
    }

    /// An expired client of which nothing is left. Its number outlives it.
    pub fn remove(&mut self, id: ClientId, tombstones_max: usize) -> bool {
        let Some(client) = self.by_id.remove(&id) else { return false };
        self.expired.remove(&id);
        if let Some(address) = client.address {
            forget_one(&mut self.by_address, address);
        }
        self.digest -= client.digest(id);
        for record in client.answers.values() {
            self.digest -= record.digest;
        }
        self.count_answers(id, client.answer_bytes, 0);
        let kept_from = client.kept_from.max(client.number_max.saturating_add(1));
        if kept_from > 1 {
            self.bury(id, kept_from, tombstones_max);
        }
        true
    }

    fn buried_from(&self, id: ClientId) -> u64 {
        self.tombstones.get(&id).map_or(0, |(kept_from, _)| *kept_from)
    }

    pub fn is_buried(&self, id: ClientId) -> bool {
        self.tombstones.contains_key(&id)
    }

    /// From an image, the oldest first: all that it has. False: there is one already, or there are
    /// too many.
    pub fn install_tombstone(&mut self, id: ClientId, kept_from: u64) -> bool {
        let fits = !self.is_buried(id) && self.tombstones.len() < TOMBSTONES_LIMIT;
        if fits {
            self.add_tombstone(id, kept_from);
        }
        fits
    }

    fn add_tombstone(&mut self, id: ClientId, kept_from: u64) {
        self.digest += tombstone_digest(id, kept_from);
        let order = self.tombstone_order.last_key_value().map_or(0, |(last, _)| last + 1);
        self.tombstones.insert(id, (kept_from, order));
        self.tombstone_order.insert(order, id);
    }

    fn bury(&mut self, id: ClientId, kept_from: u64, tombstones_max: usize) {
        self.add_tombstone(id, kept_from);
        // A bound that has come down takes several burials.
        for _ in 0..UNBURIED_MAX {
            if self.tombstone_order.len() <= tombstones_max {
                break;
            }
            let Some((_, oldest)) = self.tombstone_order.pop_first() else { break };
            if let Some((kept_from, _)) = self.tombstones.remove(&oldest) {
                self.digest -= tombstone_digest(oldest, kept_from);
            }
        }
    }

    /// Oldest first.
    pub fn tombstones(&self) -> impl Iterator<Item = (ClientId, u64)> {
        self.tombstone_order.values().filter_map(|id| Some((*id, self.tombstones.get(id)?.0)))
    }

    /// What is kept twice, compared.
    pub fn check(&self) -> Result<(), String> {
        let mut digest: Digest = self.tombstones().map(|(id, from)| tombstone_digest(id, from)).sum();
        let bytes = self.by_id.iter().filter(|(_, client)| client.answer_bytes > 0);
        let bytes: BTreeSet<_> = bytes.map(|(id, client)| (client.answer_bytes, *id)).collect();
        same("bytes of all answers", bytes.iter().map(|(bytes, _)| bytes).sum(), self.answer_bytes)?;
        same("clients by the bytes of their answers", &bytes, &self.by_answer_bytes)?;
        for (id, client) in &self.by_id {
            digest += client.digest(*id);
            same("the answers' bytes", client.answers.values().map(|record| record.bytes).sum(), client.answer_bytes)?;
            for (&number, record) in &client.answers {
                let stamp = RequestStamp { client: *id, number, body_hash: record.body_hash, forget_below: 0 };
                let parts = record.parts.iter().map(|(seq, payload)| part_digest(&stamp, record.op, *seq, payload));
                same("digest of an answer", parts.sum(), record.digest)?;
                same("bytes of an answer", record.parts.iter().map(|part| part.1.len()).sum(), record.bytes)?;
                digest += record.digest;
            }
            let numbers = client.answers.first_key_value().zip(client.answers.last_key_value());
            if numbers.is_some_and(|((first, _), (last, _))| *first < client.kept_from || *last > client.number_max) {
                return Err(format!("client {id} has answers to numbers that it never sent, or that are forgotten"));
            }
            same("a client that is here and gone", self.tombstones.contains_key(id), false)?;
            same("an expired client", client.expired, self.expired.contains(id))?;
            same("an expired client that is introduced", client.expired && client.introduced, false)?;
        }
        let mut by_address = BTreeMap::new();
        let addresses = self.by_id.values().filter_map(|client| client.address);
        addresses.for_each(|address| *by_address.entry(address).or_default() += 1);
        same("clients by address", &by_address, &self.by_address)?;
        same("digest of the clients", digest, self.digest)?;
        let order: BTreeSet<&ClientId> = self.tombstone_order.values().collect();
        same("gone clients in order", order, self.tombstones.keys().collect())?;
        same("gone clients", self.tombstone_order.len(), self.tombstones.len())
    }

    #[cfg(feature = "faults")]
    pub fn change_an_answer(&mut self, byte: fn(&mut [u8]) -> Option<&mut u8>, bits: u8) -> Option<String> {
        let (id, client) = self.by_id.iter_mut().find(|(_, client)| !client.answers.is_empty())?;
        let (number, record) = client.answers.iter_mut().next()?;
        let payload = &mut record.parts.first_mut()?.1;
        let mut bytes = payload.to_vec();
        *byte(&mut bytes)? ^= bits;
        *payload = bytes.into();
        Some(format!("the answer to request {number} of client {id}"))
    }

    #[cfg(feature = "faults")]
    pub fn lose_an_answer(&mut self) -> Option<String> {
        let (id, client) = self.by_id.iter_mut().find(|(_, client)| !client.answers.is_empty())?;
        let (id, before) = (*id, client.answer_bytes);
        let (number, record) = client.answers.pop_first()?;
        client.answer_bytes -= record.bytes;
        let after = client.answer_bytes;
        self.digest -= record.digest;
        self.count_answers(id, before, after);
        Some(format!("the answer to request {number} of client {id}"))
    }

    /// From an image: the client, then its answers, then whether it is expired.
    pub fn install(&mut self, id: ClientId, kept_from: u64, number_max: u64, introduced: bool) -> bool {
        let client = Client { kept_from, number_max, introduced, ..Client::default() };
        self.digest += client.digest(id);
        self.by_id.insert(id, client).is_none()
    }
}

fn tombstone_digest(id: ClientId, kept_from: u64) -> Digest {
    RecordHash::new(table::TOMBSTONES).text(&id.0).number(kept_from).finish()
}
