//! `kv ls`: keys, page by page, so that a list of any length takes no more memory than a page. Those of a page are sorted.
//!
//! Invariant: what is left out by the limit is said, never left out silently.

use bytes::Bytes;
use client::{Client, KeyInfo, KeyPage, ListKeys};
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::metadata::kv::keys;
use crate::output::{Output, waiting};
use crate::table::{Table, left, right};
use crate::{json, words};

/// Keys that are asked for at once.
const PAGE_KEYS: u64 = 10_000;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Keys that begin with this.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// The prefix is given as hex digits.
    #[arg(long, requires = "prefix")]
    hex: bool,
    /// Keys that match anywhere; syntax of the Rust regex crate.
    #[arg(long, value_name = "RE", default_value = "", hide_default_value = true)]
    regex: String,
    /// As many keys at most.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    /// All keys, however many there are.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

pub(crate) async fn list(connect: &Connect, args: &Args, out: &mut Output) -> Result<Verdict, Fault> {
    let prefix = Bytes::from(keys::bytes(&args.prefix, args.hex)?);
    let client = connect.patient(&connect.client().await?).await?;
    let mut pages = Pages {
        ask: ListKeys { prefix, regex: args.regex.clone(), limit: 0, page_token: Bytes::new() },
        left: if args.all { u64::MAX } else { args.limit },
        is_over: false,
    };
    match out.is_json() {
        true => as_json(&client, &mut pages, out).await?,
        false => as_table(&client, &mut pages, out).await?,
    }
    Ok(Verdict::Yes)
}

struct Pages {
    ask: ListKeys,
    /// Keys that are still wanted.
    left: u64,
    /// No key is left.
    is_over: bool,
}

impl Pages {
    async fn next(&mut self, client: &Client) -> Result<Option<KeyPage>, Fault> {
        if self.is_over || self.left == 0 {
            return Ok(None);
        }
        self.ask.limit = self.left.min(PAGE_KEYS) as u32;
        let mut page = waiting("listing", client.list_keys(self.ask.clone())).await?;
        page.keys.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        self.left = self.left.saturating_sub(page.keys.len() as u64);
        match &page.next_page_token {
            Some(token) => self.ask.page_token = token.clone(),
            None => self.is_over = true,
        }
        Ok(Some(page))
    }
}

async fn as_table(client: &Client, pages: &mut Pages, out: &mut Output) -> Result<(), Fault> {
    let mut table = Table::new([right("SIZE"), right("REPLICAS"), left("STATE"), left("PIN"), left("KEY")]);
    let mut listed = 0;
    while let Some(page) = pages.next(client).await? {
        listed += page.keys.len();
        page.keys.iter().for_each(|info| table.row(row(info)));
        out.table(&mut table)?;
        // A reader that is there sees that something comes; one that has gone ends the list.
        out.flush()?;
    }
    if !pages.is_over {
        out.hint(&format!("{listed} keys; there may be more: --limit N, or --all"))?;
    }
    Ok(())
}

fn row(info: &KeyInfo) -> [String; 5] {
    [
        words::size(info.size),
        info.replicas.to_string(),
        state(info).to_owned(),
        json::pin(info.pin).to_owned(),
        words::key(&info.key),
    ]
}

fn state(info: &KeyInfo) -> &'static str {
    if info.complete { "complete" } else { "unfinished" }
}

/// One document, written key by key. What is refused at once leaves stdout empty.
async fn as_json(client: &Client, pages: &mut Pages, out: &mut Output) -> Result<(), Fault> {
    let mut page = pages.next(client).await?;
    let mut position = None;
    let mut separator = "\n";
    write!(out.raw(), "{{\n  \"keys\": [")?;
    while let Some(KeyPage { position: at, keys, .. }) = page {
        position = Some(at);
        for info in &keys {
            write!(out.raw(), "{separator}    {}", key_json(info))?;
            separator = ",\n";
        }
        out.flush()?;
        page = pages.next(client).await?;
    }
    let position = position.map(json::position).unwrap_or_default();
    writeln!(out.raw(), "\n  ],\n  \"more\": {},\n  \"position\": {position}\n}}", !pages.is_over)?;
    Ok(())
}

fn key_json(info: &KeyInfo) -> Value {
    json!({
        "key": json::key(&info.key),
        "size": info.size,
        "replicas": info.replicas,
        "complete": info.complete,
        "pin": json::pin(info.pin),
    })
}
