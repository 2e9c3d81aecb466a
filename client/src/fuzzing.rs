//! An answer from its bytes to the types of the API, for the fuzz targets, without a member or a
//! runtime.
//!
//! Invariant: the code is the same as for an answer on a session.

use std::time::Instant;

use proto::v1::SessionResponse;
use proto::v1::session_response::Answer;

use crate::api::{objects, segments, transfers};
use crate::convert;
use crate::error::{Error, Refused};

/// `None`: this is no session response, or an empty one. `asked`: the items of the call that it
/// answers.
pub fn understand(message: &[u8], asked: usize) -> Option<Result<(), Error>> {
    let response: SessionResponse = prost::Message::decode(message).ok()?;
    Some(match response.answer? {
        Answer::Error(error) => Err(Refused::from(error).into()),
        Answer::PutStart(answer) => objects::puts_started(asked, Instant::now(), answer).map(drop),
        Answer::GetReplicas(answer) => objects::lookups(asked, Instant::now(), answer).map(drop),
        Answer::TransferStart(answer) => transfers::started("CopyStart", asked, answer).map(drop),
        Answer::ListSegments(answer) => segments::listed(answer).map(drop),
        Answer::MountSegment(answer) => segments::mounted("MountSegment", asked, answer).map(drop),
        Answer::FetchTasks(answer) => convert::tasks("FetchTasks", answer.tasks).map(drop),
        Answer::ListTasks(answer) => convert::tasks("ListTasks", answer.tasks).map(drop),
        Answer::PutEnd(answer) => convert::items("PutEnd", asked, answer.position, answer.results).map(drop),
        Answer::Exists(answer) => convert::check_count("Exists", asked, answer.exists.len()),
        // Their content is not looked at.
        _ => Ok(()),
    })
}
