//! What a demo client does with its tasks: it goes through the steps of each copy and move, without any bytes.
//!
//! Invariant: a task that was fetched is completed, as done or as failed with the reason.

use std::time::Duration;

use client::{Client, CopyStartItem, Error, MoveStartItem, Task, TaskKind, TaskResult, TransferFinishItem};

/// Between two questions whether there is something to do.
const ASK: Duration = Duration::from_millis(500);

/// Runs until it is dropped.
pub(super) async fn carry_out_tasks(client: Client) {
    loop {
        tokio::time::sleep(ASK).await;
        // What can't be reached now is asked again.
        if client.heartbeat().await.is_ok_and(|heard| heard.tasks_waiting)
            && let Err(error) = fetch_and_carry_out(&client).await
        {
            tracing::warn!("demo client: {error}");
        }
    }
}

async fn fetch_and_carry_out(client: &Client) -> Result<(), Error> {
    for task in client.fetch_tasks(0).await?.tasks {
        let failed = carry_out(client, &task).await.err().map(|error| error.to_string());
        client.complete_tasks(&[TaskResult { task_id: task.task_id, failed }]).await?.all()?;
    }
    Ok(())
}

async fn carry_out(client: &Client, task: &Task) -> Result<(), Error> {
    let client = client.with_tenant(&task.tenant)?;
    let key = || task.key.clone();
    let source_segment = task.source_segment.clone();
    let started = match task.kind {
        TaskKind::Copy => {
            let target_segments = task.target_segments.clone();
            client.copy_start(&[CopyStartItem { key: key(), source_segment, target_segments }]).await?
        }
        TaskKind::Move => {
            let target_segment = task.target_segments.concat();
            client.move_start(&[MoveStartItem { key: key(), source_segment, target_segment }]).await?
        }
    };
    let finish = started.all()?.into_iter().map(|started| {
        // Here a storage client copies the bytes.
        TransferFinishItem { key: key(), transfer_id: started.transfer_id }
    });
    let finish: Vec<_> = finish.collect();
    let finished = match task.kind {
        TaskKind::Copy => client.copy_end(&finish).await?,
        TaskKind::Move => client.move_end(&finish).await?,
    };
    finished.all()?;
    Ok(())
}
