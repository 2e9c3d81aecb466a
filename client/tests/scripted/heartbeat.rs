//! Heartbeats, and remounts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proto::status;
use proto::v1::heartbeat_response::ClientState as Told;
use proto::v1::session_request::Call;
use proto::v1::session_response::Answer;
use proto::v1::{HeartbeatResponse, MountSegmentResponse, MountSegmentResult, Reason, RemountSegmentsRequest};
use tokio::sync::watch;
use understudy_client::{Client, ClientState, Heartbeat, Liveness, Mount, Options, Segment, Transport};

use crate::master::{Act, Master, eventually};

fn auto(master: &Master) -> Options {
    let mut options = master.options();
    options.heartbeat = Heartbeat::Auto;
    options.host = "here".into();
    options
}

/// Waits until the client's state is so, or fails.
async fn until(state: &mut watch::Receiver<ClientState>, is_so: impl FnMut(&ClientState) -> bool) -> ClientState {
    let waited = tokio::time::timeout(Duration::from_secs(10), state.wait_for(is_so)).await;
    *waited.expect("within 10 s").expect("the client lives")
}

fn heard(state: Told, tasks_waiting: bool) -> Act {
    let answer = HeartbeatResponse { state: state as i32, client_ttl_ms: 90, tasks_waiting, ..Default::default() };
    Act::AnswerWith(Box::new(Answer::Heartbeat(answer)))
}

#[tokio::test]
async fn heartbeat_goes_out_every_third_of_the_time_to_live() {
    for transport in [Transport::Session, Transport::Unary] {
        let master = Master::start(|_| heard(Told::Ok, true)).await;
        let mut options = auto(&master);
        options.transport = transport;
        let client = Client::connect(options).await.expect("the master listens");
        let mut state = client.state();
        until(&mut state, |state| state.liveness == Liveness::Alive && state.tasks_waiting).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        let beats = master.seen_of("Heartbeat");
        // 20 are due in 600 ms. A busy machine is late, never early.
        assert!((5..=23).contains(&beats.len()), "{} beats", beats.len());
        let Call::Heartbeat(beat) = &beats[0].call else { panic!("it is one") };
        assert_eq!(beat.host, "here");
    }
}

#[tokio::test]
async fn no_heartbeat_when_it_is_off() {
    let master = Master::start(|_| Act::Answer).await;
    let client = master.client().await;
    client.mount_segment(&Segment::memory("s", 4096, 4096, "h:1")).await.expect("mounted");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(master.seen_of("Heartbeat").is_empty());
    assert_eq!(client.state().borrow().liveness, Liveness::Unheard);
}

#[tokio::test]
async fn what_is_mounted_is_mounted_again_when_the_master_has_forgotten_it() {
    let forgets = Arc::new(AtomicBool::new(false));
    let forgetting = Arc::clone(&forgets);
    let master = Master::start(move |seen| match seen.name {
        "Heartbeat" if forgetting.swap(false, Ordering::Relaxed) => heard(Told::NeedsRemount, false),
        "Heartbeat" => heard(Told::Ok, false),
        "RemountSegments" => {
            let results = vec![MountSegmentResult::default(), MountSegmentResult { kept: true, refusal: None }];
            let answer = MountSegmentResponse { position: None, results };
            Act::AnswerWith(Box::new(Answer::MountSegment(answer)))
        }
        _ => Act::Answer,
    })
    .await;
    let client = Client::connect(auto(&master)).await.expect("the master listens");
    let segments = ["a", "b", "c"].map(|name| Segment::memory(name, 4096, 4096, "h:1"));
    client.mount_segments(&segments).await.expect("mounted");
    client.unmount_segments(&[segments[1].id], Duration::ZERO).await.expect("unmounted");
    forgets.store(true, Ordering::Relaxed);
    let mut state = client.state();
    let now = until(&mut state, |state| state.remounts == 1).await;
    assert_eq!((now.segments_emptied, now.segments_refused), (1, 0));
    let remounts = master.seen_of("RemountSegments");
    let Call::RemountSegments(asked) = &remounts[0].call else { panic!("it is one") };
    let mut names: Vec<_> = asked.segments.iter().map(|segment| segment.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "c"], "what was unmounted stays so");
    assert!(remounts[0].caller.request_number > 0);
    assert_eq!(remounts.len(), 1);
}

fn remounted(asked: &RemountSegmentsRequest, refusal: Option<Reason>) -> Act {
    let refusal = || refusal.map(|reason| status::refusal(reason, "says the test"));
    let results = asked.segments.iter().map(|_| MountSegmentResult { refusal: refusal(), kept: false });
    let answer = MountSegmentResponse { position: None, results: results.collect() };
    Act::AnswerWith(Box::new(Answer::MountSegment(answer)))
}

#[tokio::test]
async fn segment_that_is_refused_for_good_at_a_remount_is_asked_for_no_more_and_says_why() {
    let master = Master::start(move |seen| match &seen.call {
        Call::Heartbeat(_) => heard(Told::NeedsRemount, false),
        Call::RemountSegments(asked) => remounted(asked, Some(Reason::SegmentConflict)),
        _ => Act::Answer,
    })
    .await;
    let client = Client::connect(auto(&master)).await.expect("the master listens");
    let segment = Segment::memory("a", 4096, 4096, "h:1");
    client.mount_segment(&segment).await.expect("mounted");
    assert_eq!(client.segments()[0].mount, Mount::Mounted);
    let mut state = client.state();
    assert_eq!(until(&mut state, |state| state.segments_refused == 1 && state.remounts == 1).await.segments_waiting, 0);
    let [own] = &client.segments()[..] else { panic!("it is kept to be seen") };
    assert_eq!(own.segment, segment);
    assert!(matches!(&own.mount, Mount::GivenUp(why) if why.reason == Reason::SegmentConflict), "{own:?}");
    let before = master.seen_of("RemountSegments").len();
    eventually("it is asked again", || master.seen_of("RemountSegments").len() > before).await;
    let last = master.seen_of("RemountSegments").pop().expect("is there");
    let Call::RemountSegments(asked) = last.call else { panic!("it is one") };
    assert!(asked.segments.is_empty(), "an empty remount makes the client known");
    assert_eq!(state.borrow().remounts, 1, "and counts for nothing");
    client.unmount_segments(&[segment.id], Duration::ZERO).await.expect("answered");
    assert!(client.segments().is_empty(), "what is unmounted is gone from the list");
}

#[tokio::test]
async fn segment_that_cannot_be_mounted_again_yet_is_asked_for_until_it_can() {
    for passing in [Reason::SegmentBusy, Reason::Overloaded] {
        let forgets = Arc::new(AtomicBool::new(false));
        let forgetting = Arc::clone(&forgets);
        let busy = Arc::new(AtomicBool::new(true));
        let is_busy = Arc::clone(&busy);
        let master = Master::start(move |seen| match &seen.call {
            // It is known again after the first remount, whatever became of the segments.
            Call::Heartbeat(_) if forgetting.swap(false, Ordering::Relaxed) => heard(Told::NeedsRemount, false),
            Call::Heartbeat(_) => heard(Told::Ok, false),
            Call::RemountSegments(asked) => remounted(asked, is_busy.load(Ordering::Relaxed).then_some(passing)),
            _ => Act::Answer,
        })
        .await;
        let client = Client::connect(auto(&master)).await.expect("the master listens");
        client.mount_segment(&Segment::memory("a", 4096, 4096, "h:1")).await.expect("mounted");
        forgets.store(true, Ordering::Relaxed);
        let mut state = client.state();
        until(&mut state, |state| state.segments_waiting == 1).await;
        assert!(matches!(&client.segments()[0].mount, Mount::Waiting(why) if why.reason == passing));
        let before = master.seen_of("RemountSegments").len();
        eventually("it is asked again", || master.seen_of("RemountSegments").len() > before + 1).await;
        busy.store(false, Ordering::Relaxed);
        let now = until(&mut state, |state| state.segments_waiting == 0).await;
        assert_eq!(client.segments()[0].mount, Mount::Mounted);
        assert_eq!(now.segments_refused, 0);
        let last = master.seen_of("RemountSegments").len();
        let beats = master.seen_of("Heartbeat").len();
        eventually("heartbeats go on", || master.seen_of("Heartbeat").len() > beats + 2).await;
        assert_eq!(master.seen_of("RemountSegments").len(), last, "nothing is left to ask for");
        assert_eq!(now.segments_emptied, 1, "it came back empty, once");
    }
}

#[tokio::test]
async fn silent_master_shows_in_the_state_and_so_does_its_return() {
    let mut master = Master::start(|_| heard(Told::Ok, false)).await;
    let client = Client::connect(auto(&master)).await.expect("the master listens");
    let mut state = client.state();
    until(&mut state, |state| state.liveness == Liveness::Alive).await;
    master.kill();
    until(&mut state, |state| state.liveness == Liveness::Silent).await;
    master.restart().await;
    until(&mut state, |state| state.liveness == Liveness::Alive).await;
}

#[tokio::test]
async fn full_window_does_not_silence_the_client() {
    let master = Master::start(|seen| match seen.name {
        "Heartbeat" => heard(Told::Ok, false),
        _ => Act::Swallow,
    })
    .await;
    let mut options = auto(&master);
    options.window_calls = 1;
    let client = Client::connect(options).await.expect("the master listens");
    let holder = client.clone();
    let held = tokio::spawn(async move { holder.exists_one("a").await });
    eventually("the window is full", || master.seen_of("Exists").len() == 1).await;
    let before = master.seen_of("Heartbeat").len();
    eventually("heartbeats go on", || master.seen_of("Heartbeat").len() > before + 2).await;
    held.abort();
}
