//! `understudy tenants`: who uses how much, how much they may use, and the end of a tenant.

use std::process::ExitCode;

use client::Tenant;
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::output::Output;
use crate::table::{Table, left, right};
use crate::{json, words};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List tenants (also without a command).
    Ls,
    /// Limit what a tenant may hold. What is there already stays.
    SetQuota(QuotaArgs),
    /// Delete a tenant that is empty, with its quota. `kv rm --all --force --tenant NAME` empties it.
    Delete(DeleteArgs),
}

#[derive(Clone, Debug, clap::Args)]
struct DeleteArgs {
    /// The tenant; the default one cannot be deleted.
    name: String,
}

#[derive(Clone, Debug, clap::Args)]
struct QuotaArgs {
    /// The tenant, made if it is new; "" is the default one.
    name: String,
    /// Bytes, e.g. 512MiB, 10GiB; or `none`.
    #[arg(value_name = "SIZE|none")]
    quota: String,
}

pub(super) fn run(args: &Args) -> ExitCode {
    let connect = &args.connect;
    connect.run(async |out| match &args.command {
        None | Some(Command::Ls) => list(connect, out).await,
        Some(Command::SetQuota(args)) => set_quota(connect, args, out).await,
        Some(Command::Delete(args)) => delete(connect, &args.name, out).await,
    })
}

async fn list(connect: &Connect, out: &mut Output) -> Result<Verdict, Fault> {
    let mut tenants = connect.client().await?.list_tenants().await?;
    tenants.sort_by(|one, other| one.name.cmp(&other.name));
    if out.is_json() {
        out.document(&json!({ "tenants": tenants.iter().map(tenant_json).collect::<Value>() }))?;
        return Ok(Verdict::Yes);
    }
    let mut table = Table::new([right("OBJECTS"), right("USED"), right("QUOTA"), right("USED %"), left("NAME")]);
    for tenant in &tenants {
        table.row([
            words::count(tenant.objects),
            words::size(tenant.used_bytes),
            tenant.quota_bytes.map_or_else(|| "-".to_owned(), words::size),
            tenant.quota_bytes.map_or_else(|| "-".to_owned(), |quota| words::percent(tenant.used_bytes, quota)),
            shown(&tenant.name),
        ]);
    }
    out.table(&mut table)?;
    Ok(Verdict::Yes)
}

fn shown(name: &str) -> String {
    if name.is_empty() { "(default)".to_owned() } else { name.to_owned() }
}

fn tenant_json(tenant: &Tenant) -> Value {
    json!({
        "name": tenant.name,
        "objects": tenant.objects,
        "used_bytes": tenant.used_bytes,
        "quota_bytes": tenant.quota_bytes,
    })
}

async fn set_quota(connect: &Connect, args: &QuotaArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let quota = match args.quota.as_str() {
        "none" => None,
        size => {
            let wrong = |wrong| Fault::usage(wrong, "Say `none` for no limit.");
            Some(words::parse_size(size).map_err(wrong)?)
        }
    };
    let position = connect.client().await?.set_tenant_quota(&args.name, quota).await?;
    if out.is_json() {
        let position = json::position(position);
        out.document(&json!({ "position": position, "name": args.name, "quota_bytes": quota }))?;
        return Ok(Verdict::Yes);
    }
    let name = words::plain(&shown(&args.name)).into_owned();
    out.line(&match quota {
        Some(quota) => format!("{name} may hold {}", words::size(quota)),
        None => format!("{name} has no quota"),
    })?;
    Ok(Verdict::Yes)
}

async fn delete(connect: &Connect, name: &str, out: &mut Output) -> Result<Verdict, Fault> {
    if name.is_empty() {
        return Err(Fault::usage("the default tenant cannot be deleted", "Name another one."));
    }
    let position = connect.client().await?.delete_tenant(name).await?;
    if out.is_json() {
        out.document(&json!({ "position": json::position(position), "name": name, "deleted": true }))?;
        return Ok(Verdict::Yes);
    }
    out.line(&format!("{} is deleted", words::plain(name)))?;
    Ok(Verdict::Yes)
}
