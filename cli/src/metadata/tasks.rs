//! `understudy tasks`: copies and moves that storage clients are asked to make.

use std::process::ExitCode;

use client::{NewTask, Task, TaskKind, TaskState};
use serde_json::{Value, json};

use crate::connect::Connect;
use crate::fault::{Fault, Verdict};
use crate::metadata::kv::KeyArg;
use crate::output::Output;
use crate::table::{Table, left, right};
use crate::{json, words};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List tasks, also those that ended a while ago (also without a command).
    Ls(ListArgs),
    /// Ask for a copy or a move. It goes to a client that holds the source.
    Create(CreateArgs),
}

#[derive(Clone, Debug, Default, clap::Args)]
struct ListArgs {
    /// Tasks by id [default: all that are kept].
    ids: Vec<u64>,
}

#[derive(Clone, Debug, clap::Args)]
struct CreateArgs {
    /// What is to be done.
    #[arg(value_enum)]
    kind: Kind,
    #[command(flatten)]
    key: KeyArg,
    /// Segments to write to; exactly one for a move.
    #[arg(long, value_name = "SEGMENT", required = true, num_args = 1.., value_delimiter = ',')]
    to: Vec<String>,
    /// Segment to read from [default: any that has a complete replica].
    #[arg(long, value_name = "SEGMENT", default_value = "", hide_default_value = true)]
    from: String,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Copy,
    Move,
}

impl From<Kind> for TaskKind {
    fn from(kind: Kind) -> TaskKind {
        match kind {
            Kind::Copy => TaskKind::Copy,
            Kind::Move => TaskKind::Move,
        }
    }
}

pub(super) fn run(args: &Args) -> ExitCode {
    let connect = &args.connect;
    connect.run(async |out| match &args.command {
        None => list(connect, &ListArgs::default(), out).await,
        Some(Command::Ls(args)) => list(connect, args, out).await,
        Some(Command::Create(args)) => create(connect, args, out).await,
    })
}

async fn list(connect: &Connect, args: &ListArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let list = connect.client().await?.list_tasks(&args.ids).await?;
    let missing: Vec<_> = args.ids.iter().filter(|id| list.tasks.iter().all(|task| task.task_id != **id)).collect();
    if out.is_json() {
        let tasks: Value = list.tasks.iter().map(task_json).collect();
        out.document(&json!({ "position": json::position(list.position), "tasks": tasks }))?;
    } else {
        out.table(&mut task_table(&list.tasks))?;
    }
    if missing.is_empty() {
        return Ok(Verdict::Yes);
    }
    let message =
        format!("no task is kept under {}", missing.iter().map(|id| id.to_string()).collect::<Vec<_>>().join(", "));
    Err(Fault::new("TASK_NOT_FOUND", message, "It may have ended long ago: look at the object."))
}

fn task_table(tasks: &[Task]) -> Table {
    let columns = [
        right("ID"),
        left("KIND"),
        left("STATE"),
        left("FROM"),
        left("TO"),
        left("ASSIGNED TO"),
        left("TENANT"),
        left("KEY"),
        left("MESSAGE"),
    ];
    let mut table = Table::new(columns);
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    for task in tasks {
        table.row([
            task.task_id.to_string(),
            kind(task.kind).to_owned(),
            state(task.state).to_owned(),
            or_dash(&task.source_segment),
            task.target_segments.join(","),
            task.assigned_to.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            or_dash(&task.tenant),
            words::key(&task.key),
            or_dash(&task.message),
        ]);
    }
    table
}

fn kind(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Copy => "copy",
        TaskKind::Move => "move",
    }
}

fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::Waiting => "waiting",
        TaskState::Assigned => "assigned",
        TaskState::Done => "done",
        TaskState::Failed => "failed",
    }
}

fn task_json(task: &Task) -> Value {
    json!({
        "task_id": task.task_id,
        "kind": kind(task.kind),
        "state": state(task.state),
        "tenant": task.tenant,
        "key": json::key(&task.key),
        "source_segment": task.source_segment,
        "target_segments": task.target_segments,
        "assigned_to": task.assigned_to.map(|id| id.to_string()),
        "message": task.message,
    })
}

async fn create(connect: &Connect, args: &CreateArgs, out: &mut Output) -> Result<Verdict, Fault> {
    let key = args.key.bytes()?;
    let task = NewTask {
        kind: args.kind.into(),
        key: key.clone().into(),
        source_segment: args.from.clone(),
        target_segments: args.to.clone(),
    };
    let mut answer = connect.client().await?.create_tasks(&[task]).await?;
    let task_id = answer.results.remove(0)?;
    if out.is_json() {
        let position = json::position(answer.position);
        out.document(&json!({ "position": position, "key": json::key(&key), "task_id": task_id }))?;
        return Ok(Verdict::Yes);
    }
    out.line(&format!("task {task_id} is created: a client that holds {} will fetch it", words::key(&key)))?;
    out.line(&format!("  {}", connect.command(&format!("tasks ls {task_id}"))))?;
    Ok(Verdict::Yes)
}
