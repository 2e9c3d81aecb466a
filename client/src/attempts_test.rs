use std::time::Duration;

use proto::status::{call_error, not_primary, outcome_unknown, overloaded, shutting_down};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn way() -> Way {
    Way::new(vec!["a:1".into(), "b:1".into(), "c:1".into()])
}

fn attempts(on_loss: OnLoss) -> Attempts {
    Attempts::new(100 * MS, on_loss, (4 * MS, 40 * MS))
}

fn end(attempts: &mut Attempts, way: &mut Way, end: End<'_>) -> Next {
    let attempt = attempts.begin(way);
    attempts.on_end(&attempt, end, Duration::ZERO, u64::MAX, way)
}

const AT_ONCE: Next = Next::Again { pause: None };

#[test]
fn errors_say_whether_the_call_ran_and_where_it_goes_on() {
    let unspecified = |code: Code| CallError { code: code as i32, ..CallError::default() };
    let cases = [
        (overloaded(5), Meaning::Again(Ran::No, Go::Here)),
        (not_primary("b:1", 3), Meaning::Again(Ran::No, Go::Redirected)),
        (shutting_down(), Meaning::Again(Ran::No, Go::Elsewhere)),
        (outcome_unknown("lost"), Meaning::Again(Ran::Maybe, Go::Elsewhere)),
        (unspecified(Code::Unavailable), Meaning::Again(Ran::No, Go::Elsewhere)),
        (unspecified(Code::Internal), Meaning::Refusal),
        (call_error(Reason::InvalidArgument, "key"), Meaning::Refusal),
        (call_error(Reason::RequestExpired, "too old"), Meaning::Refusal),
    ];
    for (error, expected) in cases {
        assert_eq!(meaning(&error), expected, "{error:?}");
    }
}

#[test]
fn redirect_is_followed_at_once_and_one_of_a_lower_epoch_is_not() {
    let (mut attempts, mut way) = (attempts(OnLoss::SendsAgain), way());
    assert_eq!(end(&mut attempts, &mut way, End::Error(&not_primary("c:1", 7))), AT_ONCE);
    assert_eq!((way.target().address.as_str(), way.epoch_seen()), ("c:1", 7));
    assert_eq!(end(&mut attempts, &mut way, End::Error(&not_primary("a:1", 6))), AT_ONCE);
    assert_eq!((way.target().address.as_str(), way.epoch_seen()), ("b:1", 7), "the list goes on where it was left");
}

#[test]
fn answer_of_an_epoch_that_was_over_does_not_count_and_may_have_run() {
    let (mut attempts, mut way) = (attempts(OnLoss::SendsAgain), way());
    way.saw_epoch(5);
    assert_eq!(end(&mut attempts, &mut way, End::Answer(Some(4))), AT_ONCE);
    assert_eq!((attempts.ran(), way.target().address.as_str()), (Ran::Maybe, "b:1"));
    assert_eq!(end(&mut attempts, &mut way, End::Answer(Some(6))), Next::Done);
    assert_eq!(way.epoch_seen(), 6);
}

#[test]
fn epoch_that_is_learned_while_an_attempt_is_under_way_does_not_make_its_answer_stale() {
    let (mut attempts, mut way) = (attempts(OnLoss::SendsAgain), way());
    let attempt = attempts.begin(&way);
    way.saw_epoch(9);
    assert_eq!(attempts.on_end(&attempt, End::Answer(Some(8)), Duration::ZERO, 0, &mut way), Next::Done);
}

#[test]
fn call_that_would_run_twice_is_given_up_only_when_it_may_have_run() {
    let (mut attempts, mut way) = (attempts(OnLoss::GivesUp), way());
    assert_eq!(end(&mut attempts, &mut way, End::Error(&shutting_down())), AT_ONCE);
    let given_up = end(&mut attempts, &mut way, End::Error(&outcome_unknown("lost")));
    assert!(matches!(given_up, Next::GivenUp(GivenUp { ran: Ran::Maybe, .. })), "{given_up:?}");
}

#[test]
fn call_that_may_have_run_once_is_given_up_as_unknown_whatever_came_after() {
    let (mut attempts, mut way) = (attempts(OnLoss::SendsAgain), way());
    end(&mut attempts, &mut way, End::Error(&outcome_unknown("lost")));
    let attempt = attempts.begin(&way);
    let late = attempts.on_end(&attempt, End::Error(&overloaded(5)), 98 * MS, 0, &mut way);
    assert!(matches!(late, Next::GivenUp(GivenUp { ran: Ran::Maybe, .. })), "{late:?}");
}

#[test]
fn pauses_come_at_the_end_of_a_round_and_grow() {
    let (mut attempts, mut way) = (attempts(OnLoss::SendsAgain), way());
    let mut round =
        || -> Vec<Next> { (0..3).map(|_| end(&mut attempts, &mut way, End::Error(&shutting_down()))).collect() };
    assert_eq!(round(), [AT_ONCE, AT_ONCE, Next::Again { pause: Some(4 * MS) }]);
    assert_eq!(round(), [AT_ONCE, AT_ONCE, Next::Again { pause: Some(8 * MS) }]);
}

#[test]
fn overloaded_member_is_asked_again_no_sooner_than_it_says() {
    let (mut attempts, mut way) = (attempts(OnLoss::SendsAgain), way());
    let next = end(&mut attempts, &mut way, End::Error(&overloaded(30)));
    assert!(matches!(next, Next::Again { pause: Some(pause) } if pause >= 30 * MS), "{next:?}");
    assert_eq!(way.target().address, "a:1");
}

#[test]
fn deadline_without_an_answer_leaves_the_outcome_unknown() {
    let mut attempts = attempts(OnLoss::SendsAgain);
    let attempt = attempts.begin(&way());
    assert_eq!(attempts.on_deadline(&attempt).ran, Ran::Maybe);
}

#[test]
fn answer_of_a_history_that_was_begun_anew_counts_although_its_epochs_begin_anew() {
    let (mut attempts, mut way) = (attempts(OnLoss::SendsAgain), Way::new(vec!["a:1".into()]));
    let (old, new) = (Some(HistoryId(1)), Some(HistoryId(2)));
    way.meets("a:1", old).expect("the first one");
    way.saw_epoch(12);
    let begun_before = attempts.begin(&way);
    way.meets("a:1", new).expect("there is no other address");
    assert_eq!(end(&mut attempts, &mut way, End::Answer(Some(1))), Next::Done);
    assert_eq!(attempts.on_end(&begun_before, End::Answer(Some(1)), Duration::ZERO, 0, &mut way), Next::Done);
}

#[test]
fn what_a_member_of_another_cluster_has_refused_unseen_did_not_run() {
    let refused = foreign(Err(&not_primary("b:1", 1)), "another history".into());
    assert_eq!(meaning(&refused), Meaning::Again(Ran::No, Go::Elsewhere));
    assert_eq!(meaning(&foreign(Ok(()), String::new())), Meaning::Again(Ran::Maybe, Go::Elsewhere));
    let answered = foreign(Err(&call_error(Reason::InvalidArgument, "key")), String::new());
    assert_eq!(meaning(&answered), Meaning::Again(Ran::Maybe, Go::Elsewhere));
}
