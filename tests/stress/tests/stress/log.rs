//! What the node and the clients log at WARN or ERROR: nothing unexpected.
//!
//! Invariant: there is one collector for the process, set before anything runs.

use std::fmt::Write as _;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry;

const EXPECTED: &[&str] = &[
    // On a shared machine this process may stand still for a while.
    "this process stood still",
    // Among the random frames of `noise` there is one like this now and then. h2 logs it and goes
    // on.
    "recv PING ack that we never sent",
];

static LINES: OnceLock<Mutex<Vec<String>>> = OnceLock::new();

struct Collector;

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {field}={value:?}").expect("a string takes what is written");
    }
}

impl<S: Subscriber> Layer<S> for Collector {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        if *meta.level() > Level::WARN {
            return;
        }
        let mut text = Text(format!("{} {}:", meta.level(), meta.target()));
        event.record(&mut text);
        if !EXPECTED.iter().any(|expected| text.0.contains(expected)) {
            LINES.get_or_init(Mutex::default).lock().push(text.0);
        }
    }
}

pub(crate) fn collect() {
    tracing::subscriber::set_global_default(registry().with(Collector)).expect("this process has one test");
}

/// The lines that were not expected.
pub(crate) fn unexpected() -> Vec<String> {
    LINES.get_or_init(Mutex::default).lock().clone()
}
