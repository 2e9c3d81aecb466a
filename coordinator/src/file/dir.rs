//! The directory: its record, its members and the announced primary. Each call runs on the caller's
//! thread.
//!
//! ```text
//! record/<revision>   JSON; the highest counts, and is added by compare-and-swap
//! announced/<epoch>   JSON; the highest counts; written by the primary of that epoch
//! members/<id>.lock   held by the living process that is this member, with the number of its incarnation
//! members/<id>.json   which incarnation that is, and which earlier ones have ended
//! ```
//!
//! Why an incarnation that is called dead is dead: its number is in its member's JSON, so it has
//! held the lock. And either the lock was free when it was checked later, or a later holder, which
//! had the lock, has listed it as ended. A process that has the lock but has not written its JSON
//! yet is not called dead: the JSON still names its predecessor, and that one's lock is not free.
//! Nor is the predecessor shown as here, except in the moment in which the lock file still has its
//! number.
//!
//! *Invariant:* no process ever waits for another one. A process that is stopped, whatever it is
//! doing, delays only a process that wants to be the same member.
//!
//! No lock file is ever removed, since that would break the exclusion for a process that is just
//! opening it. Directories and files belong to one user alone (`own`): another user could hold a
//! lock, or read a secret.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use election::{ConfigRecord, Incarnation, MemberId, Versioned};

use super::disk::{self, Aside};
use super::lock::{self, Locked};
use super::numbered::Numbered;
use super::own;
use crate::contract::{Error, MemberInfo, Swap};
use crate::json;

/// How many earlier incarnations a member's file lists. The oldest are forgotten, and nothing is
/// known of them any more.
const ENDED_MAX: usize = 1000;

#[derive(Debug)]
pub(super) struct Dir {
    records: Numbered,
    announced: Numbered,
    members: PathBuf,
}

impl Dir {
    /// Creates what is missing.
    pub(super) fn make(path: &Path) -> Result<Dir, Error> {
        own::make_dir(path)?;
        // Members and guards may change their working directory; the path must not change its
        // meaning.
        let path = path.canonicalize().map_err(|error| disk::fault(own::MAKING, path, &error))?;
        let members = path.join("members");
        own::make_dir(&members)?;
        let (records, announced) = (Numbered::make(path.join("record"))?, Numbered::make(path.join("announced"))?);
        Ok(Dir { records, announced, members })
    }

    /// The directories in which every change shows.
    pub(super) fn places(&self) -> [&Path; 3] {
        [self.records.dir(), self.announced.dir(), &self.members]
    }

    pub(super) fn member_lock_path(&self, id: MemberId) -> PathBuf {
        self.members.join(format!("{}.lock", id.0))
    }

    fn member_path(&self, id: MemberId) -> PathBuf {
        self.members.join(format!("{}.json", id.0))
    }

    pub(super) fn read(&self) -> Result<Option<Versioned>, Error> {
        let Some((revision, text)) = self.records.last("read")? else { return Ok(None) };
        json::record_from_json(&text, revision).map(Some).map_err(|why| damaged(&self.records.path(revision), why))
    }

    pub(super) fn swap(&self, expect: Option<&Versioned>, to: &ConfigRecord) -> Result<Swap, Error> {
        // This also checks that the record is whole: a damaged record is not overwritten.
        let found = self.read()?;
        if found.as_ref() != expect {
            return Ok(Swap::Refused);
        }
        let revision = found.map_or(1, |found| found.revision.saturating_add(1));
        let swapped = self.records.add("swap", revision, &json::record_to_json(to))?;
        Ok(if swapped { Swap::Done { revision } } else { Swap::Refused })
    }

    /// The lock is the presence.
    pub(super) fn join(&self, me: &MemberInfo) -> Result<Locked, Error> {
        let id = me.who.member;
        let Some(locked) = self.take(me.who)? else { return Err(self.taken(me)) };
        let mut ended = BTreeSet::new();
        // An unreadable file says nothing of earlier incarnations: then nothing is known of them.
        if let Some((before, numbers)) = self.member(id).unwrap_or_default() {
            ended = numbers;
            ended.insert(before.who.number);
            ended.remove(&me.who.number);
            while ended.len() > ENDED_MAX {
                ended.pop_first();
            }
        }
        Aside::write("join", &self.members, &json::member_to_json(me, ended))?
            .replace("join", &self.member_path(id))?;
        disk::sweep(&self.members);
        Ok(locked)
    }

    /// The holder of the lock writes again what it says of itself.
    pub(super) fn tell(&self, me: &MemberInfo) -> Result<(), Error> {
        let id = me.who.member;
        let ended = self.member(id)?.map(|(_, ended)| ended).unwrap_or_default();
        Aside::write("tell", &self.members, &json::member_to_json(me, ended))?.replace("tell", &self.member_path(id))
    }

    /// Takes the member's lock, and writes the incarnation into it.
    fn take(&self, who: Incarnation) -> Result<Option<Locked>, Error> {
        let path = self.member_lock_path(who.member);
        let fault = |error: io::Error| disk::fault("join", &path, &error);
        let file = open_lock(&path).map_err(fault)?;
        let Some(locked) = lock::take(file).map_err(fault)? else { return Ok(None) };
        locked.0.set_len(0).map_err(fault)?;
        (&locked.0).write_all(format!("{}\n", who.number).as_bytes()).map_err(fault)?;
        Ok(Some(locked))
    }

    fn taken(&self, me: &MemberInfo) -> Error {
        let id = me.who.member;
        let number = fs::read_to_string(self.member_lock_path(id)).ok().and_then(|text| number_in(&text));
        match (number, self.member(id)) {
            (Some(number), Ok(Some((last, _)))) if number == last.who.number => {
                Error::NameInUse { name: last.name, who: last.who, address: last.address }
            }
            // The holder has just begun, or could not write its address.
            (number, _) => {
                let who = Incarnation { member: id, number: number.unwrap_or(me.who.number) };
                Error::NameInUse { name: me.name.clone(), who, address: "an unknown address".to_owned() }
            }
        }
    }

    fn member(&self, id: MemberId) -> Result<Option<(MemberInfo, BTreeSet<u64>)>, Error> {
        let path = self.member_path(id);
        let Some(text) = disk::read("members", &path)? else { return Ok(None) };
        let found = json::member_from_json(&text).map_err(|why| damaged(&path, why))?;
        if found.0.who.member != id {
            return Err(damaged(&path, format!("it names member {}", found.0.who.member.0)));
        }
        Ok(Some(found))
    }

    pub(super) fn members(&self) -> Result<Vec<MemberInfo>, Error> {
        let ids = self.member_ids().map_err(|error| disk::fault("members", &self.members, &error))?;
        let mut found = Vec::new();
        for id in ids {
            if let Some(number) = self.holder(id)? {
                found.extend(self.member(id)?.map(|(info, _)| info).filter(|info| info.who.number == number));
            }
        }
        Ok(found)
    }

    /// All members that ever joined.
    pub(super) fn member_ids(&self) -> io::Result<BTreeSet<MemberId>> {
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(&self.members)? {
            let name = entry?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".lock")).and_then(|id| id.parse().ok());
            ids.extend(id.map(MemberId));
        }
        Ok(ids)
    }

    /// Whether a process is this member.
    pub(super) fn is_held(&self, id: MemberId) -> Result<bool, Error> {
        Ok(self.held_lock(id)?.is_some())
    }

    /// The incarnation that holds the member's lock, by its own word.
    fn holder(&self, id: MemberId) -> Result<Option<u64>, Error> {
        let path = self.member_lock_path(id);
        let Some(mut file) = self.held_lock(id)? else { return Ok(None) };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| disk::fault("members", &path, &error))?;
        // Without a whole line it is just being written: that member is not here yet.
        match text.ends_with('\n') {
            true => number_in(&text).map(Some).ok_or_else(|| damaged(&path, format!("{text:?} is no incarnation"))),
            false => Ok(None),
        }
    }

    fn held_lock(&self, id: MemberId) -> Result<Option<File>, Error> {
        let path = self.member_lock_path(id);
        let fault = |error: io::Error| disk::fault("members", &path, &error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fault(error)),
        };
        Ok(lock::is_taken(&file).map_err(fault)?.then_some(file))
    }

    /// First reads which incarnation is named, then checks the lock: a named incarnation has held
    /// it.
    pub(super) fn is_dead(&self, who: Incarnation) -> Result<bool, Error> {
        match self.member(who.member)? {
            Some((_, ended)) if ended.contains(&who.number) => Ok(true),
            Some((last, _)) if last.who == who => {
                // A lock file that does not exist was not given back by any process.
                let path = self.member_lock_path(who.member);
                fs::metadata(&path).map_err(|error| disk::fault("is_dead", &path, &error))?;
                Ok(!self.is_held(who.member)?)
            }
            Some(_) => Ok(false),
            // This incarnation is not known. A directory that was removed knows none.
            None => fs::metadata(&self.members)
                .map(|_| false)
                .map_err(|error| disk::fault("is_dead", &self.members, &error)),
        }
    }

    /// Whether other processes still see the holder of this lock as `me`. Only certain knowledge
    /// counts: a holder that believes its presence lost gives its lock back, which is proof of its
    /// end to others.
    pub(super) fn is_here(&self, me: &MemberInfo, locked: &Locked) -> bool {
        let same = |one: &fs::Metadata, other: &fs::Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
        let is_mine = match (fs::metadata(self.member_lock_path(me.who.member)), locked.0.metadata()) {
            (Ok(there), Ok(held)) => same(&there, &held),
            (Err(error), _) => error.kind() != io::ErrorKind::NotFound,
            (Ok(_), Err(_)) => true,
        };
        let is_named = match self.member(me.who.member) {
            Ok(named) => named.is_some_and(|(info, _)| info.who == me.who),
            Err(_) => true,
        };
        is_mine && is_named
    }

    pub(super) fn announce(&self, epoch: u64, me: &MemberInfo) -> Result<(), Error> {
        if let Some((held, _)) = self.announced.last("announce")?
            && held > epoch
        {
            let (place, why) =
                (self.announced.dir().display().to_string(), format!("epoch {epoch} offered, {held} held"));
            return Err(Error::Denied { what: "announce", place, why });
        }
        self.announced.set("announce", epoch, &json::leader_to_json(epoch, me))
    }

    pub(super) fn announced(&self) -> Result<Option<(u64, MemberInfo)>, Error> {
        let Some((epoch, text)) = self.announced.last("announced")? else { return Ok(None) };
        let path = self.announced.path(epoch);
        let (said, info) = json::leader_from_json(&text).map_err(|why| damaged(&path, why))?;
        if said != epoch {
            return Err(damaged(&path, format!("it names epoch {said}")));
        }
        let id = info.who.member;
        if self.holder(id)? != Some(info.who.number) {
            return Ok(None);
        }
        let now = self.member(id)?.map(|(now, _)| now);
        let is_leader = |now: &MemberInfo| MemberInfo { secret: None, seen: None, ..now.clone() } == info;
        Ok(now.filter(is_leader).map(|now| (epoch, now)))
    }
}

fn number_in(text: &str) -> Option<u64> {
    text.trim_end().parse().ok()
}

/// Also opened for writing: a process that may not write this file must not get a lock on it,
/// either.
fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(own::FILE_MODE).open(path)
}

fn damaged(path: &Path, why: String) -> Error {
    Error::Damaged { place: path.display().to_string(), why }
}

#[cfg(test)]
#[path = "dir_test.rs"]
mod tests;
