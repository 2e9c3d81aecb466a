//! How members ask each other to compare, as messages; and how these are read back without trust.

use oplog::{
    Buckets, DecodeError, Digest, Digests, MismatchKind, Part, PartsImage, Position, Sample, SampleRecord, ShardImage,
    Verifiable,
};
use proto::v1;
use proto::v1::sample_answer::Result as SampleResult;
use proto::v1::sample_mismatch::Kind;
use proto::v1::verify_question::Question;
use proto::v1::verify_response::Answer;

/// Bytes of a digest.
const DIGEST: usize = 16;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WireError {
    Missing(&'static str),
    NoShard(u32),
    Decode(DecodeError),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            WireError::Missing(what) => write!(f, "an answer without {what}"),
            WireError::NoShard(shard) => write!(f, "there is no shard {shard}"),
            WireError::Decode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WireError {}

fn position(wire: Option<v1::Position>) -> Result<Position, WireError> {
    let v1::Position { epoch, seq } = wire.ok_or(WireError::Missing("a position"))?;
    Ok(Position { epoch, seq })
}

fn position_to_wire(at: Position) -> Option<v1::Position> {
    Some(v1::Position { epoch: at.epoch, seq: at.seq })
}

fn part_to_wire(part: Part) -> v1::Part {
    v1::Part { shard: part.shard, bucket: part.bucket }
}

fn part(wire: v1::Part) -> Part {
    Part { shard: wire.shard, bucket: wire.bucket }
}

fn list_to_wire<'a>(digests: impl IntoIterator<Item = &'a Digest>) -> bytes::Bytes {
    digests.into_iter().flat_map(|digest| digest.0.to_be_bytes()).collect::<Vec<u8>>().into()
}

fn list(wire: &[u8]) -> Result<Vec<Digest>, WireError> {
    let (digests, rest) = wire.as_chunks::<DIGEST>();
    match rest {
        [] => Ok(digests.iter().map(|bytes| Digest(u128::from_be_bytes(*bytes))).collect()),
        _ => Err(WireError::Missing("whole digests")),
    }
}

pub fn digests_to_wire(digests: &Digests) -> v1::Digests {
    let all = digests.shards.iter().chain([&digests.implied]);
    v1::Digests { at: position_to_wire(digests.at), digests: list_to_wire(all), committed: false }
}

pub fn digests_from_wire(wire: v1::Digests) -> Result<Digests, WireError> {
    let at = position(wire.at)?;
    let mut shards = list(&wire.digests)?;
    let implied = shards.pop().ok_or(WireError::Missing("digests"))?;
    Ok(Digests { at, shards, implied })
}

pub fn question_buckets(shards: impl IntoIterator<Item = u32>) -> Question {
    Question::Buckets(v1::ShardList { shards: shards.into_iter().collect() })
}

fn answer_buckets(buckets: &[Buckets]) -> Answer {
    let one = |buckets: &Buckets| v1::Buckets {
        at: position_to_wire(buckets.at),
        shard: buckets.shard,
        kept: list_to_wire(&buckets.kept),
        counted: list_to_wire(&buckets.counted),
    };
    Answer::Buckets(v1::BucketsList { shards: buckets.iter().map(one).collect() })
}

pub fn buckets_from_wire(wire: v1::BucketsList) -> Result<Vec<Buckets>, WireError> {
    let one = |wire: v1::Buckets| {
        Ok(Buckets {
            at: position(wire.at)?,
            shard: wire.shard,
            kept: list(&wire.kept)?,
            counted: list(&wire.counted)?,
        })
    };
    wire.shards.into_iter().map(one).collect()
}

pub fn question_parts(parts: &[Part]) -> Question {
    Question::Parts(v1::PartList { parts: parts.iter().copied().map(part_to_wire).collect() })
}

fn answer_parts(image: PartsImage) -> Answer {
    Answer::Parts(parts_to_wire(image))
}

pub fn parts_to_wire(image: PartsImage) -> v1::Parts {
    let PartsImage { digests, parts, bytes, whole } = image;
    v1::Parts {
        state: Some(digests_to_wire(&digests)),
        parts: parts.into_iter().map(part_to_wire).collect(),
        records: bytes,
        whole: whole.map(|image| v1::ShardImage {
            shard: image.shard,
            at: position_to_wire(image.at),
            records: image.records,
            digest: list_to_wire([&image.digest]),
            chunk: image.bytes,
            last_chunk: true,
        }),
    }
}

pub fn parts_from_wire(wire: v1::Parts) -> Result<PartsImage, WireError> {
    let whole = wire.whole.map(|image| {
        let digest = list(&image.digest)?.pop().ok_or(WireError::Missing("a digest"))?;
        let (at, records) = (position(image.at)?, image.records);
        Ok(ShardImage { shard: image.shard, at, records, digest, bytes: image.chunk })
    });
    Ok(PartsImage {
        digests: digests_from_wire(wire.state.ok_or(WireError::Missing("digests"))?)?,
        parts: wire.parts.into_iter().map(part).collect(),
        bytes: wire.records,
        whole: whole.transpose()?,
    })
}

/// What a primary answers about its own state. `limits`: by how many entries a sample may be older,
/// and how many records an answer tells of.
pub fn answer<S: Verifiable>(state: &S, question: Question, limits: (u64, usize)) -> Result<Answer, WireError> {
    match question {
        Question::Buckets(v1::ShardList { shards }) => {
            if let Some(shard) = shards.iter().find(|shard| **shard >= state.shards()) {
                return Err(WireError::NoShard(*shard));
            }
            let buckets: Vec<Buckets> = shards.into_iter().map(|shard| state.buckets(shard)).collect();
            Ok(answer_buckets(&buckets))
        }
        Question::Parts(v1::PartList { parts }) => {
            let parts: Vec<Part> = parts.into_iter().map(part).collect();
            Ok(answer_parts(state.capture_parts(&parts)))
        }
        Question::Sample(sample) => answer_sample(sample, state.applied(), limits, |sample| state.check_sample(sample)),
    }
}

pub fn question_sample(sample: &Sample) -> Question {
    let record = |record: &SampleRecord| v1::SampleRecord {
        hash: record.hash,
        prefix_hash: record.prefix_hash,
        checksum: record.checksum,
    };
    Question::Sample(v1::Sample {
        at: position_to_wire(sample.at),
        part: Some(part_to_wire(sample.part)),
        hash_first: sample.hash_first,
        hash_last: sample.hash_last,
        records: sample.records.iter().map(record).collect(),
    })
}

/// The primary's answer to a sample: `check` compares it with what is here. `at`: the primary's
/// position.
fn answer_sample(
    wire: v1::Sample,
    at: Position,
    limits: (u64, usize),
    check: impl FnOnce(&Sample) -> Vec<(MismatchKind, u64)>,
) -> Result<Answer, WireError> {
    let (seq_gap_max, repair_max) = limits;
    let sample = Sample {
        at: position(wire.at)?,
        part: part(wire.part.ok_or(WireError::Missing("a part"))?),
        hash_first: wire.hash_first,
        hash_last: wire.hash_last,
        records: wire
            .records
            .into_iter()
            .map(|v1::SampleRecord { hash, prefix_hash, checksum }| SampleRecord { hash, prefix_hash, checksum })
            .collect(),
    };
    if at.seq.saturating_sub(sample.at.seq) > seq_gap_max {
        return Ok(Answer::Sample(v1::SampleAnswer { result: SampleResult::Behind.into(), mismatches: Vec::new() }));
    }
    let found = check(&sample);
    let result = match found.len() {
        0 => SampleResult::Ok,
        some if some <= repair_max => SampleResult::Mismatch,
        _ => SampleResult::NeedFullSync,
    };
    let mismatch = |(kind, hash)| v1::SampleMismatch { kind: kind_to_wire(kind).into(), hash };
    let mismatches = found.into_iter().take(repair_max).map(mismatch).collect();
    Ok(Answer::Sample(v1::SampleAnswer { result: result.into(), mismatches }))
}

fn kind_to_wire(kind: MismatchKind) -> Kind {
    match kind {
        MismatchKind::Checksum => Kind::ChecksumMismatch,
        MismatchKind::KeyNotFound => Kind::KeyNotFound,
        MismatchKind::ExtraKey => Kind::ExtraKey,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests() -> Digests {
        Digests { at: Position { epoch: 3, seq: 9 }, shards: vec![Digest(1), Digest(2)], implied: Digest(u128::MAX) }
    }

    #[test]
    fn what_is_asked_and_answered_comes_back_as_it_was() {
        assert_eq!(digests_from_wire(digests_to_wire(&digests())), Ok(digests()));
        let buckets = Buckets { at: digests().at, shard: 7, kept: vec![Digest(4)], counted: vec![Digest(5)] };
        let Answer::Buckets(wire) = answer_buckets(std::slice::from_ref(&buckets)) else { panic!("buckets") };
        assert_eq!(buckets_from_wire(wire), Ok(vec![buckets]));
    }

    #[test]
    fn half_a_digest_and_no_digest_at_all_are_refused() {
        let mut wire = digests_to_wire(&digests());
        wire.digests.truncate(47);
        assert!(digests_from_wire(wire.clone()).is_err());
        wire.digests.truncate(0);
        assert!(digests_from_wire(wire.clone()).is_err());
        wire.at = None;
        assert!(digests_from_wire(wire).is_err());
    }

    #[test]
    fn a_sample_from_too_long_ago_says_nothing_and_too_many_mismatches_say_so() {
        let sample = Sample {
            at: Position { epoch: 1, seq: 100 },
            part: Part { shard: 1, bucket: 2 },
            hash_first: 0,
            hash_last: u64::MAX,
            records: vec![SampleRecord { hash: 5, prefix_hash: 6, checksum: 7 }],
        };
        let Question::Sample(wire) = question_sample(&sample) else { panic!("a sample") };
        let answer = |seq, found: usize| {
            let at = Position { epoch: 1, seq };
            let checked = answer_sample(wire.clone(), at, (1000, 2), |asked| {
                assert_eq!(*asked, sample);
                vec![(MismatchKind::ExtraKey, 5); found]
            });
            let Ok(Answer::Sample(answer)) = checked else { panic!("a sample's answer") };
            (answer.result(), answer.mismatches.len())
        };
        assert_eq!(answer(1100, 0), (SampleResult::Ok, 0));
        assert_eq!(answer(1100, 2), (SampleResult::Mismatch, 2));
        assert_eq!(answer(1100, 3), (SampleResult::NeedFullSync, 2));
        assert_eq!(answer(1101, 3), (SampleResult::Behind, 0));
    }
}
