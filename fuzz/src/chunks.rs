//! The inside of an image: chunks that follow each other, each after its length, all under one
//! checksum.
//!
//! Invariant: damaged bytes get a valid checksum; otherwise nothing would get past it.

use bytes::Bytes;

use crate::input::Input;

/// Up to the point from which the image makes no sense.
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

/// Joins the chunks, without the checksum.
pub fn joined(chunks: &[Vec<u8>]) -> Vec<u8> {
    let framed = |chunk: &Vec<u8>| [&(chunk.len() as u32).to_le_bytes(), &chunk[..]].concat();
    chunks.iter().flat_map(framed).collect()
}

/// Edits one chunk of an image. Without the checksum.
pub fn edit_chunk(input: &mut Input<'_>, image: &[u8]) -> Vec<u8> {
    let mut chunks = chunks(image);
    if !chunks.is_empty() {
        let at = input.below(chunks.len());
        chunks[at] = input.edited(&chunks[at]);
    }
    joined(&chunks)
}

/// Appends the checksum.
pub fn sealed(bytes: &[u8]) -> Bytes {
    Bytes::from([&crc32fast::hash(bytes).to_le_bytes(), bytes].concat())
}
