//! Tests: payloads come back as they were; anything else is refused with a reason.

use std::collections::BTreeMap;

use bincode::{BorrowDecode, Decode, Encode};
use proptest::prelude::*;

use super::*;

#[derive(Clone, PartialEq, Debug, Encode, Decode)]
enum Op {
    Start { key: Vec<u8>, size: u64, places: Vec<(u32, u64)> },
    End { checksum: Option<u64>, name: String },
    Counts(BTreeMap<u16, i64>),
}

#[derive(PartialEq, Debug, Encode, BorrowDecode)]
struct Borrowing<'a> {
    key: &'a [u8],
    name: &'a str,
}

fn ops() -> impl Strategy<Value = Op> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..40);
    let places = proptest::collection::vec(any::<(u32, u64)>(), 0..5);
    prop_oneof![
        (bytes, any::<u64>(), places).prop_map(|(key, size, places)| Op::Start { key, size, places }),
        (any::<Option<u64>>(), any::<String>()).prop_map(|(checksum, name)| Op::End { checksum, name }),
        proptest::collection::btree_map(any::<u16>(), any::<i64>(), 0..8).prop_map(Op::Counts),
    ]
}

fn encoded<T: Encode>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    encode_payload(value, &mut out);
    out
}

proptest! {
    #[test]
    fn a_payload_comes_back_as_it_went_in(op in ops()) {
        prop_assert_eq!(decode_payload::<Op>(&encoded(&op)), Ok(op));
    }

    #[test]
    fn every_truncation_and_every_extension_is_refused(op in ops()) {
        let bytes = encoded(&op);
        for len in 0..bytes.len() {
            prop_assert!(decode_payload::<Op>(&bytes[..len]).is_err(), "cut to {}", len);
        }
        let longer = [&bytes[..], &[0]].concat();
        let refusal = DecodeError::Trailing { what: "payload", used: bytes.len(), have: longer.len() };
        prop_assert_eq!(decode_payload::<Op>(&longer), Err(refusal));
    }

    #[test]
    fn foreign_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let mut bytes = bytes;
        if let Some(version) = bytes.first_mut() {
            *version = PAYLOAD_VERSION;
        }
        if let Ok(op) = decode_payload::<Op>(&bytes) {
            prop_assert_eq!(decode_payload::<Op>(&encoded(&op)), Ok(op));
        }
    }
}

#[test]
fn encoding_appends() {
    let mut out = b"before".to_vec();
    encode_payload(&7_u64, &mut out);
    assert_eq!(out, b"before\x01\x07");
}

#[test]
fn the_encoding_does_not_change() {
    let op = Op::Start { key: b"ab".to_vec(), size: 300, places: vec![(1, 70_000)] };
    assert_eq!(encoded(&op), [1, 0, 2, b'a', b'b', 251, 44, 1, 1, 1, 252, 112, 17, 1, 0]);
}

#[test]
fn decoding_may_borrow() {
    let value = Borrowing { key: b"key", name: "name" };
    let bytes = encoded(&value);
    let back: Borrowing<'_> = decode_payload(&bytes).expect("just encoded");
    assert_eq!(back, value);
    assert!(bytes.as_ptr_range().contains(&back.key.as_ptr()));
}

#[test]
fn a_refusal_says_why() {
    let unknown = decode_payload::<u64>(&[9, 1]).expect_err("version 9");
    assert_eq!(unknown.to_string(), "payload has format version 9, this build knows up to 1");
    let empty = decode_payload::<u64>(&[]).expect_err("no version");
    assert_eq!(empty.to_string(), "payload is cut off: 1 bytes needed, 0 there");
    let variant = decode_payload::<Op>(&[1, 77]).expect_err("no such variant");
    assert!(matches!(variant, DecodeError::Payload { .. }), "{variant}");
}

#[test]
fn a_claim_without_bytes_behind_it_is_refused_before_memory_is_taken() {
    // A length of 2^63 in a payload of eleven bytes.
    let hostile = [1, 0, 253, 0, 0, 0, 0, 0, 0, 0, 0x80];
    assert!(matches!(decode_payload::<Op>(&hostile), Err(DecodeError::Payload { .. })));
}
