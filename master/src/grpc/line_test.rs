//! Tests of which connection is called in which order, and that no place is lost.

use super::*;

/// Records that it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

struct Rung {
    bell: Arc<Bell>,
    woken: Arc<Woken>,
}

impl Rung {
    /// Polled once already.
    fn new(line: &Arc<Line>) -> Rung {
        let rung = Rung { bell: Bell::new(line), woken: Arc::default() };
        let turn = rung.begin();
        rung.quiet(&turn);
        rung.bell.is_new.store(false, Ordering::SeqCst);
        rung
    }

    fn begin(&self) -> Turn {
        self.bell.begin(&Waker::from(Arc::clone(&self.woken))).0
    }

    fn quiet(&self, turn: &Turn) {
        assert!(!self.bell.rang());
        self.bell.end(turn);
    }

    fn ring(&self) {
        self.bell.wake_by_ref();
    }

    /// Since the last check.
    fn is_called(&self) -> bool {
        self.woken.0.swap(false, Ordering::SeqCst)
    }

    fn has_taken(&self, ns: u64) {
        self.bell.taken_ns.store(ns, Ordering::SeqCst);
    }
}

#[test]
fn the_one_that_has_taken_least_is_called_first_and_only_when_there_is_a_place() {
    let line = Line::new(1);
    let [first, busy, polite] = [(); 3].map(|()| Rung::new(&line));
    busy.has_taken(1000);
    polite.has_taken(10);
    first.ring();
    busy.ring();
    polite.ring();
    assert!(first.is_called() && !busy.is_called() && !polite.is_called());
    first.quiet(&first.begin());
    assert!(polite.is_called() && !busy.is_called());
    polite.quiet(&polite.begin());
    assert!(busy.is_called());
}

#[test]
fn silence_earns_nothing() {
    let line = Line::new(1);
    let [running, busy, silent] = [(); 3].map(|()| Rung::new(&line));
    busy.has_taken(1000);
    busy.ring();
    let turn = busy.begin();
    running.ring();
    busy.quiet(&turn);
    // It was behind by 1000, and is lifted to the level of the one that was called.
    silent.ring();
    assert_eq!(silent.bell.taken_ns.load(Ordering::SeqCst), 1000);
}

#[test]
fn a_new_connection_is_not_called_before_those_that_wait() {
    let line = Line::new(1);
    let [running, polite, new] = [(); 3].map(|()| Rung::new(&line));
    new.bell.is_new.store(true, Ordering::SeqCst);
    polite.has_taken(TURN_NS_SHARED - 1);
    running.ring();
    new.ring();
    polite.ring();
    running.quiet(&running.begin());
    assert!(polite.is_called() && !new.is_called());
    polite.quiet(&polite.begin());
    assert!(new.is_called());
}

#[test]
fn a_turn_that_was_cut_goes_behind_those_that_wait() {
    let line = Line::new(1);
    let [long, other] = [(); 2].map(|()| Rung::new(&line));
    long.ring();
    let turn = long.begin();
    other.ring();
    assert!(!other.is_called());
    long.has_taken(5);
    assert!(long.is_called());
    long.bell.end_with_more(&turn);
    assert!(other.is_called() && !long.is_called());
    other.quiet(&other.begin());
    assert!(long.is_called());
}

#[test]
fn a_place_comes_back_however_its_connection_ends() {
    let line = Line::new(1);
    let [called, polled, waiting, last] = [(); 4].map(|()| Rung::new(&line));
    called.ring();
    polled.ring();
    waiting.ring();
    last.ring();
    called.bell.close(None);
    assert!(polled.is_called());
    let turn = polled.begin();
    // Its entry is skipped.
    waiting.bell.close(None);
    polled.bell.close(Some(&turn));
    assert!(last.is_called() && !waiting.is_called());
    last.quiet(&last.begin());
    assert_eq!((line.queue.lock().free, line.is_shared()), (1, false));
}

#[test]
fn a_poll_for_another_reason_takes_no_place_and_gives_none_back() {
    let line = Line::new(1);
    let [first, other] = [(); 2].map(|()| Rung::new(&line));
    first.ring();
    other.ring();
    other.quiet(&other.begin());
    first.quiet(&first.begin());
    assert_eq!((line.queue.lock().free, other.is_called()), (1, false));
    other.ring();
    assert!(other.is_called());
}

/// Many threads, few places: every connection that is rung is polled.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_ring_is_followed_by_a_poll() {
    let line = Line::new(2);
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let bell = Bell::new(&line);
            tokio::spawn(async move {
                let mut left = 400;
                std::future::poll_fn(move |cx| {
                    let (turn, _) = bell.begin(cx.waker());
                    left -= 1;
                    if left == 0 {
                        bell.close(Some(&turn));
                        return std::task::Poll::Ready(());
                    }
                    let ringer = Arc::clone(&bell);
                    tokio::spawn(async move { ringer.wake_by_ref() });
                    match left % 3 == 0 || bell.rang() {
                        true => bell.end_with_more(&turn),
                        false => bell.end(&turn),
                    }
                    std::task::Poll::Pending
                })
                .await;
            })
        })
        .collect();
    for task in tasks {
        let ended = tokio::time::timeout(std::time::Duration::from_secs(60), task).await;
        ended.expect("it is polled again").expect("it does not panic");
    }
    assert_eq!(line.queue.lock().free, 2);
}
