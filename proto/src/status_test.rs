//! Tests of the map from failed calls to gRPC status and back, and of the page that is generated
//! from it.

use std::path::Path;

use tonic::metadata::MetadataMap;

use super::*;

fn every_reason() -> Vec<Reason> {
    (0..1000).filter_map(|number| Reason::try_from(number).ok()).collect()
}

#[test]
fn table_has_every_reason_once_in_order() {
    let listed: Vec<Reason> = REASONS.iter().map(|row| row.0).collect();
    assert_eq!(listed, every_reason());
}

#[test]
fn every_error_comes_back_whole() {
    for reason in every_reason() {
        let error =
            CallError { retry_after_ms: 7, epoch: 3, primary_address: "b:1".into(), ..call_error(reason, "ü…x") };
        let status = to_status(error.clone());
        assert_eq!(status.code(), code(reason));
        assert_eq!(status.message(), "ü…x");
        assert_eq!(from_status(&status), error);
    }
}

#[test]
fn code_follows_the_reason_whatever_the_error_says() {
    let status = to_status(CallError { code: Code::Ok as i32, ..call_error(Reason::Leased, "") });
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(from_status(&status).code, Code::FailedPrecondition as i32);
}

#[test]
fn reason_of_a_later_version_keeps_its_code() {
    let error = CallError { code: Code::DataLoss as i32, reason: 999, ..call_error(Reason::Unspecified, "x") };
    let status = to_status(error.clone());
    assert_eq!(status.code(), Code::DataLoss);
    assert_eq!(from_status(&status), error);
    assert_eq!(from_status(&status).reason(), Reason::Unspecified);
}

#[test]
fn failure_is_never_ok() {
    let status = to_status(CallError { reason: 999, ..CallError::default() });
    assert_eq!(status.code(), Code::Unknown);
    assert_eq!(from_status(&Status::new(Code::Ok, "")).code, Code::Unknown as i32);
}

#[test]
fn long_texts_are_cut_at_a_character() {
    let error = CallError { primary_address: "p".repeat(5000), ..invalid("key", "x".repeat(5000)) };
    let back = from_status(&to_status(error));
    assert_eq!(back.message.len(), ERROR_TEXT_BYTES_MAX);
    assert!(back.message.starts_with("key: xx") && back.message.ends_with("x …"));
    let back = from_status(&to_status(invalid("key", "ü".repeat(5000))));
    let escaped = 3 * back.message.len();
    assert!(escaped <= ERROR_TEXT_ESCAPED_BYTES_MAX && escaped > ERROR_TEXT_ESCAPED_BYTES_MAX - 48, "{escaped}");
    assert!(back.message.starts_with("key: üü") && back.message.ends_with("ü …"));
    let back = from_status(&to_status(CallError { primary_address: "p".repeat(5000), ..invalid("key", "x") }));
    assert_eq!(back.primary_address.len(), NAME_BYTES_MAX);
}

#[test]
fn transport_failure_is_unknown_and_keeps_code_and_text() {
    for code in [Code::Unavailable, Code::Internal, Code::DeadlineExceeded, Code::Cancelled, Code::OutOfRange] {
        let error = from_status(&Status::new(code, "connection reset"));
        assert_eq!(error.reason(), Reason::OutcomeUnknown, "{code:?}");
        assert_eq!(error.code, code as i32);
        assert_eq!(error.message, "connection reset");
    }
}

#[test]
fn request_that_found_no_connection_has_not_run() {
    let status = Status::from_error(Box::new(ConnectError("refused".into())));
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(from_status(&status).reason(), Reason::Unspecified);
}

#[test]
fn request_that_was_turned_away_has_not_run() {
    for code in [Code::Unimplemented, Code::Unauthenticated, Code::PermissionDenied, Code::InvalidArgument] {
        let error = from_status(&Status::new(code, ""));
        assert_eq!((error.reason(), error.code), (Reason::Unspecified, code as i32));
    }
}

#[test]
fn torn_trailer_counts_as_none() {
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(TRAILER, MetadataValue::from_bytes(&[0x0a, 0xff]));
    let status = Status::with_metadata(Code::Unavailable, "x", metadata);
    assert_eq!(from_status(&status).reason(), Reason::OutcomeUnknown);
}

#[test]
fn messages_name_field_and_limit() {
    assert_eq!(over_limit("items", 10_001, 10_000, "items").message, "items: 10001 items, the limit is 10000");
    assert_eq!(not_primary("b:1", 4).primary_address, "b:1");
    assert_eq!(overloaded(20).retry_after_ms, 20);
}

/// If a retry keeps its number, the error must not look like a definite failure to a generic gRPC
/// client, and vice versa.
#[test]
fn generic_clients_retry_what_did_not_run() {
    for &(reason, code, retry, what) in REASONS {
        let did_not_run = retry == Retry::SameNumber && reason != Reason::OutcomeUnknown;
        assert_eq!(code == Code::Unavailable, did_not_run, "{reason:?}");
        assert!(what.ends_with('.') && !what.contains('|'), "{reason:?}: {what}");
    }
}

#[test]
fn errors_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("docs/")).expect("docs/ can be made");
        std::fs::write(&path, reasons_markdown()).expect("docs/errors.md can be written");
    }
    let page = std::fs::read_to_string(&path).expect("docs/errors.md is there");
    assert!(page == reasons_markdown(), "docs/errors.md is old: UPDATE_DOCS=1 cargo test -p understudy-proto");
}
