//! A small domain, to try the ledger with.

#[cfg(test)]
pub(crate) mod toy;
