//! Many seeds, on as many threads as there are CPUs: what happened in all of them, and the first
//! one that breaks a promise.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::tally::Tally;
use crate::world::{Summary, World};

thread_local! {
    /// The message and place of this thread's last panic.
    static SAID: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A run that broke a promise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub seed: u64,
    /// `name of the check: what was seen`, or the message of an assertion of the production code.
    pub what: String,
    pub options: String,
}

impl Violation {
    /// The name of the check.
    pub fn name(&self) -> &str {
        self.what.split(':').next().unwrap_or_default()
    }
}

/// The result of a range of seeds.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub seeds: u64,
    pub tally: Tally,
    pub healed_after_ms_max: u64,
    /// The violation with the lowest seed.
    pub violation: Option<Violation>,
}

/// From here on panics are kept, and not printed.
pub fn keep_panics() {
    set_hook(Box::new(|info| {
        let what = info.payload_as_str().unwrap_or("it says nothing");
        let place = info.location().map(|place| format!(" ({}:{})", place.file(), place.line())).unwrap_or_default();
        SAID.with_borrow_mut(|said| *said = format!("{what}{place}"));
    }));
}

pub fn run_seed(seed: u64) -> Result<Summary, Violation> {
    catch_unwind(AssertUnwindSafe(|| World::new(seed).run())).map_err(|_| Violation {
        seed,
        what: SAID.with_borrow(String::clone),
        options: World::new(seed).options(),
    })
}

/// Ends at the first violation. `on_seed` is told how many are done.
pub fn run_seeds(from: u64, seeds: u64, on_seed: impl Fn(u64) + Sync) -> Outcome {
    let (next, outcome) = (AtomicU64::new(0), Mutex::new(Outcome::default()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= seeds || outcome.lock().violation.is_some() {
                        return;
                    }
                    let ran = run_seed(from + at);
                    outcome.lock().add(ran);
                    on_seed(at + 1);
                }
            });
        }
    });
    outcome.into_inner()
}

impl Outcome {
    fn add(&mut self, ran: Result<Summary, Violation>) {
        self.seeds += 1;
        match ran {
            Ok(summary) => {
                self.tally.add(&summary.tally);
                self.healed_after_ms_max = self.healed_after_ms_max.max(summary.healed_after_ms);
            }
            Err(violation) if self.violation.as_ref().is_none_or(|first| violation.seed < first.seed) => {
                self.violation = Some(violation);
            }
            Err(_) => {}
        }
    }
}
