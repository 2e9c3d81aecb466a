//! The table of metrics as text, from the facts of a node.
//!
//! There are two formats: OpenMetrics for clients that ask for it, and the older one of Prometheus
//! for all others. They differ in the name after `# HELP` and `# TYPE`: OpenMetrics has the family,
//! and the older format has the name of the samples and no `info`.
//!
//! Invariants: every metric has its HELP and its TYPE, even while it has no sample; no label has a
//! control character.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::registry::Registry;
use proto::status::REASONS;

use crate::http::{Facts, MemberFacts};
use crate::metrics::requests::{BOUNDS_NS, Counted};
use crate::metrics::{Kind, METRICS, OK, PREFIX};
use crate::plain::plain;

const OPEN_METRICS: &str = "application/openmetrics-text";

/// The format of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    /// `accept`: the header of the request. Empty: it has none.
    pub(crate) fn asked_for(accept: &str) -> Format {
        let is_meant = |part: &str| {
            let mut words = part.split(';').map(str::trim);
            let is_it = words.next().is_some_and(|kind| kind.eq_ignore_ascii_case(OPEN_METRICS));
            is_it && !words.any(|word| word.strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0)))
        };
        if accept.split(',').any(is_meant) { Format::OpenMetrics } else { Format::Prometheus }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// All metrics.
    pub(crate) fn render(self, facts: Facts) -> String {
        let text = render(facts);
        match self {
            Format::OpenMetrics => text,
            Format::Prometheus => older(&text),
        }
    }
}

/// The same samples under the heads of the older format.
fn older(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let head = ["# HELP ", "# TYPE "].into_iter().find_map(|head| Some((head, line.strip_prefix(head)?)));
        let named = head.and_then(|(head, rest)| Some((head, rest.split_once(' ')?)));
        let metric = |family: &str| METRICS.iter().find(|metric| metric.family() == family);
        match named.and_then(|(head, (family, rest))| Some((head, metric(family)?, rest))) {
            Some(("# TYPE ", metric, _)) => {
                let own = metric.kind();
                let kind = if metric.kind == Kind::Info { "gauge" } else { own.as_str() };
                out.push_str(&format!("# TYPE {} {kind}\n", metric.full_name()));
            }
            Some((head, metric, rest)) => out.push_str(&format!("{head}{} {rest}\n", metric.full_name())),
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

#[derive(Debug)]
struct Scrape(Facts);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in METRICS {
            let samples = encoder.encode_descriptor(metric.name, metric.help, None, metric.kind())?;
            (metric.read)(&self.0, &mut Samples { kind: metric.kind, encoder: samples })?;
        }
        Ok(())
    }
}

/// In the format of OpenMetrics.
pub(super) fn render(facts: Facts) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Scrape(facts)));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("a string takes what is written");
    out
}

/// The destination of one metric's samples.
pub(super) struct Samples<'a> {
    kind: Kind,
    encoder: MetricEncoder<'a>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value {
    Count(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Value {
        Value::Count(count)
    }
}

impl From<u32> for Value {
    fn from(count: u32) -> Value {
        Value::Count(count.into())
    }
}

impl From<f64> for Value {
    fn from(real: f64) -> Value {
        Value::Real(real)
    }
}

pub(super) fn flag(holds: bool) -> u64 {
    holds.into()
}

pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

impl Samples<'_> {
    pub(super) fn one(&mut self, value: impl Into<Value>) -> fmt::Result {
        put(&mut self.encoder, self.kind, value.into())
    }

    pub(super) fn some(&mut self, value: Option<impl Into<Value>>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.one(value))
    }

    pub(super) fn of(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) -> fmt::Result {
        put(&mut self.encoder.encode_family(&escaped(labels))?, self.kind, value.into())
    }

    pub(super) fn info(&mut self, labels: &[(&str, &str)]) -> fmt::Result {
        self.encoder.encode_info(&escaped(labels))
    }

    pub(super) fn peers<T: Into<Value>>(
        &mut self,
        facts: &Facts,
        value: impl Fn(&MemberFacts) -> Option<T>,
    ) -> fmt::Result {
        let peers = facts.reign.iter().flat_map(|reign| &reign.peers);
        peers.into_iter().try_for_each(|peer| match value(peer) {
            Some(value) => self.of(&[("peer", &peer.name)], value),
            None => Ok(()),
        })
    }

    /// `ok` from the start, so that rates are right from the first call on; reasons once they have
    /// occurred.
    pub(super) fn results(&mut self, counted: &Counted) -> fmt::Result {
        let method = counted.method.name();
        self.of(&[("method", method), ("result", OK)], counted.answered)?;
        let given = REASONS.iter().zip(counted.refused).filter(|(_, times)| *times > 0);
        for ((reason, ..), times) in given {
            self.of(&[("method", method), ("result", reason.as_str_name())], times)?;
        }
        Ok(())
    }

    pub(super) fn times(&mut self, counted: &Counted) -> fmt::Result {
        let timed: u64 = counted.buckets.iter().sum();
        if timed == 0 {
            return Ok(());
        }
        let bounds = BOUNDS_NS.iter().map(|bound_ns| *bound_ns as f64 / 1e9).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counted.buckets).collect();
        let labels = [("method", counted.method.name())];
        let mut family = self.encoder.encode_family(&labels)?;
        family.encode_histogram::<NoLabelSet>(counted.timed_ns as f64 / 1e9, timed, &buckets, None)
    }
}

fn escaped<'a>(labels: &[(&'a str, &'a str)]) -> Vec<(&'a str, Cow<'a, str>)> {
    labels.iter().map(|(name, value)| (*name, plain(value))).collect()
}

fn put(encoder: &mut MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Count(count)) => encoder.encode_counter::<NoLabelSet, _, u64>(&count, None),
        (Kind::Counter, Value::Real(real)) => encoder.encode_counter::<NoLabelSet, _, u64>(&real, None),
        (_, Value::Count(count)) => encoder.encode_gauge(&count),
        (_, Value::Real(real)) => encoder.encode_gauge(&real),
    }
}
