//! Tests of messages in chunks of all sizes, and of what is refused.

use proto::v1::{ExistsRequest, Reason};

use super::*;
use crate::budget::{Bounds, Budget, OpenShare};

fn budget(bytes_max: usize) -> (Budget, OpenShare) {
    let bounds = Bounds { name: "all", bytes_max, connection_name: "own", connection_bytes_max: bytes_max };
    let budget = Budget::new(bounds);
    let open = budget.open(None);
    (budget, open)
}

fn message(keys: usize) -> ExistsRequest {
    ExistsRequest { keys: (0..keys).map(|key| Bytes::from(key.to_string())).collect(), ..ExistsRequest::default() }
}

fn framed(messages: &[ExistsRequest]) -> Bytes {
    let mut out = BytesMut::new();
    for message in messages {
        put_message(&mut out, message.encoded_len(), message);
    }
    out.freeze()
}

/// All that can be read from these chunks.
fn read(framing: &mut Framing, chunks: impl IntoIterator<Item = Bytes>) -> Result<Vec<Inbound>, CallError> {
    let mut all = Vec::new();
    for chunk in chunks {
        framing.push(chunk);
        while let Some(inbound) = framing.next()? {
            all.push(inbound);
        }
    }
    Ok(all)
}

#[test]
fn messages_come_out_whole_whatever_the_chunks() {
    let sent = [message(3), message(0), message(1000), message(1)];
    let bytes = framed(&sent);
    for size in [1, 2, 4, 5, 6, 7, 100, 4096, bytes.len()] {
        let (budget, open) = budget(1 << 20);
        let mut framing = Framing::new(Arc::clone(open.share()));
        let chunks = bytes.chunks(size).map(Bytes::copy_from_slice);
        let came = read(&mut framing, chunks).expect("they are valid");
        let came: Vec<_> =
            came.into_iter().map(|inbound| ExistsRequest::decode(inbound.bytes).expect("it is whole")).collect();
        assert_eq!(came, sent, "in chunks of {size}");
        assert!(framing.is_between_messages());
        assert_eq!(budget.taken(), 0);
    }
}

#[test]
fn message_in_one_chunk_is_not_copied() {
    let bytes = framed(&[message(2)]);
    let (_, open) = budget(0);
    let came = read(&mut Framing::new(Arc::clone(open.share())), [bytes.clone()]).expect("it needs no memory");
    assert_eq!(came[0].bytes.as_ptr(), bytes[PREFIX_BYTES..].as_ptr());
}

#[test]
fn message_in_parts_takes_its_memory_until_it_is_dropped() {
    let bytes = framed(&[message(1000)]);
    let (budget, open) = budget(bytes.len());
    let mut framing = Framing::new(Arc::clone(open.share()));
    let came = read(&mut framing, bytes.chunks(64).map(Bytes::copy_from_slice)).expect("there is room");
    assert_eq!(budget.taken(), bytes.len());
    let mut other = Framing::new(Arc::clone(open.share()));
    let refused = read(&mut other, bytes.chunks(64).map(Bytes::copy_from_slice)).expect_err("there is none left");
    assert_eq!(refused.reason(), Reason::Overloaded);
    assert!(refused.retry_after_ms > 0);
    drop(came);
    assert_eq!(budget.taken(), 0);
}

/// Five bytes announce sixteen million more.
#[test]
fn announced_bytes_take_nothing_and_those_that_come_take_at_most_twice_as_much() {
    let (budget, open) = budget(32 << 20);
    let announced = [&[0][..], &(16_u32 << 20).to_be_bytes()].concat();
    let mut framings: Vec<_> = (0..1000).map(|_| Framing::new(Arc::clone(open.share()))).collect();
    for framing in &mut framings {
        assert!(read(framing, [Bytes::from(announced.clone())]).expect("it may come").is_empty());
    }
    assert!(budget.taken() <= 1000 * 2 * PREFIX_BYTES, "{} bytes", budget.taken());
    let one = &mut framings[0];
    for come in 1..=100 {
        assert!(read(one, [Bytes::from(vec![7; 10_000])]).expect("there is room").is_empty());
        let most = 2 * (come * 10_000 + PREFIX_BYTES) + 1000 * 2 * PREFIX_BYTES;
        assert!(budget.taken() <= most, "{} bytes after {come}", budget.taken());
    }
    drop(framings);
    assert_eq!(budget.taken(), 0);
}

#[test]
fn large_and_compressed_messages_are_refused_by_their_prefix() {
    let (_, open) = budget(1 << 30);
    let mut framing = Framing::new(Arc::clone(open.share()));
    let too_long = (MESSAGE_BYTES_MAX as u32 + 1).to_be_bytes();
    let refused = read(&mut framing, [Bytes::from([&[0][..], &too_long[..]].concat())]).expect_err("it is too long");
    assert_eq!(refused.reason(), Reason::InvalidArgument);
    assert_eq!(refused.message, "request: 16777217 bytes, the limit is 16777216");
    let mut framing = Framing::new(Arc::clone(open.share()));
    let refused = read(&mut framing, [Bytes::from_static(&[1, 0, 0, 0, 0])]).expect_err("it is compressed");
    assert_eq!(refused.reason(), Reason::InvalidArgument);
}
