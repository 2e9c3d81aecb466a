//! Rule: equal entries make equal states, and a digest is the sum of its shards' digests.

use super::course::Course;
use crate::entry::Entry;
use crate::state::{Digest, ReplicatedState};

/// The digests before the first entry and after each one, which are equal in two replays.
pub(super) fn digests<S: ReplicatedState>(empty: &dyn Fn() -> S, history: &[Entry]) -> Vec<Digest> {
    let (one, other) = (empty(), empty());
    assert!(one.shards() > 0, "conformance: a state without shards");
    assert_eq!(one.shards(), other.shards(), "conformance: two empty states differ in their number of shards");
    let mut digests = vec![same_digest(&one, &other)];
    for entry in history {
        for state in [&one, &other] {
            if let Err(why) = state.apply(entry) {
                panic!("conformance: a replay refuses the valid entry {}: {why}", entry.position());
            }
            assert_eq!(state.applied(), entry.position(), "conformance: an applied entry does not show in applied()");
        }
        digests.push(same_digest(&one, &other));
    }
    let changed = digests.iter().any(|digest| *digest != digests[0]);
    assert!(changed, "conformance: no entry of the history changes the digest: it would check nothing");
    digests
}

fn same_digest<S: ReplicatedState>(one: &S, other: &S) -> Digest {
    let ((at, left), (_, right)) = (one.digest(), other.digest());
    assert_eq!(left, right, "conformance: two replays of the same entries differ at {at}");
    left
}

pub(super) fn sums<S: ReplicatedState>(course: &Course<'_, S>) {
    let state = (course.empty)();
    course.compare(&state, 0, "an empty state");
    course.follow(&state, 0, "a replay");
}
