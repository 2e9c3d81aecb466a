//! Tasks: copies and moves that one client asks for and another one makes.

use proto::v1;

use crate::answers::{Items, TaskList};
use crate::calls;
use crate::client::Client;
use crate::convert::{self, check_items, position};
use crate::error::Error;
use crate::items::{NewTask, TaskResult};

impl Client {
    /// Asks for copies and moves. The primary gives each to a client that holds the source. Returns
    /// their ids.
    pub async fn create_tasks(&self, tasks: &[NewTask]) -> Result<Items<u64>, Error> {
        check_items("items", tasks.len())?;
        let wire = |task: &NewTask| v1::CreateTaskItem {
            kind: task.kind as i32,
            key: task.key.clone(),
            source_segment: task.source_segment.clone(),
            target_segments: task.target_segments.clone(),
        };
        let request = |caller| {
            let items = tasks.iter().map(wire).collect();
            calls::CreateTask(v1::CreateTaskRequest { caller: Some(caller), items })
        };
        let answer = self.call(request).await?;
        let results = convert::results("CreateTask", tasks.len(), answer.results, |result| Ok(result.task_id))?;
        Ok(Items { position: position(answer.position), results })
    }

    /// Fetches tasks that wait for this client, at most `limit` (0: 100).
    pub async fn fetch_tasks(&self, limit: u32) -> Result<TaskList, Error> {
        check_items("limit", limit as usize)?;
        let answer =
            self.call(|caller| calls::FetchTasks(v1::FetchTasksRequest { caller: Some(caller), limit })).await?;
        Ok(TaskList { position: position(answer.position), tasks: convert::tasks("FetchTasks", answer.tasks)? })
    }

    /// Reports the results of tasks.
    pub async fn complete_tasks(&self, results: &[TaskResult]) -> Result<Items<()>, Error> {
        check_items("items", results.len())?;
        let wire = |result: &TaskResult| v1::CompleteTaskItem {
            task_id: result.task_id,
            failed: result.failed.is_some(),
            message: result.failed.clone().unwrap_or_default(),
        };
        let request = |caller| {
            let items = results.iter().map(wire).collect();
            calls::CompleteTask(v1::CompleteTaskRequest { caller: Some(caller), items })
        };
        let answer = self.call(request).await?;
        convert::items("CompleteTask", results.len(), answer.position, answer.results)
    }

    /// Lists tasks by their ids. An empty list asks for all that are kept.
    pub async fn list_tasks(&self, task_ids: &[u64]) -> Result<TaskList, Error> {
        check_items("task_ids", task_ids.len())?;
        let (mut tasks, mut after) = (Vec::new(), 0);
        loop {
            let request = v1::ListTasksRequest { task_ids: task_ids.to_vec(), after };
            let answer = self.call(|_| calls::ListTasks(request)).await?;
            tasks.extend(convert::tasks("ListTasks", answer.tasks)?);
            // A page without progress would be asked for without end.
            if answer.next_after <= after {
                return Ok(TaskList { position: position(answer.position), tasks });
            }
            after = answer.next_after;
        }
    }
}
