//! Tests: a digest is a hash of a multiset.

use super::*;

#[test]
fn order_does_not_matter_and_what_is_added_can_be_taken_back() {
    let [a, b, c] = [b"a", b"b", b"c"].map(|record| Digest::of_record(record));
    assert_eq!([a, b, c].into_iter().sum::<Digest>(), [c, a, b].into_iter().sum());
    assert_eq!(a + b - a, b);
    assert_ne!(a + a, a);
    let mut digest = a;
    digest += b;
    digest -= a;
    assert_eq!(digest, b);
}

#[test]
fn sums_wrap() {
    assert_eq!(Digest(u128::MAX) + Digest(2), Digest(1));
    assert_eq!(Digest(0) - Digest(1), Digest(u128::MAX));
}

#[test]
fn digests_print_as_hex() {
    assert_eq!(format!("{:?} {}", Digest(0xabc), Digest(1)), format!("{}abc {}1", "0".repeat(29), "0".repeat(31)));
}
