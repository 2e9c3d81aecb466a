//! The content of a file or key, read and written back, for the fuzz targets.
//!
//! Invariant: what is understood is written such that it is understood the same again.

use crate::json;

/// `false`: it is refused.
pub fn record(text: &[u8]) -> bool {
    let Ok(found) = json::record_from_json(text, 7) else { return false };
    let again = json::record_from_json(&json::record_to_json(&found.record), 7);
    assert_eq!(again.as_ref(), Ok(&found), "a record that was read is written as another one");
    true
}

/// `false`: it is refused.
pub fn member(text: &[u8]) -> bool {
    let Ok((info, ended)) = json::member_from_json(text) else { return false };
    let again = json::member_from_json(&json::member_to_json(&info, ended.clone()));
    assert_eq!(again, Ok((info, ended)), "a member that was read is written as another one");
    true
}

/// `false`: it is refused.
pub fn leader(text: &[u8]) -> bool {
    let Ok((epoch, info)) = json::leader_from_json(text) else { return false };
    let again = json::leader_from_json(&json::leader_to_json(epoch, &info));
    assert_eq!(again, Ok((epoch, info)), "a leader that was read is written as another one");
    true
}
