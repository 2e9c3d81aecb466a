//! What people write is understood, what is not understood is named, and what is printed is fit for a terminal.

use super::*;

#[test]
fn sizes_are_read_with_and_without_units() {
    let sizes = [
        ("0", 0),
        ("4096", 4096),
        ("17B", 17),
        ("4KiB", 4096),
        ("4 kib", 4096),
        ("1.5GiB", 3 << 29),
        ("2Mi", 2 << 20),
        ("3M", 3_000_000),
        ("1k", 1000),
        ("1kB", 1000),
        ("2G", 2_000_000_000),
        ("1TiB", 1 << 40),
        ("1.1KiB", 1126),
        ("18446744073709551615", u64::MAX),
    ];
    for (text, bytes) in sizes {
        assert_eq!(parse_size(text), Ok(bytes), "{text}");
    }
}

#[test]
fn other_sizes_are_refused_by_name() {
    for text in ["", "k", "-1", "+1", "1.", ".5k", "1.5.5k", "1x", "1e3", "18446744073709551616", "99999999TiB", "0x10"]
    {
        let refused = parse_size(text).expect_err(text);
        assert!(refused.contains(&format!("{text:?}")), "{refused}");
    }
}

#[test]
fn whole_sizes_read_back_as_they_print() {
    for bytes in [0, 1, 1023, 1024, 4096, 1 << 20, 5 << 30, 7 << 40] {
        assert_eq!(parse_size(&size(bytes)), Ok(bytes), "{}", size(bytes));
    }
    assert_eq!([size(1536), size(150 << 20 | 1), size(u64::MAX)], ["1.5 KiB", "150 MiB", "16.0 EiB"]);
}

#[test]
fn times_are_read_and_printed() {
    let times = [("30", 30_000), ("30s", 30_000), ("500ms", 500), ("5m", 300_000), ("1h", 3_600_000), ("0", 0)];
    for (text, millis) in times {
        assert_eq!(parse_time(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "s", "1.5s", "-1", "1d", "99999999999999999999", "1 s x", "+1"] {
        assert!(parse_time(text).is_err(), "{text}");
    }
    let shown = [12, 1_500, 20_000, 59_400, 192_000, 11_100_000, 190_000_000].map(|ms| time(Duration::from_millis(ms)));
    assert_eq!(shown, ["12 ms", "1.5 s", "20 s", "59 s", "3m 12s", "3h 5m", "2d 4h"]);
    assert_eq!(time(Duration::from_micros(120)), "120 µs");
}

#[test]
fn numbers_and_shares_are_printed_for_people() {
    assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([percent(0, 0), percent(1, 3), percent(2, 2)], ["0.0 %", "33.3 %", "100.0 %"]);
}

#[test]
fn keys_that_are_no_plain_text_are_escaped() {
    assert_eq!(key("grüße/1".as_bytes()), "grüße/1");
    assert_eq!(key(b"a\xffb"), r"a\xffb");
    assert_eq!(key(b"a\x1b[2J"), r"a\x1b[2J");
    assert_eq!(plain("a\u{1b}[2Jü"), r"a\u{1b}[2Jü");
    assert_eq!(plain("a\u{202e}b"), r"a\u{202e}b");
}

#[test]
fn hex_reads_back_as_it_prints() {
    assert_eq!(parse_hex(&hex(b"\x00\xffk")), Ok(b"\x00\xffk".to_vec()));
    assert_eq!(parse_hex("0xFF"), Ok(vec![255]));
    for text in ["f", "0g", "+1", "é"] {
        assert!(parse_hex(text).is_err(), "{text}");
    }
    assert_eq!([parse_number("12"), parse_number("0xff")], [Ok(12), Ok(255)]);
    assert!(parse_number("-1").is_err() && parse_number("0x").is_err() && parse_number("0x+1").is_err());
}

#[test]
fn words_survive_a_shell() {
    assert_eq!([shell("a/b:1"), shell("a b"), shell("it's"), shell("")], ["a/b:1", "'a b'", r"'it'\''s'", "''"]);
}
