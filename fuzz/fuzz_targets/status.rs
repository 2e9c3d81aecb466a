//! A gRPC status from a peer, with an error in its trailer or something else there: always
//! understood as some failure, which survives the way to the next peer.

#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use proto::status::{TRAILER, from_status, to_status};
use shared::input::Input;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let code = Code::from_i32(i32::from(input.u8()));
    let message = String::from_utf8_lossy(input.bytes()).into_owned();
    let (details, metadata) = trailers(&mut input);
    let status = Status::with_details_and_metadata(code, message, details.into(), metadata);
    let error = from_status(&status);
    assert_ne!(error.code, Code::Ok as i32, "a failure is never OK");

    // Texts are cut and the code is corrected on the way, once.
    let sent = from_status(&to_status(error));
    assert_ne!(sent.code, Code::Ok as i32, "a failure is never OK");
    assert_eq!(from_status(&to_status(sent.clone())), sent, "a failure changes from peer to peer");
});

/// The standard trailer, and the project's own: one of them valid, with any bytes; or the own one
/// as no peer writes it, which need not even be base64.
fn trailers(input: &mut Input<'_>) -> (Vec<u8>, MetadataMap) {
    let (kind, bytes) = (input.u8(), input.rest());
    let mut map = MetadataMap::new();
    match kind % 4 {
        0 => {}
        3 => return (bytes.to_vec(), map),
        1 => {
            if let Ok(raw) = HeaderValue::from_bytes(bytes) {
                let mut headers = HeaderMap::new();
                headers.insert(TRAILER, raw);
                map = MetadataMap::from_headers(headers);
            }
        }
        _ => drop(map.insert_bin(TRAILER, MetadataValue::from_bytes(bytes))),
    }
    (Vec::new(), map)
}
