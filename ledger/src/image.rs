//! A shard as bytes for another member.
//!
//! ```text
//!   image   u32 crc over the rest, then chunks: u32 length, payload (see `oplog::encode_payload`)
//!   list    the number of its chunks as a chunk of its own, then so many chunks
//! ```
//!
//! Invariant: what reads an image believes none of it. One changed bit is noticed by the checksum.
//!
//! Deliberately absent: what the chunks of each shard are.

use std::fmt::Display;

use bincode::{BorrowDecode, Encode};
use bytes::Bytes;
use oplog::{DecodeError, Digest, InstallError, ShardImage};

use crate::errors::require;

/// Records of one chunk, so that no decoder has to claim memory for a whole shard.
pub const CHUNK_RECORDS: usize = 1000;

#[derive(Debug)]
pub struct ImageWriter(Vec<u8>);

impl ImageWriter {
    pub(crate) fn new() -> ImageWriter {
        ImageWriter(vec![0; 4])
    }

    /// Chunks alone: they become part of an image.
    pub(crate) fn of_part() -> ImageWriter {
        ImageWriter(Vec::new())
    }

    pub(crate) fn into_part(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn part(&mut self, chunks: &[u8]) {
        self.0.extend_from_slice(chunks);
    }

    pub fn chunk<T: Encode>(&mut self, value: &T) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        oplog::encode_payload(value, &mut self.0);
        let length = (self.0.len() - start - 4) as u32;
        self.0[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    pub fn list<T: Encode>(&mut self, list: &[T], per_chunk: usize) {
        self.chunk(&(list.len().div_ceil(per_chunk) as u64));
        list.chunks(per_chunk).for_each(|chunk| self.chunk(&chunk));
    }

    pub(crate) fn finish(mut self) -> Bytes {
        let crc = crc32fast::hash(&self.0[4..]);
        self.0[..4].copy_from_slice(&crc.to_le_bytes());
        Bytes::from(self.0)
    }
}

#[derive(Debug)]
pub struct ImageReader<'a>(&'a [u8]);

impl<'a> ImageReader<'a> {
    pub fn new(bytes: &'a [u8]) -> Result<ImageReader<'a>, DecodeError> {
        let (said, rest) = take_u32(bytes)?;
        let found = crc32fast::hash(rest);
        if said != found {
            return Err(DecodeError::Checksum { what: "shard image", said, found });
        }
        Ok(ImageReader(rest))
    }

    /// `None`: the image ends here.
    pub fn next_chunk<T: BorrowDecode<'a, ()>>(&mut self) -> Result<Option<T>, DecodeError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (length, rest) = take_u32(self.0)?;
        let length = length as usize;
        if rest.len() < length {
            return Err(DecodeError::Truncated { what: "chunk of a shard image", need: length, have: rest.len() });
        }
        let (chunk, rest) = rest.split_at(length);
        self.0 = rest;
        oplog::decode_payload(chunk).map(Some)
    }

    pub fn chunk<T: BorrowDecode<'a, ()>>(&mut self) -> Result<T, DecodeError> {
        self.next_chunk()?.ok_or(DecodeError::Truncated { what: "shard image", need: 4, have: 0 })
    }

    /// Tells how many there were.
    pub fn list<T: BorrowDecode<'a, ()>>(
        &mut self,
        mut each: impl FnMut(T) -> Result<(), InstallError>,
    ) -> Result<u64, InstallError> {
        let chunks: u64 = self.chunk()?;
        let mut count = 0;
        for _ in 0..chunks {
            let list: Vec<T> = self.chunk()?;
            count += list.len() as u64;
            list.into_iter().try_for_each(&mut each)?;
        }
        Ok(count)
    }

    pub(crate) fn check_end(&self) -> Result<(), InstallError> {
        if self.0.is_empty() { Ok(()) } else { Err(inconsistent("the image goes on behind its end")) }
    }
}

fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match bytes.split_first_chunk::<4>() {
        Some((number, rest)) => Ok((u32::from_le_bytes(*number), rest)),
        None => Err(DecodeError::Truncated { what: "shard image", need: 4, have: bytes.len() }),
    }
}

pub fn inconsistent(what: impl Display) -> InstallError {
    InstallError::Inconsistent { what: what.to_string() }
}

/// Of an image that says `found` records and this digest.
pub fn check_found(image: &ShardImage, found: u64, digest: Digest) -> Result<(), InstallError> {
    let what = || format!("shard {} has {found} records, {} were said", image.shard, image.records);
    require(image.records == found, what).map_err(inconsistent)?;
    if image.digest == digest {
        return Ok(());
    }
    Err(InstallError::DigestMismatch { shard: image.shard, said: image.digest, found: digest })
}
