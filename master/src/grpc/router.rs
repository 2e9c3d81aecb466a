//! Which service a request is for.
//!
//! Invariant: calls of clients (`Metadata`) come first, and need neither a box nor a copy of a
//! service.
//!
//! Deliberately absent: other protocols on the same port.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use proto::status::invalid;
use proto::v1::admin_server::{self, AdminServer};
use proto::v1::metadata_server;
use proto::v1::{CallError, Reason};
use proto::{HISTORY_METADATA, STANDBY_READ_METADATA, status};
use tonic::codegen::Service;
use tonic::{Code, Status};
use tonic_health::pb::health_server::{self, HealthServer};
use tonic_health::server::{HealthReporter, HealthService};

use crate::grpc::admin::AdminCalls;
use crate::grpc::body::{Body, respond, respond_error, respond_foreign};
use crate::grpc::outgoing::Shares;
use crate::grpc::session::Session;
use crate::grpc::unary;
use crate::metrics::Method;
use crate::node::Node;

const HISTORY: HeaderName = HeaderName::from_static(HISTORY_METADATA);
const REFLECTION_V1: &str = "grpc.reflection.v1.ServerReflection";
const REFLECTION_V1_ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// A tonic service of any type.
type Route = Box<dyn Fn(Request<Incoming>) -> Answering + Send + Sync>;
type Answering = Pin<Box<dyn Future<Output = Response<tonic::body::Body>> + Send>>;

pub(crate) struct Router {
    node: Arc<Node>,
    named: Named,
    admin: Route,
    health: Route,
    reflection: Route,
    reflection_alpha: Route,
}

impl Router {
    pub(crate) fn new(node: Arc<Node>, health: HealthReporter) -> Router {
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        Router {
            named: Named::default(),
            admin: route(AdminServer::new(AdminCalls::new(Arc::clone(&node)))),
            health: route(HealthServer::new(HealthService::from_health_reporter(health))),
            reflection: route(reflection().build_v1().expect("the descriptors were made by our own build")),
            reflection_alpha: route(reflection().build_v1alpha().expect("the descriptors were made by our own build")),
            node,
        }
    }

    /// Every answer names its history. An answer that began under another history than it ends
    /// under is refused.
    pub(crate) async fn answer(&self, request: Request<Incoming>, shares: &Arc<Shares>) -> Response<Body> {
        let began = self.node.history();
        let response = self.answer_of_service(request, shares).await;
        match began == self.node.history() {
            true => self.with_history(response, began),
            false => respond_error(status::outcome_unknown("this member has replaced its state and log meanwhile")),
        }
    }

    /// Nothing of the request was read.
    pub(crate) fn refuse(&self, error: CallError) -> Response<Body> {
        self.node.requests.refused(Method::Unknown, &error);
        self.with_head(respond_error(error))
    }

    /// A response that depends on nothing.
    pub(crate) fn with_head(&self, response: Response<Body>) -> Response<Body> {
        self.with_history(response, self.node.history())
    }

    fn with_history(&self, mut response: Response<Body>, history: Option<u128>) -> Response<Body> {
        if let Some(history) = history {
            response.headers_mut().insert(HISTORY, self.named.value(history));
        }
        response
    }

    async fn answer_of_service(&self, mut request: Request<Incoming>, shares: &Arc<Shares>) -> Response<Body> {
        if let Some(response) = refuse_what_is_not_grpc(&request) {
            return response;
        }
        // Kept beside the request, which is read later.
        let uri = request.uri().clone();
        let Some((service, method)) = uri.path().strip_prefix('/').and_then(|path| path.split_once('/')) else {
            return unknown(uri.path());
        };
        match service {
            metadata_server::SERVICE_NAME if method == "Session" => self.open_session(request, shares),
            metadata_server::SERVICE_NAME => unary::answer(&self.node, shares, method, request).await,
            admin_server::SERVICE_NAME => {
                request.extensions_mut().insert(Arc::clone(shares));
                too_long_named(foreign((self.admin)(request), shares).await)
            }
            health_server::SERVICE_NAME => foreign((self.health)(request), shares).await,
            REFLECTION_V1 => foreign((self.reflection)(request), shares).await,
            REFLECTION_V1_ALPHA => foreign((self.reflection_alpha)(request), shares).await,
            _ => unknown(uri.path()),
        }
    }

    fn open_session(&self, request: Request<Incoming>, shares: &Arc<Shares>) -> Response<Body> {
        let open = match self.node.gate.check_open() {
            // Call by call. A session belongs to one history, and names it at its start.
            Err(error) if error.reason() == Reason::NotPrimary && is_for_standbys(&request) => {
                self.node.history().map(drop).ok_or(error)
            }
            open => open.map(drop),
        };
        match self.node.requests.count(Method::Session.into(), open) {
            Ok(()) => {
                respond(Body::Session(Box::new(Session::new(&self.node, Arc::clone(shares), request.into_body()))))
            }
            Err(error) => respond_error(error),
        }
    }
}

/// The history as answers carry it: written once, and not for each answer.
#[derive(Default)]
struct Named(ArcSwapOption<(u128, HeaderValue)>);

impl Named {
    fn value(&self, history: u128) -> HeaderValue {
        match &*self.0.load() {
            Some(named) if named.0 == history => named.1.clone(),
            _ => {
                let value = HeaderValue::try_from(format!("{history:032x}")).expect("hexadecimal digits");
                self.0.store(Some(Arc::new((history, value.clone()))));
                value
            }
        }
    }
}

fn is_for_standbys(request: &Request<Incoming>) -> bool {
    request.headers().contains_key(STANDBY_READ_METADATA)
}

fn route<S>(service: S) -> Route
where
    S: Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    Box::new(move |request| {
        let answer = service.clone().call(request);
        Box::pin(async move {
            match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    })
}

async fn foreign(answer: Answering, shares: &Shares) -> Response<Body> {
    respond_foreign(answer.await, shares.answers.share())
}

/// If a tonic service refuses a message before it reads it, the refusal gets a reason like any
/// other.
fn too_long_named(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() == Code::OutOfRange => {
            respond_error(invalid("request", status.message().trim_start_matches("Error, ")))
        }
        _ => response,
    }
}

/// A path from outside, shortened for a message in the trailers, which are bounded.
pub(crate) fn cut(path: &str) -> &str {
    const BYTES_MAX: usize = 200;
    path.char_indices()
        .take_while(|(at, char)| at + char.len_utf8() <= BYTES_MAX)
        .last()
        .map_or("", |(at, char)| &path[..at + char.len_utf8()])
}

fn unknown(path: &str) -> Response<Body> {
    let path = cut(path);
    Status::unimplemented(format!("there is no service at {path:?}")).into_http()
}

/// A browser, or a client that compresses.
fn refuse_what_is_not_grpc(request: &Request<Incoming>) -> Option<Response<Body>> {
    let headers = request.headers();
    let is_grpc = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Some(response);
    }
    match headers.get("grpc-encoding") {
        Some(encoding) if encoding != "identity" => {
            let mut response: Response<Body> = Status::unimplemented("requests must not be compressed").into_http();
            let identity = http::HeaderValue::from_static("identity");
            response.headers_mut().insert("grpc-accept-encoding", identity);
            Some(response)
        }
        _ => None,
    }
}
