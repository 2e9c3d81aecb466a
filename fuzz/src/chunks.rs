//! The inside of an image: chunks that follow each other, each behind its length, all behind one
//! checksum.
//!
//! Invariant: what is damaged here has a checksum that is right, or nothing would get past it.

use bytes::Bytes;

use crate::input::Input;

/// Up to where an image makes sense.
pub fn chunks(image: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut rest = &image[4..];
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Some((chunk, next)) = after.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        chunks.push(chunk.to_vec());
        rest = next;
    }
    chunks
}

/// Without the checksum.
pub fn joined(chunks: &[Vec<u8>]) -> Vec<u8> {
    let framed = |chunk: &Vec<u8>| [&(chunk.len() as u32).to_le_bytes(), &chunk[..]].concat();
    chunks.iter().flat_map(framed).collect()
}

/// One chunk of an image; without the checksum.
pub fn edit_chunk(input: &mut Input<'_>, image: &[u8]) -> Vec<u8> {
    let mut chunks = chunks(image);
    if !chunks.is_empty() {
        let at = input.below(chunks.len());
        chunks[at] = input.edited(&chunks[at]);
    }
    joined(&chunks)
}

/// Behind its checksum.
pub fn sealed(bytes: &[u8]) -> Bytes {
    Bytes::from([&crc32fast::hash(bytes).to_le_bytes(), bytes].concat())
}
