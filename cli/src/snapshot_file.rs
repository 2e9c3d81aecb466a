//! What a member held, in a file.
//!
//! ```text
//!   "understudy snapshot 1\n"   then frames: u32 length, u32 crc32 of the rest, a protobuf message
//!                               first a Head, then the records of each shard but the directory's, in order
//! ```
//!
//! A file comes to be whole or not at all: it is written beside its place, and moved there when it is on disk.
//!
//! Invariant: nothing in a file is believed. A changed bit, or an end that is too early, is told, and no length claims memory
//! that the file does not have.
//!
//! Deliberately absent: making a member from it.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use oplog::{Digests, PartsImage};
use prost::Message as _;
use proto::v1;
use tempfile::NamedTempFile;
use verification::{digests_from_wire, digests_to_wire, parts_from_wire, parts_to_wire};

const MAGIC: &[u8] = b"understudy snapshot 1\n";
const FRAME_HEAD_BYTES: usize = 8;

#[derive(Clone, PartialEq, prost::Message)]
struct HeadMessage {
    #[prost(bytes = "bytes", tag = "1")]
    cluster_id: bytes::Bytes,
    #[prost(string, tag = "2")]
    member: String,
    #[prost(message, optional, tag = "3")]
    digests: Option<v1::Digests>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error("{}: {error}", .path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("{} is no snapshot of this version", .path.display())]
    Foreign { path: PathBuf },
    #[error("{} is damaged: {what}", .path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{} is there already", .path.display())]
    Exists { path: PathBuf },
}

/// Whose state it is, and what it makes.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) cluster_id: bytes::Bytes,
    pub(crate) member: String,
    pub(crate) digests: Digests,
}

/// A file that is being written. Dropped before it is finished, it is gone.
pub(crate) struct Writer {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
    bytes: u64,
}

impl Writer {
    pub(crate) fn create(path: &Path, head: &Head) -> Result<Writer, SnapshotError> {
        let path = path.to_owned();
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new().prefix(".understudy-").suffix(".part").tempfile_in(dir);
        let file = temporary.map_err(|error| SnapshotError::Io { path: path.clone(), error })?;
        let mut writer = Writer { path, file: BufWriter::new(file), bytes: 0 };
        writer.write(MAGIC)?;
        writer.frame(&HeadMessage {
            cluster_id: head.cluster_id.clone(),
            member: head.member.clone(),
            digests: Some(digests_to_wire(&head.digests)),
        })?;
        Ok(writer)
    }

    /// The records of the next shard. Only the position is kept from the digests that come with them.
    pub(crate) fn shard(&mut self, mut records: PartsImage) -> Result<(), SnapshotError> {
        records.digests.shards.clear();
        self.frame(&parts_to_wire(records))
    }

    /// Tells how many bytes it has.
    pub(crate) fn finish(self, replace: bool) -> Result<u64, SnapshotError> {
        let Writer { path, file, bytes } = self;
        let failed = |error| SnapshotError::Io { path: path.clone(), error };
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        let moved = if replace { file.persist(&path) } else { file.persist_noclobber(&path) };
        match moved {
            Ok(_) => Ok(bytes),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Err(SnapshotError::Exists { path }),
            Err(error) => Err(failed(error.error)),
        }
    }

    fn frame(&mut self, message: &impl prost::Message) -> Result<(), SnapshotError> {
        let body = message.encode_to_vec();
        self.write(&(body.len() as u32).to_le_bytes())?;
        self.write(&crc32fast::hash(&body).to_le_bytes())?;
        self.write(&body)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| SnapshotError::Io { path: self.path.clone(), error })
    }
}

/// A file that is there, with all of its frames found.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) head: Head,
    path: PathBuf,
    file: BufReader<File>,
    /// Where the frame of each shard begins.
    shards: Vec<u64>,
    bytes: u64,
}

impl Snapshot {
    pub(crate) fn open(path: &Path) -> Result<Snapshot, SnapshotError> {
        let failed = |error| SnapshotError::Io { path: path.to_owned(), error };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let mut reader = Frames { path, file: BufReader::new(file), bytes };
        let mut magic = [0; MAGIC.len()];
        match reader.file.read_exact(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(failed(error)),
            _ => return Err(SnapshotError::Foreign { path: path.to_owned() }),
        }
        let damaged = |what: String| SnapshotError::Damaged { path: path.to_owned(), what };
        let head = HeadMessage::decode(&reader.frame()?[..]).map_err(|error| damaged(error.to_string()))?;
        let digests = head.digests.ok_or_else(|| damaged("it has no digests".to_owned()))?;
        let digests = digests_from_wire(digests).map_err(|error| damaged(error.to_string()))?;
        let head = Head { cluster_id: head.cluster_id, member: head.member, digests };
        let mut shards = Vec::new();
        // The directory has a digest and no records here.
        for _ in 1..head.digests.shards.len() {
            shards.push(reader.position()?);
            reader.skip()?;
        }
        if reader.position()? != bytes {
            return Err(damaged("it goes on behind its last shard".to_owned()));
        }
        let Frames { file, .. } = reader;
        Ok(Snapshot { head, path: path.to_owned(), file, shards, bytes })
    }

    pub(crate) fn records(&mut self, shard: u32) -> Result<PartsImage, SnapshotError> {
        let Snapshot { path, file, shards, bytes, .. } = self;
        let damaged = |what: String| SnapshotError::Damaged { path: path.clone(), what };
        let at = *shards.get(shard as usize).ok_or_else(|| damaged(format!("it has no shard {shard}")))?;
        file.seek(SeekFrom::Start(at)).map_err(|error| SnapshotError::Io { path: path.clone(), error })?;
        let body = Frames { path, file, bytes: *bytes }.frame()?;
        let parts = v1::Parts::decode(bytes::Bytes::from(body)).map_err(|error| damaged(error.to_string()))?;
        let records = parts_from_wire(parts).map_err(|error| damaged(error.to_string()))?;
        match records.parts.iter().all(|part| part.shard == shard) {
            true => Ok(records),
            false => Err(damaged(format!("another shard stands where {shard} should"))),
        }
    }
}

struct Frames<'a, F> {
    path: &'a Path,
    file: F,
    /// Size of the whole file.
    bytes: u64,
}

impl<F: io::Read + io::Seek> Frames<'_, F> {
    fn io<T>(&self, result: io::Result<T>) -> Result<T, SnapshotError> {
        result.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.too_short(),
            _ => SnapshotError::Io { path: self.path.to_owned(), error },
        })
    }

    fn too_short(&self) -> SnapshotError {
        SnapshotError::Damaged { path: self.path.to_owned(), what: "it ends too early".to_owned() }
    }

    fn position(&mut self) -> Result<u64, SnapshotError> {
        let position = self.file.stream_position();
        self.io(position)
    }

    /// Length and checksum of the next one, which is there.
    fn head(&mut self) -> Result<(usize, u32), SnapshotError> {
        let mut head = [0; FRAME_HEAD_BYTES];
        let read = self.file.read_exact(&mut head);
        self.io(read)?;
        let [a, b, c, d, e, f, g, h] = head;
        let (length, crc) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        let left = self.bytes.saturating_sub(self.position()?);
        if u64::from(length) > left { Err(self.too_short()) } else { Ok((length as usize, crc)) }
    }

    fn skip(&mut self) -> Result<(), SnapshotError> {
        let (length, _) = self.head()?;
        let skipped = self.file.seek(SeekFrom::Current(length as i64));
        self.io(skipped).map(drop)
    }

    fn frame(&mut self) -> Result<Vec<u8>, SnapshotError> {
        let (length, crc) = self.head()?;
        let mut body = vec![0; length];
        let read = self.file.read_exact(&mut body);
        self.io(read)?;
        match crc32fast::hash(&body) == crc {
            true => Ok(body),
            false => {
                Err(SnapshotError::Damaged { path: self.path.to_owned(), what: "a checksum does not fit".to_owned() })
            }
        }
    }
}

#[cfg(test)]
#[path = "snapshot_file_test.rs"]
mod snapshot_file_test;
