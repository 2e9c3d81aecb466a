//! Tests of the table that ends a run.

use std::time::Duration;

use super::{Outcome, table};

#[test]
fn the_table_has_a_row_for_each_step_and_their_sum() {
    let outcomes = [
        Outcome { name: "format", passed: true, took: Duration::from_millis(1_240) },
        Outcome { name: "cargo machete", passed: false, took: Duration::from_millis(100_060) },
    ];
    let expected = "\
step             result     seconds
format           ok             1.2
cargo machete    FAILED       100.1
all                           101.3
";
    assert_eq!(table(&outcomes), expected);
}
