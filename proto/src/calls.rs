//! The table of calls, generated from the options beside each call in the contract
//! (`options.proto`).
//!
//! `for_each_call!` and `for_each_answer!` pass its rows to a macro of the caller, which makes an
//! enum, a match, or one type for each row. So a new call is added in the contract, and code that
//! does not handle it does not compile.
//!
//! Deliberately absent: what a call does.

/// The role that a caller needs: `CallOptions.Role` of the contract. It is not a member's role.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CallerRole {
    /// May read objects.
    Reader,
    /// May store objects, and remove its own.
    Writer,
    /// May offer space and run tasks.
    Storage,
    /// May look at members and at what they hold.
    OperatorRead,
    /// May change what others rely on.
    Admin,
    /// Another member.
    Peer,
}

/// What the contract says of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallInfo {
    pub service: &'static str,
    pub name: &'static str,
    pub role: CallerRole,
    /// It changes the state: it carries a request number and runs once for it.
    pub mutates: bool,
    /// A standby may answer it if the request allows that.
    pub standby: bool,
}

include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// The bound of a list that has no bound of its own.
const ITEMS_MAX: usize = 10_000;

/// How many elements a list of the contract may have.
pub const fn items_max(message: &str, field: &str) -> usize {
    let mut at = 0;
    while at < LIMITED.len() {
        let (of, name, limit) = LIMITED[at];
        if is_same(of, message) && is_same(name, field) {
            return limit;
        }
        at += 1;
    }
    ITEMS_MAX
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_reads_is_what_a_standby_may_answer() {
        for call in CALLS.iter().filter(|call| call.standby) {
            assert!(!call.mutates && call.role == CallerRole::Reader, "{call:?}");
        }
        let of_standbys: Vec<_> = CALLS.iter().filter(|call| call.standby).map(|call| call.name).collect();
        assert_eq!(of_standbys, ["ListSegments", "GetReplicas", "Exists", "ListKeys"]);
    }

    #[test]
    fn lists_have_the_bound_that_stands_beside_them() {
        assert_eq!(items_max("Placement", "preferred_segments"), 16);
        assert_eq!(items_max("GetReplicasRequest", "keys"), ITEMS_MAX);
        assert_eq!(items_max("Parts", "parts"), items_max("PartList", "parts"));
        assert_eq!(items_max("ShardList", "shards"), items_max("BucketsList", "shards"));
    }
}
