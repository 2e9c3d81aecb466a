//! Requests as one client makes them.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proto::v1::session_request::Call;
use proto::v1::{
    Caller, ExistsRequest, GetReplicasRequest, ListKeysRequest, MountSegmentRequest, Placement, PutEndItem,
    PutEndRequest, PutStartItem, PutStartRequest, RemoveRequest, Segment,
};

/// Numbers its requests.
pub(crate) struct Client {
    pub(crate) id: [u8; 16],
    next: AtomicU64,
}

impl Client {
    pub(crate) fn new(id: u8) -> Client {
        Client { id: [id; 16], next: AtomicU64::new(1) }
    }

    pub(crate) fn caller(&self) -> Option<Caller> {
        self.numbered(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn numbered(&self, request_number: u64) -> Option<Caller> {
        let client_id = Bytes::copy_from_slice(&self.id);
        Some(Caller { client_id, request_number, ..Caller::default() })
    }

    pub(crate) fn mount(&self, segments: Vec<Segment>) -> Call {
        Call::MountSegment(MountSegmentRequest { caller: self.caller(), segments })
    }

    pub(crate) fn put_start(&self, keys: &[&str], size: u64) -> PutStartRequest {
        let items = keys.iter().map(|key| PutStartItem { key: bytes(key), size }).collect();
        PutStartRequest { caller: self.caller(), items, ..PutStartRequest::default() }
    }

    pub(crate) fn put_end(&self, keys: &[&str]) -> PutEndRequest {
        let items = keys.iter().map(|key| PutEndItem { key: bytes(key), ..PutEndItem::default() }).collect();
        PutEndRequest { caller: self.caller(), items, ..PutEndRequest::default() }
    }

    pub(crate) fn remove(&self, keys: &[&str], force: bool) -> Call {
        Call::Remove(RemoveRequest { caller: self.caller(), keys: all(keys), force })
    }
}

pub(crate) fn exists(keys: &[&str]) -> Call {
    Call::Exists(ExistsRequest { caller: None, keys: all(keys), standby: None })
}

pub(crate) fn get(keys: &[&str]) -> Call {
    Call::GetReplicas(GetReplicasRequest { caller: None, keys: all(keys), standby: None })
}

pub(crate) fn list_all() -> Call {
    Call::ListKeys(ListKeysRequest::default())
}

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn all(keys: &[&str]) -> Vec<Bytes> {
    keys.iter().map(|key| bytes(key)).collect()
}

pub(crate) fn on(segment: &str) -> Option<Placement> {
    Some(Placement { replicas: 1, preferred_segments: vec![segment.to_owned()], ..Placement::default() })
}

/// In memory. The number determines id, name and addresses.
pub(crate) fn segment(number: u8, size: u64) -> Segment {
    Segment {
        id: Bytes::copy_from_slice(&[number; 16]),
        name: format!("s{number}"),
        base: u64::from(number) << 40,
        size,
        endpoint: format!("10.0.0.{number}:9000"),
        protocol: "tcp".to_owned(),
        host: format!("host{number}"),
        ..Segment::default()
    }
}
