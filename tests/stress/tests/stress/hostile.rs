//! Clients that send what no client should: spoiled requests of every kind, with each other's ids,
//! one by one and over sessions; messages that are cut, garbled or far too large; streams that
//! break off in the middle.
//!
//! Invariant: whatever they send is answered, or refused with a reason, and the connection lives
//! on.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use prost::Message as _;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{Reason, Refusal, SessionRequest, SessionResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::dice::Dice;
use crate::raw::RawClient;
use crate::requests;
use crate::tally::Tally;

/// Requests of one connection, and of one session.
const REQUESTS_MAX: u64 = 300;
const WINDOW: usize = 32;

pub(crate) struct Hostile {
    pub(crate) address: SocketAddr,
    pub(crate) dice: Dice,
    pub(crate) until: Instant,
}

impl Hostile {
    pub(crate) async fn run(mut self) -> Tally {
        let mut tally = Tally::default();
        while Instant::now() < self.until {
            let mut client = RawClient::connect(self.address).await;
            for _ in 0..self.dice.below(REQUESTS_MAX) {
                if Instant::now() >= self.until {
                    break;
                }
                match self.dice.below(40) {
                    0 => self.session(&mut client, &mut tally).await,
                    1 => self.cut_session(&mut client, &mut tally).await,
                    2..8 => self.garbled(&mut client, &mut tally).await,
                    _ => self.spoiled(&mut client, &mut tally).await,
                }
            }
        }
        tally
    }

    async fn spoiled(&mut self, client: &mut RawClient, tally: &mut Tally) {
        let (method, call) = requests::any(&mut self.dice);
        tally.called(method);
        if let Err(error) = client.unary(method, encoded(&call)).await {
            tally.refused_call(method, &error);
        }
    }

    /// Random bytes, as a request of any kind, or of no kind.
    async fn garbled(&mut self, client: &mut RawClient, tally: &mut Tally) {
        const KIND: &str = "(garbled)";
        tally.called(KIND);
        let (method, call) = requests::any(&mut self.dice);
        let mut bytes = encoded(&call).to_vec();
        let expected = match self.dice.below(100) {
            0 => {
                bytes.resize((16 << 20) + 1 + self.dice.below(1000) as usize, 0);
                Some(Reason::InvalidArgument)
            }
            1..30 => {
                let length = self.dice.below(200) as usize;
                bytes = self.dice.bytes(length);
                None
            }
            30..60 => {
                bytes.truncate(self.dice.below(bytes.len() as u64 + 1) as usize);
                None
            }
            _ => {
                for _ in 0..1 + self.dice.below(4) {
                    let at = self.dice.below(bytes.len().max(1) as u64) as usize;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = self.dice.next() as u8;
                    }
                }
                None
            }
        };
        let answer = client.unary(method, Bytes::from(bytes)).await;
        if let Some(expected) = expected {
            let reason = answer.as_ref().err().map(|error| error.reason());
            assert_eq!(reason, Some(expected), "a message over the limit, as {method}");
        }
        if let Err(error) = answer {
            tally.refused_call(KIND, &error);
        }
    }

    /// Every request is answered, with its id.
    async fn session(&mut self, client: &mut RawClient, tally: &mut Tally) {
        const KIND: &str = "(session)";
        tally.called(KIND);
        let (requests, outgoing) = mpsc::channel(WINDOW);
        let mut answers = match client.session(ReceiverStream::new(outgoing)).await {
            Ok(answers) => answers,
            Err(error) => return tally.refused_call(KIND, &error),
        };
        let mut methods = Vec::new();
        let mut messages = Vec::new();
        for id in 0..self.dice.below(REQUESTS_MAX) {
            let (method, call) = requests::any(&mut self.dice);
            methods.push(method);
            messages.push(Bytes::from(SessionRequest { id, call: Some(call) }.encode_to_vec()));
        }
        let count = messages.len();
        let sending = async move {
            for message in messages {
                if requests.send(message).await.is_err() {
                    return;
                }
            }
        };
        let mut answered = vec![false; count];
        let receiving = async {
            while let Some(message) = answers.message().await.unwrap_or_else(|why| panic!("a session broke: {why}")) {
                let SessionResponse { id, answer } = SessionResponse::decode(message).expect("an answer is whole");
                let method = methods[id as usize];
                tally.called(method);
                assert!(!std::mem::replace(&mut answered[id as usize], true), "{method} {id} was answered twice");
                count_refusals(method, answer.expect("an answer says something"), tally);
            }
        };
        tokio::join!(sending, receiving);
        assert!(answered.iter().all(|answered| *answered), "a session ended before all its requests were answered");
    }

    /// Requests are on their way, and the client waits for no answer; or the session ends with
    /// something that is no request.
    async fn cut_session(&mut self, client: &mut RawClient, tally: &mut Tally) {
        const KIND: &str = "(cut session)";
        tally.called(KIND);
        let mut messages = Vec::new();
        for id in 0..self.dice.below(WINDOW as u64) {
            let (_, call) = requests::any(&mut self.dice);
            messages.push(Bytes::from(SessionRequest { id, call: Some(call) }.encode_to_vec()));
        }
        let garbage = self.dice.below(40) as usize;
        messages.push(Bytes::from(self.dice.bytes(garbage)));
        let mut answers = match client.session(tokio_stream::iter(messages)).await {
            Ok(answers) => answers,
            Err(error) => return tally.refused_call(KIND, &error),
        };
        for _ in 0..self.dice.below(WINDOW as u64) {
            match answers.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(status) => return tally.refused_call(KIND, &proto::status::from_status(&status)),
            }
        }
    }
}

fn encoded(call: &Call) -> Bytes {
    // A session's request without its id and its frame is the message of the unary call.
    let framed = SessionRequest { id: 0, call: Some(call.clone()) }.encode_to_vec();
    let mut rest = &framed[..];
    prost::encoding::decode_key(&mut rest).expect("it was encoded here");
    let length = prost::encoding::decode_varint(&mut rest).expect("it was encoded here");
    assert_eq!(length, rest.len() as u64);
    Bytes::copy_from_slice(rest)
}

fn count_refusals(method: &'static str, answer: Answer, tally: &mut Tally) {
    let refusals: Vec<Option<Refusal>> = match answer {
        Answer::Error(error) => return tally.refused_call(method, &error),
        Answer::MountSegment(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::UnmountSegment(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::PutStart(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::PutEnd(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::PutRevoke(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::GetReplicas(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::Remove(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::Pin(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::TransferStart(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::TransferFinish(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::CreateTask(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::CompleteTask(answer) => answer.results.into_iter().map(|result| result.refusal).collect(),
        Answer::Heartbeat(_)
        | Answer::ListSegments(_)
        | Answer::Exists(_)
        | Answer::RemoveMany(_)
        | Answer::ListKeys(_)
        | Answer::FetchTasks(_)
        | Answer::ListTasks(_) => return,
    };
    refusals.into_iter().flatten().for_each(|refusal| tally.refused_item(method, &refusal));
}
