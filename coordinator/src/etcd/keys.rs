//! The keys, their content, and the transactions on them.
//!
//! ```text
//! /understudy/<cluster>/config                the record, as JSON; its revision is the key's
//!                       members/<id>          the member, on its lease
//!                       leader                the newest announced primary, on the same lease
//!                       dead/<id>.<number>    an incarnation that has ended, for an hour
//! ```
//!
//! Invariants: a change that depends on what was read is a transaction that compares it; an
//! incarnation that joins is no longer reported as dead; a lower epoch never replaces a higher one.
//!
//! Deliberately absent: the config record on a lease. It outlives all members.

use std::sync::Arc;

use election::{ConfigRecord, Incarnation, MemberId, Seen, Versioned};
use etcd_client::{
    Client, Compare, CompareOp, GetOptions, GetResponse, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::link::{Link, Target, Trouble};
use crate::contract::{Error, MemberInfo, Stored, Swap};
use crate::json;

/// Long enough for a member that was away to hear of it. A process that has been dead for longer
/// has been replaced.
const DEAD_TTL_S: i64 = 3600;
/// How often another writer may be faster before this gives up.
const TRIES: usize = 4;

/// A record, and the text that it was read from.
type LastRead = Option<(Versioned, Vec<u8>)>;

#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) link: Arc<Link>,
    /// The newest record that was read, with its text: a swap compares the stored text, however it
    /// is written.
    last_read: Arc<Mutex<LastRead>>,
    prefix: Arc<str>,
}

/// The members that are here, each with its key, and `leader`, all from one moment.
struct Here {
    members: Vec<MemberInfo>,
    leader: Option<(u64, MemberInfo)>,
}

impl Keys {
    pub(super) fn new(target: Arc<Target>) -> Keys {
        let prefix = target.options.prefix().into();
        Keys { link: Arc::new(Link::new(target)), last_read: Arc::default(), prefix }
    }

    fn config(&self) -> String {
        format!("{}config", self.prefix)
    }

    fn leader(&self) -> String {
        format!("{}leader", self.prefix)
    }

    fn members(&self) -> String {
        format!("{}members/", self.prefix)
    }

    pub(super) fn member(&self, id: MemberId) -> String {
        format!("{}{}", self.members(), id.0)
    }

    fn all_dead(&self) -> String {
        format!("{}dead/", self.prefix)
    }

    fn dead(&self, who: Incarnation) -> String {
        format!("{}{}.{}", self.all_dead(), who.member.0, who.number)
    }

    fn damaged(&self, kv: &KeyValue, why: String) -> Error {
        let key = String::from_utf8_lossy(kv.key());
        Error::Damaged { place: format!("key {key} of {}", self.link.target.place), why }
    }

    pub(super) async fn read(&self) -> Result<Stored, Error> {
        let found = self.link.read("read", async |mut client| Ok(client.get(self.config(), None).await?)).await?;
        let header = found.header().ok_or_else(|| self.link.target.no_answer("read", "the answer has no header"))?;
        let store = header.cluster_id();
        let Some(kv) = found.kvs().first() else { return Ok(Stored { record: None, store }) };
        let record = revision(kv.mod_revision()).and_then(|revision| json::record_from_json(kv.value(), revision));
        let record = record.map_err(|why| self.damaged(kv, why))?;
        *self.last_read.lock() = Some((record.clone(), kv.value().to_vec()));
        Ok(Stored { record: Some(record), store })
    }

    pub(super) async fn swap(&self, expect: Option<Versioned>, to: &ConfigRecord) -> Result<Swap, Error> {
        // For a key that does not exist, etcd returns 0.
        let number = expect.as_ref().map_or(Ok(0), |known| i64::try_from(known.revision));
        let Some(number) = number.ok().filter(|number| expect.is_none() || *number > 0) else {
            return Ok(Swap::Refused);
        };
        let mut same = vec![Compare::mod_revision(self.config(), CompareOp::Equal, number)];
        let text = |known: Versioned| match &*self.last_read.lock() {
            Some((read, text)) if *read == known => text.clone(),
            _ => json::record_to_json(&known.record),
        };
        same.extend(expect.map(|known| Compare::value(self.config(), CompareOp::Equal, text(known))));
        let txn = Txn::new().when(same).and_then([TxnOp::put(self.config(), json::record_to_json(to), None)]);
        let answer = self
            .link
            .ask("swap", |mut client| {
                let txn = txn.clone();
                async move { Ok(client.txn(txn).await?) }
            })
            .await?;
        match answer.header() {
            _ if !answer.succeeded() => Ok(Swap::Refused),
            Some(header) => match revision(header.revision()) {
                Ok(revision) => Ok(Swap::Done { revision }),
                Err(why) => Err(self.link.target.no_answer("swap", why)),
            },
            None => Err(self.link.target.no_answer("swap", "the answer has no header")),
        }
    }

    /// Puts the member's key on the lease, unless another living incarnation of the member has it.
    pub(super) async fn join(&self, me: &MemberInfo, lease: i64, deadline: Instant) -> Result<(), Error> {
        let key = self.member(me.who.member);
        for _ in 0..TRIES {
            let question = async |mut client: Client| Ok(client.get(key.clone(), None).await?);
            let found = self.link.ask_until("join", deadline, question).await?;
            let seen = found.kvs().first();
            if let Some(kv) = seen {
                let (holder, _) = json::member_from_json(kv.value()).map_err(|why| self.damaged(kv, why))?;
                if holder.who != me.who && !self.is_dead(holder.who, deadline).await? {
                    return Err(Error::NameInUse { name: holder.name, who: holder.who, address: holder.address });
                }
            }
            let on_lease = Some(PutOptions::new().with_lease(lease));
            let seen = seen.map_or(0, KeyValue::mod_revision);
            let txn = Txn::new().when([Compare::mod_revision(key.clone(), CompareOp::Equal, seen)]).and_then([
                TxnOp::put(key.clone(), json::member_to_json(me, Default::default()), on_lease),
                TxnOp::delete(self.dead(me.who), None),
            ]);
            let question = |mut client: Client| {
                let txn = txn.clone();
                async move { Ok(client.txn(txn).await?) }
            };
            if self.link.ask_until("join", deadline, question).await?.succeeded() {
                return Ok(());
            }
        }
        Err(self.link.target.no_answer("join", "others were faster, again and again"))
    }

    async fn here(&self, what: &'static str) -> Result<Here, Error> {
        let all = || Some(GetOptions::new().with_prefix());
        let question = async |mut client: Client| {
            let gets = [
                TxnOp::get(self.members(), all()),
                TxnOp::get(self.all_dead(), all()),
                TxnOp::get(self.leader(), None),
            ];
            Ok(client.txn(Txn::new().and_then(gets)).await?)
        };
        let [members, dead, leader] = gets(&self.link.read(what, question).await?)
            .try_into()
            .map_err(|_| self.link.target.no_answer(what, "the answer belongs to another request"))?;
        let is_dead = |who| dead.kvs().iter().any(|kv| kv.key() == self.dead(who).as_bytes());
        let mut here = Here { members: Vec::new(), leader: None };
        for kv in members.kvs() {
            let (info, _) = json::member_from_json(kv.value()).map_err(|why| self.damaged(kv, why))?;
            if kv.key() != self.member(info.who.member).as_bytes() {
                return Err(self.damaged(kv, format!("it names member {}", info.who.member.0)));
            }
            if !is_dead(info.who) {
                here.members.push(info);
            }
        }
        if let Some(kv) = leader.kvs().first() {
            here.leader = Some(json::leader_from_json(kv.value()).map_err(|why| self.damaged(kv, why))?);
        }
        Ok(here)
    }

    pub(super) async fn members_here(&self) -> Result<Vec<MemberInfo>, Error> {
        Ok(self.here("members").await?.members)
    }

    pub(super) async fn announced(&self) -> Result<Option<(u64, MemberInfo)>, Error> {
        let Here { members, leader } = self.here("announced").await?;
        let Some((epoch, leader)) = leader else { return Ok(None) };
        let is_leader = |info: &MemberInfo| MemberInfo { secret: None, seen: None, ..info.clone() } == leader;
        Ok(members.into_iter().find(is_leader).map(|info| (epoch, info)))
    }

    /// Writes the member's key again, unless the presence is lost.
    pub(super) async fn tell(&self, me: &MemberInfo, seen: Option<Seen>, lease: i64) -> Result<(), Error> {
        let key = self.member(me.who.member);
        let text = json::member_to_json(&MemberInfo { seen, ..me.clone() }, Default::default());
        let put = TxnOp::put(key.clone(), text, Some(PutOptions::new().with_lease(lease)));
        let txn = Txn::new().when([Compare::lease(key, CompareOp::Equal, lease)]).and_then([put]);
        let question = |mut client: Client| {
            let txn = txn.clone();
            async move { Ok(client.txn(txn).await?) }
        };
        match self.link.ask("tell", question).await?.succeeded() {
            true => Ok(()),
            false => Err(self.link.target.no_answer("tell", "the presence is lost")),
        }
    }

    pub(super) async fn announce(&self, epoch: u64, me: &MemberInfo, lease: i64) -> Result<(), Error> {
        let deadline = Instant::now() + self.link.target.options.timeout();
        let (leader, member) = (self.leader(), self.member(me.who.member));
        for _ in 0..TRIES {
            let question = async |mut client: Client| {
                let gets = [TxnOp::get(leader.clone(), None), TxnOp::get(member.clone(), None)];
                Ok(client.txn(Txn::new().and_then(gets)).await?)
            };
            let found = gets(&self.link.ask_until("announce", deadline, question).await?);
            let first = |index: usize| found.get(index).and_then(|found: &GetResponse| found.kvs().first());
            if first(1).is_none_or(|kv| kv.lease() != lease) {
                return Err(self.link.target.no_answer("announce", "the presence is lost"));
            }
            if let Some(kv) = first(0) {
                let (held, _) = json::leader_from_json(kv.value()).map_err(|why| self.damaged(kv, why))?;
                if held > epoch {
                    let (place, why) = (self.link.target.place.clone(), format!("epoch {epoch} offered, {held} held"));
                    return Err(Error::Denied { what: "announce", place, why });
                }
            }
            let seen = first(0).map_or(0, KeyValue::mod_revision);
            let put =
                TxnOp::put(leader.clone(), json::leader_to_json(epoch, me), Some(PutOptions::new().with_lease(lease)));
            let same = [
                Compare::mod_revision(leader.clone(), CompareOp::Equal, seen),
                Compare::lease(member.clone(), CompareOp::Equal, lease),
            ];
            let txn = Txn::new().when(same).and_then([put]);
            let question = |mut client: Client| {
                let txn = txn.clone();
                async move { Ok(client.txn(txn).await?) }
            };
            if self.link.ask_until("announce", deadline, question).await?.succeeded() {
                return Ok(());
            }
        }
        Err(self.link.target.no_answer("announce", "others were faster, again and again"))
    }

    pub(super) async fn is_dead(&self, who: Incarnation, deadline: Instant) -> Result<bool, Error> {
        let question = async |mut client: Client| Ok(client.get(self.dead(who), None).await?);
        let found = self.link.ask_until("is_dead", deadline, question).await?;
        Ok(!found.kvs().is_empty())
    }

    pub(super) async fn report_dead(&self, who: Incarnation) -> Result<(), Error> {
        let question = async |mut client: Client| -> Result<(), Trouble> {
            let lease = client.lease_grant(DEAD_TTL_S, None).await?.id();
            client.put(self.dead(who), "", Some(PutOptions::new().with_lease(lease))).await?;
            Ok(())
        };
        self.link.ask("report_dead", question).await
    }
}

fn revision(number: i64) -> Result<u64, String> {
    u64::try_from(number).map_err(|_| format!("revision {number}: etcd counts from 1"))
}

fn gets(answer: &TxnResponse) -> Vec<GetResponse> {
    let get = |op| if let TxnOpResponse::Get(found) = op { Some(found) } else { None };
    answer.op_responses().into_iter().filter_map(get).collect()
}
