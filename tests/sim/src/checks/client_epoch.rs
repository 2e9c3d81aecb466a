//! A client follows no redirect, and believes no answer, of a lower epoch than the highest that it
//! has seen.

use super::violated;

pub(crate) fn followed(client: usize, to: &str, epoch: u64, seen: u64) {
    if epoch < seen {
        violated!("client {client} follows a redirect of epoch {epoch} to {to}, though it has seen {seen}");
    }
}

pub(crate) fn believed(client: usize, epoch: u64, seen: u64) {
    if epoch < seen {
        violated!("client {client} takes an answer of epoch {epoch}, though it had seen {seen} when it asked");
    }
}
