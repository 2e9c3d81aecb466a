//! Keys on the command line, and answers that have one result for each of them.
//!
//! Invariant: a key that is printed in a command to paste is the same key when it is read back.

use client::Refused;
use serde_json::{Value, json};

use crate::fault::{Fault, Told, Verdict};
use crate::json;
use crate::output::Output;
use crate::words;

/// One key.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KeyArg {
    /// The key.
    key: String,
    /// The key is given as hex digits, for keys that are not text.
    #[arg(long)]
    hex: bool,
}

/// Some keys.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KeysArg {
    /// The keys.
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// Keys are given as hex digits, for those that are not text.
    #[arg(long)]
    hex: bool,
}

impl KeyArg {
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Fault> {
        bytes(&self.key, self.hex)
    }

    /// As it is written on the command line.
    pub(crate) fn word(&self) -> String {
        word(&self.key, self.hex)
    }
}

impl KeysArg {
    pub(crate) fn bytes(&self) -> Result<Vec<Vec<u8>>, Fault> {
        self.keys.iter().map(|key| bytes(key, self.hex)).collect()
    }
}

pub(crate) fn bytes(key: &str, is_hex: bool) -> Result<Vec<u8>, Fault> {
    match is_hex {
        true => words::parse_hex(key).map_err(|wrong| Fault::usage(wrong, "Correct the key, or leave --hex out.")),
        false => Ok(key.as_bytes().to_vec()),
    }
}

fn word(key: &str, is_hex: bool) -> String {
    // A key that begins with a dash would be taken for an option.
    let dash = if key.starts_with('-') { "-- " } else { "" };
    let hex = if is_hex { "--hex " } else { "" };
    format!("{hex}{dash}{}", words::shell(key))
}

/// The refused ones of several results, each with its key.
pub(crate) fn refusals<T>(keys: &[Vec<u8>], results: &[Result<T, Refused>]) -> Vec<Told> {
    let refused = keys.iter().zip(results).filter_map(|(key, result)| Some((key, result.as_ref().err()?)));
    refused.map(|(key, refused)| Told::refused(&words::key(key), refused)).collect()
}

/// Each key with what came of it.
pub(crate) fn items<T>(keys: &[Vec<u8>], results: &[Result<T, Refused>], done: impl Fn(&T) -> Value) -> Value {
    keys.iter().zip(results).map(|(key, result)| json::item(("key", json::key(key)), result, &done)).collect()
}

/// The whole answer of a command that does something to keys: `removed 2 of 3`, or the document.
pub(crate) fn report(
    out: &mut Output,
    past_tense: &str,
    keys: &[Vec<u8>],
    answer: &client::Items<()>,
) -> Result<Verdict, Fault> {
    let refusals = refusals(keys, &answer.results);
    if out.is_json() {
        let results = items(keys, &answer.results, |()| json!({}));
        out.document(&json!({ "position": json::position(answer.position), "results": results }))?;
    } else if let [key] = keys {
        if refusals.is_empty() {
            out.line(&format!("{past_tense} {}", words::key(key)))?;
        }
    } else {
        out.line(&format!("{past_tense} {} of {}", keys.len() - refusals.len(), keys.len()))?;
    }
    Ok(out.refusals(&refusals)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_keys_read_back() {
        let words = [("a b", false), ("-x", false), ("00ff", true)].map(|(key, is_hex)| word(key, is_hex));
        assert_eq!(words, ["'a b'", "-- -x", "--hex 00ff"]);
        assert_eq!(bytes("00ff", true).ok(), Some(vec![0, 255]));
        assert!(bytes("0x0", true).is_err());
    }
}
