//! The answers that are kept for retries, and what goes when there are too many.

use understudy_metadata::{Call, CallRefused, Config, PutStartItem};

use crate::support::{Primary, config, memory, placed};

fn keeping(answer_bytes_max: usize, answer_bytes_total_max: usize) -> Primary {
    let primary = Primary::with(Config { answer_bytes_max, answer_bytes_total_max, answers_max: 4096, ..config() });
    primary.mount(9, memory(9, "m", 1 << 24)).unwrap();
    primary
}

/// A put of 10 keys of 1000 bytes, none of them another call's.
fn call(primary: &Primary, call: &Call<'_>) -> Result<(), CallRefused> {
    let keys: Vec<String> =
        (0..10).map(|n| format!("{:0>1000}", format!("{}/{}/{n}", call.client, call.number))).collect();
    let items: Vec<_> = keys.iter().map(|key| PutStartItem { key: key.as_bytes(), size: 64 }).collect();
    primary.state.put_start(call, &placed(1, 0), &items).map(drop)
}

fn is_known(primary: &Primary, who: u8, number: u64) -> bool {
    let before = primary.digest();
    let known = call(primary, &primary.numbered(who, number));
    assert_eq!(primary.digest(), before, "it ran again");
    match known {
        Ok(()) => true,
        Err(CallRefused::RequestExpired { .. }) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn answers_of_all_clients_together_keep_a_bound() {
    let primary = keeping(1 << 20, 1 << 20);
    call(&primary, &primary.numbered(1, 1)).unwrap();
    for number in 1..=60 {
        for who in 2..=5 {
            call(&primary, &primary.numbered(who, number)).unwrap();
        }
    }
    let image = primary.state.totals();
    assert_eq!(image.objects, 10 * (1 + 4 * 60));
    assert!(primary.state.answer_bytes() <= (1 << 20) + 20_000, "{}", primary.state.answer_bytes());
    assert!(is_known(&primary, 1, 1), "whoever has little keeps it");
    assert!((2..=5).all(|who| is_known(&primary, who, 60) && !is_known(&primary, who, 1)));
}

/// Beyond it all that can be done is to wait for those who are being served.
#[test]
fn one_answer_alone_may_be_larger_than_the_bound() {
    let primary = keeping(5000, 5000);
    call(&primary, &primary.numbered(1, 1)).unwrap();
    assert!(is_known(&primary, 1, 1));
    call(&primary, &primary.numbered(2, 1)).unwrap();
    assert!(!is_known(&primary, 1, 1) && is_known(&primary, 2, 1));
}

#[test]
fn an_answer_that_is_waited_for_is_not_pushed_out() {
    let primary = keeping(25_000, 1 << 20);
    let numbered = |number, answered_below| Call { answered_below, ..primary.numbered(1, number) };
    for number in 2..=4 {
        call(&primary, &numbered(number, 1)).unwrap();
    }
    let before = primary.digest();
    let refused = call(&primary, &numbered(5, 1)).unwrap_err();
    assert!(matches!(refused, CallRefused::Overloaded { .. }), "{refused}");
    assert_eq!(primary.digest(), before);
    assert!((2..=4).all(|number| is_known(&primary, 1, number)));
    // The one that all the others wait for.
    call(&primary, &numbered(1, 1)).unwrap();
    assert!((1..=4).all(|number| is_known(&primary, 1, number)));
    call(&primary, &numbered(5, 4)).unwrap();
    assert!((4..=5).all(|number| is_known(&primary, 1, number)) && !is_known(&primary, 1, 3));
}

/// A call of several entries begins where there is room, and must not take it from others in its
/// later parts.
#[test]
fn an_answer_that_is_waited_for_is_not_pushed_out_by_a_later_part_of_a_long_call() {
    let primary = keeping(40_000, 1 << 20);
    let numbered = |number, answered_below| Call { answered_below, ..primary.numbered(1, number) };
    for number in 2..=3 {
        call(&primary, &numbered(number, 1)).unwrap();
    }
    let keys: Vec<String> = (0..1000).map(|n| format!("{n:0>100}")).collect();
    let items: Vec<_> = keys.iter().map(|key| PutStartItem { key: key.as_bytes(), size: 64 }).collect();
    let long = |answered_below| primary.state.put_start(&numbered(4, answered_below), &placed(1, 0), &items);
    let refused = long(1).unwrap_err();
    assert!(matches!(refused, CallRefused::InPart { .. }), "{refused}");
    assert!((2..=3).all(|number| is_known(&primary, 1, number)));
    // The client has the others: now it goes on from there.
    assert_eq!(long(4).unwrap().results.len(), 1000);
    assert_eq!(primary.state.totals().objects, 20 + 1000);
    assert!((2..=3).all(|number| !is_known(&primary, 1, number)));
}
