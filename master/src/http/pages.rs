//! What each path returns.
//!
//! Invariant: every error has an answer, with the reason as text.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::http::facts::Facts;
use crate::http::html;
use crate::http::probes::{self, Verdict};
use crate::metrics::Format;
use crate::node::Node;

/// The most requests that look at the state at the same time. Each takes its locks for a moment.
const LOOKS_MAX: usize = 2;
/// The limit on the wait for a place and the look together.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

pub(crate) type Page = Response<Full<Bytes>>;

pub(crate) struct Pages {
    node: Arc<Node>,
    /// The runtime that serves clients.
    serving: Handle,
    looks: Arc<Semaphore>,
}

impl Pages {
    pub(crate) fn new(node: Arc<Node>, serving: Handle) -> Pages {
        Pages { node, serving, looks: Arc::new(Semaphore::new(LOOKS_MAX)) }
    }

    /// The transport omits the body of an answer to HEAD.
    pub(crate) async fn answer<B>(&self, request: &Request<B>) -> Page {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut page = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            page.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return page;
        }
        match request.uri().path() {
            "/livez" => verdict(probes::alive(&self.node, &self.serving).await),
            "/readyz" => verdict(probes::ready(&self.node)),
            "/promotable" => verdict(probes::promotable(&self.node)),
            "/metrics" => {
                let accepts = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
                let format = Format::asked_for(&accepts.collect::<Vec<_>>().join(","));
                self.look(format.content_type(), move |facts| format.render(facts)).await
            }
            "/status" => self.look(JSON, json).await,
            "/" => self.look(HTML, |facts| html::page(&facts)).await,
            #[cfg(feature = "faults")]
            path if path.starts_with("/faults/") => inflict(&self.node, &path["/faults/".len()..]),
            _ => text(StatusCode::NOT_FOUND, "there are /metrics, /livez, /readyz, /promotable, /status and /\n"),
        }
    }

    async fn look(&self, kind: &'static str, write: impl FnOnce(Facts) -> String + Send + 'static) -> Page {
        let (node, looks) = (Arc::clone(&self.node), Arc::clone(&self.looks));
        let look = async {
            let place = looks.acquire_owned().await.ok()?;
            let looked = tokio::task::spawn_blocking(move || {
                // Even if the client has gone: the place is free when the look is over.
                let _place = place;
                write(Facts::of(&node))
            });
            looked.await.ok()
        };
        match timeout(LOOK_WITHIN, look).await {
            Ok(Some(text)) => page(StatusCode::OK, kind, text),
            Ok(None) => text(StatusCode::INTERNAL_SERVER_ERROR, "a fault of this member\n"),
            Err(_) => {
                let why = format!("the state could not be read within {} s\n", LOOK_WITHIN.as_secs());
                text(StatusCode::SERVICE_UNAVAILABLE, why)
            }
        }
    }
}

#[cfg(feature = "faults")]
fn inflict(node: &Node, name: &str) -> Page {
    match crate::faults::inflict(node, name) {
        Some(what) => text(StatusCode::OK, format!("{what}\n")),
        None => text(StatusCode::NOT_FOUND, "there is no such fault, or nothing to do it to\n"),
    }
}

fn json(facts: Facts) -> String {
    let mut text = serde_json::to_string_pretty(&facts.status).expect("it is made of plain values");
    text.push('\n');
    text
}

fn verdict(verdict: Verdict) -> Page {
    match verdict {
        Ok(yes) => text(StatusCode::OK, format!("{yes}\n")),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

fn text(code: StatusCode, text: impl Into<Bytes>) -> Page {
    page(code, TEXT, text)
}

fn page(code: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Page {
    let mut page = Response::new(Full::new(body.into()));
    *page.status_mut() = code;
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
    ];
    page.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    page
}
