//! Text from outside, made safe for a terminal, a page and a label.
//!
//! Invariant: the result has no control character and no character that reorders the text around
//! it, whatever another member, a client or a coordinator has put into a name.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with `\u{…}` in place of such characters.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
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

pub(crate) fn is_plain(text: &str) -> bool {
    text.chars().all(is_plain_char)
}

/// Control characters move the cursor; the others reorder the text around them.
fn is_plain_char(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
