//! What members compare must not move by accident: the digest of a state with something of everything in it.
//!
//! Deliberately absent: the bytes of the log's ops; they are pinned beside `op.rs`.

use oplog::{Position, Rebuild, ReplicatedState};
use understudy_metadata::{Config, Metadata, Pin, Settings, TaskSpec, TransferItem, TransferKind};

use crate::support::{Primary, config, disk, memory, placed};

/// Those of five shards with an object each, and of the directory.
#[rustfmt::skip]
const GOLDEN_IMAGES: [&str; 6] = [
    "0d5a62c21100000001000000000000000000000000000000003000000001010670696e6e656400011101010101010101010101010101010101000001fbf4010100fd8002000001000000010000",
    "1f0b8e1a11000000010000000000000000000000000000000030000000010104626f7468006417010101010101010101010101010101010000020200fd00000000010000000101fb0070010000",
    "8c686318110000000100000000000000000000000000000000500000000101087265706c6163656400640b010101010101010101010101010101010000000100fd80000000010000000101fb00b002020202020202020202020202020202c8000100fd00010000010000000000",
    "41d2efec11000000010000000000000000000000000000000048000000010106636f7069656400460e010101010101010101010101010101010000000100fd0002000001000000010001fb00e00202020202020202020202020202020200000101fb00e000",
    "6d858eb11100000001000000000000000000000000000000002f0000000101046f70656e00011201010101010101010101010101010101fc0020010000000100fdc002000001000000000000",
    "4151152802000000010242000000010000000000000000000000000000000001fbe803fb1027fc40771b00fb3075fcc0270900fce0930400cdccccccccccec3f9a9999999999a93ffc000001000001020200000001011000000001020000000104626c7565fc00001000020000000101130000000101090909090909090909090909090909090602000000010317000000010101010101010101010101010101010101000001000017000000010102020202020202020202020202020202000000000042000000010104040404040404040404040404040404000700000107010cfd4cfdbfef46c837e201171c010404040404040404040404040404040400020004626f74680201000200000001010500000001020200010200000001018c0000000102000101010101010101010101010101010101010101010101010101010101010101026d3100fd0000000001000000fc000001000a31302e302e302e313a31037463700000000101010101010101010101010101010101020202020202020202020202020202020264320100fc000001000a31302e302e302e313a310374637000052f6461746101fb88130200000001010e00000001010001fd0003000001000000400200000001012700000001010101000670696e6e656400026d310102643201010101010101010101010101010101000000",
];

/// Placement leaves no choice: there is one segment of each kind.
fn one_of_everything() -> Primary {
    let primary = Primary::with(Config { settings: Settings { client_ttl_ms: 1000, ..config().settings }, ..config() });
    primary.state.remove(&primary.numbered(9, 5), false, &[b"nothing"]).unwrap();
    primary.pass(1000);
    primary.step();
    primary.state.remount(&primary.call(1), &[memory(1, "m1", 65536), disk(2, "d2", 65536)]).unwrap();
    primary.state.set_tenant_quota("blue", 1 << 20, primary.now()).unwrap();
    primary.put_as(1, &placed(1, 1), "both", 100);
    primary.put(1, "replaced", 100);
    primary.start_over(2, "replaced", 200).unwrap();
    primary.put(1, "copied", 70);
    primary.transfer(2, TransferKind::Copy, "copied", "m1", &["d2"]).unwrap();
    primary.put(1, "pinned", 1);
    primary.pin("pinned", Pin::Soft { ttl_ms: 500 }).unwrap();
    primary.start(1, "open", 1).unwrap();
    primary.put(1, "retired", 64);
    primary.lookup("retired").unwrap();
    primary.remove_forced("retired").unwrap();
    let transfer = TransferItem { key: b"pinned", source: "m1", targets: vec!["d2"] };
    primary.state.create_tasks(&primary.call(3), &[TaskSpec { kind: TransferKind::Move, transfer }]).unwrap();
    primary.state.pin(&primary.numbered(4, 7), Pin::Hard, &[b"both", b"nothing"]).unwrap();
    primary.unmount(1, 2, 5000).unwrap();
    primary
}

#[test]
fn the_digest_of_a_state_is_pinned() {
    let primary = one_of_everything();
    assert_eq!(primary.digest().to_string(), "18232c83e836fa1292b253cc31be2cef");
    let empty = Metadata::new(config(), Position::default());
    assert_eq!(empty.digest().1.to_string(), "cb30a0f060c4728baf9de2e78d800244");
}

/// Members of two builds exchange images: what one wrote, the other reads. An empty shard is four bytes of checksum.
#[test]
fn the_images_of_a_state_are_pinned() {
    let primary = one_of_everything();
    let images = (0..primary.state.shards()).map(|shard| primary.state.capture(shard).bytes);
    let hex = |bytes: bytes::Bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let images: Vec<String> = images.filter(|bytes| bytes.len() > 4).map(hex).collect();
    assert_eq!(images, GOLDEN_IMAGES);
    let mut rebuild = primary.state.rebuild();
    (0..primary.state.shards()).for_each(|shard| rebuild.install(&primary.state.capture(shard)).unwrap());
    assert_eq!(rebuild.finish().unwrap().digest(), primary.state.digest());
}
