//! Tests of which answers are returned, in which order, and when.

use oplog::CloseReason;

use super::*;

fn answer(id: u64) -> ParkedAnswer {
    let bounds = budget::Bounds { name: "all", bytes_max: 100, connection_name: "own", connection_bytes_max: 100 };
    let held = budget::Budget::new(bounds).open(None).share().take_anyway(4);
    let framed = Bytes::from_static(b"1234");
    ParkedAnswer { id, kind: CallKind::Mutation, epoch: 1, taken: CallTimer::default(), framed, held }
}

fn next(parked: &mut Parked) -> Option<(u64, Result<(), WaitError>)> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match parked.poll_next(&mut cx) {
        Poll::Ready((answer, reached)) => Some((answer.id, reached)),
        Poll::Pending => None,
    }
}

#[test]
fn answers_come_out_as_their_seq_is_committed() {
    let watch = Arc::new(SeqWatch::new(0, 10));
    let mut parked = Parked::new(Arc::clone(&watch));
    for (id, seq) in [(1, 7), (2, 5), (3, 7), (4, 9)] {
        parked.park(seq, answer(id));
    }
    assert_eq!((parked.len(), parked.bytes()), (4, 16));
    assert_eq!(next(&mut parked), None);
    assert_eq!(watch.waiters(), 1, "one waiter for the whole session");
    watch.advance(7);
    for id in [2, 1, 3] {
        assert_eq!(next(&mut parked), Some((id, Ok(()))));
    }
    assert_eq!(next(&mut parked), None);
    watch.advance(9);
    assert_eq!(next(&mut parked), Some((4, Ok(()))));
    assert_eq!((parked.len(), parked.bytes(), watch.waiters()), (0, 0, 0));
    assert_eq!(next(&mut parked), None);
}

#[test]
fn lower_seq_that_comes_later_is_waited_for_first() {
    let watch = Arc::new(SeqWatch::new(0, 10));
    let mut parked = Parked::new(Arc::clone(&watch));
    parked.park(9, answer(1));
    assert_eq!(next(&mut parked), None);
    parked.park(4, answer(2));
    assert_eq!(next(&mut parked), None);
    watch.advance(4);
    assert_eq!(next(&mut parked), Some((2, Ok(()))));
    assert_eq!(next(&mut parked), None);
    assert_eq!(watch.waiters(), 1);
}

#[test]
fn closed_log_lets_every_answer_go_with_the_reason() {
    let watch = Arc::new(SeqWatch::new(0, 10));
    let mut parked = Parked::new(Arc::clone(&watch));
    parked.park(3, answer(1));
    parked.park(4, answer(2));
    watch.close(CloseReason::Deposed { epoch: 2 });
    let lost = Err(WaitError::Closed(CloseReason::Deposed { epoch: 2 }));
    assert_eq!(next(&mut parked), Some((1, lost)));
    assert_eq!(next(&mut parked), Some((2, lost)));
    assert_eq!(next(&mut parked), None);
}
