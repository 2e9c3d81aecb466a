//! The values of answers as JSON, the same in every command.
//!
//! Names are snake_case and stay. Sizes, counts and times are plain numbers with their unit in the name; what may need
//! all 64 bits (addresses, checksums) is text, `"0x…"`, since many readers of JSON have 53. A key is text, or
//! `{"hex": "…"}` where it is not UTF-8.
//!
//! Deliberately absent: which fields a command answers with.

use std::time::Instant;

use client::{Location, Position, Refused, Replica};
use serde_json::{Value, json};

use crate::fault::Told;
use crate::words;

pub(crate) fn key(key: &[u8]) -> Value {
    match std::str::from_utf8(key) {
        Ok(text) => text.into(),
        Err(_) => json!({ "hex": words::hex(key) }),
    }
}

pub(crate) fn position(position: Position) -> Value {
    json!({ "epoch": position.epoch, "seq": position.seq })
}

pub(crate) fn wide(number: u64) -> Value {
    format!("{number:#x}").into()
}

pub(crate) fn replicas(replicas: &[Replica]) -> Value {
    replicas.iter().map(replica).collect()
}

pub(crate) fn replica(replica: &Replica) -> Value {
    let segment = &replica.segment;
    let mut value = json!({
        "segment": segment.name,
        "segment_id": segment.id.to_string(),
        "kind": kind(segment.kind),
        "endpoint": segment.endpoint,
        "protocol": segment.protocol,
        "host": segment.host,
        "complete": replica.complete,
    });
    match &replica.location {
        Location::Memory { address } => value["address"] = wide(*address),
        Location::Disk { path } => value["path"] = path.as_str().into(),
    }
    value
}

pub(crate) fn kind(kind: client::SegmentKind) -> &'static str {
    match kind {
        client::SegmentKind::Memory => "memory",
        client::SegmentKind::Disk => "disk",
    }
}

pub(crate) fn pin(pin: client::Pin) -> &'static str {
    match pin {
        client::Pin::None => "none",
        client::Pin::Soft => "soft",
        client::Pin::Hard => "hard",
    }
}

/// One of several items: what was asked about, and either what came of it or why it was refused.
pub(crate) fn item<T>(about: (&str, Value), result: &Result<T, Refused>, done: impl FnOnce(&T) -> Value) -> Value {
    let mut value = match result {
        Ok(result) => done(result),
        Err(refused) => json!({ "error": Told::refused("", refused).json() }),
    };
    value["ok"] = result.is_ok().into();
    value[about.0] = about.1;
    value
}

/// From now on; 0 if it is over.
pub(crate) fn millis_until(moment: Instant) -> u64 {
    u64::try_from(moment.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use client::Reason;

    use super::*;

    #[test]
    fn keys_are_text_or_hex() {
        assert_eq!(key("ü".as_bytes()), "ü");
        assert_eq!(key(b"\xff\x00"), json!({ "hex": "ff00" }));
        assert_eq!(wide(u64::MAX), "0xffffffffffffffff");
    }

    #[test]
    fn items_say_what_they_are_about_and_how_it_went() {
        let refused = Refused { reason: Reason::Leased, message: "for 3 s more".to_owned() };
        let value = item(("key", key(b"a")), &Err::<(), _>(refused), |()| json!({}));
        assert_eq!((value["ok"].as_bool(), value["error"]["reason"].as_str()), (Some(false), Some("LEASED")));
        assert_eq!(
            item(("key", key(b"a")), &Ok(7), |size| json!({ "size": size })),
            json!({"key":"a","ok":true,"size":7})
        );
    }
}
