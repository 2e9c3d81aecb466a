//! Tests of the watch against a simple list of waiters.

use proptest::prelude::*;

use super::tests::{Bell, poll_with};
use super::*;

const PLACES: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Wait { seq: u64 },
    Poll { nth: usize },
    Drop { nth: usize },
    Advance { to: u64 },
    Close,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..40_u64).prop_map(|seq| Step::Wait { seq }),
        6 => any::<usize>().prop_map(|nth| Step::Poll { nth }),
        3 => any::<usize>().prop_map(|nth| Step::Drop { nth }),
        3 => (0..40_u64).prop_map(|to| Step::Advance { to }),
        1 => Just(Step::Close),
    ]
}

/// A future with what must be true of it.
struct Tracked<'a> {
    wait: Wait<'a>,
    seq: u64,
    bell: Arc<Bell>,
    entered: bool,
    wakes: usize,
}

proptest! {
    #[test]
    fn a_watch_does_what_a_simple_list_does(steps in proptest::collection::vec(steps(), 1..80)) {
        let watch = SeqWatch::new(0, PLACES);
        let mut waits: Vec<Tracked<'_>> = Vec::new();
        let (mut reached, mut closed) = (0, false);
        for step in steps {
            match step {
                Step::Wait { seq } => {
                    let bell = Arc::default();
                    waits.push(Tracked { wait: watch.wait(seq), seq, bell, entered: false, wakes: 0 });
                }
                Step::Poll { nth } if !waits.is_empty() => {
                    let nth = nth % waits.len();
                    let places = waits.iter().filter(|tracked| tracked.entered).count();
                    let tracked = &mut waits[nth];
                    let out = poll_with(&mut tracked.wait, &tracked.bell);
                    if tracked.seq <= reached {
                        prop_assert_eq!(out, Poll::Ready(Ok(())));
                    } else if closed {
                        prop_assert_eq!(out, Poll::Ready(Err(WaitError::Closed(CloseReason::ShuttingDown))));
                    } else if !tracked.entered && places == PLACES {
                        prop_assert!(matches!(out, Poll::Ready(Err(WaitError::Overloaded(_)))));
                    } else {
                        prop_assert!(out.is_pending());
                        tracked.entered = true;
                    }
                    if out.is_ready() {
                        waits.swap_remove(nth);
                    }
                }
                Step::Drop { nth } if !waits.is_empty() => {
                    let nth = nth % waits.len();
                    waits.swap_remove(nth);
                }
                Step::Poll { .. } | Step::Drop { .. } => {}
                Step::Advance { to } => {
                    watch.advance(to);
                    reached = reached.max(to);
                    for tracked in waits.iter_mut().filter(|tracked| tracked.entered && tracked.seq <= reached) {
                        tracked.entered = false;
                        tracked.wakes += 1;
                    }
                }
                Step::Close => {
                    watch.close(CloseReason::ShuttingDown);
                    closed = true;
                    for tracked in waits.iter_mut().filter(|tracked| tracked.entered) {
                        tracked.entered = false;
                        tracked.wakes += 1;
                    }
                }
            }
            prop_assert_eq!(watch.get(), reached);
            prop_assert_eq!(watch.waiters(), waits.iter().filter(|tracked| tracked.entered).count());
            for tracked in &waits {
                prop_assert_eq!(tracked.bell.rung(), tracked.wakes);
            }
        }
        drop(waits);
        prop_assert_eq!(watch.waiters(), 0);
    }
}
