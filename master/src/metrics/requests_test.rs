//! Tests of what is counted, by which name, and what is timed.

use proto::status;
use proto::v1::{ExistsRequest, Reason};

use super::*;

fn exists() -> Call {
    Call::Exists(ExistsRequest::default())
}

fn of(requests: &Requests, method: Method) -> Counted {
    requests.counted().into_iter().find(|counted| counted.method == method).expect("all methods are there")
}

#[test]
fn methods_have_the_names_and_places_of_the_contract() {
    for (place, method) in Method::ALL.iter().enumerate() {
        assert_eq!((*method as usize, Method::named(method.name())), (place, *method));
    }
    assert_eq!(Method::named("Nothing"), Method::Unknown);
    let service = String::from_utf8_lossy(proto::FILE_DESCRIPTOR_SET);
    for method in &Method::ALL[..Method::ALL.len() - 1] {
        assert!(service.contains(method.name()), "{method:?} is no method of the contract");
    }
}

#[test]
fn reasons_stand_at_their_numbers() {
    for (place, (reason, ..)) in REASONS.iter().enumerate() {
        assert_eq!(*reason as usize, place);
    }
}

#[test]
fn calls_are_counted_by_result_over_all_threads() {
    let requests = Requests::new();
    std::thread::scope(|threads| {
        for _ in 0..2 * SHARDS {
            threads.spawn(|| {
                for number in 0..10 {
                    let taken = requests.take(&exists());
                    let end = if number < 7 { Ok(()) } else { Err(status::overloaded(1)) };
                    assert_eq!(requests.count(taken, end.clone()), end);
                }
            });
        }
    });
    requests.refused(Method::Unknown, &CallError { reason: 12_345, ..CallError::default() });
    let counted = of(&requests, Method::Exists);
    assert_eq!(counted.answered, 7 * 2 * SHARDS as u64);
    assert_eq!(counted.refused[Reason::Overloaded as usize], 3 * 2 * SHARDS as u64);
    assert_eq!(counted.refused.iter().sum::<u64>(), 3 * 2 * SHARDS as u64);
    assert_eq!(of(&requests, Method::Unknown).refused[0], 1);
    assert_eq!(of(&requests, Method::PutStart).answered, 0);
}

#[test]
fn first_call_and_every_eighth_are_timed() {
    let requests = Requests::new();
    for _ in 0..2 * TIMED_EVERY + 1 {
        let taken = requests.take(&exists());
        requests.answered(taken);
    }
    let counted = of(&requests, Method::Exists);
    assert_eq!((counted.answered, counted.buckets.iter().sum::<u64>()), (17, 3));
    assert!(counted.timed_ns > 0);
}

#[test]
fn times_fall_into_the_first_bucket_that_holds_them() {
    let requests = Requests::new();
    for ago_ns in [0, 40_000_000, 90_000_000_000] {
        requests.answered(CallTimer { method: Method::Exists, began_ns: monotonic_ns().saturating_sub(ago_ns).max(1) });
    }
    let buckets = of(&requests, Method::Exists).buckets;
    // A busy machine may be late, but never early.
    assert_eq!((buckets.iter().sum::<u64>(), buckets[..9].iter().sum::<u64>() <= 1, buckets[14] >= 1), (3, true, true));
    assert!(BOUNDS_NS.is_sorted() && BOUNDS_NS[9] == 50_000_000);
}
