//! The JSON of the record, of a member and of the announced primary, in a file or under an etcd
//! key.
//!
//! Invariants: everything names its format, and another format is refused before anything else is
//! read; what is read back is what was written, or an error that says what is wrong.
//!
//! Deliberately absent: the place. The caller adds it to the error.

use std::collections::{BTreeMap, BTreeSet};

use election::{ConfigRecord, Incarnation, MemberId, Seen, Timing, Versioned};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::contract::{MemberInfo, Secret};

const FORMAT: u32 = 3;

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
    version: u64,
    store: u64,
    epoch: u64,
    primary: Who,
    insync: Vec<Who>,
    level: u32,
    born: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirm_within_ms: Option<u64>,
    /// By the names of the settings. Absent: the writer could not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timing: Option<BTreeMap<String, u64>>,
}

/// What a member knows of its cluster.
#[derive(Serialize, Deserialize)]
struct Knows {
    cluster_id: String,
    epoch: u64,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Presence {
    format: u32,
    #[serde(flatten)]
    who: Who,
    name: String,
    address: String,
    peer_address: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    process: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<Knows>,
    /// Hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    secret: String,
    /// The numbers of this member's earlier incarnations, all of which have ended.
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

impl From<Seen> for Knows {
    fn from(Seen { cluster_id, epoch, version }: Seen) -> Knows {
        Knows { cluster_id: cluster_to_text(cluster_id), epoch, version }
    }
}

impl TryFrom<Knows> for Seen {
    type Error = String;

    fn try_from(Knows { cluster_id, epoch, version }: Knows) -> Result<Seen, String> {
        check_numbers(epoch, version)?;
        Ok(Seen { cluster_id: cluster_from_text(&cluster_id)?, epoch, version })
    }
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

fn cluster_to_text(cluster_id: u128) -> String {
    format!("{cluster_id:032x}")
}

fn cluster_from_text(text: &str) -> Result<u128, String> {
    u128::from_str_radix(text, 16).map_err(|error| format!("cluster_id {text:?}: {error}"))
}

/// Members count on from these numbers.
fn check_numbers(epoch: u64, version: u64) -> Result<(), String> {
    let in_range = 1..=ConfigRecord::NUMBER_MAX;
    match [("epoch", epoch), ("version", version)].into_iter().find(|(_, number)| !in_range.contains(number)) {
        Some((name, number)) => Err(format!("{name} {number} is not within 1 and {}", ConfigRecord::NUMBER_MAX)),
        None => Ok(()),
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
        cluster_id: cluster_to_text(record.cluster_id),
        version: record.version,
        store: record.store,
        epoch: record.epoch,
        primary: record.primary.into(),
        insync: record.insync.iter().map(|who| (*who).into()).collect(),
        level: record.level,
        born: record.born,
        confirm_within_ms: record.confirm_within_ms,
        timing: record.timing.map(|timing| timing.named().map(|(name, value)| (name.to_owned(), value)).into()),
    })
}

/// Complete, with no other name, and valid.
fn timing(named: &BTreeMap<String, u64>) -> Result<Timing, String> {
    let add = |timing: Timing, (name, value): (&String, &u64)| {
        timing.with(name, *value).ok_or_else(|| format!("timing: there is no {name:?}"))
    };
    let timing = named.iter().try_fold(Timing::default(), add)?;
    if let Some((missing, _)) = timing.named().into_iter().find(|(name, _)| !named.contains_key(*name)) {
        return Err(format!("timing: {missing} is missing"));
    }
    timing.validate().map_err(|error| format!("timing: {error}"))?;
    Ok(timing)
}

/// `revision`: from the coordinator.
pub(crate) fn record_from_json(text: &[u8], revision: u64) -> Result<Versioned, String> {
    let found: Record = read(text)?;
    check_numbers(found.epoch, found.version)?;
    let record = ConfigRecord {
        cluster_id: cluster_from_text(&found.cluster_id)?,
        version: found.version,
        store: found.store,
        epoch: found.epoch,
        primary: found.primary.into(),
        insync: found.insync.into_iter().map(Incarnation::from).collect(),
        level: found.level,
        born: found.born,
        confirm_within_ms: found.confirm_within_ms,
        timing: found.timing.as_ref().map(timing).transpose()?,
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
    write(&Presence {
        format: FORMAT,
        who: info.who.into(),
        name: info.name.clone(),
        address: info.address.clone(),
        peer_address: info.peer_address.clone(),
        process: info.process.clone(),
        seen: info.seen.map(Knows::from),
        secret: info.secret.map(|secret| format!("{:032x}", u128::from_be_bytes(secret.0))).unwrap_or_default(),
        ended,
    })
}

/// The error does not show the text.
fn secret(text: &str) -> Result<Option<Secret>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = Some(text).filter(|text| text.len() == 2 * Secret::BYTES);
    let number = number.and_then(|text| u128::from_str_radix(text, 16).ok());
    number
        .map(|number| Some(Secret(number.to_be_bytes())))
        .ok_or_else(|| "secret: it must be 32 hexadecimal digits".to_owned())
}

/// The member, and the numbers of its earlier incarnations.
pub(crate) fn member_from_json(text: &[u8]) -> Result<(MemberInfo, BTreeSet<u64>), String> {
    let Presence { who, name, address, peer_address, process, seen, secret: hex, ended, .. } = read(text)?;
    let (seen, secret) = (seen.map(Seen::try_from).transpose()?, secret(&hex)?);
    Ok((MemberInfo { who: who.into(), name, address, peer_address, process, seen, secret }, ended))
}

/// The secret is left out, since clients read this.
pub(crate) fn leader_to_json(epoch: u64, info: &MemberInfo) -> Vec<u8> {
    let MemberInfo { who, name, address, peer_address, process, seen: _, secret: _ } = info.clone();
    write(&Leader { format: FORMAT, epoch, who: who.into(), name, address, peer_address, process })
}

pub(crate) fn leader_from_json(text: &[u8]) -> Result<(u64, MemberInfo), String> {
    let Leader { epoch, who, name, address, peer_address, process, .. } = read(text)?;
    check_numbers(epoch, 1)?;
    Ok((epoch, MemberInfo { who: who.into(), name, address, peer_address, process, seen: None, secret: None }))
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
        for record in [record(), record().confirmed_within(Some(5000)), record().timed(Timing::default())] {
            let text = record_to_json(&record);
            assert_eq!(record_from_json(&text, 12), Ok(Versioned { record, revision: 12 }));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let text = record_to_json(&record());
        // The last byte is the newline, which is not needed.
        for len in 0..text.len() - 1 {
            assert!(record_from_json(&text[..len], 1).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn another_format_is_refused_whatever_else_it_says() {
        let error = record_from_json(br#"{"format":4,"all":"new"}"#, 1).expect_err("format 4");
        assert_eq!(error, "it is in format 4, and this version reads format 3");
    }

    #[test]
    fn a_record_that_contradicts_itself_is_refused() {
        let lone = ConfigRecord { insync: BTreeSet::from([who(3, 3)]), ..record() };
        assert!(record_from_json(&record_to_json(&lone), 1).is_err());
        for number in [0, ConfigRecord::NUMBER_MAX + 1, u64::MAX] {
            let (epoch, version) =
                (ConfigRecord { epoch: number, ..record() }, ConfigRecord { version: number, ..record() });
            assert!(record_from_json(&record_to_json(&epoch), 1).is_err(), "epoch {number}");
            assert!(record_from_json(&record_to_json(&version), 1).is_err(), "version {number}");
        }
        let unborn = ConfigRecord { born: 99, ..record() };
        assert!(record_from_json(&record_to_json(&unborn), 1).is_err());
    }

    #[test]
    fn timing_is_taken_whole_and_valid_or_not_at_all() {
        let text = String::from_utf8(record_to_json(&record().timed(Timing::default()))).expect("it is JSON");
        for (from, to, what) in [
            ("\"tenure_ms\":500", "\"tenure\":500", "there is no \"tenure\""),
            ("\"lag_ms_max\":1000,", "", "lag_ms_max is missing"),
            ("\"tenure_ms\":500", "\"tenure_ms\":200", "drop_after_ms < tenure_ms must hold"),
            ("\"beacon_ms\":50", "\"beacon_ms\":18446744073709551615", "must be 1 to 60000"),
        ] {
            let damaged = text.replace(from, to);
            assert_ne!(damaged, text);
            let error = record_from_json(damaged.as_bytes(), 1).expect_err(to);
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn members_and_leaders_come_back_as_they_went() {
        let info = MemberInfo {
            who: who(1, 5),
            name: "a \"b\"\n".into(),
            address: "[::1]:5".into(),
            peer_address: "h:6".into(),
            process: "p/7".into(),
            seen: None,
            secret: Some(Secret([0x0a; Secret::BYTES])),
        };
        let seen = Seen { cluster_id: u128::MAX - 3, epoch: 7, version: 19 };
        let knows = MemberInfo { seen: Some(seen), ..info.clone() };
        assert_eq!(member_from_json(&member_to_json(&knows, BTreeSet::new())), Ok((knows, BTreeSet::new())));
        let ended = BTreeSet::from([3, 4]);
        assert_eq!(member_from_json(&member_to_json(&info, ended.clone())), Ok((info.clone(), ended.clone())));
        let shows_none = MemberInfo { secret: None, ..info.clone() };
        assert_eq!(member_from_json(&member_to_json(&shows_none, ended.clone())), Ok((shows_none.clone(), ended)));
        assert_eq!(leader_from_json(&leader_to_json(8, &info)), Ok((8, shows_none)), "clients read it");
    }

    #[test]
    fn a_secret_is_not_shown_by_what_goes_into_logs() {
        let info = MemberInfo { secret: Some(Secret([0xab; Secret::BYTES])), ..crate::conformance::info(1, 1) };
        let shown = format!("{info:?}").to_lowercase();
        assert!(!shown.contains("abab") && !shown.contains("171, 171"), "{shown}");
        let text = String::from_utf8(member_to_json(&info, BTreeSet::new())).expect("it is JSON");
        let damaged = text.replace(&"ab".repeat(Secret::BYTES), &format!("{}xy", "ab".repeat(Secret::BYTES - 1)));
        let error = member_from_json(damaged.as_bytes()).expect_err("no number");
        assert!(!error.contains("abab"), "{error}");
    }
}
