//! A member: the production cores of election, log, state, replication, standby and verification, with a shell around them that
//! has one thread, and a clock that the world turns.
//!
//! | file | as in the master |
//! |---|---|
//! | `role` | `pair/seat`, `pair/lead`: what follows from what the election says |
//! | `peers` | `pair/peers`: the primary's side of its streams |
//! | `ride` | `pair/follow`: the standby's side of its stream |
//! | `verify` | `verify`, `pair/verifying` |
//! | `serve` | `gate`, `grpc`, `upkeep` |

mod peers;
mod ride;
mod role;
mod serve;
mod verify;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use election::{Event, Incarnation, MemberId, Versioned};
use metadata::{Metadata, Now};
use oplog::{Position, ReplicatedState as _, Tail};
use standby::Standby;
use verification::{Limits, Verifier};

use crate::checks::cursors;
use crate::cx::Cx;
use crate::net::{Body, Letter};
use peers::PeerStream;
use ride::Ride;
use role::Role;
use serve::Pending;
pub(crate) use serve::address;

/// What a member has, as what it is.
enum Life {
    Follows(Box<Standby<Metadata>>),
    Leads(Arc<Metadata>, Arc<Tail>),
    /// It has ended, or is about to become one of the above.
    Between,
}

/// Calls are taken.
struct Reign {
    epoch: u64,
    tail: Arc<Tail>,
}

pub(crate) struct Member {
    pub(crate) at: usize,
    pub(crate) me: Incarnation,
    pub(crate) core: election::Member,
    life: Life,
    role: Role,
    /// When it is taken up: the task that has log and state is slower than the election.
    role_due: Option<u64>,
    reign: Option<Reign>,
    heir: Option<Incarnation>,
    peers: BTreeMap<MemberId, PeerStream>,
    ride: Option<Ride>,
    ride_due: u64,
    verifier: Verifier,
    repair_wanted: Option<BTreeSet<u32>>,
    /// Its state was changed without an entry, and is not repaired yet.
    pub(crate) tainted: bool,
    pending: Vec<Pending>,
    /// Nothing new is taken until then, and the place is given away once all is committed.
    draining_until: Option<u64>,
    /// The last epoch that it began with nothing, and did.
    emptied: u64,
    /// Of the own log: what the history has of it.
    written_upto: u64,
    pub(crate) known: Option<Versioned>,
    pub(crate) inbox: VecDeque<Letter>,
    pub(crate) up: bool,
    pub(crate) paused_until: u64,
    pub(crate) restart_at: u64,
    /// It was asked to stop, and will have by then.
    pub(crate) stops_at: Option<u64>,
    /// It was told that it ends, and had no claim under way: it must not come to lead any more.
    retired: bool,
    /// Per mille of the world's clock, and where it began.
    rate: u64,
    offset: u64,
    ttl_ms: u64,
    ttl_seen: u64,
    upkeep_due: u64,
    digest_due: u64,
}

/// As of the master: what a late tick brings beyond this is a stall, and left out.
const TTL_STEP_MS_MAX: u64 = 100;

impl Member {
    pub(crate) fn new(cx: &Cx, me: Incarnation, rate: u64, offset: u64) -> Member {
        let clock = offset + cx.now * rate / 1000;
        let standby = empty(cx, me);
        let whole_shard = standby.state().shards() - 1;
        Member {
            at: me.member.0 as usize,
            me,
            core: election::Member::new(me, 7, cx.timing, cx.options.unclean(me.member.0 as usize), clock),
            life: Life::Follows(Box::new(standby)),
            role: Role::Starting,
            role_due: None,
            reign: None,
            heir: None,
            peers: BTreeMap::new(),
            ride: None,
            ride_due: 0,
            verifier: Verifier::new(Limits { shards_max: 16, tries_max: 5, whole_shard }),
            repair_wanted: None,
            tainted: false,
            pending: Vec::new(),
            draining_until: None,
            emptied: 0,
            written_upto: 0,
            known: None,
            inbox: VecDeque::new(),
            up: true,
            paused_until: 0,
            restart_at: 0,
            stops_at: None,
            retired: false,
            rate,
            offset,
            ttl_ms: 1,
            ttl_seen: clock,
            upkeep_due: clock,
            digest_due: clock,
        }
    }

    /// Its memory is gone; it is somebody else now.
    pub(crate) fn restart(&mut self, cx: &Cx) {
        let me = Incarnation { member: self.me.member, number: self.me.number + 1 };
        *self = Member::new(cx, me, self.rate, self.offset);
    }

    /// Those at the other ends of its streams hear of it, mostly.
    pub(crate) fn end(&mut self, cx: &mut Cx, restart_at: u64) {
        cx.say(|| format!("{:?}: ends", self.me));
        cx.checks.held.gone(self.me);
        let ends = self.peers.values().map(|peer| (peer.who.member.0 as usize, peer.stream));
        let ends: Vec<(usize, u64)> = ends.chain(self.ride.iter().map(|ride| (ride.to(), ride.stream))).collect();
        for (to, stream) in ends {
            if cx.rng.below(4) > 0 {
                cx.send(self.at, to, stream, Body::Closed);
            }
        }
        (self.up, self.restart_at, self.life) = (false, restart_at, Life::Between);
        (self.reign, self.ride, self.role_due) = (None, None, None);
        self.peers.clear();
        self.pending.clear();
        self.inbox.clear();
    }

    pub(crate) fn clock(&self, now: u64) -> u64 {
        self.offset + now * self.rate / 1000
    }

    pub(crate) fn runs(&self, now: u64) -> bool {
        self.up && now >= self.paused_until
    }

    /// It may be promoted, and is here to stay.
    pub(crate) fn stays(&self) -> bool {
        self.up && self.stops_at.is_none() && !self.tainted && self.verifier.is_sound()
    }

    fn ttl(&self) -> Now {
        Now { ttl_ms: self.ttl_ms, wall_ms: 0 }
    }

    pub(crate) fn state(&self) -> Option<&Arc<Metadata>> {
        match &self.life {
            Life::Follows(standby) => Some(standby.state()),
            Life::Leads(state, _) => Some(state),
            Life::Between => None,
        }
    }

    fn tail(&self) -> Option<&Arc<Tail>> {
        match &self.life {
            Life::Follows(standby) => Some(standby.tail()),
            Life::Leads(_, tail) => Some(tail),
            Life::Between => None,
        }
    }

    /// Where its log ends, and what of it is applied.
    pub(crate) fn positions(&self) -> Option<(Position, Position)> {
        Some((self.tail()?.last(), self.state()?.applied()))
    }

    /// One millisecond of its life.
    pub(crate) fn tick(&mut self, cx: &mut Cx) {
        while let Some(letter) = self.inbox.pop_front() {
            self.on_letter(cx, letter);
        }
        self.happen(cx, Event::Tick);
        if let Some(epoch) = self.core.leads() {
            cx.coordinator.announce(self.at, epoch, cx.now);
        }
        self.take_role(cx);
        if !self.up {
            return;
        }
        self.follow(cx);
        self.apply(cx);
        self.keep_up(cx);
        self.answer(cx);
        self.pump(cx);
        self.check(cx);
    }

    pub(crate) fn on_letter(&mut self, cx: &mut Cx, letter: Letter) {
        let Letter { from, stream, body, .. } = letter;
        match body {
            Body::Hello(hello) => self.on_hello(cx, stream, &hello),
            Body::Receipt(receipt) => self.on_receipt(cx, stream, &receipt),
            Body::Closed => self.on_closed(cx, stream),
            Body::Refused => self.on_refused(cx, stream),
            Body::Down(message) => self.on_down(cx, stream, message),
            Body::Ask(request) => self.on_ask(cx, from, stream, request),
            Body::Told(answer) => self.on_told(cx, stream, answer),
            Body::Call(request) => self.on_call(cx, from, stream, request),
            Body::Reply(_) => {}
        }
    }

    fn on_closed(&mut self, cx: &mut Cx, stream: u64) {
        if self.ride.as_ref().is_some_and(|ride| ride.stream == stream) {
            return self.leave_ride(cx);
        }
        self.on_peer_closed(cx, stream);
    }

    fn check(&mut self, cx: &mut Cx) {
        let (Some(tail), Some(state)) = (self.tail(), self.state()) else { return };
        let applied = state.applied();
        cursors::check(self.me, tail, applied);
        let reign = self.core.leads().zip(self.core.committed());
        cx.checks.monotonic.check(self.me, applied, reign);
        self.check_peers(cx);
    }

    pub(crate) fn describe(&self) -> String {
        let tail = self.tail().map(|tail| format!("{tail:?} committed {}", tail.committed().get()));
        let syncing = match &self.life {
            Life::Follows(standby) => standby.syncing(),
            Life::Leads(..) | Life::Between => None,
        };
        format!(
            "\n  {:?} up {} tainted {} {:?} {syncing:?} {tail:?}\n    ride {:?}\n    peers {:?}\n    {:?}",
            self.me,
            self.up,
            self.tainted,
            self.verifier.condition(),
            self.ride.as_ref().map(|ride| (ride.stream, ride.epoch)),
            self.peers.keys().collect::<Vec<_>>(),
            self.core
        )
    }
}

/// A member with nothing.
fn empty(cx: &Cx, me: Incarnation) -> Standby<Metadata> {
    let config = cx.options.metadata(me.member.0 << 8 | me.number);
    let (tail, log) = Tail::new(cx.options.tail(), Position::default());
    Standby::new(Arc::new(Metadata::new(config, Position::default())), tail, log, cx.options.tail())
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}
