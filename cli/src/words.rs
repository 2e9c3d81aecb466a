//! How sizes, times, keys and ids are written by people and shown to them.
//!
//! Invariants: what is printed for a size that divides evenly is read back as the same size; nothing that is printed
//! for people carries a control character, whatever the master or another client has put into a name.
//!
//! Deliberately absent: JSON, which has plain numbers (see `json`).

use std::fmt::Write as _;
use std::time::Duration;

use master::plain::is_plain;
pub(crate) use master::plain::{plain, size};

/// Longest first, so that no suffix hides behind a shorter one.
const SIZE_UNITS: [(&str, u64); 17] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("pib", 1 << 50),
    ("eib", 1 << 60),
    ("ki", 1 << 10),
    ("mi", 1 << 20),
    ("gi", 1 << 30),
    ("ti", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("k", 1_000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
];

/// `4096`, `4KiB`, `1.5G`: KiB, MiB, GiB, TiB are powers of 1024, k, M, G, TB powers of 1000.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let unit = SIZE_UNITS.iter().find_map(|(name, bytes)| Some((lower.strip_suffix(name)?, *bytes)));
    let (number, unit) = unit.unwrap_or_else(|| (lower.strip_suffix('b').unwrap_or(&lower), 1));
    let wrong = || format!("{text:?} is not a size: a number of bytes, or one with KiB, MiB, GiB, TiB, k, M or G");
    scaled(number.trim_end(), unit).ok_or_else(wrong)
}

/// A decimal number times a unit, exactly; none if that is not a whole number of bytes that fits.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') || fraction.len() > 18 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let tenths = 10_u128.pow(fraction.len() as u32);
    let part = u128::from(format!("0{fraction}").parse::<u64>().ok()?) * u128::from(unit);
    // 1.1KiB is 1126.4 bytes: then the whole bytes of it are meant.
    whole.checked_add(u64::try_from(part / tenths).ok()?)
}

/// `45 %`; nothing of nothing is 0.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 })
}

/// `30s`, `500ms`, `5m`, `1h`; a plain number is seconds.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit_ms = match &text[digits.len()..] {
        "ms" => Some(1),
        "" | "s" => Some(1000),
        "m" | "min" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
    let millis = number.zip(unit_ms).and_then(|(number, unit)| number.checked_mul(unit));
    let wrong = || format!("{text:?} is not a time: a number of seconds, or one with ms, s, m or h");
    millis.map(Duration::from_millis).ok_or_else(wrong)
}

/// `2d 3h`, `3m 12s`, `1.5 s`, `20 ms`: two units at most.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 if duration < Duration::from_millis(1) => format!("{} µs", duration.as_micros()),
        0 => format!("{} ms", duration.as_millis()),
        1..10 if duration.subsec_millis() >= 50 => format!("{:.1} s", duration.as_secs_f64()),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Keys are any bytes: those that are not plain text are shown with `\xNN`.
pub(crate) fn key(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if is_plain(text) => text.to_owned(),
        _ => bytes.escape_ascii().to_string(),
    }
}

/// Bytes from hex digits.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let bare = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let pairs = bare.chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(*pair.get(1)?)?));
    pairs.collect::<Option<_>>().ok_or_else(|| format!("{text:?} is not hex: an even number of digits 0-9, a-f"))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written");
        text
    })
}

/// A number, decimal or with 0x.
pub(crate) fn parse_number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| format!("{text:?} is not a number of 64 bits, decimal or with 0x"))
}

/// As it can be pasted into a shell.
pub(crate) fn shell(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@%+".contains(c);
    match !word.is_empty() && word.chars().all(safe) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
#[path = "words_test.rs"]
mod words_test;
