//! A short run of chaos with a fixed seed: what `./x chaos` does for half an hour must work at all.

use std::sync::Arc;

use chaos::{Options, Story, run};
use clap::Parser as _;
use parking_lot::Mutex;
use tokio::sync::watch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_of_a_few_seconds_finds_nothing() {
    let words = ["chaos", "--minutes", "0.2", "--round", "6", "--seed", "11", "--members", "3"];
    let options = Options::parse_from(words);
    let (story, (_stop, stopped)) = (Arc::new(Mutex::new(Story::default())), watch::channel(false));
    run(options, 11, Arc::clone(&story), stopped).await;
    let story = story.lock();
    println!("{}", story.summary());
    assert!(story.is_clean(), "{:#?}", story.violations());
    assert!(story.is_told(), "a run without faults or without changes shows nothing: {}", story.summary());
}
