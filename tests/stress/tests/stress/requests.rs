//! Requests that no SDK makes: of every kind, mostly sensible, each field of which may be spoiled.
//!
//! Deliberately absent: their results. Many are refused, some are carried out.

use bytes::Bytes;
use proto::v1::session_request::Call;
use proto::v1::{
    Caller, CompleteTaskItem, CompleteTaskRequest, CopyStartItem, CopyStartRequest, CreateTaskItem, CreateTaskRequest,
    ExistsRequest, FetchTasksRequest, GetReplicasRequest, HeartbeatRequest, ListKeysRequest, ListSegmentsRequest,
    ListTasksRequest, MountSegmentRequest, MoveStartItem, MoveStartRequest, PinRequest, Placement, PutEndItem,
    PutEndRequest, PutRevokeItem, PutRevokeRequest, PutStartItem, PutStartRequest, RemountSegmentsRequest,
    RemoveAllRequest, RemoveMatchingRequest, RemoveRequest, Segment, TransferFinishItem, TransferFinishRequest,
    UnmountSegmentRequest, UnpinRequest,
};

use crate::dice::Dice;

pub(crate) const CALLS: u64 = 26;

/// One request in this many has any given field spoiled.
const SPOILED: u64 = 12;

/// The name of the method, and the request.
pub(crate) fn any(dice: &mut Dice) -> (&'static str, Call) {
    let caller = Some(caller(dice));
    match dice.below(CALLS) {
        0 => ("Heartbeat", Call::Heartbeat(HeartbeatRequest { caller, host: text(dice) })),
        1 => ("MountSegment", Call::MountSegment(MountSegmentRequest { caller, segments: list(dice, segment) })),
        2 => {
            ("RemountSegments", Call::RemountSegments(RemountSegmentsRequest { caller, segments: list(dice, segment) }))
        }
        3 => {
            let (segment_ids, grace_ms) = (list(dice, id), number(dice));
            ("UnmountSegment", Call::UnmountSegment(UnmountSegmentRequest { caller, segment_ids, grace_ms }))
        }
        4 => {
            let client_id = if dice.once_in(2) { Bytes::new() } else { id(dice) };
            ("ListSegments", Call::ListSegments(ListSegmentsRequest { client_id, name: text(dice), standby: None }))
        }
        5 => ("PutStart", Call::PutStart(put_start(dice, caller))),
        6 => {
            let (items, scope) = (list(dice, put_end), choice(dice));
            ("PutEnd", Call::PutEnd(PutEndRequest { caller, items, scope }))
        }
        7 => {
            let item = |dice: &mut Dice| PutRevokeItem { key: key(dice), put_id: number(dice) };
            let (items, scope) = (list(dice, item), choice(dice));
            ("PutRevoke", Call::PutRevoke(PutRevokeRequest { caller, items, scope }))
        }
        8 => ("GetReplicas", Call::GetReplicas(GetReplicasRequest { caller, keys: list(dice, key), standby: None })),
        9 => ("Exists", Call::Exists(ExistsRequest { caller, keys: list(dice, key), standby: None })),
        10 => ("Remove", Call::Remove(RemoveRequest { caller, keys: list(dice, key), force: dice.once_in(2) })),
        11 => {
            let (regex, force) = (regex(dice), dice.once_in(4));
            ("RemoveMatching", Call::RemoveMatching(RemoveMatchingRequest { caller, regex, force }))
        }
        12 if dice.once_in(10) => ("RemoveAll", Call::RemoveAll(RemoveAllRequest { caller, force: dice.once_in(4) })),
        12 | 13 => ("ListKeys", Call::ListKeys(list_keys(dice, caller))),
        14 => {
            let (keys, pin, soft_pin_ttl_ms) = (list(dice, key), choice(dice), number(dice));
            ("Pin", Call::Pin(PinRequest { caller, keys, pin, soft_pin_ttl_ms }))
        }
        15 => ("Unpin", Call::Unpin(UnpinRequest { caller, keys: list(dice, key) })),
        16 => {
            let item = |dice: &mut Dice| CopyStartItem {
                key: key(dice),
                source_segment: text(dice),
                target_segments: names(dice),
            };
            ("CopyStart", Call::CopyStart(CopyStartRequest { caller, items: list(dice, item) }))
        }
        17 => {
            let item = |dice: &mut Dice| MoveStartItem {
                key: key(dice),
                source_segment: text(dice),
                target_segment: text(dice),
            };
            ("MoveStart", Call::MoveStart(MoveStartRequest { caller, items: list(dice, item) }))
        }
        18 => ("CopyEnd", Call::CopyEnd(finish(dice, caller))),
        19 => ("CopyRevoke", Call::CopyRevoke(finish(dice, caller))),
        20 => ("MoveEnd", Call::MoveEnd(finish(dice, caller))),
        21 => ("MoveRevoke", Call::MoveRevoke(finish(dice, caller))),
        22 => ("CreateTask", Call::CreateTask(CreateTaskRequest { caller, items: list(dice, new_task) })),
        23 => ("FetchTasks", Call::FetchTasks(FetchTasksRequest { caller, limit: number(dice) as u32 })),
        24 => ("CompleteTask", Call::CompleteTask(CompleteTaskRequest { caller, items: list(dice, task_done) })),
        _ => ("ListTasks", Call::ListTasks(ListTasksRequest { task_ids: list(dice, number), after: 0 })),
    }
}

fn is_spoiled(dice: &mut Dice) -> bool {
    dice.once_in(SPOILED)
}

/// Few, none, or too many.
fn list<T>(dice: &mut Dice, mut item: impl FnMut(&mut Dice) -> T) -> Vec<T> {
    let count = match dice.below(200) {
        0 => 10_001,
        1 => 0,
        2..6 => 200,
        _ => 1 + dice.below(4),
    };
    (0..count).map(|_| item(dice)).collect()
}

fn names(dice: &mut Dice) -> Vec<String> {
    let count = if dice.once_in(50) { 80 } else { dice.below(4) };
    (0..count).map(|_| text(dice)).collect()
}

pub(crate) fn key(dice: &mut Dice) -> Bytes {
    // Rarely, since one bad key refuses the whole call.
    match dice.below(600) {
        0 => Bytes::new(),
        1 => Bytes::from(vec![b'y'; 4097]),
        2..20 => Bytes::from(dice.bytes(9)),
        _ => Bytes::from(format!("k{}", dice.below(3000))),
    }
}

fn number(dice: &mut Dice) -> u64 {
    match dice.below(10) {
        0 => u64::MAX,
        1 => u64::MAX - dice.below(3),
        2 => 1 << dice.below(64),
        3 => dice.next(),
        4..7 => 0,
        _ => dice.below(5000),
    }
}

fn choice(dice: &mut Dice) -> i32 {
    if is_spoiled(dice) { dice.next() as i32 } else { dice.below(3) as i32 }
}

fn id(dice: &mut Dice) -> Bytes {
    match is_spoiled(dice) {
        true => Bytes::from(vec![0; dice.below(20) as usize]),
        false => Bytes::from(vec![1 + dice.below(40) as u8; 16]),
    }
}

fn text(dice: &mut Dice) -> String {
    match dice.below(20) {
        0 => "t".repeat(2000),
        1 => "\u{0}\n\u{202e}".to_owned(),
        2..6 => String::new(),
        6..10 => crate::COMMON_SEGMENT.to_owned(),
        _ => format!("h{}", dice.below(40)),
    }
}

fn regex(dice: &mut Dice) -> String {
    let patterns = ["", "(", "^k7", r"\p{greek}{1000}{1000}", "(a*)*$", "[^k]", "(?i)K1+$", "x{1,100000}"];
    (*dice.pick(&patterns)).to_owned()
}

fn caller(dice: &mut Dice) -> Caller {
    Caller {
        client_id: id(dice),
        request_number: number(dice),
        answered_below: number(dice),
        tenant: match dice.below(40) {
            0 => "t".repeat(300),
            1 => format!("tenant-{}", dice.below(10)),
            _ => (*dice.pick(&crate::honest::TENANTS)).to_owned(),
        },
    }
}

fn segment(dice: &mut Dice) -> Segment {
    let number_of = 1 + dice.below(40);
    Segment {
        id: id(dice),
        name: if is_spoiled(dice) { text(dice) } else { format!("h{number_of}") },
        kind: if is_spoiled(dice) { choice(dice) } else { i32::from(dice.once_in(4)) },
        base: if is_spoiled(dice) { number(dice) } else { number_of << 32 },
        size: if is_spoiled(dice) { number(dice) } else { 4096 * (1 + dice.below(64)) },
        endpoint: text(dice),
        protocol: "tcp".to_owned(),
        host: format!("host-{}", dice.below(4)),
        path: format!("/h/{number_of}"),
    }
}

fn put_start(dice: &mut Dice, caller: Option<Caller>) -> PutStartRequest {
    let size = |dice: &mut Dice| if dice.once_in(100) { number(dice) } else { 1 + dice.below(5000) };
    let item = |dice: &mut Dice| PutStartItem { key: key(dice), size: size(dice) };
    let few = |dice: &mut Dice| if is_spoiled(dice) { number(dice) as u32 } else { dice.below(3) as u32 };
    let placement = Placement {
        replicas: few(dice),
        disk_replicas: if dice.once_in(4) { few(dice) } else { 0 },
        preferred_segments: if dice.once_in(4) { names(dice) } else { Vec::new() },
        same_host: dice.once_in(4),
        best_effort: dice.once_in(2),
    };
    PutStartRequest {
        caller,
        items: list(dice, item),
        placement: (!is_spoiled(dice)).then_some(placement),
        if_exists: if is_spoiled(dice) { choice(dice) } else { i32::from(dice.once_in(2)) },
        pin: choice(dice),
        soft_pin_ttl_ms: number(dice),
    }
}

fn put_end(dice: &mut Dice) -> PutEndItem {
    PutEndItem { key: key(dice), put_id: number(dice), checksum: dice.once_in(2).then(|| dice.next()) }
}

fn list_keys(dice: &mut Dice, caller: Option<Caller>) -> ListKeysRequest {
    ListKeysRequest {
        caller,
        prefix: if dice.once_in(3) { key(dice) } else { Bytes::new() },
        regex: regex(dice),
        limit: if is_spoiled(dice) { number(dice) as u32 } else { dice.below(300) as u32 },
        page_token: if dice.once_in(2) { Bytes::new() } else { Bytes::from(dice.bytes(5)) },
        standby: None,
    }
}

fn finish(dice: &mut Dice, caller: Option<Caller>) -> TransferFinishRequest {
    let item = |dice: &mut Dice| TransferFinishItem { key: key(dice), transfer_id: number(dice) };
    TransferFinishRequest { caller, items: list(dice, item) }
}

fn new_task(dice: &mut Dice) -> CreateTaskItem {
    CreateTaskItem { kind: choice(dice), key: key(dice), source_segment: text(dice), target_segments: names(dice) }
}

fn task_done(dice: &mut Dice) -> CompleteTaskItem {
    CompleteTaskItem { task_id: dice.below(3000), failed: dice.once_in(2), message: text(dice) }
}
