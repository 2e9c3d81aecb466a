//! What there is to play with: storage clients that only say that they have memory, and some objects "in" it.
//!
//! Invariant: there are always as many objects, of the same names, whatever the number of segments.

use std::time::Duration;

use client::{Client, Error, Options, Pin, PutOptions, Segment};

/// Objects that are put.
pub(super) const OBJECTS: usize = KEYS.len();
/// It lies in the first segment only.
pub(super) const COPY_ME: &str = KEYS[0].0;

/// With the share of a segment that each one takes, as one of so many.
const KEYS: [(&str, u64); 8] = [
    ("demo/llama/prompt-1/block-0", 1024),
    ("demo/llama/prompt-1/block-1", 1024),
    ("demo/llama/prompt-1/block-2", 2048),
    ("demo/llama/prompt-2/block-0", 1024),
    ("demo/llama/prompt-2/block-1", 512),
    ("demo/llama/system-prompt", 64),
    ("demo/qwen/prompt-1/block-0", 256),
    ("demo/qwen/system-prompt", 128),
];
/// Where the memory of each client is said to begin.
const BASE: u64 = 0x1000_0000_0000;

/// A client for each segment, which it keeps alive.
pub(super) async fn set_up(addresses: &[String], segments: u16, segment_size: u64) -> Result<Vec<Client>, Error> {
    let mut clients = Vec::new();
    for at in 0..segments {
        clients.push(storage_client(addresses, at, segment_size).await?);
    }
    let (first, copies) = (&clients[0], u32::from(segments.min(2)));
    for (key, share) in KEYS {
        let is_system = key.ends_with("system-prompt");
        let options = PutOptions {
            replicas: if is_system { copies } else { 1 },
            preferred_segments: if key == COPY_ME { vec![name(0)] } else { Vec::new() },
            pin: if is_system { Pin::Hard } else { Pin::None },
            ..PutOptions::default()
        };
        first.put(key, (segment_size / share).max(1), options).await?.end(None).await?;
    }
    first.pin(&[KEYS[1].0], Pin::Soft, Some(Duration::from_secs(3600))).await?.all()?;
    Ok(clients)
}

fn name(at: u16) -> String {
    format!("demo-{at}")
}

async fn storage_client(addresses: &[String], at: u16, segment_size: u64) -> Result<Client, Error> {
    let host = format!("demo-host-{at}");
    let mut options = Options::new(addresses);
    options.host = host.clone();
    let client = Client::connect(options).await?;
    let endpoint = format!("{host}:17000");
    let segment = Segment { host, ..Segment::memory(name(at), BASE, segment_size, endpoint) };
    client.mount_segment(&segment).await?;
    Ok(client)
}
