//! One object's record, and what of it is replicated.
//!
//! ```text
//!   put_start ──► fresh put ──end──► whole ──replace──► whole + replacement ──end──► whole
//!                    │                 └──replace in place──► fresh put again
//!                 revoke / discard ──► gone                 whole + transfer (copy or move)
//! ```
//!
//! `put` names the put whose replicas stand in `replicas` and are not all complete yet. A replacement and a transfer
//! keep their replicas apart until they end, so that readers never see them. An object that has neither a replica nor
//! a replacement does not exist.

use std::collections::BTreeMap;

use bincode::{BorrowDecode, Decode, Encode};
use ledger::{ItemId, TenantIx};
use oplog::{ClientId, Digest, Secret};
use smallvec::SmallVec;

use crate::hash::KeyHash;
use crate::types::{Pin, Place, SegmentIx, TransferKind};

#[derive(Debug)]
pub struct Object {
    pub(crate) key: Box<[u8]>,
    pub(crate) hash: KeyHash,
    pub(crate) size: u64,
    /// Of the last change.
    pub(crate) seq: u64,
    /// Whoever started the newest put that is in `replicas`.
    pub(crate) owner: ClientId,
    pub(crate) put: ItemId,
    pub(crate) checksum: Option<u64>,
    pub(crate) replicas: Replicas,
    pub(crate) extra: Option<Box<Extra>>,
    pub(crate) tenant: TenantIx,
    pub(crate) pin: Pin,
    /// Volatile: on the TTL clock of this member, not replicated.
    pub(crate) pinned_at_ms: u64,
    pub(crate) lease_until_ms: u64,
}

pub(crate) type Replicas = SmallVec<[Replica; 1]>;

/// What few objects have.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) replacement: Option<Replacement>,
    pub(crate) transfer: Option<Transfer>,
}

/// A new version that is being written beside the old one.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) put: ItemId,
    pub(crate) owner: ClientId,
    pub(crate) size: u64,
    pub(crate) pin: Pin,
    pub(crate) replicas: Replicas,
}

/// A copy or a move that a client carries out.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) id: ItemId,
    pub(crate) owner: ClientId,
    pub(crate) kind: TransferKind,
    pub(crate) source: SegmentIx,
    pub(crate) targets: Replicas,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Replica {
    pub(crate) place: Place,
    /// Where the segment's index names this object. Volatile.
    pub(crate) index: u32,
    pub(crate) complete: bool,
}

impl Object {
    /// A put, a replacement or a transfer is under way.
    pub(crate) fn is_unfinished(&self) -> bool {
        !self.put.is_none() || self.extra.is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.replicas.is_empty() && self.replacement().is_none()
    }

    pub(crate) fn replacement(&self) -> Option<&Replacement> {
        self.extra.as_ref().and_then(|extra| extra.replacement.as_ref())
    }

    pub(crate) fn transfer(&self) -> Option<&Transfer> {
        self.extra.as_ref().and_then(|extra| extra.transfer.as_ref())
    }

    pub(crate) fn take_replacement(&mut self) -> Option<Replacement> {
        let taken = self.extra.as_mut().and_then(|extra| extra.replacement.take());
        self.drop_empty_extra();
        taken
    }

    pub(crate) fn take_transfer(&mut self) -> Option<Transfer> {
        let taken = self.extra.as_mut().and_then(|extra| extra.transfer.take());
        self.drop_empty_extra();
        taken
    }

    pub(crate) fn extra_mut(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    fn drop_empty_extra(&mut self) {
        if self.extra.as_ref().is_some_and(|extra| extra.replacement.is_none() && extra.transfer.is_none()) {
            self.extra = None;
        }
    }

    /// Every replica with the size of its buffer: of the object, its replacement and its transfer.
    pub(crate) fn all_replicas(&self) -> impl Iterator<Item = (&Replica, u64)> {
        let own = self.replicas.iter().map(|replica| (replica, self.size));
        let replacement =
            self.replacement().into_iter().flat_map(|new| new.replicas.iter().map(|replica| (replica, new.size)));
        let transfer = self.transfer().into_iter().flat_map(|t| t.targets.iter().map(|replica| (replica, self.size)));
        own.chain(replacement).chain(transfer)
    }

    /// Where they lie, with the size of each.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Place, u64)> {
        self.all_replicas().map(|(replica, size)| (replica.place, size))
    }

    pub(crate) fn all_replicas_mut(&mut self) -> impl Iterator<Item = &mut Replica> {
        let (replacement, transfer) = match self.extra.as_deref_mut() {
            Some(extra) => (extra.replacement.as_mut(), extra.transfer.as_mut()),
            None => (None, None),
        };
        let replacement = replacement.into_iter().flat_map(|new| new.replicas.iter_mut());
        let transfer = transfer.into_iter().flat_map(|transfer| transfer.targets.iter_mut());
        self.replicas.iter_mut().chain(replacement).chain(transfer)
    }

    /// What is replicated of it, with the hash that it is kept under: where the memory of the key
    /// has changed, this is no longer the key's.
    pub(crate) fn copied(&self) -> Object {
        ObjectImage::of(self).into_object_under(self.hash)
    }

    /// What it implies: where it lies, and what its owners have under way.
    pub(crate) fn footprint(&self) -> Footprint {
        Footprint { tenant: self.tenant, places: self.places().collect(), work: self.work() }
    }

    /// A put, a replacement and a transfer that are under way, with whose they are.
    pub(crate) fn work(&self) -> [Option<(ClientId, ItemId)>; 3] {
        let put = (!self.put.is_none()).then_some((self.owner, self.put));
        let replacement = self.replacement().map(|new| (new.owner, new.put));
        let transfer = self.transfer().map(|transfer| (transfer.owner, transfer.id));
        [put, replacement, transfer]
    }

    /// For people.
    pub(crate) fn name(&self) -> String {
        format!("object {:?} of tenant {}", String::from_utf8_lossy(&self.key), self.tenant)
    }

    /// For people: what the digest is made of, field by field.
    pub(crate) fn fields(&self) -> BTreeMap<&'static str, String> {
        let mut fields = BTreeMap::from([
            ("size", self.size.to_string()),
            ("seq", self.seq.to_string()),
            ("owner", self.owner.to_string()),
            ("put", item(self.put)),
            ("checksum", self.checksum.map_or_else(|| "none".to_owned(), |checksum| format!("{checksum:#x}"))),
            ("pin", pinned(self.pin)),
            ("replicas", places(&self.replicas)),
        ]);
        if let Some(new) = self.replacement() {
            let Replacement { put, owner, size, pin, replicas } = new;
            let (put, pin, places) = (item(*put), pinned(*pin), places(replicas));
            let text = format!("{put} of {owner}, {size} bytes, pin {pin}, at {places}");
            fields.insert("replacement", text);
        }
        if let Some(transfer) = self.transfer() {
            let Transfer { id, owner, kind, source, targets } = transfer;
            let (id, places) = (item(*id), places(targets));
            let text = format!("{kind:?} {id} by {owner} from segment {source} to {places}");
            fields.insert("transfer", text);
        }
        fields
    }

    /// Of everything about it that members must agree on.
    pub(crate) fn digest(&self) -> Digest {
        self.with_fields(|fields| self.hash.digest_of_fields(fields))
    }

    /// The same, unless the key is not any more that of which the hash is: for those who look at what lies here.
    pub(crate) fn counted_digest(&self, secret: Secret) -> Digest {
        let off = self.hash.0 ^ KeyHash::of(secret, self.tenant, &self.key).0;
        let hash = KeyHash(self.hash.0 ^ off.rotate_left(1));
        self.with_fields(|fields| hash.digest_of_fields(fields))
    }

    /// Of the same bytes by another function, for samples: what one of them does not see, the other one does.
    pub(crate) fn checksum_of_record(&self) -> u32 {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&self.key);
        self.with_fields(|fields| checksum.update(fields));
        checksum.finalize()
    }

    /// All but the key, in canonical bytes. With one replica and nothing else, as nearly all objects are, without a heap.
    #[inline]
    fn with_fields<R>(&self, then: impl FnOnce(&[u8]) -> R) -> R {
        let parts = u64::from(self.checksum.is_some())
            | (u64::from(self.replacement().is_some()) << 1)
            | (u64::from(self.transfer().is_some()) << 2)
            | ((self.replicas.len() as u64) << 3);
        let [owner, owner_too] = owner_words(self.owner);
        let head = [
            (u64::from(self.tenant) << 32) | self.key.len() as u64,
            self.size,
            self.seq,
            owner,
            owner_too,
            self.put.0,
            (pin_code(self.pin) << 16) | parts,
            self.checksum.unwrap_or(0),
        ];
        let ([replica], None) = (&self.replicas[..], &self.extra) else {
            return then(self.long_fields(&head).as_flattened());
        };
        let mut words = [0; 10];
        words[..8].copy_from_slice(&head);
        words[8..].copy_from_slice(&replica_words(replica));
        then(words.map(u64::to_le_bytes).as_flattened())
    }

    #[cold]
    fn long_fields(&self, head: &[u64]) -> Vec<[u8; 8]> {
        let mut words = head.to_vec();
        words.extend(self.replicas.iter().flat_map(replica_words));
        if let Some(new) = self.replacement() {
            words.extend(owner_words(new.owner));
            words.extend([new.put.0, new.size, pin_code(new.pin), new.replicas.len() as u64]);
            words.extend(new.replicas.iter().flat_map(replica_words));
        }
        if let Some(transfer) = self.transfer() {
            let kind = (u64::from(transfer.source) << 1) | transfer.kind as u64;
            words.extend(owner_words(transfer.owner));
            words.extend([transfer.id.0, kind, transfer.targets.len() as u64]);
            words.extend(transfer.targets.iter().flat_map(replica_words));
        }
        words.into_iter().map(u64::to_le_bytes).collect()
    }
}

/// What an object implies.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Footprint {
    tenant: TenantIx,
    places: Vec<(Place, u64)>,
    work: [Option<(ClientId, ItemId)>; 3],
}

fn owner_words(ClientId(id): ClientId) -> [u64; 2] {
    let id = u128::from_le_bytes(id);
    [id as u64, (id >> 64) as u64]
}

fn replica_words(replica: &Replica) -> [u64; 2] {
    [(u64::from(replica.place.segment) << 1) | u64::from(replica.complete), replica.place.address]
}

fn pin_code(pin: Pin) -> u64 {
    match pin {
        Pin::None => 0,
        Pin::Soft { ttl_ms } => (u64::from(ttl_ms) << 2) | 1,
        Pin::Hard => 2,
    }
}

/// An object as it goes into a shard's image.
#[derive(Debug, Encode, BorrowDecode)]
pub(crate) struct ObjectImage<'a> {
    key: &'a [u8],
    tenant: TenantIx,
    size: u64,
    seq: u64,
    owner: [u8; 16],
    put: ItemId,
    checksum: Option<u64>,
    pin: Pin,
    replicas: Vec<(Place, bool)>,
    replacement: Option<ReplacementImage>,
    transfer: Option<TransferImage>,
}

#[derive(Debug, Encode, Decode)]
struct ReplacementImage {
    put: ItemId,
    owner: [u8; 16],
    size: u64,
    pin: Pin,
    replicas: Vec<(Place, bool)>,
}

#[derive(Debug, Encode, Decode)]
struct TransferImage {
    id: ItemId,
    owner: [u8; 16],
    kind: TransferKind,
    source: SegmentIx,
    targets: Vec<(Place, bool)>,
}

/// For people.
fn item(id: ItemId) -> String {
    if id.is_none() { "none".to_owned() } else { id.0.to_string() }
}

/// For people.
fn pinned(pin: Pin) -> String {
    match pin {
        Pin::None => "none".to_owned(),
        Pin::Soft { ttl_ms } => format!("soft, {ttl_ms} ms"),
        Pin::Hard => "hard".to_owned(),
    }
}

/// For people.
fn places(replicas: &Replicas) -> String {
    let place = |(Place { segment, address }, complete): (Place, bool)| {
        format!("{address:#x} of segment {segment}{}", if complete { "" } else { " (not complete)" })
    };
    let places: Vec<String> = places_of(replicas).into_iter().map(place).collect();
    if places.is_empty() { "nowhere".to_owned() } else { places.join(", ") }
}

fn places_of(replicas: &Replicas) -> Vec<(Place, bool)> {
    replicas.iter().map(|replica| (replica.place, replica.complete)).collect()
}

fn replicas_of(places: &[(Place, bool)]) -> Replicas {
    places.iter().map(|&(place, complete)| Replica { place, index: 0, complete }).collect()
}

impl<'a> ObjectImage<'a> {
    pub(crate) fn of(object: &'a Object) -> ObjectImage<'a> {
        ObjectImage {
            key: &object.key,
            tenant: object.tenant,
            size: object.size,
            seq: object.seq,
            owner: object.owner.0,
            put: object.put,
            checksum: object.checksum,
            pin: object.pin,
            replicas: places_of(&object.replicas),
            replacement: object.replacement().map(|new| ReplacementImage {
                put: new.put,
                owner: new.owner.0,
                size: new.size,
                pin: new.pin,
                replicas: places_of(&new.replicas),
            }),
            transfer: object.transfer().map(|transfer| TransferImage {
                id: transfer.id,
                owner: transfer.owner.0,
                kind: transfer.kind,
                source: transfer.source,
                targets: places_of(&transfer.targets),
            }),
        }
    }

    pub(crate) fn into_object(self, secret: Secret) -> Object {
        let hash = KeyHash::of(secret, self.tenant, self.key);
        self.into_object_under(hash)
    }

    fn into_object_under(self, hash: KeyHash) -> Object {
        let replacement = self.replacement.map(|new| Replacement {
            put: new.put,
            owner: ClientId(new.owner),
            size: new.size,
            pin: new.pin,
            replicas: replicas_of(&new.replicas),
        });
        let transfer = self.transfer.map(|transfer| Transfer {
            id: transfer.id,
            owner: ClientId(transfer.owner),
            kind: transfer.kind,
            source: transfer.source,
            targets: replicas_of(&transfer.targets),
        });
        let extra = (replacement.is_some() || transfer.is_some()).then(|| Box::new(Extra { replacement, transfer }));
        Object {
            hash,
            key: self.key.into(),
            size: self.size,
            seq: self.seq,
            owner: ClientId(self.owner),
            put: self.put,
            checksum: self.checksum,
            replicas: replicas_of(&self.replicas),
            extra,
            tenant: self.tenant,
            pin: self.pin,
            pinned_at_ms: 0,
            lease_until_ms: 0,
        }
    }
}

#[cfg(test)]
#[path = "object_test.rs"]
mod object_test;
