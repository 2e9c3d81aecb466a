//! Tests: lists are counted before anything is decoded, in every request, however its bytes are
//! split.

use prost::Message;
use proto::v1::session_request::Call;
use proto::v1::{
    CopyStartItem, CopyStartRequest, ListTasksRequest, MountSegmentRequest, Placement, PutStartItem, PutStartRequest,
    RemoveRequest, Segment, SessionRequest,
};

use super::*;

fn refused(checked: Result<(), CallError>) -> String {
    checked.expect_err("it is too long").message
}

fn segments(count: usize) -> MountSegmentRequest {
    MountSegmentRequest { caller: None, segments: vec![Segment::default(); count] }
}

#[test]
fn list_at_the_limit_passes_and_one_more_does_not() {
    assert!(check_request("MountSegment", &segments(10_000).encode_to_vec()).is_ok());
    let over = refused(check_request("MountSegment", &segments(10_001).encode_to_vec()));
    assert_eq!(over, "segments: more than 10000 items, the limit is 10000");
    let session = SessionRequest { id: 7, call: Some(Call::MountSegment(segments(10_001))) };
    assert_eq!(refused(check_session_request(&session.encode_to_vec())), over);
}

/// A question of another member has limits of its own, and is counted however short it is.
#[test]
fn question_of_another_member_is_counted_list_by_list() {
    use proto::v1::verify_question::Question;
    use proto::v1::{Part, PartList, Sample, SampleRecord, ShardList, VerifyQuestion};
    let check = |question| check_question(&VerifyQuestion { question: Some(question) }.encode_to_vec());
    let shards = |count| Question::Buckets(ShardList { shards: vec![7; count] });
    let parts = |count| Question::Parts(PartList { parts: vec![Part::default(); count] });
    let sample =
        |count| Question::Sample(Sample { records: vec![SampleRecord::default(); count], ..Sample::default() });
    for fits in [shards(32), parts(512), sample(2000)] {
        assert!(check(fits).is_ok());
    }
    for (over, said) in [
        (shards(33), "buckets.shards: more than 32 items, the limit is 32"),
        (parts(513), "parts.parts: more than 512 items, the limit is 512"),
        (sample(2001), "sample.records: more than 2000 items, the limit is 2000"),
    ] {
        assert_eq!(refused(check(over)), said);
    }
}

/// A decoder merges parts of one message, including those of the call within a session's request.
#[test]
fn parts_of_one_call_count_together() {
    let half = SessionRequest { id: 1, call: Some(Call::MountSegment(segments(6000))) }.encode_to_vec();
    let both = [half.clone(), half].concat();
    assert!(refused(check_session_request(&both)).starts_with("segments: "));
    let Some(Call::MountSegment(merged)) = SessionRequest::decode(&both[..]).unwrap().call else { panic!() };
    assert_eq!(merged.segments.len(), 12_000, "which is why");
}

#[test]
fn list_within_an_item_counts_for_that_item() {
    let item = |targets| CopyStartItem { target_segments: vec![String::new(); targets], ..CopyStartItem::default() };
    let request = |last| CopyStartRequest {
        caller: None,
        items: std::iter::repeat_n(item(16), 2000).chain([item(last)]).collect(),
    };
    assert!(check_request("CopyStart", &request(16).encode_to_vec()).is_ok());
    let over = refused(check_request("CopyStart", &request(17).encode_to_vec()));
    assert_eq!(over, "items[2000].target_segments: more than 16 items, the limit is 16");
}

#[test]
fn list_within_a_field_is_named_by_both() {
    let request = PutStartRequest {
        items: vec![PutStartItem::default(); 9000],
        placement: Some(Placement { preferred_segments: vec!["s".to_owned(); 3000], ..Placement::default() }),
        ..PutStartRequest::default()
    };
    let over = refused(check_request("PutStart", &request.encode_to_vec()));
    assert!(over.starts_with("placement.preferred_segments: "), "{over}");
}

#[test]
fn numbers_count_one_by_one_and_in_runs() {
    let run = ListTasksRequest { task_ids: vec![1 << 20; 6000], after: 0 }.encode_to_vec();
    assert!(run.len() <= SHORT_BYTES || check_request("ListTasks", &run).is_ok());
    let two = [run.clone(), run].concat();
    assert!(refused(check_request("ListTasks", &two)).starts_with("task_ids: "));
    let singly = [0x08, 0x01].repeat(10_001);
    assert!(refused(check_request("ListTasks", &singly)).starts_with("task_ids: "));
}

#[test]
fn bytes_that_are_no_message_are_the_decoders_affair() {
    let good = RemoveRequest { keys: vec![bytes::Bytes::from_static(b"key"); 9000], ..RemoveRequest::default() };
    let mut cut = good.encode_to_vec();
    cut.truncate(cut.len() - 2);
    assert!(check_request("Remove", &cut).is_ok() && RemoveRequest::decode(&cut[..]).is_err());
    assert!(check_request("Remove", &[0xff; 30_000]).is_ok());
}

/// A list that is added to the contract is bounded automatically.
#[test]
fn every_request_with_a_list_has_a_shape() {
    for method in
        ["MountSegment", "PutStart", "Exists", "UnmountSegment", "CreateTask", "ListTasks", "MoveStart", "Session"]
    {
        assert!(SHAPES.of_methods.contains_key(method), "{method}");
    }
    for method in ["Heartbeat", "RemoveAll", "ListKeys"] {
        assert!(!SHAPES.of_methods.contains_key(method), "{method} has no list");
    }
}
