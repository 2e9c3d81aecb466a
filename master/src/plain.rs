//! Text from outside, made safe for a terminal, a page and a label; and sizes for display.
//!
//! Invariant: the result has no control character and no character that reorders the text around
//! it, whatever another member, a client or a coordinator has put into a name.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with `\u{…}` in place of such characters.
pub fn plain(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::new();
    for c in text.chars() {
        match is_plain_char(c) {
            true => escaped.push(c),
            false => write!(escaped, "{}", c.escape_default()).expect("a string takes what is written"),
        }
    }
    Cow::Owned(escaped)
}

pub fn is_plain(text: &str) -> bool {
    text.chars().all(is_plain_char)
}

/// Control characters move the cursor; the others reorder the text around them.
fn is_plain_char(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let at = (bytes.ilog2() / 10) as usize;
    let value = bytes as f64 / (1_u64 << (10 * at)) as f64;
    let digits = if bytes.is_multiple_of(1 << (10 * at)) || value >= 100.0 { 0 } else { 1 };
    format!("{value:.digits$} {}", UNITS[at - 1])
}
