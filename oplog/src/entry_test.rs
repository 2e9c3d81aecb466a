//! Tests of the order of positions, the text of ids, and what the prefix hash covers.

use super::*;

#[test]
fn positions_are_ordered_by_epoch_before_seq() {
    let low = Position { epoch: 1, seq: 900 };
    let high = Position { epoch: 2, seq: 3 };
    assert!(low < high);
    assert!(high < Position { epoch: 2, seq: 4 });
    assert_eq!(high.to_string(), "2/3");
}

#[test]
fn client_id_prints_like_a_uuid() {
    let id = ClientId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
    assert_eq!(id.to_string(), "00010203-0405-0607-0809-aabbccddeeff");
    assert_eq!(format!("{id:?}"), id.to_string());
}

#[test]
fn prefix_hash_sees_eight_bytes_and_no_more() {
    assert_eq!(prefix_hash(b""), 0);
    assert_eq!(prefix_hash(b"abcdefgh"), prefix_hash(b"abcdefgh and the rest"));
    assert_ne!(prefix_hash(b"abcdefg"), prefix_hash(b"abcdefgh"));
    assert_ne!(prefix_hash(b"abcdefgh"), prefix_hash(b"abcdefgi"));
    // Stored in logs, and sent between members: it must never change.
    assert_eq!(prefix_hash(b"abcdefgh"), xxh3_64(b"abcdefgh"));
}
