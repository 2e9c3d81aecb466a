//! What all members say of themselves at about the same time, and what follows from it.
//!
//! Deliberately absent: asking them.

use std::collections::BTreeMap;

use proto::v1::StatusResponse;

/// The status of each member. `None`: it did not answer.
pub type View = BTreeMap<String, Option<StatusResponse>>;

/// The member that says it is the primary. More than one may say so for a moment, until the older
/// one has heard. Then: none.
pub fn leader(view: &View) -> Option<(&str, &StatusResponse)> {
    let answers = view.iter().filter_map(|(name, status)| Some((name.as_str(), status.as_ref()?)));
    let leaders: Vec<_> = answers.filter(|(_, status)| status.role == "primary").collect();
    match leaders.as_slice() {
        [one] => Some(*one),
        _ => None,
    }
}

pub fn epoch(status: &StatusResponse) -> u64 {
    status.cluster.as_ref().map_or(0, |cluster| cluster.epoch)
}

/// The number of members in sync, as this member says.
pub fn count_in_sync(status: &StatusResponse) -> usize {
    status.cluster.iter().flat_map(|cluster| &cluster.members).filter(|member| member.in_sync).count()
}

/// Whether the member says that it is in sync itself.
pub fn says_in_sync(view: &View, name: &str) -> bool {
    let cluster = view.get(name).and_then(|status| status.as_ref()?.cluster.as_ref());
    cluster.is_some_and(|cluster| cluster.promotable)
}
