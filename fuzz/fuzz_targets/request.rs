//! Messages of a session, as bytes: cut into messages, decoded, and run against a small node, never
//! with a panic. Every refusal has a reason and a text. The node is sound afterwards, and
//! everything can be removed and times out.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use master::config::Config;
use master::{Node, in_process};
use metadata::{Call, Now};
use oplog::ClientId;
use proto::v1::session_response::Answer;
use proto::v1::{CallError, Reason, SessionResponse};
use shared::input::Input;
use shared::life;
use shared::requests::{refusals, templates, world};

const MESSAGES_MAX: usize = 10;
/// The length of long lists: elements of a few bytes may take a hundred times as much once they are
/// decoded, which is more than an input's heap.
const LIST_BYTES_MAX: usize = 2 << 20;

fuzz_target!(|data: &[u8]| {
    let node = Node::alone(config());
    for message in world() {
        let response = in_process::answer(&node, message.clone()).expect("it is a request");
        assert!(!matches!(response.answer, Some(Answer::Error(_))), "the world cannot be made: {response:?}");
    }
    let mut input = Input::new(data);
    match input.u8() % 4 {
        0 => chunks(&mut input, &node),
        _ => messages(&mut input, &node),
    }
    let state = node.state();
    state.check().unwrap_or_else(|what| panic!("the node is not sound: {what}"));
    let late = Now { ttl_ms: 1 << 40, wall_ms: 0 };
    let call =
        Call { client: ClientId([0xee; 16]), number: 0, answered_below: 0, address: None, tenant: "", now: late };
    state.remove_all(&call, true).expect("the call is valid");
    life::settle(&state, late);
});

fn config() -> Config {
    let mut config = Config::default();
    config.serving.node_name = "fuzzed".to_owned();
    config.state.placement_seed = 7;
    config
}

/// Sensible requests with a few bytes changed, or arbitrary bytes.
fn messages(input: &mut Input<'_>, node: &Node) {
    for _ in 0..MESSAGES_MAX {
        if input.is_empty() {
            return;
        }
        let message = match input.u8() & 7 {
            0 => input.bytes().to_vec(),
            1 => long_list(input),
            _ => {
                let template = &templates()[input.below(templates().len())];
                input.edited(template)
            }
        };
        try_message(node, message.into());
    }
}

/// A call of any kind that repeats a few bytes many times.
fn long_list(input: &mut Input<'_>) -> Vec<u8> {
    let call = input.u8() % 32;
    let unit = input.bytes();
    let count = usize::from(input.u16()) * 16;
    let list = unit.repeat(count.min(LIST_BYTES_MAX / unit.len().max(1)));
    let mut message = Vec::new();
    prost::encoding::encode_varint(u64::from(call) << 3 | 2, &mut message);
    prost::encoding::encode_varint(list.len() as u64, &mut message);
    message.extend_from_slice(&list);
    message
}

/// The bytes of a connection, in pieces of any size.
fn chunks(input: &mut Input<'_>, node: &Node) {
    let mut chunks = Vec::new();
    while !input.is_empty() {
        chunks.push(Bytes::copy_from_slice(input.bytes()));
    }
    match in_process::messages(node, chunks) {
        Ok(messages) => messages.into_iter().take(MESSAGES_MAX).for_each(|message| try_message(node, message)),
        Err(error) => judge(&error),
    }
    assert_eq!(node.request_bytes(), 0, "memory for requests is not given back");
}

fn try_message(node: &Node, message: Bytes) {
    match in_process::answer(node, message) {
        Err(error) | Ok(SessionResponse { answer: Some(Answer::Error(error)), .. }) => judge(&error),
        Ok(response) => {
            for refusal in refusals(response.answer.expect("an answer says something")) {
                assert_ne!(refusal.reason(), Reason::Unspecified, "{refusal:?}");
                assert!(!refusal.message.is_empty(), "{refusal:?}");
            }
        }
    }
}

fn judge(error: &CallError) {
    let nobodys = [Reason::Unspecified, Reason::Internal, Reason::OutcomeUnknown, Reason::NotPrimary];
    assert!(!nobodys.contains(&error.reason()) && !error.message.is_empty(), "{error:?}");
    assert_eq!(error.code, proto::status::code(error.reason()) as i32, "{error:?}");
}
