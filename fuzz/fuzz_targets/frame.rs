//! Bytes from a disk or a peer as a frame of the log: refused or understood, never a panic. What is
//! understood has exactly one encoding.
//!
//! Each input is tried as it is, and again with the right length and checksum: otherwise no fuzzer
//! would get past the checksum.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use oplog::{Draft, Frame, Position};

fuzz_target!(|data: &[u8]| {
    try_frame(data);
    if data.len() >= 8 {
        try_frame(&sealed(data));
    }
});

fn try_frame(bytes: &[u8]) {
    let Ok(frame) = Frame::from_bytes(Bytes::copy_from_slice(bytes)) else { return };
    let entry = frame.decode().expect("a checked frame decodes");
    let at = Position { epoch: entry.epoch, seq: entry.seq };
    let draft = Draft {
        domain: entry.domain,
        op_type: entry.op_type,
        timestamp_ms: entry.timestamp_ms,
        request: entry.request,
        key: &entry.key,
        payload: &entry.payload,
    };
    assert_eq!(Frame::encode(at, &draft).as_bytes(), frame.as_bytes(), "two encodings of one entry");
}

/// With the length (bytes 4 to 7) and the checksum (bytes 0 to 3) of an intact frame.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let length = u32::try_from(bytes.len()).expect("libFuzzer's inputs are short");
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}
