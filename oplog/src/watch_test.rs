//! Tests: exactly the right waiters wake, none is forgotten, and places come back.

use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::Wake;
use std::thread;
use std::time::Duration;

use super::*;

/// After this long a wake counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts how often it is woken.
#[derive(Default)]
pub(super) struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    pub(super) fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

pub(super) fn poll_with<W: Deref<Target = SeqWatch> + Unpin>(
    wait: &mut Waiting<W>,
    bell: &Arc<Bell>,
) -> Poll<Result<(), WaitError>> {
    let waker = Waker::from(Arc::clone(bell));
    Pin::new(wait).poll(&mut Context::from_waker(&waker))
}

/// Wakes a thread that blocks on a future.
struct Doorbell(SyncSender<()>);

impl Wake for Doorbell {
    fn wake(self: Arc<Self>) {
        // Full: it has been rung already.
        let _rung = self.0.try_send(());
    }
}

/// Polls only when woken: a lost wake is a panic.
fn block_on(mut future: impl Future<Output = Result<(), WaitError>> + Unpin) -> Result<(), WaitError> {
    let (sender, woken): (_, Receiver<()>) = sync_channel(1);
    let waker = Waker::from(Arc::new(Doorbell(sender)));
    loop {
        if let Poll::Ready(out) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return out;
        }
        woken.recv_timeout(PATIENCE).expect("a wake was lost");
    }
}

#[test]
fn a_reached_seq_is_ready_at_once_and_takes_no_place() {
    let watch = SeqWatch::new(10, 0);
    let bell = Arc::default();
    assert_eq!(poll_with(&mut watch.wait(10), &bell), Poll::Ready(Ok(())));
    assert_eq!(poll_with(&mut watch.wait(0), &bell), Poll::Ready(Ok(())));
    assert_eq!((watch.get(), watch.waiters()), (10, 0));
}

#[test]
fn only_reached_waiters_wake() {
    let watch = SeqWatch::new(0, 100);
    let bells: Vec<Arc<Bell>> = (0..10).map(|_| Arc::default()).collect();
    let mut waits: Vec<_> = (1..=10).map(|seq| watch.wait(seq)).collect();
    for (wait, bell) in waits.iter_mut().zip(&bells) {
        assert_eq!(poll_with(wait, bell), Poll::Pending);
    }
    for (to, rung) in [(1, 1), (1, 1), (0, 1), (4, 4), (3, 4), (10, 10), (11, 10)] {
        watch.advance(to);
        let counts: Vec<_> = bells.iter().map(|bell| bell.rung()).collect();
        let expected: Vec<_> = (0..10).map(|i| usize::from(i < rung)).collect();
        assert_eq!(counts, expected, "after an advance to {to}");
        assert_eq!(watch.waiters(), 10 - rung);
    }
    assert_eq!(watch.get(), 11);
    assert!(waits.iter_mut().zip(&bells).all(|(wait, bell)| poll_with(wait, bell) == Poll::Ready(Ok(()))));
}

#[test]
fn more_waiters_than_a_batch_all_wake_once() {
    let watch = SeqWatch::new(0, 10 * WAKE_BATCH);
    let bell: Arc<Bell> = Arc::default();
    let mut waits: Vec<_> = (0..5 * WAKE_BATCH + 1).map(|i| watch.wait(1 + i as u64 % 2)).collect();
    let pending = waits.iter_mut().all(|wait| poll_with(wait, &bell).is_pending());
    assert!(pending);
    watch.advance(2);
    assert_eq!((bell.rung(), watch.waiters()), (5 * WAKE_BATCH + 1, 0));
}

#[test]
fn places_are_bounded_and_a_dropped_future_gives_its_own_back() {
    let watch = SeqWatch::new(0, 2);
    let bell = Arc::default();
    let (mut one, mut two, mut three) = (watch.wait(5), watch.wait(5), watch.wait(6));
    assert!(poll_with(&mut one, &bell).is_pending() && poll_with(&mut two, &bell).is_pending());
    let bound = Bound::Waiters { max: 2 };
    let overloaded = WaitError::Overloaded(Overloaded { retry_after_ms: RETRY_AFTER_MS, bound });
    assert_eq!(poll_with(&mut three, &bell), Poll::Ready(Err(overloaded)));
    assert!(poll_with(&mut two, &bell).is_pending(), "a waiter keeps its place");
    drop(one);
    assert_eq!(watch.waiters(), 1);
    let mut four = watch.wait(7);
    assert!(poll_with(&mut four, &bell).is_pending());
    drop(two);
    drop(four);
    assert_eq!(watch.waiters(), 0);
    watch.advance(9);
    assert_eq!(bell.rung(), 0, "no waiter is left");
}

#[test]
fn a_future_that_was_never_polled_holds_nothing() {
    let watch = SeqWatch::new(0, 1);
    let _idle: Vec<_> = (1..10).map(|seq| watch.wait(seq)).collect();
    assert_eq!(watch.waiters(), 0);
}

#[test]
fn only_the_newest_waker_of_a_future_is_woken() {
    let watch = SeqWatch::new(0, 1);
    let (old, new) = (Arc::default(), Arc::default());
    let mut wait = watch.wait(1);
    assert!(poll_with(&mut wait, &old).is_pending() && poll_with(&mut wait, &new).is_pending());
    watch.advance(1);
    assert_eq!((old.rung(), new.rung()), (0, 1));
}

#[test]
fn close_answers_every_waiter_that_is_not_reached() {
    let watch = SeqWatch::new(3, 10);
    let bell = Arc::default();
    let (mut waiting, mut reached) = (watch.wait(5), watch.wait(4));
    assert!(poll_with(&mut waiting, &bell).is_pending() && poll_with(&mut reached, &bell).is_pending());
    watch.advance(4);
    let why = CloseReason::Deposed { epoch: 7 };
    watch.close(why);
    watch.close(CloseReason::ShuttingDown);
    assert_eq!((watch.closed(), watch.waiters(), bell.rung()), (Some(why), 0, 2));
    assert_eq!(poll_with(&mut waiting, &bell), Poll::Ready(Err(WaitError::Closed(why))));
    assert_eq!(poll_with(&mut reached, &bell), Poll::Ready(Ok(())));
    assert_eq!(poll_with(&mut watch.wait(9), &bell), Poll::Ready(Err(WaitError::Closed(why))));
    assert_eq!(poll_with(&mut watch.wait(2), &bell), Poll::Ready(Ok(())));
    assert_eq!(WaitError::Closed(why).to_string(), "closed: this node is no longer the primary: epoch 7 has begun");
}

/// Reads the watch from within the wake: with the lock held this would never return.
struct Nosy(Arc<SeqWatch>, AtomicUsize);

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        self.1.store(1 + self.0.waiters(), Ordering::SeqCst);
    }
}

#[test]
fn wakers_run_without_the_lock() {
    let watch = Arc::new(SeqWatch::new(0, 4));
    for close in [false, true] {
        let nosy = Arc::new(Nosy(Arc::clone(&watch), AtomicUsize::new(0)));
        let mut wait = Arc::clone(&watch).wait_owned(watch.get() + 1);
        let waker = Waker::from(Arc::clone(&nosy));
        assert!(Pin::new(&mut wait).poll(&mut Context::from_waker(&waker)).is_pending());
        if close {
            watch.close(CloseReason::ShuttingDown);
        } else {
            watch.advance(1);
        }
        assert_eq!(nosy.1.load(Ordering::SeqCst), 1);
    }
}

/// Acts between a poll's read of the seq and its entry, where an advance could be missed.
struct Meddling<'a> {
    watch: &'a SeqWatch,
    looks: AtomicUsize,
    act: fn(&SeqWatch),
}

impl Deref for Meddling<'_> {
    type Target = SeqWatch;

    fn deref(&self) -> &SeqWatch {
        if self.looks.fetch_add(1, Ordering::SeqCst) == 1 {
            (self.act)(self.watch);
        }
        self.watch
    }
}

#[test]
fn an_advance_between_look_and_entry_is_seen() {
    let acts: [fn(&SeqWatch); 2] = [
        |watch| watch.advance(1),
        |watch| {
            watch.advance(1);
            watch.close(CloseReason::ShuttingDown);
        },
    ];
    for act in acts {
        let watch = SeqWatch::new(0, 1);
        let meddling = Meddling { watch: &watch, looks: AtomicUsize::new(0), act };
        let mut wait = Waiting { watch: meddling, seq: 1, id: None };
        assert_eq!(poll_with(&mut wait, &Arc::default()), Poll::Ready(Ok(())));
        assert_eq!((wait.watch.looks.load(Ordering::SeqCst), watch.waiters()), (2, 0));
    }
}

#[test]
fn many_threads_wait_while_others_advance_and_no_wake_is_lost() {
    const UPTO: u64 = 3000;
    let watch = Arc::new(SeqWatch::new(0, 1000));
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..8)
            .map(|lane| {
                let watch = Arc::clone(&watch);
                scope.spawn(move || {
                    for seq in (1 + lane..=UPTO).step_by(3) {
                        block_on(Arc::clone(&watch).wait_owned(seq)).expect("not closed");
                        assert!(watch.get() >= seq);
                    }
                })
            })
            .collect();
        for _ in 0..2 {
            scope.spawn(|| {
                for seq in 1..=UPTO {
                    watch.advance(seq);
                    if seq % 7 == 0 {
                        thread::yield_now();
                    }
                }
            });
        }
        for waiter in waiters {
            waiter.join().expect("every wait comes back");
        }
    });
    assert_eq!((watch.get(), watch.waiters()), (UPTO, 0));
}

/// One waiter steps together with the advances, so each of its registrations races with one.
#[test]
fn a_wait_that_meets_its_advance_is_not_lost() {
    let (ping, pong) = (SeqWatch::new(0, 1), SeqWatch::new(0, 1));
    thread::scope(|scope| {
        scope.spawn(|| {
            for seq in 1..=20_000 {
                block_on(ping.wait(seq)).expect("not closed");
                pong.advance(seq);
            }
        });
        for seq in 1..=20_000 {
            ping.advance(seq);
            block_on(pong.wait(seq)).expect("not closed");
        }
    });
}

#[test]
fn close_reaches_waiters_on_other_threads() {
    let watch = SeqWatch::new(0, 100);
    thread::scope(|scope| {
        let waiters: Vec<_> = (1..20)
            .map(|seq| {
                scope.spawn({
                    let watch = &watch;
                    move || block_on(watch.wait(seq))
                })
            })
            .collect();
        while watch.waiters() < 19 {
            thread::yield_now();
        }
        watch.close(CloseReason::ShuttingDown);
        for waiter in waiters {
            assert_eq!(waiter.join().expect("no panic"), Err(WaitError::Closed(CloseReason::ShuttingDown)));
        }
    });
}

#[test]
fn waits_may_move_between_threads() {
    fn movable<T: Send>(value: T) -> T {
        value
    }
    let watch = Arc::new(SeqWatch::new(1, 1));
    assert_eq!(block_on(movable(watch.wait(1))), Ok(()));
    assert_eq!(block_on(movable(Arc::clone(&watch).wait_owned(1))), Ok(()));
}

#[test]
fn release_ends_present_waiters_only() {
    let (watch, bell) = (SeqWatch::new(5, 10), Arc::new(Bell::default()));
    let mut early = watch.wait(7);
    assert!(poll_with(&mut early, &bell).is_pending());
    let mut late = watch.wait(7);
    watch.release(CloseReason::NoTenure);
    assert_eq!(bell.rung(), 1);
    assert_eq!(poll_with(&mut early, &bell), Poll::Ready(Err(WaitError::Closed(CloseReason::NoTenure))));
    assert!(poll_with(&mut late, &bell).is_pending(), "it was not waiting yet");
    assert_eq!((watch.waiters(), watch.closed()), (1, None));
    watch.advance(7);
    assert_eq!(poll_with(&mut late, &bell), Poll::Ready(Ok(())));

    let mut reached = watch.wait(8);
    assert!(poll_with(&mut reached, &bell).is_pending());
    watch.release(CloseReason::NoTenure);
    watch.advance(8);
    assert_eq!(poll_with(&mut reached, &bell), Poll::Ready(Ok(())), "a reached seq is a fact");
}
