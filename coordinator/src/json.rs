//! What is written of the record, of a member and of the announced primary, be it in a file or under an etcd key.
//!
//! Invariants: everything says which format it is in, and another format is refused before anything else is looked at;
//! what is read back is what was written, or an error that says what is wrong with it.
//!
//! Deliberately absent: where it stands. Whoever reads adds the place to the error.

use std::collections::BTreeSet;

use election::{ConfigRecord, Incarnation, MemberId, Versioned};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::contract::MemberInfo;

const FORMAT: u32 = 1;

#[derive(Deserialize)]
struct AnyFormat {
    format: u32,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
struct Who {
    member: u64,
    incarnation: u64,
}

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    /// Hexadecimal: most readers of JSON can't hold 128 bits.
    cluster_id: String,
    epoch: u64,
    primary: Who,
    insync: Vec<Who>,
    level: u32,
    born: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirm_within_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Member {
    format: u32,
    #[serde(flatten)]
    who: Who,
    name: String,
    address: String,
    peer_address: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    process: String,
    /// Numbers of this member's earlier incarnations, all of which have ended.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    ended: BTreeSet<u64>,
}

#[derive(Serialize, Deserialize)]
struct Leader {
    format: u32,
    epoch: u64,
    #[serde(flatten)]
    who: Who,
    name: String,
    address: String,
    peer_address: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    process: String,
}

impl From<Incarnation> for Who {
    fn from(who: Incarnation) -> Who {
        Who { member: who.member.0, incarnation: who.number }
    }
}

impl From<Who> for Incarnation {
    fn from(who: Who) -> Incarnation {
        Incarnation { member: MemberId(who.member), number: who.incarnation }
    }
}

fn write<T: Serialize>(value: &T) -> Vec<u8> {
    let mut text = serde_json::to_vec(value).expect("strings and numbers can always be written");
    text.push(b'\n');
    text
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    let found: AnyFormat = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if found.format != FORMAT {
        return Err(format!("it is in format {}, and this version reads format {FORMAT}", found.format));
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

pub(crate) fn record_to_json(record: &ConfigRecord) -> Vec<u8> {
    write(&Record {
        format: FORMAT,
        cluster_id: format!("{:032x}", record.cluster_id),
        epoch: record.epoch,
        primary: record.primary.into(),
        insync: record.insync.iter().map(|who| (*who).into()).collect(),
        level: record.level,
        born: record.born,
        confirm_within_ms: record.confirm_within_ms,
    })
}

/// `revision`: as the coordinator counts it.
pub(crate) fn record_from_json(text: &[u8], revision: u64) -> Result<Versioned, String> {
    let found: Record = read(text)?;
    let cluster_id = u128::from_str_radix(&found.cluster_id, 16)
        .map_err(|error| format!("cluster_id {:?}: {error}", found.cluster_id))?;
    let record = ConfigRecord {
        cluster_id,
        epoch: found.epoch,
        primary: found.primary.into(),
        insync: found.insync.into_iter().map(Incarnation::from).collect(),
        level: found.level,
        born: found.born,
        confirm_within_ms: found.confirm_within_ms,
    };
    if !record.insync.contains(&record.primary) {
        return Err(format!("the primary {:?} is not in the in-sync set {:?}", record.primary, record.insync));
    }
    if record.born > record.epoch {
        return Err(format!("born in epoch {}, and now is epoch {}", record.born, record.epoch));
    }
    Ok(Versioned { record, revision })
}

pub(crate) fn member_to_json(info: &MemberInfo, ended: BTreeSet<u64>) -> Vec<u8> {
    write(&Member {
        format: FORMAT,
        who: info.who.into(),
        name: info.name.clone(),
        address: info.address.clone(),
        peer_address: info.peer_address.clone(),
        process: info.process.clone(),
        ended,
    })
}

/// The member, and the numbers of its earlier incarnations.
pub(crate) fn member_from_json(text: &[u8]) -> Result<(MemberInfo, BTreeSet<u64>), String> {
    let Member { who, name, address, peer_address, process, ended, .. } = read(text)?;
    Ok((MemberInfo { who: who.into(), name, address, peer_address, process }, ended))
}

pub(crate) fn leader_to_json(epoch: u64, info: &MemberInfo) -> Vec<u8> {
    let MemberInfo { who, name, address, peer_address, process } = info.clone();
    write(&Leader { format: FORMAT, epoch, who: who.into(), name, address, peer_address, process })
}

pub(crate) fn leader_from_json(text: &[u8]) -> Result<(u64, MemberInfo), String> {
    let Leader { epoch, who, name, address, peer_address, process, .. } = read(text)?;
    Ok((epoch, MemberInfo { who: who.into(), name, address, peer_address, process }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(member: u64, number: u64) -> Incarnation {
        Incarnation { member: MemberId(member), number }
    }

    fn record() -> ConfigRecord {
        let first = ConfigRecord::first(u128::MAX - 5, who(1, u64::MAX), 3);
        first.with(who(2, 7)).promoted(who(2, 7)).with(who(1, 9))
    }

    #[test]
    fn a_record_comes_back_as_it_went() {
        for record in [record(), record().confirmed_within(Some(5000))] {
            let text = record_to_json(&record);
            assert_eq!(record_from_json(&text, 12), Ok(Versioned { record, revision: 12 }));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let text = record_to_json(&record());
        // The last byte is the newline, which nobody misses.
        for len in 0..text.len() - 1 {
            assert!(record_from_json(&text[..len], 1).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn another_format_is_refused_whatever_else_it_says() {
        let error = record_from_json(br#"{"format":2,"all":"new"}"#, 1).expect_err("format 2");
        assert_eq!(error, "it is in format 2, and this version reads format 1");
    }

    #[test]
    fn a_record_that_contradicts_itself_is_refused() {
        let lone = ConfigRecord { insync: BTreeSet::from([who(3, 3)]), ..record() };
        assert!(record_from_json(&record_to_json(&lone), 1).is_err());
        let unborn = ConfigRecord { born: 99, ..record() };
        assert!(record_from_json(&record_to_json(&unborn), 1).is_err());
    }

    #[test]
    fn members_and_leaders_come_back_as_they_went() {
        let info = MemberInfo {
            who: who(1, 5),
            name: "a \"b\"\n".into(),
            address: "[::1]:5".into(),
            peer_address: "h:6".into(),
            process: "p/7".into(),
        };
        let ended = BTreeSet::from([3, 4]);
        assert_eq!(member_from_json(&member_to_json(&info, ended.clone())), Ok((info.clone(), ended)));
        assert_eq!(leader_from_json(&leader_to_json(8, &info)), Ok((8, info)));
    }
}
