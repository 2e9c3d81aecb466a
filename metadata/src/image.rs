//! This domain's part of images: a shard of objects, and the directory in the last shard.
//!
//! Records of objects stand behind the secret under which their keys are hashed, since the last
//! shard, which has it too, comes later. An empty shard has no chunk at all.

use bincode::{Decode, Encode};
use ledger::{Accounts, CHUNK_RECORDS, ImageReader, ImageWriter, check_found, check_secret, inconsistent, require};
use oplog::{ClientId, DomainId, InstallError, Part, Secret, ShardImage};
use parking_lot::Mutex;

use crate::directory::Directory;
use crate::fit::{check_object, check_segment};
use crate::object::{Object, ObjectImage};
use crate::op::{Retire, SegmentRecord};
use crate::owners::Unfinished;
use crate::segments::{Segment, SegmentState};
use crate::shard::{Shard, in_bucket};
use crate::tasks::Task;
use crate::types::{Place, SegmentIx, TaskId};

/// Tells how many there are.
pub(crate) fn capture_objects(shard: &Shard, secret: Secret, image: &mut ImageWriter) -> u64 {
    if shard.len() > 0 {
        image.chunk(&secret.0);
    }
    let objects: Vec<&Object> = shard.iter().collect();
    for chunk in objects.chunks(CHUNK_RECORDS) {
        bring_near(chunk);
        let chunk: Vec<ObjectImage<'_>> = chunk.iter().map(|object| ObjectImage::of(object)).collect();
        image.chunk(&chunk);
    }
    objects.len() as u64
}

/// Records and their keys lie anywhere in memory. Asked for one right after the other they come together; where each is encoded
/// before the next one is asked for, every one is waited for.
fn bring_near(objects: &[&Object]) {
    let records = objects.iter().fold(0, |all, object| all ^ object.size ^ object.seq ^ object.lease_until_ms);
    let keys = objects.iter().fold(0, |all, object| all ^ object.key.first().copied().unwrap_or_default());
    std::hint::black_box((records, keys));
}

pub(crate) fn capture_bucket(shard: &Shard, bucket: u32, image: &mut ImageWriter) {
    let objects: Vec<ObjectImage<'_>> = in_bucket(shard, bucket).map(ObjectImage::of).collect();
    image.list(&objects, CHUNK_RECORDS);
}

/// None of it is believed. Tells the secret that the keys were hashed under, where there are any.
pub(crate) fn read_objects(
    image: &ShardImage,
    expected: Option<Secret>,
) -> Result<(Option<Secret>, Shard), InstallError> {
    let mut reader = ImageReader::new(&image.bytes)?;
    let mut filled = Shard::default();
    let secret: Option<[u8; 16]> = reader.next_chunk()?;
    let secret = secret.map(Secret);
    // First: what the digest says of hashes under another secret means nothing.
    check_secret(expected, secret)?;
    while let Some(secret) = secret
        && let Some(objects) = reader.next_chunk::<Vec<ObjectImage<'_>>>()?
    {
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
    check_found(image, filled.len() as u64, filled.digest())?;
    filled.mark_captured(image.at.seq);
    Ok((secret, filled))
}

/// None of it is believed.
pub(crate) fn read_bucket(
    part: Part,
    secret: Option<Secret>,
    at_seq: u64,
    image: &mut ImageReader<'_>,
) -> Result<Vec<Object>, InstallError> {
    let mut objects = Vec::new();
    image.list(|object: ObjectImage<'_>| {
        let object = object.into_object(secret.unwrap_or_default());
        let is_here = (object.hash.shard(), object.hash.bucket()) == (part.shard as usize, part.bucket as usize);
        require(is_here || secret.is_none(), || {
            format!("bucket {} of shard {} holds a key of another one", part.bucket, part.shard)
        })
        .map_err(inconsistent)?;
        check_object(&object, at_seq).map_err(inconsistent)?;
        objects.push(object);
        Ok(())
    })?;
    Ok(objects)
}

#[derive(Encode, Decode)]
struct DirectoryHead {
    next_segment: SegmentIx,
    next_task: TaskId,
    evicted_total: u64,
    has_had_work: bool,
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

pub(crate) fn capture_directory(dir: &Directory, image: &mut ImageWriter) -> u64 {
    let segments: Vec<SegmentImage> = dir.segments.iter().map(segment_image).collect();
    let retired: Vec<RetiredImage> = dir.segments.iter().flat_map(retired_images).collect();
    let finished = dir.tasks.finished().iter().filter_map(|id| dir.tasks.get(*id));
    let unfinished = dir.tasks.iter().filter(|task| !task.is_finished());
    let tasks: Vec<Task> = finished.chain(unfinished).map(|task| Task { since_ms: 0, ..task.clone() }).collect();
    image.chunk(&DirectoryHead {
        next_segment: dir.segments.next_ix(),
        next_task: dir.tasks.next_id_given(),
        evicted_total: dir.evicted_total,
        has_had_work: dir.has_had_work,
    });
    image.list(&segments, CHUNK_RECORDS);
    image.list(&retired, CHUNK_RECORDS);
    image.list(&tasks, CHUNK_RECORDS);
    // What is retired is a segment's, not a record of its own.
    (segments.len() + tasks.len()) as u64
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

/// None of it is believed.
pub(crate) fn read_directory(
    accounts: &mut Accounts,
    reader: &mut ImageReader<'_>,
) -> Result<(Directory, u64), InstallError> {
    let mut dir = Directory::new();
    let head: DirectoryHead = reader.chunk()?;
    let mut records = reader.list(|segment| install_segment(accounts, &mut dir, segment))?;
    reader.list(|RetiredImage { segment, retire, address, bytes }| {
        dir.segments.install_retired(segment, retire, (address, bytes)).map_err(inconsistent)
    })?;
    records += reader.list(|task: Task| install_task(accounts, &mut dir, task))?;
    dir.segments.set_next_ix(head.next_segment);
    dir.tasks.set_next_id(head.next_task);
    dir.evicted_total = head.evicted_total;
    dir.has_had_work = head.has_had_work;
    Ok((dir, records))
}

fn install_segment(accounts: &Accounts, dir: &mut Directory, segment: SegmentImage) -> Result<(), InstallError> {
    let SegmentImage { ix, client, record, state } = segment;
    let client = ClientId(client);
    check_client(accounts, client)?;
    check_segment(&record).map_err(inconsistent)?;
    let bytes = record.size;
    dir.segments.mount(ix, client, record, state, None).map_err(inconsistent)?;
    let owner = dir.owners.ensure(client);
    owner.segments.insert(ix);
    owner.segment_bytes += bytes;
    if state != SegmentState::Unmounting {
        owner.living.insert(ix);
    }
    Ok(())
}

/// A client that has something here is known.
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

/// What the objects imply, from all of them.
pub(crate) fn imply_all(
    shards: &[Mutex<Shard>],
    accounts: &mut Accounts,
    dir: &mut Directory,
) -> Result<(), InstallError> {
    let objects: usize = shards.iter().map(|shard| shard.lock().len()).sum();
    let mut places = Vec::with_capacity(objects);
    for shard in shards {
        for object in shard.lock().iter_volatile() {
            places.extend(object.places());
            imply(accounts, dir, object)?;
        }
    }
    dir.segments.take_all(places).map_err(inconsistent)?;
    dir.view_stale = true;
    Ok(())
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
