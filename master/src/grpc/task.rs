//! CreateTask, FetchTasks, CompleteTask, ListTasks.

use bytes::Bytes;
use metadata::{TaskDone, TaskInfo, TaskSpec, TransferItem, TransferKind};
use proto::limits::{BATCH_ITEMS_MAX, FETCH_TASKS_DEFAULT, MESSAGE_BYTES_MAX, TASK_MESSAGE_BYTES_MAX};
use proto::status::over_limit;
use proto::v1::session_response::Answer;
use proto::v1::{
    CallError, CompleteTaskRequest, CompleteTaskResponse, CompleteTaskResult, CreateTaskItem, CreateTaskRequest,
    CreateTaskResponse, CreateTaskResult, FetchTasksRequest, FetchTasksResponse, ListTasksRequest, ListTasksResponse,
    Task, TaskKind, TaskState,
};

use crate::grpc::caller::{From, choice, mutating};
use crate::grpc::refuse;
use crate::grpc::reply::{Reply, position};
use crate::node::Node;

/// The largest task in an answer: key, source and targets, message, tenant, and the bytes in
/// between.
const TASK_BYTES_MAX: usize =
    metadata::KEY_BYTES_MAX + (2 + metadata::REPLICAS_MAX as usize + 1) * (metadata::TEXT_BYTES_MAX + 4) + 128;
/// The bytes of an answer beside its list.
const ANSWER_BYTES: usize = 1024;
/// This many fit into an answer whatever they are. A client that has fetched as many asks again.
const FETCHED_TASKS_MAX: usize = (MESSAGE_BYTES_MAX - 1024) / TASK_BYTES_MAX;

pub(crate) fn create(node: &Node, from: From, request: &CreateTaskRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let items = request.items.iter().enumerate().map(|(at, item)| spec(at, item));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let created = node.state().create_tasks(&call, &items).map_err(|refused| refuse::call(node, refused))?;
    let results = created.results.into_iter().map(|outcome| match outcome {
        Ok(task_id) => CreateTaskResult { refusal: None, task_id },
        Err(refusal) => CreateTaskResult { refusal: Some(refuse::item(refusal)), task_id: 0 },
    });
    let answer = CreateTaskResponse { position: position(created.position), results: results.collect() };
    Ok(Reply::mutates(Answer::CreateTask(answer), created.position))
}

fn spec(at: usize, item: &CreateTaskItem) -> Result<TaskSpec<'_>, CallError> {
    Ok(TaskSpec {
        kind: match choice(format_args!("items[{at}].kind"), item.kind)? {
            TaskKind::Copy => TransferKind::Copy,
            TaskKind::Move => TransferKind::Move,
        },
        transfer: TransferItem {
            key: &item.key,
            source: &item.source_segment,
            targets: item.target_segments.iter().map(String::as_str).collect(),
        },
    })
}

pub(crate) fn fetch(node: &Node, from: From, request: &FetchTasksRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    let limit = match request.limit as usize {
        0 => FETCH_TASKS_DEFAULT,
        limit if limit > BATCH_ITEMS_MAX => return Err(over_limit("limit", limit, BATCH_ITEMS_MAX, "tasks")),
        limit => limit.min(FETCHED_TASKS_MAX),
    };
    let fetched = node.state().fetch_tasks(&call, limit as u32).map_err(|refused| refuse::call(node, refused))?;
    let tasks = fetched.results.into_iter().map(task).collect();
    let answer = FetchTasksResponse { position: position(fetched.position), tasks };
    Ok(Reply::mutates(Answer::FetchTasks(answer), fetched.position))
}

pub(crate) fn complete(node: &Node, from: From, request: &CompleteTaskRequest) -> Result<Reply, CallError> {
    let call = mutating(node, from, &request.caller)?;
    for (at, item) in request.items.iter().enumerate() {
        if item.message.len() > TASK_MESSAGE_BYTES_MAX {
            let field = format_args!("items[{at}].message");
            return Err(over_limit(field, item.message.len(), TASK_MESSAGE_BYTES_MAX, "bytes"));
        }
    }
    let items = request.items.iter();
    let items: Vec<_> =
        items.map(|item| TaskDone { id: item.task_id, failed: item.failed, message: &item.message }).collect();
    let completed = node.state().complete_tasks(&call, &items).map_err(|refused| refuse::call(node, refused))?;
    let results =
        completed.results.into_iter().map(|outcome| CompleteTaskResult { refusal: refuse::refusal_of(outcome) });
    let answer = CompleteTaskResponse { position: position(completed.position), results: results.collect() };
    Ok(Reply::mutates(Answer::CompleteTask(answer), completed.position))
}

pub(crate) fn list(node: &Node, request: &ListTasksRequest) -> Result<Reply, CallError> {
    let ids = &request.task_ids;
    if ids.len() > BATCH_ITEMS_MAX {
        return Err(over_limit("task_ids", ids.len(), BATCH_ITEMS_MAX, "items"));
    }
    let listed = node.state().list_tasks(ids, request.after, MESSAGE_BYTES_MAX - ANSWER_BYTES);
    let metadata::TaskPage { tasks, next_after } = listed.results;
    let answer = ListTasksResponse {
        position: position(listed.position),
        tasks: tasks.into_iter().map(task).collect(),
        next_after: next_after.unwrap_or(0),
    };
    Ok(Reply::reads(Answer::ListTasks(answer), listed.position))
}

fn task(info: TaskInfo) -> Task {
    let TaskInfo { task, tenant } = info;
    Task {
        task_id: task.id,
        kind: match task.kind {
            TransferKind::Copy => TaskKind::Copy,
            TransferKind::Move => TaskKind::Move,
        } as i32,
        tenant,
        assigned_to: Bytes::copy_from_slice(&task.assignee().0),
        key: Bytes::from(task.key),
        source_segment: task.source_name,
        target_segments: task.targets,
        state: match task.state {
            metadata::TaskState::Waiting => TaskState::Waiting,
            metadata::TaskState::Assigned => TaskState::Assigned,
            metadata::TaskState::Done => TaskState::Done,
            metadata::TaskState::Failed => TaskState::Failed,
        } as i32,
        message: task.message,
    }
}
