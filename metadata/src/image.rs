//! A shard as bytes for another member, and a state made from such images.
//!
//! ```text
//!   image   u32 crc over the rest, then chunks: u32 length, payload (see `oplog::encode_payload`)
//! ```
//!
//! Records of objects stand behind the secret under which their keys are hashed, since the
//! directory, which has it too, comes later. An empty shard has no chunk at all.
//!
//! Object shards are captured one after the other while writes go on, so each stands at a seq of its own; the
//! directory comes last. A rebuild then replays the log from the oldest image on. Up to the directory's seq only
//! objects change, each shard from its own seq on; there what objects imply is built at once, and the rest of the log is
//! applied as usual.

use bincode::{BorrowDecode, Decode, Encode};
use bytes::Bytes;
use ledger::{Accounts, Client, InForce, Mode, SEQ_MAX, TOMBSTONES_LIMIT, TenantIx, check_next, require};
use oplog::{
    ApplyError, ClientId, DecodeError, Digest, DomainId, Entry, InstallError, PartsImage, Position, Rebuild,
    RequestStamp, Secret, ShardImage,
};

use crate::apply_op::check_answer;
use crate::config::Config;
use crate::directory::Directory;
use crate::fit::{check_object, check_segment};
use crate::object::{Object, ObjectImage};
use crate::op::{OpType, Retire, SegmentRecord};
use crate::owners::Unfinished;
use crate::segments::{Segment, SegmentState};
use crate::shard::Shard;
use crate::state::{Metadata, Own, Writer, directory_digest};
use crate::tasks::Task;
use crate::types::{OBJECT_SHARDS, Place, SHARD_BUCKETS, SegmentIx, TaskId};

pub(crate) const DIRECTORY_SHARD: u32 = OBJECT_SHARDS as u32;
/// Records of one chunk, so that no decoder has to claim memory for a whole shard.
const CHUNK_RECORDS: usize = 1000;

struct ImageWriter(Vec<u8>);

impl ImageWriter {
    fn new() -> ImageWriter {
        ImageWriter(vec![0; 4])
    }

    fn chunk<T: Encode>(&mut self, value: &T) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 4]);
        oplog::encode_payload(value, &mut self.0);
        let length = (self.0.len() - start - 4) as u32;
        self.0[start..start + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn finish(mut self) -> Bytes {
        let crc = crc32fast::hash(&self.0[4..]);
        self.0[..4].copy_from_slice(&crc.to_le_bytes());
        Bytes::from(self.0)
    }
}

struct ImageReader<'a>(&'a [u8]);

impl<'a> ImageReader<'a> {
    fn new(bytes: &'a [u8]) -> Result<ImageReader<'a>, DecodeError> {
        let (said, rest) = take_u32(bytes)?;
        let found = crc32fast::hash(rest);
        if said != found {
            return Err(DecodeError::Checksum { what: "shard image", said, found });
        }
        Ok(ImageReader(rest))
    }

    fn next(&mut self) -> Option<Result<&'a [u8], DecodeError>> {
        if self.0.is_empty() {
            return None;
        }
        Some(take_u32(self.0).and_then(|(length, rest)| {
            let length = length as usize;
            if rest.len() < length {
                return Err(DecodeError::Truncated { what: "chunk of a shard image", need: length, have: rest.len() });
            }
            let (chunk, rest) = rest.split_at(length);
            self.0 = rest;
            Ok(chunk)
        }))
    }

    fn chunk(&mut self) -> Result<&'a [u8], DecodeError> {
        self.next().unwrap_or(Err(DecodeError::Truncated { what: "shard image", need: 4, have: 0 }))
    }
}

fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), DecodeError> {
    match bytes.split_first_chunk::<4>() {
        Some((number, rest)) => Ok((u32::from_le_bytes(*number), rest)),
        None => Err(DecodeError::Truncated { what: "shard image", need: 4, have: bytes.len() }),
    }
}

pub(crate) fn object_image(shard: &Shard, number: u32, at: Position, secret: Secret) -> ShardImage {
    let mut image = ImageWriter::new();
    if shard.len() > 0 {
        image.chunk(&secret.0);
    }
    let objects: Vec<&Object> = shard.iter().collect();
    for chunk in objects.chunks(CHUNK_RECORDS) {
        bring_near(chunk);
        let chunk: Vec<ObjectImage<'_>> = chunk.iter().map(|object| ObjectImage::of(object)).collect();
        image.chunk(&chunk);
    }
    let records = shard.len() as u64;
    ShardImage { shard: number, at, records, digest: shard.digest(), bytes: image.finish() }
}

/// Records and their keys lie anywhere in memory. Asked for one right after the other they come together; where each is encoded
/// before the next one is asked for, every one is waited for.
fn bring_near(objects: &[&Object]) {
    let records = objects.iter().fold(0, |all, object| all ^ object.size ^ object.seq ^ object.lease_until_ms);
    let keys = objects.iter().fold(0, |all, object| all ^ object.key.first().copied().unwrap_or_default());
    std::hint::black_box((records, keys));
}

/// Records of some buckets, each with the number of its chunks before it.
pub(crate) fn part_records(shard: &Shard, bucket: usize) -> Vec<u8> {
    let mut records = ImageWriter(Vec::new());
    let objects: Vec<ObjectImage<'_>> =
        shard.iter().filter(|object| object.hash.bucket() == bucket).map(ObjectImage::of).collect();
    write_list(&mut records, &objects, CHUNK_RECORDS);
    records.0
}

/// Of several buckets, which were captured one by one. Without the secret a member cannot be
/// repaired with them; they can be compared with others like them.
pub(crate) fn join_parts<'a>(secret: Option<Secret>, parts: impl Iterator<Item = &'a Vec<u8>>) -> Bytes {
    let mut image = ImageWriter::new();
    image.chunk(&secret.map(|secret| secret.0));
    parts.for_each(|records| image.0.extend_from_slice(records));
    image.finish()
}

/// The secret and the records of each part in turn, none of them believed, and neither are the
/// parts: they must be here, each once.
pub(crate) fn read_parts(image: &PartsImage) -> Result<(Option<Secret>, Vec<Vec<Object>>), InstallError> {
    let is_rising = image.parts.is_sorted_by(|one, next| one < next);
    require(is_rising, || "the parts are not in rising order, each once".to_owned()).map_err(inconsistent)?;
    let mut reader = ImageReader::new(&image.bytes)?;
    let secret: Option<[u8; 16]> = oplog::decode_payload(reader.chunk()?)?;
    let secret = secret.map(Secret);
    let mut parts = Vec::with_capacity(image.parts.len());
    for part in &image.parts {
        let is_one = part.shard < DIRECTORY_SHARD && (part.bucket as usize) < SHARD_BUCKETS;
        require(is_one, || format!("there is no bucket {} of shard {}", part.bucket, part.shard))
            .map_err(inconsistent)?;
        let mut objects = Vec::new();
        read_list(&mut reader, |object: ObjectImage<'_>| {
            let object = object.into_object(secret.unwrap_or_default());
            let is_here = (object.hash.shard(), object.hash.bucket()) == (part.shard as usize, part.bucket as usize);
            require(is_here || secret.is_none(), || {
                format!("bucket {} of shard {} holds a key of another one", part.bucket, part.shard)
            })
            .map_err(inconsistent)?;
            check_object(&object, image.digests.at.seq).map_err(inconsistent)?;
            objects.push(object);
            Ok(())
        })?;
        parts.push(objects);
    }
    match reader.next() {
        None => Ok((secret, parts)),
        Some(_) => Err(inconsistent("the image goes on behind its last part")),
    }
}

#[derive(Encode, Decode)]
struct DirectoryHead {
    secret: [u8; 16],
    settings: Option<InForce>,
    next_tenant: TenantIx,
    next_segment: SegmentIx,
    next_task: TaskId,
    evicted_total: u64,
}

#[derive(Encode, Decode)]
struct SegmentImage {
    ix: SegmentIx,
    client: [u8; 16],
    record: SegmentRecord,
    state: SegmentState,
}

/// Of one segment and kind, oldest first.
#[derive(Encode, Decode)]
struct RetiredImage {
    segment: SegmentIx,
    retire: Retire,
    address: u64,
    bytes: u64,
}

#[derive(Encode, BorrowDecode)]
struct ClientImage<'a> {
    id: [u8; 16],
    kept_from: u64,
    number_max: u64,
    introduced: bool,
    expired: bool,
    answers: Vec<AnswerImage<'a>>,
}

#[derive(Encode, BorrowDecode)]
struct AnswerImage<'a> {
    number: u64,
    domain: u8,
    op: u8,
    body_hash: u64,
    parts: Vec<(u64, &'a [u8])>,
}

pub(crate) fn directory_image(writer: &Writer) -> ShardImage {
    let Writer { accounts, own: Own { dir, .. }, .. } = writer;
    let mut image = ImageWriter::new();
    let tenants = accounts.tenants.iter().map(|(ix, tenant)| (ix, &*tenant.name, tenant.quota_bytes));
    let tenants: Vec<(TenantIx, &str, u64)> = tenants.collect();
    let segments: Vec<SegmentImage> = dir.segments.iter().map(segment_image).collect();
    let retired: Vec<RetiredImage> = dir.segments.iter().flat_map(retired_images).collect();
    let clients: Vec<ClientImage<'_>> = accounts.clients.iter().map(|(id, client)| client_image(id, client)).collect();
    let tombstones: Vec<([u8; 16], u64)> = accounts.clients.tombstones().map(|(id, from)| (id.0, from)).collect();
    let finished = dir.tasks.finished().iter().filter_map(|id| dir.tasks.get(*id));
    let unfinished = dir.tasks.iter().filter(|task| !task.is_finished());
    let tasks: Vec<Task> = finished.chain(unfinished).map(|task| Task { since_ms: 0, ..task.clone() }).collect();
    image.chunk(&DirectoryHead {
        secret: accounts.secret.0,
        settings: accounts.settings.get(),
        next_tenant: accounts.tenants.next_ix(),
        next_segment: dir.segments.next_ix(),
        next_task: dir.tasks.next_id_given(),
        evicted_total: dir.evicted_total,
    });
    let counts = [tenants.len(), segments.len(), clients.len(), tombstones.len(), tasks.len()];
    let records = counts.into_iter().sum::<usize>() as u64;
    write_list(&mut image, &tenants, CHUNK_RECORDS);
    write_list(&mut image, &tombstones, CHUNK_RECORDS);
    write_list(&mut image, &segments, CHUNK_RECORDS);
    write_list(&mut image, &retired, CHUNK_RECORDS);
    // The answers of one client may be as large as a decoder takes at once.
    write_list(&mut image, &clients, 1);
    write_list(&mut image, &tasks, CHUNK_RECORDS);
    ShardImage {
        shard: DIRECTORY_SHARD,
        at: writer.applied(),
        records,
        digest: directory_digest(writer),
        bytes: image.finish(),
    }
}

/// Its chunks, with their number before them.
fn write_list<T: Encode>(image: &mut ImageWriter, list: &[T], per_chunk: usize) {
    image.chunk(&(list.len().div_ceil(per_chunk) as u64));
    list.chunks(per_chunk).for_each(|chunk| image.chunk(&chunk));
}

/// Tells how many there were.
fn read_list<'a, T: BorrowDecode<'a, ()>>(
    image: &mut ImageReader<'a>,
    mut each: impl FnMut(T) -> Result<(), InstallError>,
) -> Result<u64, InstallError> {
    let chunks: u64 = oplog::decode_payload(image.chunk()?)?;
    let mut count = 0;
    for _ in 0..chunks {
        let list: Vec<T> = oplog::decode_payload(image.chunk()?)?;
        count += list.len() as u64;
        list.into_iter().try_for_each(&mut each)?;
    }
    Ok(count)
}

fn segment_image(segment: &Segment) -> SegmentImage {
    SegmentImage {
        ix: segment.info.ix,
        client: segment.info.client.0,
        record: segment.info.record(),
        state: segment.info.state,
    }
}

fn retired_images(segment: &Segment) -> impl Iterator<Item = RetiredImage> {
    let ix = segment.info.ix;
    [Retire::AfterLease, Retire::AfterPut].into_iter().flat_map(move |retire| {
        let extents = segment.retired(retire).iter();
        extents.map(move |extent| RetiredImage { segment: ix, retire, address: extent.address, bytes: extent.bytes })
    })
}

fn client_image(id: ClientId, client: &Client) -> ClientImage<'_> {
    let answers = client.answers().map(|(number, record)| AnswerImage {
        number,
        domain: record.op.domain.0,
        op: record.op.number,
        body_hash: record.body_hash,
        parts: record.parts.iter().map(|(seq, payload)| (*seq, &payload[..])).collect(),
    });
    ClientImage {
        id: id.0,
        kept_from: client.kept_from,
        number_max: client.number_max,
        introduced: client.introduced,
        expired: client.expired,
        answers: answers.collect(),
    }
}

fn inconsistent(what: impl std::fmt::Display) -> InstallError {
    InstallError::Inconsistent { what: what.to_string() }
}

pub(crate) fn read_directory(image: &ShardImage) -> Result<(Accounts, Directory), InstallError> {
    let mut reader = ImageReader::new(&image.bytes)?;
    let (mut accounts, mut dir) = (Accounts::new(), Directory::new());
    let head: DirectoryHead = oplog::decode_payload(reader.chunk()?)?;
    accounts.settings.install(head.settings, image.at.seq).map_err(inconsistent)?;
    let mut records = read_list(&mut reader, |(ix, name, quota): (TenantIx, &str, u64)| {
        let fits = accounts.tenants.install(ix, name, quota);
        require(fits, || format!("tenant {ix} {name:?} is there already, or out of order")).map_err(inconsistent)
    })?;
    records += read_list(&mut reader, |(id, kept_from): ([u8; 16], u64)| {
        let id = ClientId(id);
        let fits = accounts.clients.install_tombstone(id, kept_from);
        let what = || format!("client {id} is gone twice, or beside {TOMBSTONES_LIMIT} others");
        require(fits, what).map_err(inconsistent)
    })?;
    let mut owners = Vec::new();
    records += read_list(&mut reader, |segment: SegmentImage| {
        let client = ClientId(segment.client);
        owners.push((client, segment.ix, segment.record.size, segment.state != SegmentState::Unmounting));
        check_segment(&segment.record).map_err(inconsistent)?;
        dir.segments.mount(segment.ix, client, segment.record, segment.state, None).map_err(inconsistent)
    })?;
    // What is retired is a segment's, not a record of its own.
    read_list(&mut reader, |RetiredImage { segment, retire, address, bytes }| {
        dir.segments.install_retired(segment, retire, (address, bytes)).map_err(inconsistent)
    })?;
    records += read_list(&mut reader, |client: ClientImage<'_>| install_client(&mut accounts, client, image.at.seq))?;
    for (owner, ix, bytes, lives) in owners {
        check_client(&accounts, owner)?;
        let owner = dir.owners.ensure(owner);
        owner.segments.insert(ix);
        owner.segment_bytes += bytes;
        if lives {
            owner.living.insert(ix);
        }
    }
    records += read_list(&mut reader, |task: Task| install_task(&mut accounts, &mut dir, task))?;
    check_records(image, records)?;
    accounts.secret = Secret(head.secret);
    accounts.tenants.set_next_ix(head.next_tenant);
    dir.segments.set_next_ix(head.next_segment);
    dir.tasks.set_next_id(head.next_task);
    dir.evicted_total = head.evicted_total;
    accounts.mode = Mode::Rebuilding;
    match reader.next() {
        None => Ok((accounts, dir)),
        Some(_) => Err(inconsistent("the directory's image goes on behind its end")),
    }
}

fn install_client(accounts: &mut Accounts, client: ClientImage<'_>, at_seq: u64) -> Result<(), InstallError> {
    let id = ClientId(client.id);
    if accounts.clients.is_buried(id) {
        return Err(inconsistent(format!("client {id} is there and gone")));
    }
    if !accounts.clients.install(id, client.kept_from, client.number_max, client.introduced) {
        return Err(inconsistent(format!("client {id} is there twice")));
    }
    for answer in client.answers {
        let stamp = RequestStamp { client: id, number: answer.number, body_hash: answer.body_hash, forget_below: 0 };
        let (domain, op) = (answer.domain, answer.op);
        let known = OpType::from_number(op).filter(|_| domain == DomainId::METADATA.0);
        let op = known.ok_or_else(|| inconsistent(format!("an answer of op {op} of domain {domain}")))?;
        for (seq, payload) in answer.parts {
            require(seq <= at_seq, || format!("an answer of seq {seq}, the image is of {at_seq}"))
                .map_err(inconsistent)?;
            accounts.clients.check_stamp(&stamp, op.into()).map_err(inconsistent)?;
            let items = check_answer(op, payload).map_err(inconsistent)?;
            accounts.clients.record(&stamp, op.into(), op.keep(), Bytes::copy_from_slice(payload), items, (seq, 0));
        }
    }
    if client.expired {
        accounts.clients.expire(id);
    }
    Ok(())
}

/// Who has something here is known.
fn check_client(accounts: &Accounts, id: ClientId) -> Result<(), InstallError> {
    require(accounts.clients.get(id).is_some(), || format!("no client {id}")).map_err(inconsistent)
}

fn install_task(accounts: &mut Accounts, dir: &mut Directory, task: Task) -> Result<(), InstallError> {
    if !task.is_finished() {
        let (id, assignee) = (task.id, task.assignee());
        check_client(accounts, assignee)?;
        dir.owners.ensure(assignee).tasks.insert(id);
        let tenant = task.tenant;
        require(accounts.tenants.get(tenant).is_some(), || format!("no tenant {tenant}")).map_err(inconsistent)?;
        accounts.tenants.count(tenant, DomainId::METADATA, |usage| usage.open += 1);
    }
    let id = task.id;
    if dir.tasks.insert(task) { Ok(()) } else { Err(inconsistent(format!("task {id} is there twice"))) }
}

/// A state in the making.
#[derive(Debug)]
pub struct MetadataRebuild {
    state: Metadata,
    /// Of the first image with an object in it.
    secret: Option<Secret>,
    /// By number.
    installed: Vec<bool>,
    newest: Position,
    oldest: Option<Position>,
}

impl MetadataRebuild {
    pub(crate) fn new(config: Config) -> MetadataRebuild {
        let state = Metadata::new(config, Position::default());
        let installed = vec![false; DIRECTORY_SHARD as usize + 1];
        MetadataRebuild { state, secret: None, installed, newest: Position::default(), oldest: None }
    }

    fn missing(&self) -> Option<u32> {
        self.installed.iter().position(|installed| !installed).map(|shard| shard as u32)
    }

    /// In rising order, each once. A hole is found when somebody counts on the whole.
    fn check_order(&self, image: &ShardImage) -> Result<(), InstallError> {
        let shard = image.shard as usize;
        match self.installed.get(shard) {
            None => Err(inconsistent(format!("there is no shard {shard}"))),
            Some(true) => Err(InstallError::ShardTwice { shard: image.shard }),
            Some(false) if self.installed[shard..].contains(&true) => {
                Err(inconsistent(format!("shard {shard} comes after one that must follow it")))
            }
            Some(false) if image.at < self.newest => {
                let newest = self.newest;
                Err(inconsistent(format!("shard {shard} is of {}, one before of {newest}", image.at)))
            }
            Some(false) => Ok(()),
        }
    }

    /// Tells the secret that the keys were hashed under, where there are any.
    fn install_objects(&self, image: &ShardImage) -> Result<Option<Secret>, InstallError> {
        let mut reader = ImageReader::new(&image.bytes)?;
        let mut filled = Shard::default();
        let secret = reader.next().transpose()?.map(oplog::decode_payload).transpose()?.map(Secret);
        // First: what the digest says of hashes under another secret means nothing.
        self.check_secret(secret)?;
        while let Some((secret, chunk)) = secret.zip(reader.next()) {
            let objects: Vec<ObjectImage<'_>> = oplog::decode_payload(chunk?)?;
            for object in objects.into_iter().map(|object| object.into_object(secret)) {
                if object.hash.shard() != image.shard as usize {
                    return Err(inconsistent(format!("shard {} holds a key of another", image.shard)));
                }
                check_object(&object, image.at.seq).map_err(inconsistent)?;
                if filled.find(object.hash, object.tenant, &object.key).is_some() {
                    return Err(inconsistent(format!("shard {} holds a key twice", image.shard)));
                }
                filled.insert(object);
            }
        }
        check_records(image, filled.len() as u64)?;
        check_digest(image, filled.digest())?;
        filled.mark_captured(image.at.seq);
        *self.state.shards[image.shard as usize].lock() = filled;
        Ok(secret)
    }

    fn check_secret(&self, secret: Option<Secret>) -> Result<(), InstallError> {
        let is_same = self.secret.zip(secret).is_none_or(|(before, now)| before == now);
        require(is_same, || "the images are of two secrets".to_owned()).map_err(inconsistent)
    }
}

impl Metadata {
    /// What the objects imply, from all of them. From here on the state is live.
    pub(crate) fn build_implied(&self, accounts: &mut Accounts, dir: &mut Directory) -> Result<(), InstallError> {
        accounts.mode = Mode::Live;
        let objects: usize = self.shards.iter().map(|shard| shard.lock().len()).sum();
        let mut places = Vec::with_capacity(objects);
        for shard in &self.shards {
            for object in shard.lock().iter_volatile() {
                places.extend(object.places());
                imply(accounts, dir, object)?;
            }
        }
        dir.segments.take_all(places).map_err(inconsistent)?;
        dir.view_stale = true;
        Ok(())
    }
}

/// But for the space of its replicas: that of many is taken together.
pub(crate) fn imply(accounts: &mut Accounts, dir: &mut Directory, object: &mut Object) -> Result<(), InstallError> {
    let (tenant, hash) = (object.tenant, object.hash);
    require(accounts.tenants.get(tenant).is_some(), || format!("no tenant {tenant}")).map_err(inconsistent)?;
    let hold = |(place, size): (Place, u64)| {
        dir.hold(&mut accounts.tenants, place.segment, size, tenant, hash).map_err(inconsistent)
    };
    let indexes = object.places().map(hold).collect::<Result<Vec<u32>, _>>()?;
    for (replica, index) in object.all_replicas_mut().zip(indexes) {
        replica.index = index;
    }
    dir.object_came(&mut accounts.tenants, tenant);
    for (owner, id) in object.work().into_iter().flatten() {
        check_client(accounts, owner)?;
        let work = Unfinished { hash, tenant, since_ms: 0, from: None, pieces: 0 };
        dir.owners.ensure(owner).unfinished.insert(id, work);
    }
    Ok(())
}

fn check_records(image: &ShardImage, found: u64) -> Result<(), InstallError> {
    let what = || format!("shard {} has {found} records, {} were said", image.shard, image.records);
    require(image.records == found, what).map_err(inconsistent)
}

pub(crate) fn check_digest(image: &ShardImage, found: Digest) -> Result<(), InstallError> {
    if image.digest == found {
        return Ok(());
    }
    Err(InstallError::DigestMismatch { shard: image.shard, said: image.digest, found })
}

impl Rebuild for MetadataRebuild {
    type State = Metadata;

    fn install(&mut self, image: &ShardImage) -> Result<(), InstallError> {
        self.check_order(image)?;
        require(image.at.seq <= SEQ_MAX, || format!("seqs end at {SEQ_MAX}")).map_err(inconsistent)?;
        if image.shard == DIRECTORY_SHARD {
            let (accounts, dir) = read_directory(image)?;
            check_digest(image, accounts.digest() + dir.digest())?;
            self.check_secret(Some(accounts.secret))?;
            let mut writer = self.state.write();
            (writer.accounts, writer.own.dir) = (accounts, dir);
            writer.stand_at(self.oldest.unwrap_or(image.at));
        } else {
            self.secret = self.install_objects(image)?.or(self.secret);
        }
        self.installed[image.shard as usize] = true;
        self.newest = image.at;
        self.oldest.get_or_insert(image.at);
        Ok(())
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), ApplyError> {
        let mut writer = self.state.write();
        let inconsistent = |what: String| ApplyError::Inconsistent { seq: entry.seq, what };
        if let Some(missing) = self.missing() {
            return Err(inconsistent(format!("shard {missing} has not been installed")));
        }
        check_next(writer.applied(), entry)?;
        if writer.accounts.mode == Mode::Rebuilding && entry.seq > self.newest.seq {
            let Writer { accounts, own: Own { dir, .. }, .. } = &mut **writer;
            self.state.build_implied(accounts, dir).map_err(|error| {
                let error = inconsistent(error.to_string());
                writer.lose(error.clone());
                error
            })?;
        }
        writer.apply_entry(&self.state, entry)
    }

    fn finish(self) -> Result<Metadata, InstallError> {
        if let Some(missing) = self.missing() {
            return Err(InstallError::Incomplete { missing });
        }
        let mut writer = self.state.write();
        if let Some(lost) = writer.lost() {
            return Err(inconsistent(lost));
        }
        if writer.applied() < self.newest {
            let what = format!("the log ends at {}, the newest image is of {}", writer.applied(), self.newest);
            return Err(inconsistent(what));
        }
        if writer.accounts.mode == Mode::Rebuilding {
            let Writer { accounts, own: Own { dir, .. }, .. } = &mut **writer;
            self.state.build_implied(accounts, dir)?;
        }
        writer.refresh_view();
        drop(writer);
        Ok(self.state)
    }
}
