//! Bytes as the payload of an entry or a chunk of an image: refused or understood, whatever the
//! type, in bounded memory. What is understood is the same after another round through the codec.
//!
//! These are not the log's types (`entry` and `image` test those), but one for each of their
//! shapes.

#![no_main]

use bincode::{BorrowDecode, Decode, Encode};
use libfuzzer_sys::fuzz_target;
use shared::heap;

/// What the values of one input may hold, per byte of it: elements of a list have their full size
/// in memory.
const HEAP_PER_BYTE: usize = 256;

#[derive(PartialEq, Debug, Encode, BorrowDecode)]
struct Borrowing<'a> {
    key: &'a [u8],
    text: &'a str,
    number: u64,
    maybe: Option<u64>,
    flag: bool,
}

#[derive(PartialEq, Debug, Encode, BorrowDecode)]
enum Choice<'a> {
    Nothing,
    One(Borrowing<'a>),
    Many { items: Vec<Result<Borrowing<'a>, u8>> },
}

#[derive(PartialEq, Debug, Encode, Decode)]
struct Owning {
    id: [u8; 16],
    name: String,
    pairs: Vec<(u64, u64)>,
    parts: Vec<(u8, u64, Vec<u8>)>,
    names: Vec<String>,
}

/// A macro, since a value that borrows from the input and one that borrows from its own encoding
/// have two lifetimes.
macro_rules! try_payload {
    ($kind:ty, $bytes:expr) => {{
        let bytes: &[u8] = $bytes;
        let before = heap::bytes();
        let Ok(value) = oplog::decode_payload::<$kind>(bytes) else { return };
        let taken = heap::bytes().saturating_sub(before);
        assert!(taken <= HEAP_PER_BYTE * bytes.len(), "{} bytes became {taken} on the heap", bytes.len());
        let mut encoded = Vec::new();
        oplog::encode_payload(&value, &mut encoded);
        let again: $kind = oplog::decode_payload(&encoded).expect("what was encoded here is decoded here");
        assert_eq!(again, value);
    }};
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 6 {
        0 => try_payload!(Borrowing<'_>, bytes),
        1 => try_payload!(Choice<'_>, bytes),
        2 => try_payload!(Vec<Choice<'_>>, bytes),
        3 => try_payload!(Owning, bytes),
        4 => try_payload!(Vec<Owning>, bytes),
        _ => try_payload!(Vec<Vec<Vec<u64>>>, bytes),
    }
});
