//! The last shard: the accounts, and what each domain has that hangs on them, at one seq.
//!
//! ```text
//!   image   format, secret, settings ─ tenants ─ tombstones ─ clients and their answers
//!           then for each domain: its number, and what it captures
//! ```
//!
//! Its records hang together, so it is captured, installed and repaired as a whole.

use bincode::{BorrowDecode, Decode, Encode};
use bytes::Bytes;
use oplog::{ClientId, Digest, DomainId, InstallError, Mismatch, MismatchKind, Part, RequestStamp, Secret, ShardImage};

use crate::accounts::{Accounts, Mode};
use crate::call::{Op, TenantIx};
use crate::clients::Client;
use crate::domain::Domain;
use crate::errors::require;
use crate::image::{CHUNK_RECORDS, ImageReader, ImageWriter, check_found, inconsistent};
use crate::ops::{answers, check_answer};
use crate::settings::{InForce, TOMBSTONES_LIMIT};
use crate::writer::Writer;

/// Of the image below. 1 had the records of the one domain among those of the accounts, and no
/// number of its own.
const FORMAT: u8 = 2;

#[derive(Encode, Decode)]
struct Head {
    secret: [u8; 16],
    settings: Option<InForce>,
    next_tenant: TenantIx,
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

pub(crate) fn digest<D: Domain>(accounts: &Accounts, own: &D::Own) -> Digest {
    accounts.digest() + D::digest(own)
}

/// From the records themselves.
pub(crate) fn counted_digest<D: Domain>(accounts: &Accounts, own: &D::Own) -> Digest {
    accounts.counted_digest() + D::counted_digest(own)
}

/// Of what follows from the shards and is decided by.
pub(crate) fn implied_digest<D: Domain>(accounts: &Accounts, own: &D::Own) -> Digest {
    accounts.tenants.usage_digest() + D::implied_digest(own)
}

pub(crate) fn capture<D: Domain>(writer: &Writer<D::Own>, shard: u32) -> ShardImage {
    let Writer { accounts, own, .. } = writer;
    let mut image = ImageWriter::new();
    let mut records = capture_accounts(accounts, &mut image);
    image.chunk(&D::ID.0);
    records += D::capture(own, &mut image);
    let digest = digest::<D>(accounts, own);
    ShardImage { shard, at: writer.applied(), records, digest, bytes: image.finish() }
}

fn capture_accounts(accounts: &Accounts, image: &mut ImageWriter) -> u64 {
    let tenants = accounts.tenants.iter().map(|(ix, tenant)| (ix, &*tenant.name, tenant.quota_bytes));
    let tenants: Vec<(TenantIx, &str, u64)> = tenants.collect();
    let tombstones: Vec<([u8; 16], u64)> = accounts.clients.tombstones().map(|(id, from)| (id.0, from)).collect();
    let clients: Vec<ClientImage<'_>> = accounts.clients.iter().map(|(id, client)| client_image(id, client)).collect();
    image.chunk(&FORMAT);
    image.chunk(&Head {
        secret: accounts.secret.0,
        settings: accounts.settings.get(),
        next_tenant: accounts.tenants.next_ix(),
    });
    image.list(&tenants, CHUNK_RECORDS);
    image.list(&tombstones, CHUNK_RECORDS);
    // The answers of one client may be as large as a decoder takes at once.
    image.list(&clients, 1);
    (tenants.len() + tombstones.len() + clients.len()) as u64
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

/// None of it is believed. What the shards imply is still to be built.
pub(crate) fn read<D: Domain>(domain: &D, image: &ShardImage) -> Result<(Accounts, D::Own), InstallError> {
    let mut reader = ImageReader::new(&image.bytes)?;
    let mut accounts = Accounts { mode: Mode::Rebuilding, ..Accounts::new() };
    let mut records = read_accounts::<D>(&mut accounts, &mut reader, image.at.seq)?;
    let id: u8 = reader.chunk()?;
    require(id == D::ID.0, || format!("domain {} was expected, domain {id} comes", D::ID)).map_err(inconsistent)?;
    let (own, count) = domain.install(&mut accounts, &mut reader)?;
    records += count;
    reader.check_end()?;
    check_found(image, records, digest::<D>(&accounts, &own))?;
    Ok((accounts, own))
}

fn read_accounts<D: Domain>(
    accounts: &mut Accounts,
    reader: &mut ImageReader<'_>,
    at_seq: u64,
) -> Result<u64, InstallError> {
    let format: u8 = reader.chunk()?;
    let what = || format!("the last shard is of format {format}, this build knows {FORMAT}");
    require(format == FORMAT, what).map_err(inconsistent)?;
    let head: Head = reader.chunk()?;
    accounts.secret = Secret(head.secret);
    accounts.settings.install(head.settings, at_seq).map_err(inconsistent)?;
    let mut records = reader.list(|(ix, name, quota): (TenantIx, &str, u64)| {
        let fits = accounts.tenants.install(ix, name, quota);
        require(fits, || format!("tenant {ix} {name:?} is there already, or out of order")).map_err(inconsistent)
    })?;
    accounts.tenants.set_next_ix(head.next_tenant);
    records += reader.list(|(id, kept_from): ([u8; 16], u64)| {
        let id = ClientId(id);
        let fits = accounts.clients.install_tombstone(id, kept_from);
        let what = || format!("client {id} is gone twice, or beside {TOMBSTONES_LIMIT} others");
        require(fits, what).map_err(inconsistent)
    })?;
    records += reader.list(|client: ClientImage<'_>| install_client::<D>(accounts, client, at_seq))?;
    Ok(records)
}

fn install_client<D: Domain>(
    accounts: &mut Accounts,
    client: ClientImage<'_>,
    at_seq: u64,
) -> Result<(), InstallError> {
    let id = ClientId(client.id);
    if accounts.clients.is_buried(id) {
        return Err(inconsistent(format!("client {id} is there and gone")));
    }
    if !accounts.clients.install(id, client.kept_from, client.number_max, client.introduced) {
        return Err(inconsistent(format!("client {id} is there twice")));
    }
    for answer in client.answers {
        let stamp = RequestStamp { client: id, number: answer.number, body_hash: answer.body_hash, forget_below: 0 };
        let op = Op { domain: DomainId(answer.domain), number: answer.op };
        let keep = answers::<D>(op).ok().flatten();
        let keep = keep.ok_or_else(|| inconsistent(format!("an answer of op {op}")))?;
        for (seq, payload) in answer.parts {
            require(seq <= at_seq, || format!("an answer of seq {seq}, the image is of {at_seq}"))
                .map_err(inconsistent)?;
            accounts.clients.check_stamp(&stamp, op).map_err(inconsistent)?;
            let items = check_answer::<D>(op, payload).map_err(inconsistent)?;
            accounts.clients.record(&stamp, op, keep, Bytes::copy_from_slice(payload), items, (seq, 0));
        }
    }
    if client.expired {
        accounts.clients.expire(id);
    }
    Ok(())
}

/// What is told is where they differ, not each record.
pub(crate) fn mismatches<D: Domain>(
    shard: u32,
    ours: (&Accounts, &D::Own),
    theirs: (&Accounts, &D::Own),
) -> Vec<Mismatch> {
    let sums = |(accounts, own): (&Accounts, &D::Own)| {
        let of_accounts = [
            ("settings", accounts.settings.counted_digest()),
            ("tenants", accounts.tenants.counted_digest()),
            ("clients and their answers", accounts.clients.counted_digest()),
        ];
        of_accounts.into_iter().chain(D::counted_digests(own)).collect::<Vec<_>>()
    };
    let part = Part { shard, bucket: 0 };
    let differ = sums(ours).into_iter().zip(sums(theirs)).filter(|(ours, theirs)| ours != theirs);
    let tell = |((name, ours), (_, theirs)): ((&str, Digest), (&str, Digest))| Mismatch {
        part,
        kind: MismatchKind::Checksum,
        record: format!("directory: {name}"),
        fields: vec![("digest".to_owned(), ours.to_string(), theirs.to_string())],
    };
    differ.map(tell).collect()
}
