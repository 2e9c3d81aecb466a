//! A process that is no member. It speaks the members' protocol, knows all of their numbers and
//! what they have said before, and none of their secrets.
//!
//! It sends a hello to a primary as one of its peers, or as itself. If it is admitted, it says that
//! it holds everything. If a member has ended, it answers in its place. If it is believed, it says
//! that what is not applied must be dropped.
//!
//! Deliberately absent: changing messages of others. Only certificates protect against that.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use election::Incarnation;
use proto::v1;
use proto::v1::from_primary::Message as Down;
use replication::NONCE_BYTES;

use crate::cx::Cx;
use crate::net::{Body, End, Letter};
use member::incarnation_to_wire;

/// The number of a member that does not exist.
const OWN_NUMBER: u64 = 99;
/// Streams that it remembers.
const STREAMS_MAX: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct Outsider {
    /// The member that each stream talks to.
    open: BTreeMap<u64, usize>,
    /// Streams in which it poses as a member. Streams that a member has begun end with that member.
    posed: BTreeSet<u64>,
    /// A proof that a member made, with what it said it holds.
    overheard: Option<v1::Proof>,
}

impl Outsider {
    pub(crate) fn knock(&mut self, cx: &mut Cx, to: usize, posed: Incarnation) {
        let record = cx.coordinator.record().map(|known| known.record.clone());
        let Some(record) = record else { return };
        let stream = cx.net.new_stream();
        let own = v1::Incarnation { member: OWN_NUMBER, number: stream };
        let who = if cx.rng.below(3) == 0 { own } else { incarnation_to_wire(posed) };
        let later = if cx.rng.below(4) == 0 { 1000 } else { 0 };
        let nonce = Bytes::copy_from_slice(&cx.nonce());
        let hello = v1::Hello {
            who: Some(who),
            epoch: record.epoch + later,
            nonce,
            name: String::new(),
            cluster_id: Bytes::copy_from_slice(&record.cluster_id.to_be_bytes()),
        };
        self.open.insert(stream, to);
        if self.open.len() > STREAMS_MAX {
            self.open.pop_first();
        }
        cx.tally.spoofs += 1;
        cx.send_to(End::Outsider, End::Member(to), stream, Body::Hello(hello));
    }

    /// Messages on the streams that it has opened.
    pub(crate) fn on_letter(&mut self, cx: &mut Cx, letter: Letter) {
        let (stream, Some(&to)) = (letter.stream, self.open.get(&letter.stream)) else { return };
        let Body::Down(message) = letter.body else { return };
        if !cx.chaos {
            return;
        }
        let answer = match message.message {
            // A proof that was valid once, or none.
            Some(Down::Challenge(_)) => Body::Proof(self.overheard.clone().unwrap_or_default()),
            _ => Body::Receipt(v1::Receipt {
                epoch: message.epoch,
                received: u64::MAX,
                applied: u64::MAX,
                echo_ms: message.sent_ms,
                ..v1::Receipt::default()
            }),
        };
        cx.send_to(End::Outsider, End::Member(to), stream, answer);
    }

    /// Messages to a member that has ended: a standby that sends a hello there gets an answer.
    pub(crate) fn poses_as(&mut self, cx: &mut Cx, primary: Incarnation, letter: Letter) {
        let Letter { from, to, stream, body } = letter;
        if let Body::Proof(proof) = &body {
            self.overheard = Some(proof.clone());
        }
        if !cx.chaos || cx.options.spoof == 0 {
            return;
        }
        let message = match body {
            Body::Hello(hello) => {
                self.posed.insert(stream);
                if self.posed.len() > STREAMS_MAX {
                    self.posed.pop_first();
                }
                let challenge = v1::Challenge { nonce: Bytes::from(vec![7; NONCE_BYTES]), proof: hello.nonce };
                v1::FromPrimary { message: Some(Down::Challenge(challenge)), ..v1::FromPrimary::default() }
            }
            Body::Proof(proof) if self.posed.contains(&stream) => {
                // All that is received and not known to be committed.
                let fork_seq = proof.applied.map_or(0, |at| at.seq);
                let start = Some(v1::welcome::Start::ForkSeq(fork_seq));
                let welcome = v1::Welcome { primary: Some(incarnation_to_wire(primary)), start };
                let epoch = cx.coordinator.record().map_or(0, |known| known.record.epoch);
                v1::FromPrimary { epoch, message: Some(Down::Welcome(welcome)), ..v1::FromPrimary::default() }
            }
            _ => return,
        };
        cx.send_to(to, from, stream, Body::Down(message));
    }

    /// Another process proves itself, and is overheard.
    pub(crate) fn overhears(&mut self, proof: &v1::Proof) {
        self.overheard = Some(proof.clone());
    }
}
