//! What a library that knows only the standard trailer reads from it.

use tonic::Code;

use super::*;
use crate::status::{call_error, from_status, not_primary, overloaded, to_status};
use crate::v1::Reason;

fn standard(error: CallError) -> RpcStatus {
    RpcStatus::decode(to_status(error).details()).expect("it is a google.rpc.Status")
}

fn detail<M: Message + Default>(status: &RpcStatus, type_url: &str) -> Option<M> {
    let found = status.details.iter().find(|detail| detail.type_url == type_url)?;
    Some(M::decode(found.value.as_slice()).expect("it is of its type"))
}

#[test]
fn redirect_names_reason_primary_and_epoch() {
    let status = standard(not_primary("b:1", 4));
    assert_eq!(status.code, Code::Unavailable as i32);
    assert!(status.message.contains("b:1"), "{}", status.message);
    let info: ErrorInfo = detail(&status, ERROR_INFO_TYPE).expect("it is there");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NOT_PRIMARY", "understudy"));
    let metadata = [("epoch", "4"), ("primary_address", "b:1")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(info.metadata, BTreeMap::from(metadata));
    assert_eq!(detail::<RetryInfo>(&status, RETRY_INFO_TYPE), None, "it says no time");
}

#[test]
fn time_to_wait_is_told_in_the_standard_way() {
    for (ms, seconds, nanos) in [(20, 0, 20_000_000), (1_000, 1, 0), (u32::MAX, 4_294_967, 295_000_000)] {
        let info: RetryInfo = detail(&standard(overloaded(ms)), RETRY_INFO_TYPE).expect("it is there");
        assert_eq!(info.retry_delay, Some(RetryDelay { seconds, nanos }), "{ms} ms");
    }
}

#[test]
fn error_without_more_to_say_has_no_metadata() {
    let info: ErrorInfo = detail(&standard(call_error(Reason::Leased, "x")), ERROR_INFO_TYPE).expect("it is there");
    assert_eq!(info.metadata, BTreeMap::new());
}

#[test]
fn whole_error_is_read_from_the_standard_trailer_where_it_is_the_only_one() {
    let error = CallError { epoch: 3, primary_address: "b:1".into(), ..overloaded(7) };
    let mut status = to_status(error.clone());
    assert!(status.metadata_mut().remove_bin(crate::status::TRAILER).is_some());
    assert_eq!(from_status(&status), error);
}

#[test]
fn details_of_others_and_torn_ones_are_no_error_of_ours() {
    let foreign =
        RpcStatus { code: 3, message: String::new(), details: vec![any("type.googleapis.com/x", &Any::default())] };
    assert_eq!(decode(&foreign.encode_to_vec()), None);
    let mut torn = encode(&overloaded(7));
    torn.pop();
    assert_eq!(decode(&torn), None);
}
