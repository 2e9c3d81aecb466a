//! No two live buffers overlap. As clients see it: as long as a client may write a buffer that it
//! was given, or may read one that was leased to it, no other client is given a byte of it. And no
//! reader is told of bytes that a writer may be changing, so an object that is replaced in place is
//! not found until that put ends.

use std::collections::BTreeMap;

use metadata::Place;

use super::violated;
use crate::requests::{Ask, Key, Request, Told};

#[derive(Clone, Debug)]
struct Promise {
    place: Place,
    bytes: u64,
    until: u64,
    /// 0: leased to a reader.
    put: u64,
    /// Promised in a life of the cluster that has ended: segments had other numbers, and puts too.
    of_before: bool,
    request: Request,
}

#[derive(Debug, Default)]
pub(crate) struct Promises {
    promises: Vec<Promise>,
    /// The buffers of the newest put of a key, whatever became of it.
    started: BTreeMap<(u8, Key), Vec<Place>>,
    /// Puts that were given the buffers of the put before.
    pub(crate) in_place: u64,
}

/// How long a writer may write, counted from when it asked at the earliest. A reader was told how
/// long it may read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) now: u64,
    pub(crate) write_ms: u64,
}

impl Promises {
    pub(crate) fn told(&mut self, request: &Request, told: &Told, terms: Terms) {
        self.promises.retain(|promise| promise.until > terms.now);
        let (put, size, places, for_ms) = match told {
            Told::Started { put, size, places } => (*put, *size, places, terms.write_ms),
            Told::Found { size, places, lease_ms } => (0, *size, places, *lease_ms),
            _ => return,
        };
        if let Ask::Start { key, .. } = request.ask {
            self.in_place +=
                u64::from(self.started.insert((request.tenant, key), places.clone()).as_ref() == Some(places));
        }
        for place in places {
            let promise = Promise {
                place: *place,
                bytes: size,
                // Clocks differ by 25 per mille at most.
                until: request.asked_at + for_ms * 9 / 10,
                put,
                of_before: false,
                request: request.clone(),
            };
            // An answer that comes so late promises nothing any more, and its client knows that.
            if promise.until <= terms.now {
                continue;
            }
            self.check_free(&promise);
            self.promises.push(promise);
        }
    }

    /// The cluster knows nothing of what was promised. Each primary waits for this long before it
    /// hands out the first space, and clients mount again what they had: so far what was promised
    /// holds.
    pub(crate) fn begin_anew(&mut self, until: u64) {
        for promise in &mut self.promises {
            (promise.until, promise.of_before) = (promise.until.min(until), true);
        }
        self.started.clear();
    }

    fn check_free(&self, new: &Promise) {
        let overlaps = |old: &&Promise| {
            // Readers may share what they read. No two clients have addresses in common.
            let same_segment = old.place.segment == new.place.segment && old.put != new.put;
            let end = |promise: &Promise| promise.place.address + promise.bytes;
            (same_segment || old.of_before) && old.place.address < end(new) && new.place.address < end(old)
        };
        if let Some(old) = self.promises.iter().find(overlaps) {
            let show = |promise: &Promise| {
                let Promise { place, bytes, until, request, .. } = promise;
                format!("{bytes} bytes at {place:?}, until {until}, of {request:?}")
            };
            violated!("{} were handed out, and {} were before", show(new), show(old));
        }
    }

    /// Its writer says that it has stopped writing, or that its object is not wanted.
    pub(crate) fn finished(&mut self, put: u64) {
        self.promises.retain(|promise| promise.put != put || promise.of_before);
    }
}
