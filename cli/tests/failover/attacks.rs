//! Each attack for a moment, with bounds on its cost and on what a polite client notices.
//! `./x attack` measures them at length.

use std::time::Duration;

use attack::{Attack, Measured, Target, measure};

const LASTS: Duration = Duration::from_secs(3);
/// Small budgets, so that three seconds are enough to fill them.
const SETTINGS: [&str; 6] =
    ["--unread-bytes-max", "67108864", "--connection-unread-bytes-max", "20000000", "--request-bytes-max", "67108864"];
/// Both budgets, what 16 long calls build at a time, and what the allocator keeps.
const GROWTH_BYTES_MAX: u64 = 900 << 20;
/// What the budget of requests lets streams reserve, and what the transport keeps of those that it
/// refuses.
const IDLE_BYTES_MAX: u64 = 110 << 20;
/// Generous: no other test runs beside this one, but the host may stall.
const GAP_MAX: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attacks_take_what_is_bounded_and_cost_a_polite_client_no_call() {
    for attack in Attack::ALL {
        let target = Target::start(None, &SETTINGS).await;
        let measured = measure(attack, &target, LASTS).await;
        let Measured { rest_bytes, peak_bytes, calls, ref failed, p99, gap_max, .. } = measured;
        println!(
            "{}: {} MiB, then {} MiB at most; {calls} calls, p99 {p99:?}, longest gap {gap_max:?}",
            attack.name(),
            rest_bytes >> 20,
            peak_bytes >> 20
        );
        assert!(failed.is_empty(), "{}: {failed:#?}\n{}", attack.name(), target.log());
        assert!(peak_bytes < rest_bytes + GROWTH_BYTES_MAX, "{measured:?}");
        assert!(calls > 20 && gap_max < GAP_MAX, "{measured:?}");
        if attack == Attack::IdleStreams {
            assert!(peak_bytes < rest_bytes + IDLE_BYTES_MAX, "40,000 streams are not counted: {measured:?}");
        }
    }
}
