//! A client that does nothing by itself: one call, one answer, over either transport.

use std::net::SocketAddr;

use proto::limits::MESSAGE_BYTES_MAX;
use proto::status::from_status;
use proto::v1::metadata_client::MetadataClient;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{CallError, SessionRequest, SessionResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

pub(crate) enum Wire {
    Unary(MetadataClient<Channel>),
    Session(Box<Session>),
}

pub(crate) struct Session {
    requests: mpsc::Sender<SessionRequest>,
    answers: Streaming<SessionResponse>,
    last_id: u64,
}

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is an address");
    endpoint.connect().await.expect("the node listens")
}

/// A client that also sends what is over the limit.
pub(crate) async fn metadata(address: SocketAddr) -> MetadataClient<Channel> {
    MetadataClient::new(channel(address).await)
        .max_decoding_message_size(4 * MESSAGE_BYTES_MAX)
        .max_encoding_message_size(4 * MESSAGE_BYTES_MAX)
}

impl Wire {
    pub(crate) async fn unary(address: SocketAddr) -> Wire {
        Wire::Unary(metadata(address).await)
    }

    pub(crate) async fn session(address: SocketAddr) -> Wire {
        Wire::Session(Box::new(Session::open(address).await.expect("it is opened")))
    }

    pub(crate) async fn call(&mut self, call: Call) -> Result<Answer, CallError> {
        match self {
            Wire::Unary(client) => unary(client, call).await.map_err(|status| from_status(&status)),
            Wire::Session(session) => session.call(call).await,
        }
    }
}

impl Session {
    pub(crate) async fn open(address: SocketAddr) -> Result<Session, Status> {
        let (requests, outgoing) = mpsc::channel(1);
        let answers = metadata(address).await.session(ReceiverStream::new(outgoing)).await?.into_inner();
        Ok(Session { requests, answers, last_id: 0 })
    }

    /// Returns the id of the request.
    pub(crate) async fn send(&mut self, call: Call) -> u64 {
        self.last_id += 1;
        let request = SessionRequest { id: self.last_id, call: Some(call) };
        self.requests.send(request).await.expect("the session is open");
        self.last_id
    }

    pub(crate) async fn send_raw(&mut self, request: SessionRequest) {
        self.requests.send(request).await.expect("the session is open");
    }

    /// `None`: the session has ended.
    pub(crate) async fn next(&mut self) -> Result<Option<(u64, Result<Answer, CallError>)>, CallError> {
        let next = self.answers.message().await.map_err(|status| from_status(&status))?;
        Ok(next.map(|SessionResponse { id, answer }| match answer.expect("every answer says something") {
            Answer::Error(error) => (id, Err(error)),
            answer => (id, Ok(answer)),
        }))
    }

    async fn call(&mut self, call: Call) -> Result<Answer, CallError> {
        let sent = self.send(call).await;
        let (id, answer) = self.next().await?.expect("it is answered");
        assert_eq!(id, sent, "there is only one request under way");
        answer
    }

    /// Nothing more is sent from now on.
    pub(crate) fn into_answers(self) -> Streaming<SessionResponse> {
        self.answers
    }
}

async fn unary(client: &mut MetadataClient<Channel>, call: Call) -> Result<Answer, Status> {
    Ok(match call {
        Call::Heartbeat(request) => Answer::Heartbeat(client.heartbeat(request).await?.into_inner()),
        Call::MountSegment(request) => Answer::MountSegment(client.mount_segment(request).await?.into_inner()),
        Call::RemountSegments(request) => Answer::MountSegment(client.remount_segments(request).await?.into_inner()),
        Call::UnmountSegment(request) => Answer::UnmountSegment(client.unmount_segment(request).await?.into_inner()),
        Call::ListSegments(request) => Answer::ListSegments(client.list_segments(request).await?.into_inner()),
        Call::PutStart(request) => Answer::PutStart(client.put_start(request).await?.into_inner()),
        Call::PutEnd(request) => Answer::PutEnd(client.put_end(request).await?.into_inner()),
        Call::PutRevoke(request) => Answer::PutRevoke(client.put_revoke(request).await?.into_inner()),
        Call::GetReplicas(request) => Answer::GetReplicas(client.get_replicas(request).await?.into_inner()),
        Call::Exists(request) => Answer::Exists(client.exists(request).await?.into_inner()),
        Call::Remove(request) => Answer::Remove(client.remove(request).await?.into_inner()),
        Call::RemoveMatching(request) => Answer::RemoveMany(client.remove_matching(request).await?.into_inner()),
        Call::RemoveAll(request) => Answer::RemoveMany(client.remove_all(request).await?.into_inner()),
        Call::ListKeys(request) => Answer::ListKeys(client.list_keys(request).await?.into_inner()),
        Call::Pin(request) => Answer::Pin(client.pin(request).await?.into_inner()),
        Call::Unpin(request) => Answer::Pin(client.unpin(request).await?.into_inner()),
        Call::CopyStart(request) => Answer::TransferStart(client.copy_start(request).await?.into_inner()),
        Call::CopyEnd(request) => Answer::TransferFinish(client.copy_end(request).await?.into_inner()),
        Call::CopyRevoke(request) => Answer::TransferFinish(client.copy_revoke(request).await?.into_inner()),
        Call::MoveStart(request) => Answer::TransferStart(client.move_start(request).await?.into_inner()),
        Call::MoveEnd(request) => Answer::TransferFinish(client.move_end(request).await?.into_inner()),
        Call::MoveRevoke(request) => Answer::TransferFinish(client.move_revoke(request).await?.into_inner()),
        Call::CreateTask(request) => Answer::CreateTask(client.create_task(request).await?.into_inner()),
        Call::FetchTasks(request) => Answer::FetchTasks(client.fetch_tasks(request).await?.into_inner()),
        Call::CompleteTask(request) => Answer::CompleteTask(client.complete_task(request).await?.into_inner()),
        Call::ListTasks(request) => Answer::ListTasks(client.list_tasks(request).await?.into_inner()),
    })
}

/// The answer, as the variant that it must be.
macro_rules! answer {
    ($variant:ident, $answered:expr) => {
        match $answered.await {
            Ok(proto::v1::session_response::Answer::$variant(answer)) => answer,
            other => panic!("{} was expected, this came: {other:?}", stringify!($variant)),
        }
    };
}
pub(crate) use answer;
