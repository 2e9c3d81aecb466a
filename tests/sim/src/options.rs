//! What may go wrong in a run. Drawn from the seed, so that some runs know only one kind of trouble, and some all.

use crate::rng::Rng;

/// Chances are per mille and per millisecond, or per message.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) members: usize,
    /// Messages take from 1 to this many milliseconds.
    pub(crate) delay_ms_max: u64,
    pub(crate) lose_message: u64,
    pub(crate) crash: u64,
    /// How often whoever looks finds proof that a process which has ended has ended. After the chaos: always, if ever.
    pub(crate) proofs: u64,
    /// Also the last one who holds what was acknowledged may crash: then somebody begins with nothing. Needs proofs.
    pub(crate) lose_all: bool,
    /// A primary is asked to leave its place to another member.
    pub(crate) transfer: u64,
    pub(crate) pause: u64,
    /// A link, in one direction, goes silent.
    pub(crate) cut_link: u64,
    /// A member is asked to stop, and ends some time later.
    pub(crate) stop: u64,
    /// A member finds that its state is not what its log says; some time later it is repaired.
    pub(crate) unsound: u64,
    /// A member hears that a stream has broken, whatever is true of its other end.
    pub(crate) break_stream: u64,
    pub(crate) coordinator_down: u64,
    /// The coordinator's answer is lost, before or after the swap has happened; or it comes late.
    pub(crate) coordinator_unsure: u64,
    /// Clocks run up to this many per mille faster or slower. The protocol allows for 25 each way.
    pub(crate) clock_rate: u64,
    pub(crate) chaos_ms: u64,
}

impl Options {
    pub(crate) fn draw(rng: &mut Rng) -> Options {
        let mut sometimes = |chance: u64| if rng.below(2) == 0 { 0 } else { chance };
        let lose_message = sometimes(20);
        let crash = sometimes(1);
        let pause = sometimes(2);
        let cut_link = sometimes(2);
        let coordinator_down = sometimes(1);
        let coordinator_unsure = sometimes(200);
        let clock_rate = sometimes(24);
        let proofs = sometimes(700);
        let lose_all = proofs > 0 && sometimes(1) > 0;
        let transfer = sometimes(1);
        let break_stream = sometimes(5);
        let stop = sometimes(1);
        let unsound = sometimes(1);
        Options {
            members: 2 + rng.below(3) as usize,
            delay_ms_max: 1 + rng.below(40),
            lose_message,
            crash,
            proofs,
            lose_all,
            transfer,
            stop,
            unsound,
            break_stream,
            pause,
            cut_link,
            coordinator_down,
            coordinator_unsure,
            clock_rate,
            chaos_ms: 4_000 + rng.below(8_000),
        }
    }
}
