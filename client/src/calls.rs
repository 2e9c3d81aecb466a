//! Calls as types: each has its request, its answer, its place in a session's messages, its unary
//! method, and whether it changes anything.
//!
//! Invariants: a call that changes something carries a request number; a new call is added in the
//! contract (`proto::calls`).
//!
//! Deliberately absent: how calls travel, and what their answers mean.

use prost::Message as _;
use proto::v1;
use proto::v1::metadata_client::MetadataClient;
use proto::v1::{session_request, session_response};
use tonic::transport::Channel;
use tonic::{Response, Status};

/// What all answers have in common.
pub(crate) trait Positioned {
    fn position(&self) -> Option<&v1::Position>;
}

pub(crate) trait Call: Clone + Send + Sync {
    type Answer: Positioned + Send;
    const NAME: &'static str;
    /// It runs at most once for its request number, and its outcome matters when it is unknown.
    const MUTATES: bool;

    /// Length of the request alone.
    fn encoded_len(&self) -> usize;
    fn into_session(self) -> session_request::Call;
    /// `None`: the answer is to another call.
    fn from_session(answer: session_response::Answer) -> Option<Self::Answer>;
    fn unary(
        self,
        client: MetadataClient<Channel>,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

/// A call that a standby may answer, if the caller allows that.
pub(crate) trait Read: Call {
    fn standby(&mut self) -> &mut Option<v1::StandbyRead>;
    fn from_standby(answer: &Self::Answer) -> bool;
}

macro_rules! read {
    ($name:ident, true) => {
        impl Read for $name {
            fn standby(&mut self) -> &mut Option<v1::StandbyRead> {
                &mut self.0.standby
            }

            fn from_standby(answer: &Self::Answer) -> bool {
                answer.from_standby
            }
        }
    };
    ($name:ident, false) => {};
}

macro_rules! calls {
    ($($name:ident($request:ident) -> $answered:ident($answer:ident), $method:ident,
       mutates: $mutates:literal, work: $work:tt, standby: $standby:tt;)+) => {
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

            read!($name, $standby);
        )+
    };
}

proto::for_each_call!(calls);

macro_rules! answers {
    ($($variant:ident($answer:ident);)+) => {
        $(impl Positioned for v1::$answer {
            fn position(&self) -> Option<&v1::Position> {
                self.position.as_ref()
            }
        })+

        impl Positioned for session_response::Answer {
            fn position(&self) -> Option<&v1::Position> {
                match self {
                    session_response::Answer::Error(_) => None,
                    $(session_response::Answer::$variant(answer) => answer.position.as_ref(),)+
                }
            }
        }
    };
}

proto::for_each_answer!(answers);

impl Positioned for v1::StatusResponse {
    fn position(&self) -> Option<&v1::Position> {
        // Every member reports its status, even one whose epoch is over.
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
