//! `kv get` and `kv exists`.

use std::time::Instant;

use client::Object;
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::metadata::kv::keys::{self, KeysArg};
use crate::metadata::kv::put::place;
use crate::output::Output;
use crate::table::{Table, left, right};
use crate::{json, words};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    keys: KeysArg,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ExistsArgs {
    #[command(flatten)]
    keys: KeysArg,
}

pub(crate) async fn get(connect: &Connect, args: &GetArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let keys = args.keys.bytes()?;
    let client = connect.client().await?;
    let answer = client.get_replicas(&keys).await?;
    if out.is_json() {
        out.document(&json!({
            "position": json::position(answer.position),
            "leased_ms": json::millis_until(answer.leased_until),
            "results": keys::items(&keys, &answer.results, object),
        }))?;
    } else if answer.results.iter().any(Result::is_ok) {
        out.table(&mut object_table(&keys, &answer.results))?;
        out.hint(&leased(answer.leased_until))?;
    }
    Ok(out.refusals(&keys::refusals(&keys, &answer.results))?)
}

fn object(object: &Object) -> Value {
    json!({
        "size": object.size,
        "checksum": object.checksum.map(json::wide),
        "replicas": json::replicas(&object.replicas),
    })
}

/// A line for each replica; what is said of the object stands in the first one.
fn object_table(keys: &[Vec<u8>], results: &[Result<Object, client::Refused>]) -> Table {
    let columns = [
        left("KEY"),
        right("SIZE"),
        left("CHECKSUM"),
        left("SEGMENT"),
        left("KIND"),
        left("HOST"),
        left("ENDPOINT"),
        left("AT"),
    ];
    let mut table = Table::new(columns);
    let found = keys.iter().zip(results).filter_map(|(key, result)| Some((key, result.as_ref().ok()?)));
    for (key, object) in found {
        for (at, replica) in object.replicas.iter().enumerate() {
            let once = |text: String| if at == 0 { text } else { String::new() };
            table.row([
                once(words::key(key)),
                once(words::size(object.size)),
                once(object.checksum.map_or_else(|| "-".to_owned(), |checksum| format!("{checksum:#x}"))),
                replica.segment.name.clone(),
                json::kind(replica.segment.kind).to_owned(),
                replica.segment.host.clone(),
                replica.segment.endpoint.clone(),
                place(replica),
            ]);
        }
    }
    table
}

fn leased(until: Instant) -> String {
    format!("what was found stays there for {}", words::time(until.saturating_duration_since(Instant::now())))
}

pub(crate) async fn exists(connect: &Connect, args: &ExistsArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let keys = args.keys.bytes()?;
    let client = connect.client().await?;
    let answer = client.exists(&keys).await?;
    let pairs = || keys.iter().zip(&answer.exists);
    if out.is_json() {
        let result = |(key, exists): (&Vec<u8>, &bool)| json!({ "key": json::key(key), "exists": exists });
        out.document(&json!({
            "position": json::position(answer.position),
            "leased_ms": json::millis_until(answer.leased_until),
            "results": pairs().map(result).collect::<Value>(),
        }))?;
    } else {
        let mut table = Table::new([left("EXISTS"), left("KEY")]);
        pairs().for_each(|(key, exists)| table.row([if *exists { "yes" } else { "no" }.to_owned(), words::key(key)]));
        out.table(&mut table)?;
    }
    Ok(if answer.exists.iter().all(|exists| *exists) { Verdict::Yes } else { Verdict::No })
}
