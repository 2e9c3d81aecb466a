//! The table of metrics as text, from what was read of a node.
//!
//! Invariant: every metric has its HELP and its TYPE, also while it has no sample.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::registry::Registry;
use proto::status::REASONS;

use crate::http::{Facts, Member};
use crate::metrics::requests::{BOUNDS_NS, Counted};
use crate::metrics::{Kind, METRICS, OK, PREFIX};

/// What [`render`] writes.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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

/// All metrics in the text format of OpenMetrics, which Prometheus reads.
pub(crate) fn render(facts: Facts) -> String {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Scrape(facts)));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("a string takes what is written");
    out
}

/// Where the samples of one metric go.
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
        put(&mut self.encoder.encode_family(&labels)?, self.kind, value.into())
    }

    pub(super) fn info(&mut self, labels: &[(&str, &str)]) -> fmt::Result {
        self.encoder.encode_info(&labels)
    }

    pub(super) fn peers<T: Into<Value>>(&mut self, facts: &Facts, value: impl Fn(&Member) -> Option<T>) -> fmt::Result {
        let peers = facts.reign.iter().flat_map(|reign| &reign.peers);
        peers.into_iter().try_for_each(|peer| match value(peer) {
            Some(value) => self.of(&[("peer", &peer.name)], value),
            None => Ok(()),
        })
    }

    /// `ok` from the start, so that rates are right from the first call on; reasons once they have been given.
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

fn put(encoder: &mut MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Count(count)) => encoder.encode_counter::<NoLabelSet, _, u64>(&count, None),
        (Kind::Counter, Value::Real(real)) => encoder.encode_counter::<NoLabelSet, _, u64>(&real, None),
        (_, Value::Count(count)) => encoder.encode_gauge(&count),
        (_, Value::Real(real)) => encoder.encode_gauge(&real),
    }
}
