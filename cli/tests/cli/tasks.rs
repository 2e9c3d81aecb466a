//! Tasks: one client asks for them, and a storage client runs them.

use client::TaskResult;
use serde_json::json;

use crate::world::World;

#[test]
fn task_is_created_listed_and_seen_to_its_end() {
    let world = World::with(&["a", "b"]);
    world.ok(&["kv", "put-start", "k", "--size", "1", "--preferred", "a"]);
    world.ok(&["kv", "put-end", "k"]);
    let created = world.ok(&["tasks", "create", "copy", "k", "--to", "b"]);
    assert!(created.starts_with("task ") && created.contains("tasks ls "), "{created}");
    let id = world.json(&["tasks", "create", "move", "k", "--from", "a", "--to", "b"])["task_id"].as_u64().unwrap();
    let tasks = world.json(&["tasks"])["tasks"].clone();
    let kinds = json!([tasks[0]["kind"], tasks[1]["kind"], tasks[0]["state"]]);
    assert_eq!(kinds, json!(["copy", "move", "waiting"]));

    world.sdk(async |client| {
        let tasks = client.fetch_tasks(0).await.unwrap().tasks;
        let failed = tasks.iter().map(|task| TaskResult { task_id: task.task_id, failed: Some("no\nroom".into()) });
        client.complete_tasks(&failed.collect::<Vec<_>>()).await.unwrap().all().unwrap();
    });
    let table = world.ok(&["tasks", "ls", &id.to_string()]);
    assert!(table.lines().count() == 2 && table.contains("failed") && table.contains(r"no\nroom"), "{table}");
    assert_eq!(world.json(&["tasks", "ls", &id.to_string()])["tasks"][0]["message"], "no\nroom");
}

#[test]
fn tasks_that_are_not_there_are_told() {
    let world = World::with(&["a"]);
    assert_eq!(world.ok(&["tasks"]).lines().count(), 1);
    assert_eq!(world.run(&["tasks", "ls", "7"]).fails(1, "TASK_NOT_FOUND").stdout.lines().count(), 1);
    world.run(&["tasks", "create", "copy", "missing", "--to", "a"]).fails(1, "NOT_FOUND");
    world.run(&["tasks", "create", "copy", "missing", "--to", "a", "--json"]).fails_json(1, "NOT_FOUND");
    assert_eq!(world.run(&["tasks", "create", "steal", "k", "--to", "a"]).code, Some(2));
}
