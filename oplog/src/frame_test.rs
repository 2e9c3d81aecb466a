//! Tests: frames come back as they were, and nothing else is accepted as a frame.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
struct Sample {
    at: Position,
    timestamp_ms: u64,
    domain: u8,
    op_type: u8,
    request: Option<RequestStamp>,
    key: Vec<u8>,
    payload: Vec<u8>,
}

impl Sample {
    fn draft(&self) -> Draft<'_> {
        Draft {
            domain: DomainId(self.domain),
            op_type: self.op_type,
            timestamp_ms: self.timestamp_ms,
            request: self.request,
            key: &self.key,
            payload: &self.payload,
        }
    }

    fn frame(&self) -> Frame {
        Frame::encode(self.at, &self.draft())
    }
}

fn stamps() -> impl Strategy<Value = RequestStamp> {
    any::<([u8; 16], u64, u64, u64)>().prop_map(|(client, number, body_hash, forget_below)| RequestStamp {
        client: ClientId(client),
        number,
        body_hash,
        forget_below,
    })
}

fn samples() -> impl Strategy<Value = Sample> {
    let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
    (any::<(u64, u64, u64, u8, u8)>(), proptest::option::of(stamps()), bytes(60), bytes(120)).prop_map(
        |((epoch, seq, timestamp_ms, domain, op_type), request, key, payload)| Sample {
            at: Position { epoch, seq },
            timestamp_ms,
            domain,
            op_type,
            request,
            key,
            payload,
        },
    )
}

fn sample() -> Sample {
    let stamp = RequestStamp { client: ClientId([7; 16]), number: 8, body_hash: 9, forget_below: 3 };
    Sample {
        at: Position { epoch: 3, seq: 1042 },
        timestamp_ms: 1_700_000_000_000,
        domain: 1,
        op_type: 2,
        request: Some(stamp),
        key: b"model/layer-17".to_vec(),
        payload: b"\x01payload".to_vec(),
    }
}

/// Appends the right checksum to these bytes.
fn sealed(mut bytes: Vec<u8>) -> Bytes {
    let crc = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    Bytes::from(bytes)
}

fn sealed_with(at: usize, value: &[u8]) -> Bytes {
    let mut bytes = sample().frame().as_bytes().to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    sealed(bytes)
}

proptest! {
    #[test]
    fn an_entry_comes_back_as_it_went_in(sample in samples()) {
        let frame = sample.frame();
        prop_assert_eq!(frame.position(), sample.at);
        prop_assert_eq!(frame.len(), frame.as_bytes().len());
        prop_assert_eq!(frame.prefix_hash(), prefix_hash(&sample.key));
        let received = Frame::from_bytes(frame.as_bytes().clone()).expect("just encoded");
        let entry = received.decode().expect("checked");
        prop_assert_eq!(entry.position(), sample.at);
        prop_assert_eq!(entry.timestamp_ms, sample.timestamp_ms);
        prop_assert_eq!(entry.domain, DomainId(sample.domain));
        prop_assert_eq!(entry.op_type, sample.op_type);
        prop_assert_eq!(entry.request, sample.request);
        prop_assert_eq!(&entry.key[..], &sample.key[..]);
        prop_assert_eq!(&entry.payload[..], &sample.payload[..]);
        prop_assert_eq!(Frame::encode(entry.position(), &entry.draft()), frame);
    }

    #[test]
    fn every_truncation_and_every_bit_flip_is_refused(sample in samples()) {
        let bytes = sample.frame().as_bytes().clone();
        for len in 0..bytes.len() {
            prop_assert!(Frame::from_bytes(bytes.slice(..len)).is_err(), "cut to {} bytes", len);
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Frame::from_bytes(Bytes::from(flipped)).is_err(), "bit {} flipped", bit);
        }
    }

    #[test]
    fn foreign_bytes_are_never_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Frame::from_bytes(Bytes::from(bytes)).is_err());
    }

    /// Bytes that were sealed on purpose: whatever passes is the one encoding of what it decodes
    /// to.
    #[test]
    fn what_passes_is_canonical(
        bytes in proptest::collection::vec(any::<u8>(), 88..200),
        key_bytes in 0..112_usize,
        damage in proptest::option::of((4..48_usize, any::<u8>())),
    ) {
        let forged = forged(bytes, key_bytes, damage);
        match Frame::from_bytes(forged) {
            Ok(frame) => {
                let entry = frame.decode().expect("checked");
                prop_assert_eq!(Frame::encode(entry.position(), &entry.draft()), frame);
            }
            Err(why) => prop_assert!(damage.is_some(), "{}", why),
        }
    }
}

/// A valid header around arbitrary bytes, then one byte of it overwritten, then sealed.
fn forged(mut bytes: Vec<u8>, key_bytes: usize, damage: Option<(usize, u8)>) -> Bytes {
    let length = bytes.len();
    bytes[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    bytes[8] = FRAME_VERSION;
    bytes[9] &= FLAG_REQUEST;
    let key_start = if bytes[9] == 0 { 48 } else { 88 };
    let key = key_start..(key_start + key_bytes).min(length);
    bytes[12..16].copy_from_slice(&(key.len() as u32).to_le_bytes());
    let hash = prefix_hash(&bytes[key]);
    bytes[40..48].copy_from_slice(&hash.to_le_bytes());
    if let Some((at, value)) = damage {
        bytes[at] = value;
    }
    sealed(bytes)
}

#[test]
fn the_layout_is_what_the_header_says() {
    let bytes = sample().frame().as_bytes().to_vec();
    assert_eq!(bytes.len(), 48 + 40 + 14 + 8);
    assert_eq!(bytes[..4], crc32fast::hash(&bytes[4..]).to_le_bytes());
    assert_eq!(bytes[4..8], 110_u32.to_le_bytes());
    assert_eq!(bytes[8..12], [1, 1, 1, 2]);
    assert_eq!(bytes[12..16], 14_u32.to_le_bytes());
    assert_eq!(bytes[16..24], 1042_u64.to_le_bytes());
    assert_eq!(bytes[24..32], 3_u64.to_le_bytes());
    assert_eq!(bytes[32..40], 1_700_000_000_000_u64.to_le_bytes());
    assert_eq!(bytes[40..48], prefix_hash(b"model/layer-17").to_le_bytes());
    assert_eq!(bytes[48..64], [7; 16]);
    assert_eq!(bytes[64..72], 8_u64.to_le_bytes());
    assert_eq!(bytes[72..80], 9_u64.to_le_bytes());
    assert_eq!(bytes[80..88], 3_u64.to_le_bytes());
    assert_eq!(&bytes[88..], b"model/layer-17\x01payload");
    // Frames of this version are on disks: this number changes only together with FRAME_VERSION.
    assert_eq!(crc32fast::hash(&bytes[4..]), GOLDEN_CRC);
}

const GOLDEN_CRC: u32 = 3_722_630_375;

#[test]
fn key_and_payload_are_slices_of_the_frame() {
    let frame = sample().frame();
    let entry = frame.decode().expect("just encoded");
    let range = frame.as_bytes().as_ptr_range();
    assert!(range.contains(&entry.key.as_ptr()) && range.contains(&entry.payload.as_ptr()));
}

#[test]
fn a_refusal_names_both_sides() {
    let frame = sample().frame();
    let whole = frame.as_bytes();
    let longer = Bytes::from([&whole[..], &[0]].concat());
    let too_large = FRAME_BYTES_MAX as u32 + 1;
    for (bytes, words) in [
        (whole.slice(..20), "frame is cut off: 48 bytes needed, 20 there"),
        (whole.slice(..100), "frame is cut off: 110 bytes needed, 100 there"),
        (longer, "frame is followed by something else: 110 bytes used, 111 there"),
        (sealed_with(4, &too_large.to_le_bytes()), "frame is too large: 33554433 bytes, at most 33554432 allowed"),
        (sealed_with(8, &[2]), "frame has format version 2, this build knows up to 1"),
        (sealed_with(9, &[3]), "frame has flags 0x03, this build knows 0x01"),
        (sealed_with(12, &23_u32.to_le_bytes()), "key of the frame is cut off: 111 bytes needed, 110 there"),
        (sealed_with(12, &u32::MAX.to_le_bytes()), "key of the frame is cut off: 4294967383 bytes needed, 110 there"),
    ] {
        assert_eq!(Frame::from_bytes(bytes).expect_err(words).to_string(), words);
    }
    let other_hash = Frame::from_bytes(sealed_with(40, &[0; 8])).expect_err("not the key's hash");
    assert_eq!(other_hash, DecodeError::PrefixHash { said: 0, found: prefix_hash(b"model/layer-17") });
    let mut rotten = whole.to_vec();
    rotten[0] ^= 1;
    let said = u32_at(&rotten, 0);
    let refused = Frame::from_bytes(Bytes::from(rotten)).expect_err("another checksum");
    assert_eq!(refused, DecodeError::Checksum { what: "frame", said, found: said ^ 1 });
}

#[test]
fn verify_finds_what_decode_does_not_look_for() {
    let mut bytes = sample().frame().as_bytes().to_vec();
    *bytes.last_mut().expect("not empty") ^= 1;
    let rotten = Frame(Bytes::from(bytes));
    assert!(rotten.decode().is_ok());
    assert!(matches!(rotten.verify(), Err(DecodeError::Checksum { .. })));
    assert_eq!(sample().frame().verify(), Ok(()));
}

#[test]
#[should_panic(expected = "at most 33554432 allowed")]
fn an_oversized_draft_is_not_encoded() {
    let payload = vec![0; FRAME_BYTES_MAX];
    Sample { payload, ..sample() }.frame();
}

#[test]
fn debug_tells_what_it_is() {
    assert_eq!(format!("{:?}", sample().frame()), "Frame(3/1042, domain 1, op 2, 110 bytes)");
}

#[test]
fn frames_that_stand_one_behind_the_other_are_told_apart() {
    let draft =
        Draft { domain: DomainId::ENGINE, op_type: 1, timestamp_ms: 5, request: None, key: b"k", payload: b"p" };
    let frames: Vec<Frame> = (1..4).map(|seq| Frame::encode(Position { epoch: 1, seq }, &draft)).collect();
    let whole: Vec<u8> = frames.iter().flat_map(|frame| frame.as_bytes().to_vec()).collect();
    let mut bytes = Bytes::from(whole.clone());
    let split: Vec<Frame> = std::iter::from_fn(|| Frame::split_first(&mut bytes).unwrap()).collect();
    assert_eq!(split, frames);
    let last = frames[2].len();
    for cut in 1..last {
        let mut bytes = Bytes::from(whole[whole.len() - last..whole.len() - cut].to_vec());
        assert!(Frame::split_first(&mut bytes).is_err(), "cut by {cut}");
    }
    let mut bytes = Bytes::from({
        let mut absurd = whole;
        absurd[4..8].copy_from_slice(&3u32.to_le_bytes());
        absurd
    });
    assert!(Frame::split_first(&mut bytes).is_err(), "shorter than its own header");
}
