//! What an object's digest is made of: every field, in its place.

use std::collections::BTreeSet;

use ledger::ItemId;
use oplog::{ClientId, Secret};
use smallvec::smallvec;

use super::{Object, ObjectImage, Replacement, Replica, Transfer};
use crate::hash::KeyHash;
use crate::types::{Pin, Place, TransferKind};

const SECRET: Secret = Secret([5; 16]);

fn replica(address: u64) -> Replica {
    Replica { place: Place { segment: 3, address }, index: 0, complete: true }
}

fn object() -> Object {
    Object {
        key: (*b"key").into(),
        hash: KeyHash::of(SECRET, 2, b"key"),
        size: 100,
        seq: 7,
        owner: ClientId([1; 16]),
        put: ItemId::default(),
        checksum: None,
        replicas: smallvec![replica(64)],
        extra: None,
        tenant: 2,
        pin: Pin::None,
        pinned_at_ms: 5,
        lease_until_ms: 5,
    }
}

fn with_replacement() -> Object {
    let mut object = object();
    let new = Replacement {
        put: ItemId(9),
        owner: ClientId([2; 16]),
        size: 200,
        pin: Pin::Hard,
        replicas: smallvec![replica(128)],
    };
    object.extra_mut().replacement = Some(new);
    object
}

fn with_transfer() -> Object {
    let mut object = object();
    let transfer = Transfer {
        id: ItemId(9),
        owner: ClientId([2; 16]),
        kind: TransferKind::Copy,
        source: 3,
        targets: smallvec![replica(128)],
    };
    object.extra_mut().transfer = Some(transfer);
    object
}

type Change = fn(&mut Object);

fn replacement(object: &mut Object) -> &mut Replacement {
    object.extra_mut().replacement.as_mut().unwrap()
}

fn transfer(object: &mut Object) -> &mut Transfer {
    object.extra_mut().transfer.as_mut().unwrap()
}

#[test]
fn every_field_counts_and_no_two_changes_look_alike() {
    let plain: &[Change] = &[
        |o| o.key = (*b"kez").into(),
        |o| o.hash = KeyHash::of(SECRET, 1, b"key"),
        |o| o.tenant = 1,
        |o| o.size = 101,
        |o| o.seq = 8,
        |o| o.owner.0[0] = 2,
        |o| o.owner.0[15] = 2,
        |o| o.put = ItemId(1),
        |o| o.checksum = Some(0),
        |o| o.checksum = Some(1),
        |o| o.pin = Pin::Hard,
        |o| o.pin = Pin::Soft { ttl_ms: 1 },
        |o| o.pin = Pin::Soft { ttl_ms: 2 },
        |o| o.replicas[0].complete = false,
        |o| o.replicas[0].place.segment = 4,
        |o| o.replicas[0].place.address = 65,
        |o| o.replicas.clear(),
        |o| o.replicas.push(replica(128)),
        |o| o.replicas.insert(0, replica(128)),
    ];
    let of_replacement: &[Change] = &[
        |_| (),
        |o| replacement(o).put = ItemId(10),
        |o| replacement(o).owner.0[0] = 3,
        |o| replacement(o).owner.0[15] = 3,
        |o| replacement(o).size = 201,
        |o| replacement(o).pin = Pin::None,
        |o| replacement(o).replicas[0].complete = false,
        |o| replacement(o).replicas[0].place.address = 129,
        |o| replacement(o).replicas.clear(),
    ];
    let of_transfer: &[Change] = &[
        |_| (),
        |o| transfer(o).id = ItemId(10),
        |o| transfer(o).owner.0[0] = 3,
        |o| transfer(o).owner.0[15] = 3,
        |o| transfer(o).kind = TransferKind::Move,
        |o| transfer(o).source = 4,
        |o| transfer(o).targets[0].complete = false,
        |o| transfer(o).targets[0].place.address = 129,
        |o| transfer(o).targets.clear(),
    ];
    let (mut digests, mut checksums) = (BTreeSet::new(), BTreeSet::new());
    let mut add = |object: Object, name: &str| {
        assert!(digests.insert(object.counted_digest(SECRET).0), "{name}: the same digest as another: {object:?}");
        // The samples compare a key's hash beside it.
        checksums.insert(object.checksum_of_record());
    };
    add(object(), "as it is");
    for (base, changes) in
        [(object as fn() -> Object, plain), (with_replacement, of_replacement), (with_transfer, of_transfer)]
    {
        for (at, change) in changes.iter().enumerate() {
            let mut object = base();
            change(&mut object);
            add(object, &format!("change {at}"));
        }
    }
    // All but the one of the hash, which is no byte of the record.
    assert_eq!(checksums.len(), 1 + plain.len() - 1 + of_replacement.len() + of_transfer.len());
}

#[test]
fn what_is_of_this_member_alone_does_not_count() {
    let mut other = object();
    (other.pinned_at_ms, other.lease_until_ms, other.replicas[0].index) = (6, 6, 6);
    assert_eq!(other.counted_digest(SECRET), object().counted_digest(SECRET));
    for object in [object(), with_replacement(), with_transfer()] {
        assert_eq!(object.digest(), object.counted_digest(SECRET));
        assert_eq!(ObjectImage::of(&object).into_object(SECRET).digest(), object.digest());
    }
}

/// It is compared between members of different builds.
#[test]
fn the_encoding_is_pinned() {
    let digests = [object(), with_replacement(), with_transfer()].map(|object| object.digest().0);
    let pinned = [
        336_007_292_921_411_616_172_011_020_613_976_595_897,
        13_859_396_965_391_697_589_259_655_333_719_890_454,
        276_726_672_952_902_129_654_957_591_225_475_616_082,
    ];
    assert_eq!(digests, pinned);
}
