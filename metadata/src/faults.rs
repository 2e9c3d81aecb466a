//! Faults that tests put into a state, to see them found: what memory, or a mistake in this crate, could do to it. Only with the
//! feature `faults`, which no released binary has.
//!
//! *Under the digest* changes a record and not what is kept of it: only a look at the records can find that. *Above* it changes
//! both, as an entry would have: only another member can.

use crate::object::Object;
use crate::state::Objects;
use crate::types::{OBJECT_SHARDS, Pin};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Under the digest: one bit of one object's size.
    RecordBit,
    /// Under: one bit of one object's key.
    KeyBit,
    /// Above: one object is another one than the log says.
    RecordChanged,
    /// Above: one object is gone, its space is not.
    RecordLost,
    /// Above: a pin is gone.
    PinReset,
    /// Above: all objects of a shard are gone.
    ShardLost,
    /// Under: one bit of one free range's length.
    FreeRangeBit,
    /// Above: some free space is gone.
    FreeRangeLost,
    /// Under: one bit of what a request was answered.
    AnswerBit,
    /// Under: what a request was answered is no answer any more.
    AnswerUnreadable,
    /// Above: what a request was answered is gone.
    AnswerLost,
}

impl Fault {
    pub const ALL: [Fault; 11] = [
        Fault::RecordBit,
        Fault::KeyBit,
        Fault::RecordChanged,
        Fault::RecordLost,
        Fault::PinReset,
        Fault::ShardLost,
        Fault::FreeRangeBit,
        Fault::FreeRangeLost,
        Fault::AnswerBit,
        Fault::AnswerUnreadable,
        Fault::AnswerLost,
    ];

    pub fn from_name(name: &str) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| format!("{fault:?}") == name)
    }
}

impl Objects {
    /// `None`: there is nothing here that it could be done to. Else what was done.
    pub fn inflict(&self, fault: Fault) -> Option<String> {
        let mut writer = self.ledger.unmeasured();
        match fault {
            Fault::RecordBit => self.with_object(|_| true, |object| object.size ^= 64),
            Fault::KeyBit => {
                self.with_object(|_| true, |object| *object.key.last_mut().expect("a key has a byte") ^= 1)
            }
            Fault::RecordChanged => self.edit_object(|_| true, |object| object.checksum = Some(1)),
            Fault::PinReset => self.edit_object(|object| object.pin != Pin::None, |object| object.pin = Pin::None),
            Fault::RecordLost => self.edit_object(|_| true, |object| object.replicas.clear()),
            Fault::ShardLost => {
                let at = (0..OBJECT_SHARDS).find(|at| self.shards[*at].lock().len() > 0)?;
                *self.shards[at].lock() = crate::shard::Shard::default();
                Some(format!("shard {at}"))
            }
            Fault::FreeRangeBit => writer.own.dir.segments.first_space().and_then(crate::space::Space::flip_a_bit),
            Fault::FreeRangeLost => writer.own.dir.segments.lose_free_space(),
            Fault::AnswerBit => writer.accounts.clients.change_an_answer(|bytes| bytes.last_mut(), 1),
            Fault::AnswerUnreadable => writer.accounts.clients.change_an_answer(|bytes| bytes.first_mut(), 0x80),
            Fault::AnswerLost => writer.accounts.clients.lose_an_answer(),
        }
    }

    fn find_object(&self, is_it: impl Fn(&Object) -> bool) -> Option<(usize, Object)> {
        (0..OBJECT_SHARDS).find_map(|at| {
            let shard = self.shards[at].lock();
            let found = shard.iter().find(|object| !object.is_unfinished() && is_it(object))?;
            Some((at, found.copied()))
        })
    }

    fn with_object(&self, is_it: impl Fn(&Object) -> bool, change: impl FnOnce(&mut Object)) -> Option<String> {
        let (at, object) = self.find_object(is_it)?;
        change(self.shards[at].lock().find_volatile(object.hash, object.tenant, &object.key)?);
        Some(format!("{} in shard {at}", object.name()))
    }

    fn edit_object(&self, is_it: impl Fn(&Object) -> bool, change: impl FnOnce(&mut Object)) -> Option<String> {
        let (at, object) = self.find_object(is_it)?;
        let edited = self.shards[at].lock().edit(object.hash, object.tenant, &object.key, object.seq, |object| {
            change(object);
            Ok::<(), ()>(())
        });
        edited.map(|_| format!("{} in shard {at}", object.name()))
    }
}
