//! Calls and steps of a small primary that leave an op of every type in its log, and a state with something of
//! everything in it: two tenants, segments of every kind and state, puts, replacements and transfers under way, pins,
//! tasks, kept answers, retired space, a client that is gone, settings that owe something.
//!
//! Deliberately absent: judgement. A call that is refused leaves the course poorer, and `recording` looks at what came.

use metadata::{
    Answer, Call, CallRefused, ItemId, Metadata, Now, Pin, Placement, PutEndItem, PutRevokeItem, PutStart,
    PutStartItem, Scope, SegmentId, SegmentKind, SegmentSpec, TaskDone, TaskSpec, TransferFinishItem, TransferItem,
    TransferKind,
};
use oplog::ClientId;

const ALICE: ClientId = ClientId([0xa1; 16]);
const BOB: ClientId = ClientId([0xb0; 16]);
/// Falls silent.
const CAROL: ClientId = ClientId([0xca; 16]);
/// Beyond every TTL of the default configuration but the one of a soft pin.
pub const LONG_MS: u64 = 15 * 60_000;

struct Course<'a> {
    state: &'a Metadata,
    now: Now,
    number: u64,
}

pub fn run(state: &Metadata) {
    let mut course = Course { state, now: Now { ttl_ms: 1000, wall_ms: 1_700_000_000_000 }, number: 0 };
    course.mounts();
    course.puts();
    course.replacements();
    course.transfers();
    course.tasks();
    course.removals();
    course.departures();
    course.pressure();
    course.left_open();
}

fn done<T, R: std::fmt::Debug>(answer: Result<Answer<Vec<Result<T, R>>>, CallRefused>) -> Vec<T> {
    let answer = answer.expect("the call is valid");
    answer.results.into_iter().map(|outcome| outcome.expect("the item can be done")).collect()
}

fn segment(id: u8, name: &str, pages: u64) -> SegmentSpec<'_> {
    SegmentSpec {
        id: SegmentId([id; 16]),
        name,
        kind: SegmentKind::Memory,
        base: 0x10_0000 * u64::from(id),
        size: 4096 * pages,
        endpoint: "10.0.0.7:12345",
        protocol: "tcp",
        host: "rack-1",
        path: "",
    }
}

fn how(memory: u32, disk: u32, replace: bool) -> PutStart<'static> {
    let placement = Placement { memory_replicas: memory, disk_replicas: disk, ..Placement::default() };
    PutStart { placement, replace, pin: Pin::None }
}

impl Course<'_> {
    fn call(&mut self, client: ClientId, tenant: &'static str) -> Call<'static> {
        self.now.ttl_ms += 10;
        self.now.wall_ms += 10;
        self.number += 1;
        // Every third call is not protected against running twice, and now and then old answers are given up.
        let number = if self.number.is_multiple_of(3) { 0 } else { self.number };
        Call { client, number, answered_below: self.number.saturating_sub(20), address: None, tenant, now: self.now }
    }

    fn start(&mut self, client: ClientId, how: &PutStart<'_>, keys: &[&str], size: u64) -> Vec<ItemId> {
        let items: Vec<_> = keys.iter().map(|key| PutStartItem { key: key.as_bytes(), size }).collect();
        let call = self.call(client, "");
        done(self.state.put_start(&call, how, &items)).into_iter().map(|started| started.put).collect()
    }

    fn end(&mut self, client: ClientId, scope: Scope, keys: &[&str]) {
        let item = |key| PutEndItem { key, put: ItemId::NONE, checksum: Some(7) };
        let items: Vec<_> = keys.iter().map(|key| item(key.as_bytes())).collect();
        let call = self.call(client, "");
        done(self.state.put_end(&call, scope, &items));
    }

    fn put(&mut self, client: ClientId, how: &PutStart<'_>, keys: &[&str], size: u64) {
        self.start(client, how, keys, size);
        self.end(client, Scope::All, keys);
    }

    fn lease(&self, keys: &[&str]) {
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        self.state.lookup("", keys.iter().copied(), self.now, |_| {}).expect("the call is valid");
    }

    fn beat(&mut self, clients: &[ClientId]) {
        for client in clients {
            let call = self.call(*client, "");
            self.state.heartbeat(&call, "rack-1").expect("the call is valid");
        }
    }

    /// Time goes on for those who are heard, in jumps that nobody's TTL notices.
    fn wait(&mut self, duration_ms: u64, alive: &[ClientId]) {
        let until_ms = self.now.ttl_ms + duration_ms;
        while self.now.ttl_ms < until_ms {
            self.now.ttl_ms += 5000;
            self.beat(alive);
            while self.state.step(self.now).expect("there is room in the log").more {}
        }
    }

    fn change(&self, name: &str, value: &str) {
        self.state.set_settings(&[(name, value)], self.now).expect("the change keeps the rules");
    }

    fn mounts(&mut self) {
        self.state.set_tenant_quota("tenant", 1 << 20, self.now).expect("there is room for a tenant");
        self.state.set_tenant_quota("gone", 1 << 10, self.now).expect("there is room for a tenant");
        let call = self.call(ALICE, "");
        done(self.state.remount(&call, &[]));
        let call = self.call(ALICE, "");
        done(self.state.delete_tenant(&call, "gone"));
        // There are as many as may be: one that nobody would miss makes room for the other.
        self.state.set_tenant_quota("idle", 0, self.now).expect("there is room for a tenant");
        self.state.set_tenant_quota("other", 1 << 10, self.now).expect("there is room for a tenant");
        let disk = SegmentSpec { kind: SegmentKind::Disk, path: "/var/cache/d", ..segment(4, "disk", 64) };
        for (client, segments) in [
            (ALICE, vec![segment(1, "one", 16), segment(2, "two", 16)]),
            (BOB, vec![segment(3, "three", 16), disk]),
            (CAROL, vec![segment(5, "five", 4)]),
        ] {
            let call = self.call(client, "");
            done(self.state.mount(&call, &segments));
        }
    }

    fn puts(&mut self) {
        self.put(ALICE, &how(1, 0, false), &["a", "b", "c", "d"], 100);
        // What it owes is over in the course of the departures.
        self.change("object_lease_ms", "9000");
        self.start(BOB, &how(2, 1, false), &["wide"], 1000);
        self.end(BOB, Scope::Memory, &["wide"]);
        self.end(BOB, Scope::Disk, &["wide"]);
        self.start(ALICE, &how(2, 0, false), &["revoked"], 64);
        let call = self.call(ALICE, "");
        done(self.state.put_revoke(&call, Scope::All, &[PutRevokeItem { key: b"revoked", put: ItemId::NONE }]));
        let call = self.call(BOB, "tenant");
        done(self.state.put_start(&call, &how(1, 0, false), &[PutStartItem { key: b"a", size: 500 }]));
        let call = self.call(BOB, "tenant");
        let item = PutEndItem { key: b"a", put: ItemId::NONE, checksum: None };
        done(self.state.put_end(&call, Scope::All, &[item]));
        let call = self.call(BOB, "");
        done(self.state.pin(&call, Pin::Hard, &[b"a"]));
        let call = self.call(BOB, "");
        done(self.state.pin(&call, Pin::Soft { ttl_ms: 60_000 }, &[b"b", b"c"]));
    }

    fn replacements(&mut self) {
        self.put(ALICE, &how(1, 0, true), &["d"], 100);
        self.put(ALICE, &how(1, 0, true), &["d"], 200);
        self.lease(&["d"]);
        self.put(BOB, &how(2, 0, true), &["d"], 200);
    }

    fn transfers(&mut self) {
        let placement = Placement { memory_replicas: 1, preferred: vec!["one"], ..Placement::default() };
        let in_one = PutStart { placement, ..PutStart::default() };
        self.put(ALICE, &in_one, &["here", "there", "nowhere"], 300);
        let moves = [
            (TransferKind::Copy, "here", true),
            (TransferKind::Move, "there", true),
            (TransferKind::Move, "nowhere", false),
        ];
        for (kind, key, ends) in moves {
            let call = self.call(ALICE, "");
            let item = TransferItem { key: key.as_bytes(), source: "one", targets: vec!["three"] };
            let id = done(self.state.transfer_start(&call, kind, &[item]))[0].id;
            let call = self.call(ALICE, "");
            let item = TransferFinishItem { key: key.as_bytes(), id };
            done(match ends {
                true => self.state.transfer_end(&call, kind, &[item]),
                false => self.state.transfer_revoke(&call, kind, &[item]),
            });
        }
    }

    fn tasks(&mut self) {
        let task = |key: &'static str| TaskSpec {
            kind: TransferKind::Copy,
            transfer: TransferItem { key: key.as_bytes(), source: "", targets: vec!["disk"] },
        };
        let call = self.call(CAROL, "");
        let specs = ["a", "b", "there", "here"].map(task);
        let ids = done(self.state.create_tasks(&call, &specs));
        for client in [ALICE, BOB] {
            let call = self.call(client, "");
            self.state.fetch_tasks(&call, 3).expect("the call is valid");
        }
        for (client, id) in [ALICE, BOB].into_iter().flat_map(|client| ids.iter().map(move |id| (client, *id))) {
            let call = self.call(client, "");
            let report = TaskDone { id, failed: id.is_multiple_of(2), message: "as said" };
            self.state.complete_tasks(&call, &[report]).expect("the call is valid");
        }
        let call = self.call(CAROL, "");
        done(self.state.create_tasks(&call, &["a", "b", "there"].map(task)));
        let call = self.call(ALICE, "");
        self.state.fetch_tasks(&call, 1).expect("the call is valid");
    }

    fn removals(&mut self) {
        self.put(ALICE, &how(1, 0, false), &["gone-1", "gone-2", "gone-3", "gone-4"], 100);
        self.lease(&["gone-1", "gone-2"]);
        let call = self.call(ALICE, "");
        done(self.state.remove(&call, true, &[b"gone-1"]));
        let call = self.call(BOB, "");
        self.state.remove_matching(&call, "^gone-", false).expect("the call is valid");
        self.start(ALICE, &how(1, 0, false), &["half"], 100);
        let call = self.call(ALICE, "");
        done(self.state.remove(&call, true, &[b"half"]));
    }

    /// Carol falls silent; her segment, her put and her tasks go. Another segment is drained and goes too.
    fn departures(&mut self) {
        let placement = Placement { memory_replicas: 1, preferred: vec!["five"], ..Placement::default() };
        let in_five = PutStart { placement, ..PutStart::default() };
        self.put(ALICE, &in_five, &["lost"], 300);
        self.start(CAROL, &how(1, 0, false), &["carols"], 300);
        let call = self.call(ALICE, "");
        done(self.state.unmount(&call, 1000, &[SegmentId([2; 16])]));
        self.wait(20_000, &[ALICE, BOB]);
        self.wait(LONG_MS, &[ALICE, BOB]);
    }

    /// More is asked for than there is room.
    fn pressure(&mut self) {
        let keys: Vec<String> = (0..18).map(|n| format!("big-{n}")).collect();
        for key in &keys {
            let call = self.call(BOB, "");
            let item = PutStartItem { key: key.as_bytes(), size: 9000 };
            self.state.put_start(&call, &how(1, 0, false), &[item]).expect("the call is valid");
            let call = self.call(BOB, "");
            let item = PutEndItem { key: key.as_bytes(), put: ItemId::NONE, checksum: None };
            self.state.put_end(&call, Scope::All, &[item]).expect("the call is valid");
        }
        self.wait(5000, &[ALICE, BOB]);
    }

    /// What a full sync or a promotion finds in the middle of things.
    fn left_open(&mut self) {
        self.change("put_start_timeout_ms", "29000");
        self.change("client_ttl_ms", "11000");
        self.put(ALICE, &how(1, 0, false), &["calm", "busy", "moving", "read"], 100);
        self.start(BOB, &how(2, 1, false), &["begun"], 128);
        self.end(BOB, Scope::Disk, &["begun"]);
        self.start(BOB, &how(1, 1, true), &["busy"], 300);
        let call = self.call(ALICE, "");
        let targets = vec!["disk"];
        let item = TransferItem { key: b"moving", source: "", targets };
        done(self.state.transfer_start(&call, TransferKind::Move, &[item]));
        self.lease(&["read"]);
        let call = self.call(ALICE, "");
        done(self.state.remove(&call, true, &[b"read"]));
        let call = self.call(ALICE, "");
        done(self.state.unmount(&call, LONG_MS, &[SegmentId([1; 16])]));
    }
}
