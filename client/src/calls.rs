//! The table of calls: for each its request, its answer, its place in a session's messages, its unary method, and
//! whether it changes anything.
//!
//! Invariants: a call that changes something carries a request number; a new call is one line here.
//!
//! Deliberately absent: how calls travel, and what their answers mean.

use prost::Message as _;
use proto::v1;
use proto::v1::metadata_client::MetadataClient;
use proto::v1::{session_request, session_response};
use tonic::transport::Channel;
use tonic::{Response, Status};

/// What is common to all answers.
pub(crate) trait Positioned {
    fn position(&self) -> Option<&v1::Position>;
}

pub(crate) trait Call: Clone + Send + Sync {
    type Answer: Positioned + Send;
    const NAME: &'static str;
    /// It runs at most once for its request number, and its outcome matters when it is unknown.
    const MUTATES: bool;

    /// Of the request, by itself.
    fn encoded_len(&self) -> usize;
    fn into_session(self) -> session_request::Call;
    /// None: an answer to another call.
    fn from_session(answer: session_response::Answer) -> Option<Self::Answer>;
    fn unary(
        self,
        client: MetadataClient<Channel>,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

/// A call that a standby may answer, where the caller allows it.
pub(crate) trait Read: Call {
    fn standby(&mut self) -> &mut Option<v1::StandbyRead>;
    fn from_standby(answer: &Self::Answer) -> bool;
}

macro_rules! reads {
    ($($name:ident)*) => {
        $(impl Read for $name {
            fn standby(&mut self) -> &mut Option<v1::StandbyRead> {
                &mut self.0.standby
            }

            fn from_standby(answer: &Self::Answer) -> bool {
                answer.from_standby
            }
        })*
    };
}

reads! { GetReplicas Exists ListKeys ListSegments }

macro_rules! calls {
    ($($name:ident($request:ident) -> $answer:ident, $method:ident, $answered:ident, $mutates:literal;)*) => {
        $(
            #[derive(Clone)]
            pub(crate) struct $name(pub(crate) v1::$request);

            impl Call for $name {
                type Answer = v1::$answer;
                const NAME: &'static str = stringify!($name);
                const MUTATES: bool = $mutates;

                fn encoded_len(&self) -> usize {
                    self.0.encoded_len()
                }

                fn into_session(self) -> session_request::Call {
                    session_request::Call::$name(self.0)
                }

                fn from_session(answer: session_response::Answer) -> Option<Self::Answer> {
                    match answer {
                        session_response::Answer::$answered(answer) => Some(answer),
                        _ => None,
                    }
                }

                async fn unary(self, mut client: MetadataClient<Channel>) -> Result<Response<Self::Answer>, Status> {
                    client.$method(self.0).await
                }
            }
        )*
    };
}

calls! {
    Heartbeat(HeartbeatRequest) -> HeartbeatResponse, heartbeat, Heartbeat, false;
    MountSegment(MountSegmentRequest) -> MountSegmentResponse, mount_segment, MountSegment, true;
    RemountSegments(RemountSegmentsRequest) -> MountSegmentResponse, remount_segments, MountSegment, true;
    UnmountSegment(UnmountSegmentRequest) -> UnmountSegmentResponse, unmount_segment, UnmountSegment, true;
    ListSegments(ListSegmentsRequest) -> ListSegmentsResponse, list_segments, ListSegments, false;
    PutStart(PutStartRequest) -> PutStartResponse, put_start, PutStart, true;
    PutEnd(PutEndRequest) -> PutEndResponse, put_end, PutEnd, true;
    PutRevoke(PutRevokeRequest) -> PutRevokeResponse, put_revoke, PutRevoke, true;
    GetReplicas(GetReplicasRequest) -> GetReplicasResponse, get_replicas, GetReplicas, false;
    Exists(ExistsRequest) -> ExistsResponse, exists, Exists, false;
    Remove(RemoveRequest) -> RemoveResponse, remove, Remove, true;
    RemoveMatching(RemoveMatchingRequest) -> RemoveManyResponse, remove_matching, RemoveMany, true;
    RemoveAll(RemoveAllRequest) -> RemoveManyResponse, remove_all, RemoveMany, true;
    ListKeys(ListKeysRequest) -> ListKeysResponse, list_keys, ListKeys, false;
    Pin(PinRequest) -> PinResponse, pin, Pin, true;
    Unpin(UnpinRequest) -> PinResponse, unpin, Pin, true;
    CopyStart(CopyStartRequest) -> TransferStartResponse, copy_start, TransferStart, true;
    CopyEnd(TransferFinishRequest) -> TransferFinishResponse, copy_end, TransferFinish, true;
    CopyRevoke(TransferFinishRequest) -> TransferFinishResponse, copy_revoke, TransferFinish, true;
    MoveStart(MoveStartRequest) -> TransferStartResponse, move_start, TransferStart, true;
    MoveEnd(TransferFinishRequest) -> TransferFinishResponse, move_end, TransferFinish, true;
    MoveRevoke(TransferFinishRequest) -> TransferFinishResponse, move_revoke, TransferFinish, true;
    CreateTask(CreateTaskRequest) -> CreateTaskResponse, create_task, CreateTask, true;
    FetchTasks(FetchTasksRequest) -> FetchTasksResponse, fetch_tasks, FetchTasks, true;
    CompleteTask(CompleteTaskRequest) -> CompleteTaskResponse, complete_task, CompleteTask, true;
    ListTasks(ListTasksRequest) -> ListTasksResponse, list_tasks, ListTasks, false;
}

macro_rules! answers {
    ($($variant:ident($answer:ident))*) => {
        $(impl Positioned for v1::$answer {
            fn position(&self) -> Option<&v1::Position> {
                self.position.as_ref()
            }
        })*

        impl Positioned for session_response::Answer {
            fn position(&self) -> Option<&v1::Position> {
                match self {
                    session_response::Answer::Error(_) => None,
                    $(session_response::Answer::$variant(answer) => answer.position.as_ref(),)*
                }
            }
        }
    };
}

answers! {
    Heartbeat(HeartbeatResponse)
    MountSegment(MountSegmentResponse)
    UnmountSegment(UnmountSegmentResponse)
    ListSegments(ListSegmentsResponse)
    PutStart(PutStartResponse)
    PutEnd(PutEndResponse)
    PutRevoke(PutRevokeResponse)
    GetReplicas(GetReplicasResponse)
    Exists(ExistsResponse)
    Remove(RemoveResponse)
    RemoveMany(RemoveManyResponse)
    ListKeys(ListKeysResponse)
    Pin(PinResponse)
    TransferStart(TransferStartResponse)
    TransferFinish(TransferFinishResponse)
    CreateTask(CreateTaskResponse)
    FetchTasks(FetchTasksResponse)
    CompleteTask(CompleteTaskResponse)
    ListTasks(ListTasksResponse)
}

impl Positioned for v1::StatusResponse {
    fn position(&self) -> Option<&v1::Position> {
        // Every member tells how it is, also one of an epoch that is over.
        None
    }
}

impl Positioned for v1::TransferResponse {
    fn position(&self) -> Option<&v1::Position> {
        None
    }
}

impl Positioned for v1::ListTenantsResponse {
    fn position(&self) -> Option<&v1::Position> {
        self.position.as_ref()
    }
}

impl Positioned for v1::SetSettingsResponse {
    fn position(&self) -> Option<&v1::Position> {
        self.position.as_ref()
    }
}

impl Positioned for v1::SetTenantQuotaResponse {
    fn position(&self) -> Option<&v1::Position> {
        self.position.as_ref()
    }
}

impl Positioned for v1::DeleteTenantResponse {
    fn position(&self) -> Option<&v1::Position> {
        self.position.as_ref()
    }
}
