//! `understudy segments`: list, mount, unmount.
//!
//! An unmount acts in the name of the client that has mounted the segment, since the master takes it from no other
//! client: it is a command for operators.

mod mount;

use std::process::ExitCode;
use std::time::Duration;

use client::{ClientId, SegmentId, SegmentState, SegmentStatus};
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::fault::{Fault, Told, Verdict};
use crate::output::Output;
use crate::table::{Table, left, right};
use crate::{json, words};

/// Digits of an id that are shown, and at least needed to name one.
const ID_DIGITS: usize = 8;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List segments (also without a command).
    Ls(ListArgs),
    /// Mount a segment and keep it until Ctrl-C, which unmounts it. For trying things out: no bytes are served.
    Mount(mount::Args),
    /// Unmount segments, in the name of the clients that have mounted them.
    Unmount(UnmountArgs),
}

#[derive(Clone, Debug, Default, clap::Args)]
struct ListArgs {
    /// Segments of this name.
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// Segments of this client.
    #[arg(long, value_name = "32 HEX DIGITS")]
    client: Option<ClientId>,
    /// Whole ids.
    #[arg(long)]
    full: bool,
}

#[derive(Clone, Debug, clap::Args)]
struct UnmountArgs {
    /// Names or ids; the beginning of an id will do.
    #[arg(value_name = "NAME|ID", required = true)]
    segments: Vec<String>,
    /// No new space from now on, and the unmount after this time.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = words::parse_time)]
    grace: Duration,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let connect = &args.connect;
    connect.run(async |out| match &args.command {
        None => list(connect, &ListArgs::default(), out).await,
        Some(Command::Ls(args)) => list(connect, args, out).await,
        Some(Command::Mount(args)) => mount::mount(connect, args, out).await,
        Some(Command::Unmount(args)) => unmount(connect, args, out).await,
    })
}

async fn list(connect: &Connect, args: &ListArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let client = connect.client().await?;
    let mut list = client.list_segments(args.client, &args.name).await?;
    list.segments
        .sort_by(|one, other| (&one.segment.name, one.segment.id).cmp(&(&other.segment.name, other.segment.id)));
    if out.is_json() {
        let segments: Value = list.segments.iter().map(segment_json).collect();
        out.document(&json!({ "position": json::position(list.position), "segments": segments }))?;
        return Ok(Verdict::Yes);
    }
    let columns = [
        left("NAME"),
        left("KIND"),
        left("STATE"),
        right("SIZE"),
        right("USED"),
        right("OBJECTS"),
        left("HOST"),
        left("ENDPOINT"),
        left("CLIENT"),
        left("ID"),
    ];
    let mut table = Table::new(columns);
    for status in &list.segments {
        let id = |id: String| if args.full { id } else { id[..ID_DIGITS].to_owned() };
        table.row([
            status.segment.name.clone(),
            json::kind(status.segment.kind).to_owned(),
            state(status.state).to_owned(),
            words::size(status.segment.size),
            words::percent(status.used_bytes, status.segment.size),
            words::count(status.objects),
            or_dash(&status.segment.host),
            or_dash(&status.segment.endpoint),
            id(status.client_id.to_string()),
            id(status.segment.id.to_string()),
        ]);
    }
    out.table(&mut table)?;
    if list.segments.is_empty() {
        out.hint(&format!("no segment is mounted; to try one: {}", connect.command("segments mount --size 1GiB")))?;
    }
    Ok(Verdict::Yes)
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn state(state: SegmentState) -> &'static str {
    match state {
        SegmentState::Mounted => "mounted",
        SegmentState::Draining => "draining",
        SegmentState::Unmounting => "unmounting",
    }
}

fn segment_json(status: &SegmentStatus) -> Value {
    let mut value = mount::described(&status.segment);
    value["client_id"] = status.client_id.to_string().into();
    value["state"] = state(status.state).into();
    value["used_bytes"] = status.used_bytes.into();
    value["objects"] = status.objects.into();
    value["retired_bytes"] = status.retired_bytes.into();
    value
}

async fn unmount(connect: &Connect, args: &UnmountArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let client = connect.client().await?;
    let mounted = client.list_segments(None, "").await?.segments;
    // All names first: a typing error unmounts nothing.
    let chosen = args.segments.iter().map(|wanted| choose(wanted, &mounted)).collect::<Result<Vec<_>, _>>()?;
    let (mut refusals, mut results) = (Vec::new(), Vec::new());
    for segment in chosen {
        let owner = connect.client_as(segment.client_id).await?;
        let id = segment.segment.id;
        let name = &segment.segment.name;
        let result = owner.unmount_segments(&[id], args.grace).await?.results.remove(0);
        results.push(json::item(("id", id.to_string().into()), &result, |()| json!({ "name": name })));
        match &result {
            Err(refused) => refusals.push(Told::refused(name, refused)),
            Ok(()) if out.is_json() => {}
            Ok(()) if args.grace.is_zero() => out.line(&format!("unmounted {}", words::plain(name)))?,
            Ok(()) => out.line(&format!("{} drains: unmounted in {}", words::plain(name), words::time(args.grace)))?,
        }
    }
    if out.is_json() {
        out.document(&json!({ "results": results }))?;
    }
    Ok(out.refusals(&refusals)?)
}

/// The one segment that a name, an id or the beginning of one stands for.
fn choose<'a>(wanted: &str, mounted: &'a [SegmentStatus]) -> Result<&'a SegmentStatus, Fault> {
    let digits = wanted.replace('-', "").to_ascii_lowercase();
    let begins = |id: SegmentId| digits.len() >= 4 && id.to_string().replace('-', "").starts_with(&digits);
    let named: Vec<_> = mounted.iter().filter(|status| status.segment.name == wanted).collect();
    let found = match named.is_empty() {
        true => mounted.iter().filter(|status| begins(status.segment.id)).collect(),
        false => named,
    };
    match found[..] {
        [one] => Ok(one),
        [] => {
            let message = format!("no mounted segment has the name or the id {wanted:?}");
            Err(Fault::new("SEGMENT_NOT_FOUND", message, "`understudy segments` lists them all."))
        }
        _ => {
            let ids: Vec<String> = found.iter().map(|status| status.segment.id.to_string()).collect();
            let message = format!("{wanted:?} stands for {} segments: {}", ids.len(), ids.join(", "));
            Err(Fault::new("AMBIGUOUS", message, "Name one by its id."))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounted(name: &str, first_digit: u8) -> SegmentStatus {
        let mut segment = client::Segment::memory(name, 0, 1 << 20, "");
        segment.id = SegmentId([first_digit; 16]);
        let client_id = ClientId([1; 16]);
        let state = SegmentState::Mounted;
        SegmentStatus { segment, client_id, state, used_bytes: 0, objects: 0, retired_bytes: 0 }
    }

    fn reason(wanted: &str, mounted: &[SegmentStatus]) -> String {
        match choose(wanted, mounted) {
            Ok(one) => one.segment.id.to_string(),
            Err(Fault::Told(told)) => told.line(),
            Err(Fault::OutputClosed) => panic!("nothing was written"),
        }
    }

    #[test]
    fn segments_are_chosen_by_name_or_by_the_beginning_of_their_id() {
        let all = [mounted("a", 0xa1), mounted("b", 0xb2), mounted("b", 0xb3), mounted("a1a1", 0xc4)];
        assert!(reason("a", &all).starts_with("a1a1a1a1-"));
        assert!(reason("A1A1A1A1-a1", &all).starts_with("a1a1"));
        assert!(reason("a1a1", &all).starts_with("c4c4"), "a name comes before an id");
        assert!(reason("b2b2", &all).starts_with("b2b2"));
        let ambiguous = reason("b", &all);
        assert!(ambiguous.starts_with("AMBIGUOUS") && ambiguous.contains("b3b3b3b3-"), "{ambiguous}");
        for wanted in ["c", "b2b", "", "dddd"] {
            assert!(reason(wanted, &all).starts_with("SEGMENT_NOT_FOUND"), "{wanted}");
        }
    }
}
