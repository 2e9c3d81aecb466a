//! The scripted master's gRPC service.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proto::status::to_status;
use proto::v1::admin_server::Admin;
use proto::v1::metadata_server::Metadata;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::*;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use crate::master::{Act, Shared};

pub(crate) struct Fake(pub(crate) Arc<Shared>);

type Responses = mpsc::Sender<Result<SessionResponse, Status>>;

impl Fake {
    async fn unary(&self, call: Call) -> Result<Answer, Status> {
        match self.0.on_call(0, call.clone()) {
            Act::Answer => Ok(self.0.canned(&call)),
            Act::AnswerAfter(time) => {
                tokio::time::sleep(time).await;
                Ok(self.0.canned(&call))
            }
            Act::AnswerWith(answer) => Ok(*answer),
            Act::Fail(error) => Err(to_status(error)),
            Act::Swallow | Act::HoldUntil(_) => std::future::pending().await,
            Act::Break => Err(Status::unavailable("the connection is broken")),
        }
    }
}

async fn run(shared: Arc<Shared>, mut requests: Streaming<SessionRequest>, responses: Responses) {
    let stream = shared.next_stream();
    let mut held = Vec::new();
    while let Some(Ok(SessionRequest { id, call })) = requests.next().await {
        let call = call.expect("the client sends calls that this version knows");
        let (answer, after) = match shared.on_call(stream, call.clone()) {
            Act::Answer => (shared.canned(&call), Duration::ZERO),
            Act::AnswerAfter(time) => (shared.canned(&call), time),
            Act::AnswerWith(answer) => (*answer, Duration::ZERO),
            Act::Fail(error) => (Answer::Error(error), Duration::ZERO),
            Act::Swallow => continue,
            Act::HoldUntil(count) => {
                held.push(SessionResponse { id, answer: Some(shared.canned(&call)) });
                if held.len() == count {
                    for response in held.drain(..).rev() {
                        let _ = responses.send(Ok(response)).await;
                    }
                }
                continue;
            }
            Act::Break => {
                let _ = responses.send(Err(Status::unavailable("the stream is broken"))).await;
                return;
            }
        };
        let response = Ok(SessionResponse { id, answer: Some(answer) });
        if after.is_zero() {
            let _ = responses.send(response).await;
            continue;
        }
        let responses = responses.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = responses.send(response).await;
        });
    }
}

macro_rules! service {
    ($($method:ident($request:ident, $call:ident) -> $answer:ident as $answered:ident;)*) => {
        #[tonic::async_trait]
        impl Metadata for Fake {
            $(async fn $method(&self, request: Request<$request>) -> Result<Response<$answer>, Status> {
                match self.unary(Call::$call(request.into_inner())).await? {
                    Answer::$answered(answer) => Ok(Response::new(answer)),
                    other => panic!("the script answers {other:?}"),
                }
            })*

            type SessionStream = Pin<Box<dyn Stream<Item = Result<SessionResponse, Status>> + Send>>;

            async fn session(
                &self,
                requests: Request<Streaming<SessionRequest>>,
            ) -> Result<Response<Self::SessionStream>, Status> {
                let (responses, stream) = mpsc::channel(1024);
                tokio::spawn(run(Arc::clone(&self.0), requests.into_inner(), responses));
                Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
            }
        }

        /// The name and the caller of a call.
        pub(crate) fn caller(call: &Call) -> (&'static str, Caller) {
            match call {
                Call::ListSegments(_) => ("ListSegments", Caller::default()),
                Call::ListTasks(_) => ("ListTasks", Caller::default()),
                $(#[allow(unreachable_patterns, reason = "two calls have no caller")]
                Call::$call(request) => (stringify!($call), request.who()),)*
            }
        }
    };
}

/// Requests with a caller, and the two without.
trait Who {
    fn who(&self) -> Caller;
}

macro_rules! who {
    ($($request:ident)*) => {
        $(impl Who for $request {
            fn who(&self) -> Caller {
                self.caller.clone().expect("the client names itself")
            }
        })*
    };
}

who! {
    HeartbeatRequest MountSegmentRequest RemountSegmentsRequest UnmountSegmentRequest PutStartRequest PutEndRequest
    PutRevokeRequest GetReplicasRequest ExistsRequest RemoveRequest RemoveMatchingRequest RemoveAllRequest
    ListKeysRequest PinRequest UnpinRequest CopyStartRequest MoveStartRequest TransferFinishRequest CreateTaskRequest
    FetchTasksRequest CompleteTaskRequest
}

impl Who for ListSegmentsRequest {
    fn who(&self) -> Caller {
        Caller::default()
    }
}

impl Who for ListTasksRequest {
    fn who(&self) -> Caller {
        Caller::default()
    }
}

service! {
    heartbeat(HeartbeatRequest, Heartbeat) -> HeartbeatResponse as Heartbeat;
    mount_segment(MountSegmentRequest, MountSegment) -> MountSegmentResponse as MountSegment;
    remount_segments(RemountSegmentsRequest, RemountSegments) -> MountSegmentResponse as MountSegment;
    unmount_segment(UnmountSegmentRequest, UnmountSegment) -> UnmountSegmentResponse as UnmountSegment;
    list_segments(ListSegmentsRequest, ListSegments) -> ListSegmentsResponse as ListSegments;
    put_start(PutStartRequest, PutStart) -> PutStartResponse as PutStart;
    put_end(PutEndRequest, PutEnd) -> PutEndResponse as PutEnd;
    put_revoke(PutRevokeRequest, PutRevoke) -> PutRevokeResponse as PutRevoke;
    get_replicas(GetReplicasRequest, GetReplicas) -> GetReplicasResponse as GetReplicas;
    exists(ExistsRequest, Exists) -> ExistsResponse as Exists;
    remove(RemoveRequest, Remove) -> RemoveResponse as Remove;
    remove_matching(RemoveMatchingRequest, RemoveMatching) -> RemoveManyResponse as RemoveMany;
    remove_all(RemoveAllRequest, RemoveAll) -> RemoveManyResponse as RemoveMany;
    list_keys(ListKeysRequest, ListKeys) -> ListKeysResponse as ListKeys;
    pin(PinRequest, Pin) -> PinResponse as Pin;
    unpin(UnpinRequest, Unpin) -> PinResponse as Pin;
    copy_start(CopyStartRequest, CopyStart) -> TransferStartResponse as TransferStart;
    copy_end(TransferFinishRequest, CopyEnd) -> TransferFinishResponse as TransferFinish;
    copy_revoke(TransferFinishRequest, CopyRevoke) -> TransferFinishResponse as TransferFinish;
    move_start(MoveStartRequest, MoveStart) -> TransferStartResponse as TransferStart;
    move_end(TransferFinishRequest, MoveEnd) -> TransferFinishResponse as TransferFinish;
    move_revoke(TransferFinishRequest, MoveRevoke) -> TransferFinishResponse as TransferFinish;
    create_task(CreateTaskRequest, CreateTask) -> CreateTaskResponse as CreateTask;
    fetch_tasks(FetchTasksRequest, FetchTasks) -> FetchTasksResponse as FetchTasks;
    complete_task(CompleteTaskRequest, CompleteTask) -> CompleteTaskResponse as CompleteTask;
    list_tasks(ListTasksRequest, ListTasks) -> ListTasksResponse as ListTasks;
}

/// If this quota is set, it is set, but the answer is lost.
pub(crate) const LOSES_ITS_ANSWER: u64 = 13;

/// Its own status, and one tenant whose quota can be set.
#[tonic::async_trait]
impl Admin for Fake {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let status = StatusResponse {
            node: "fake".into(),
            uptime_ms: 1500,
            lock_held_us_max: 12,
            applied: Some(Position { epoch: 1, seq: 9 }),
            ..Default::default()
        };
        Ok(Response::new(status))
    }

    async fn list_tenants(&self, _: Request<ListTenantsRequest>) -> Result<Response<ListTenantsResponse>, Status> {
        let quota_bytes = self.0.quota_bytes.load(Ordering::Relaxed);
        let tenant = Tenant { name: "t".into(), used_bytes: 3, objects: 1, quota_bytes };
        Ok(Response::new(ListTenantsResponse { position: None, tenants: vec![tenant] }))
    }

    async fn transfer(&self, _: Request<TransferRequest>) -> Result<Response<TransferResponse>, Status> {
        Err(Status::unimplemented("this master is alone"))
    }

    type ScrubStream = ReceiverStream<Result<ScrubProgress, Status>>;

    async fn scrub(&self, _: Request<ScrubRequest>) -> Result<Response<Self::ScrubStream>, Status> {
        Err(Status::unimplemented("this master has no records"))
    }

    async fn log_digests(&self, _: Request<LogDigestsRequest>) -> Result<Response<LogDigestsResponse>, Status> {
        Err(Status::unimplemented("this master is alone"))
    }

    async fn get_digests(&self, _: Request<GetDigestsRequest>) -> Result<Response<Digests>, Status> {
        Err(Status::unimplemented("this master is alone"))
    }

    async fn get_records(&self, _: Request<PartList>) -> Result<Response<Parts>, Status> {
        Err(Status::unimplemented("this master has no records"))
    }

    async fn set_settings(&self, _: Request<SetSettingsRequest>) -> Result<Response<SetSettingsResponse>, Status> {
        Err(Status::unimplemented("this master has no settings"))
    }

    async fn delete_tenant(
        &self,
        request: Request<DeleteTenantRequest>,
    ) -> Result<Response<DeleteTenantResponse>, Status> {
        let DeleteTenantRequest { caller, tenant } = request.into_inner();
        let number = caller.map_or(0, |caller| caller.request_number);
        assert_ne!(number, 0, "a deletion runs once");
        // The first attempt has run, and its answer is lost.
        if self.0.deletion.swap(number, Ordering::Relaxed) != number {
            return Err(Status::unknown("the answer is lost"));
        }
        let refusal = (tenant == "full").then(|| proto::status::refusal(Reason::TenantNotEmpty, "3 objects"));
        Ok(Response::new(DeleteTenantResponse { position: Some(Position { epoch: 1, seq: 11 }), refusal }))
    }

    async fn set_tenant_quota(
        &self,
        request: Request<SetTenantQuotaRequest>,
    ) -> Result<Response<SetTenantQuotaResponse>, Status> {
        let before = self.0.quota_bytes.swap(request.into_inner().quota_bytes, Ordering::Relaxed);
        if before == LOSES_ITS_ANSWER {
            return Err(Status::unknown("the answer is lost"));
        }
        Ok(Response::new(SetTenantQuotaResponse { position: Some(Position { epoch: 1, seq: 10 }) }))
    }
}
