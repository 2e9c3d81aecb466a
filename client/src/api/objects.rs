//! Objects: put, look up, remove, list, pin.

use std::time::{Duration, Instant};

use proto::v1::{self, Pin, ReplicaScope};

use crate::answers::{Existing, Items, KeyInfo, KeyPage, Lookup, Lookups, Object, PutStarted, PutsStarted, Removed};
use crate::calls;
use crate::client::Client;
use crate::convert::{self, Segments, check_count, check_items, millis, position};
use crate::error::Error;
use crate::ids::Position;
use crate::items::{Force, ListKeys, PutEndItem, PutOptions, PutRevokeItem, PutStartItem};
use proto::v1::Reason;

impl Client {
    /// Gets space for objects. Write the bytes, then call [`Client::put_end`]. [`Client::put`] does
    /// this for one object.
    pub async fn put_start(&self, items: &[PutStartItem], options: PutOptions) -> Result<PutsStarted, Error> {
        check_items("items", items.len())?;
        let began = Instant::now();
        let request = |caller| calls::PutStart(put_start_request(caller, items, options));
        puts_started(items.len(), began, self.call(request).await?)
    }

    /// The bytes are written: readers find the objects from now on.
    pub async fn put_end(&self, items: &[PutEndItem], scope: ReplicaScope) -> Result<Items<()>, Error> {
        check_items("items", items.len())?;
        let wire =
            |item: &PutEndItem| v1::PutEndItem { key: item.key.clone(), put_id: item.put_id, checksum: item.checksum };
        let request = |caller| {
            let items = items.iter().map(wire).collect();
            calls::PutEnd(v1::PutEndRequest { caller: Some(caller), items, scope: scope as i32 })
        };
        let answer = self.call(request).await?;
        convert::items("PutEnd", items.len(), answer.position, answer.results)
    }

    /// Gives the puts up: their space becomes free.
    pub async fn put_revoke(&self, items: &[PutRevokeItem], scope: ReplicaScope) -> Result<Items<()>, Error> {
        check_items("items", items.len())?;
        let wire = |item: &PutRevokeItem| v1::PutRevokeItem { key: item.key.clone(), put_id: item.put_id };
        let request = |caller| {
            let items = items.iter().map(wire).collect();
            calls::PutRevoke(v1::PutRevokeRequest { caller: Some(caller), items, scope: scope as i32 })
        };
        let answer = self.call(request).await?;
        convert::items("PutRevoke", items.len(), answer.position, answer.results)
    }

    /// Finds the replicas of objects, and grants their leases. A key without a complete object is
    /// refused as `NOT_FOUND`.
    pub async fn get_replicas<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Lookups, Error> {
        check_items("keys", keys.len())?;
        let began = Instant::now();
        let keys = convert::keys(keys);
        let asked = keys.len();
        let answer = self
            .read(|caller| calls::GetReplicas(v1::GetReplicasRequest { caller: Some(caller), keys, standby: None }))
            .await?;
        lookups(asked, began, answer)
    }

    /// Finds the replicas of one object. None: there is no complete object with this key.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Lookup>, Error> {
        let Lookups { position, leased_until, from_standby, results } = self.get_replicas(&[key]).await?;
        match results.into_iter().next().expect("one key has one result") {
            Ok(object) => Ok(Some(Lookup { position, leased_until, from_standby, object })),
            Err(refused) if refused.reason == Reason::NotFound => Ok(None),
            Err(refused) => Err(refused.into()),
        }
    }

    /// Tells which keys have a complete object, and grants the leases of these objects.
    pub async fn exists<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Existing, Error> {
        check_items("keys", keys.len())?;
        let began = Instant::now();
        let keys = convert::keys(keys);
        let asked = keys.len();
        let request = |caller| calls::Exists(v1::ExistsRequest { caller: Some(caller), keys, standby: None });
        let answer = self.read(request).await?;
        check_count("Exists", asked, answer.exists.len())?;
        Ok(Existing {
            position: position(answer.position),
            leased_until: after(began, answer.lease_ms),
            from_standby: answer.from_standby,
            exists: answer.exists,
        })
    }

    /// Tells whether one key has a complete object.
    pub async fn exists_one(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        Ok(self.exists(&[key]).await?.exists[0])
    }

    /// Removes objects.
    pub async fn remove<K: AsRef<[u8]>>(&self, keys: &[K], force: Force) -> Result<Items<()>, Error> {
        check_items("keys", keys.len())?;
        let keys = convert::keys(keys);
        let asked = keys.len();
        let force = force.is_yes();
        let answer = self.call(|caller| calls::Remove(v1::RemoveRequest { caller: Some(caller), keys, force })).await?;
        convert::items("Remove", asked, answer.position, answer.results)
    }

    /// Removes one object.
    pub async fn remove_one(&self, key: impl AsRef<[u8]>, force: Force) -> Result<Position, Error> {
        let answer = self.remove(&[key], force).await?;
        let position = answer.position;
        answer.one().map(|()| position)
    }

    /// Removes all objects whose key matches anywhere. Syntax of the Rust crate `regex`.
    pub async fn remove_matching(&self, regex: &str, force: Force) -> Result<Removed, Error> {
        let (regex, force) = (regex.to_owned(), force.is_yes());
        let request = |caller| calls::RemoveMatching(v1::RemoveMatchingRequest { caller: Some(caller), regex, force });
        self.call(request).await.map(removed)
    }

    /// Removes all objects of the tenant.
    pub async fn remove_all(&self, force: Force) -> Result<Removed, Error> {
        let force = force.is_yes();
        let request = |caller| calls::RemoveAll(v1::RemoveAllRequest { caller: Some(caller), force });
        self.call(request).await.map(removed)
    }

    /// One page of keys.
    pub async fn list_keys(&self, list: ListKeys) -> Result<KeyPage, Error> {
        check_items("limit", list.limit as usize)?;
        let ListKeys { prefix, regex, limit, page_token } = list;
        let request = |caller| {
            calls::ListKeys(v1::ListKeysRequest {
                caller: Some(caller),
                prefix,
                regex,
                limit,
                page_token,
                standby: None,
            })
        };
        let answer = self.read(request).await?;
        Ok(KeyPage {
            position: position(answer.position),
            keys: answer.keys.into_iter().map(key_info).collect(),
            next_page_token: Some(answer.next_page_token).filter(|token| !token.is_empty()),
            from_standby: answer.from_standby,
        })
    }

    /// Pins objects: softly, so that they are evicted last for some time (none: the setting
    /// `soft_pin_ttl_ms`), or hard, so that they are not evicted.
    pub async fn pin<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        pin: Pin,
        soft_pin_ttl: Option<Duration>,
    ) -> Result<Items<()>, Error> {
        check_items("keys", keys.len())?;
        let keys = convert::keys(keys);
        let asked = keys.len();
        let (pin, soft_pin_ttl_ms) = (pin as i32, soft_pin_ttl.map_or(0, millis));
        let request = |caller| calls::Pin(v1::PinRequest { caller: Some(caller), keys, pin, soft_pin_ttl_ms });
        let answer = self.call(request).await?;
        convert::items("Pin", asked, answer.position, answer.results)
    }

    /// Removes pins.
    pub async fn unpin<K: AsRef<[u8]>>(&self, keys: &[K]) -> Result<Items<()>, Error> {
        check_items("keys", keys.len())?;
        let keys = convert::keys(keys);
        let asked = keys.len();
        let answer = self.call(|caller| calls::Unpin(v1::UnpinRequest { caller: Some(caller), keys })).await?;
        convert::items("Unpin", asked, answer.position, answer.results)
    }
}

pub(crate) fn lookups(asked: usize, began: Instant, answer: v1::GetReplicasResponse) -> Result<Lookups, Error> {
    let segments = Segments::new("GetReplicas", answer.segments)?;
    let object = |result: v1::GetReplicasResult| {
        let replicas = segments.replicas(result.replicas)?;
        Ok(Object { size: result.size, replicas, checksum: result.checksum })
    };
    Ok(Lookups {
        position: position(answer.position),
        leased_until: after(began, answer.lease_ms),
        from_standby: answer.from_standby,
        results: convert::results("GetReplicas", asked, answer.results, object)?,
    })
}

pub(crate) fn puts_started(asked: usize, began: Instant, answer: v1::PutStartResponse) -> Result<PutsStarted, Error> {
    let segments = Segments::new("PutStart", answer.segments)?;
    let started = |result: v1::PutStartResult| {
        Ok(PutStarted { put_id: result.put_id, replicas: segments.replicas(result.replicas)? })
    };
    Ok(PutsStarted {
        position: position(answer.position),
        finish_by: after(began, answer.put_start_timeout_ms),
        results: convert::results("PutStart", asked, answer.results, started)?,
    })
}

/// A length from the wire may be longer than a clock can represent: then a day is used.
fn after(began: Instant, length_ms: u64) -> Instant {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    began.checked_add(Duration::from_millis(length_ms)).unwrap_or(began + DAY)
}

pub(crate) fn put_start_request(
    caller: v1::Caller,
    items: &[PutStartItem],
    options: PutOptions,
) -> v1::PutStartRequest {
    let placement = v1::Placement {
        replicas: options.replicas,
        disk_replicas: options.disk_replicas,
        preferred_segments: options.preferred_segments,
        same_host: options.same_host,
        best_effort: options.best_effort,
    };
    v1::PutStartRequest {
        caller: Some(caller),
        items: items.iter().map(|item| v1::PutStartItem { key: item.key.clone(), size: item.size }).collect(),
        placement: Some(placement),
        if_exists: options.if_exists as i32,
        pin: options.pin as i32,
        soft_pin_ttl_ms: options.soft_pin_ttl.map_or(0, millis),
    }
}

fn removed(answer: v1::RemoveManyResponse) -> Removed {
    Removed { position: position(answer.position), removed: answer.removed, refused: answer.refused }
}

fn key_info(info: v1::KeyInfo) -> KeyInfo {
    KeyInfo { pin: info.pin(), key: info.key, size: info.size, replicas: info.replicas, complete: info.complete }
}
