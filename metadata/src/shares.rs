//! What the clients of each address have of what all clients share: segments, and space that they
//! write or have given up.
//!
//! Volatile: the primary counts what it decided itself, and a standby counts nothing. So no digest,
//! image or entry has it, and no two members need agree.

use std::collections::BTreeMap;

use ledger::Address;

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    pub(crate) segments: usize,
    /// Replicas that they may be writing, and retired extents of those that they gave up.
    pub(crate) extents: u64,
}

#[derive(Default, PartialEq, Eq, Debug)]
pub(crate) struct Shares {
    by_address: BTreeMap<Address, Share>,
}

impl Shares {
    /// A caller without an address is within the member, and has no share.
    pub(crate) fn of(&self, address: Option<Address>) -> Share {
        address.and_then(|address| self.by_address.get(&address)).copied().unwrap_or_default()
    }

    /// An address that has nothing any more takes no memory.
    pub(crate) fn change(&mut self, address: Option<Address>, change: impl FnOnce(&mut Share)) {
        let Some(address) = address else { return };
        let share = self.by_address.entry(address).or_default();
        change(share);
        if *share == Share::default() {
            self.by_address.remove(&address);
        }
    }
}
