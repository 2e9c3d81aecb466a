//! A file as it was written, and as a disk, or a person, may have changed it.

use bytes::Bytes;
use oplog::{Digest, Digests, Part, PartsImage, Position};

use super::{Head, Snapshot, SnapshotError, Writer};

fn head() -> Head {
    let shards = [1, 2, 3].map(Digest).to_vec();
    let digests = Digests { at: Position { epoch: 2, seq: 9 }, shards, implied: Digest(4) };
    Head { cluster_id: Bytes::from_static(b"cluster"), member: "a".to_owned(), digests }
}

fn records(shard: u32) -> PartsImage {
    let digests = Digests { at: Position { epoch: 2, seq: 10 }, ..head().digests };
    let bytes = Bytes::from(vec![shard as u8; 100]);
    PartsImage { digests, parts: vec![Part { shard, bucket: 0 }], bytes, whole: None }
}

fn written(dir: &tempfile::TempDir) -> std::path::PathBuf {
    let path = dir.path().join("a.snapshot");
    let mut writer = Writer::create(&path, &head()).unwrap();
    (0..2).for_each(|shard| writer.shard(records(shard)).unwrap());
    writer.finish(false).unwrap();
    path
}

#[test]
fn what_is_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut snapshot = Snapshot::open(&written(&dir)).unwrap();
    assert_eq!((&snapshot.head.cluster_id[..], snapshot.head.member.as_str()), (&b"cluster"[..], "a"));
    assert_eq!(snapshot.head.digests, head().digests);
    for shard in [1, 0] {
        let read = snapshot.records(shard).unwrap();
        assert_eq!((read.digests.at, read.bytes), (records(shard).digests.at, records(shard).bytes));
    }
    assert!(matches!(snapshot.records(2), Err(SnapshotError::Damaged { .. })));
}

#[test]
fn file_that_is_there_is_replaced_only_when_that_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(&dir);
    let writer = || {
        let mut writer = Writer::create(&path, &head()).unwrap();
        (0..2).for_each(|shard| writer.shard(records(shard)).unwrap());
        writer
    };
    assert!(matches!(writer().finish(false), Err(SnapshotError::Exists { .. })));
    writer().finish(true).unwrap();
    // One that is given up leaves nothing behind, and neither did those.
    drop(writer());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// Every bit, and every place where it could end.
#[test]
fn whatever_has_changed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = written(&dir);
    let good = std::fs::read(&path).unwrap();
    let all = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let mut snapshot = Snapshot::open(&path)?;
        (0..2).try_for_each(|shard| snapshot.records(shard).map(drop))
    };
    all(&good).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(all(&bad), Err(SnapshotError::Foreign { .. } | SnapshotError::Damaged { .. })), "bit {bit}");
    }
    for end in 0..good.len() {
        assert!(all(&good[..end]).is_err(), "it ends at {end}");
    }
    let longer = [&good[..], &[0]].concat();
    assert!(matches!(all(&longer), Err(SnapshotError::Damaged { .. })));
}
