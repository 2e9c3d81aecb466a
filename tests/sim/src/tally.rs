//! What happened in runs, counted: a simulator in which nothing happens proves nothing.

macro_rules! tally {
    ($($(#[doc = $what:literal])* $name:ident)*) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct Tally {
            $($(#[doc = $what])* pub $name: u64,)*
        }

        impl Tally {
            pub fn add(&mut self, other: &Tally) {
                $(self.$name += other.$name;)*
            }

            /// Each with its name, for people.
            pub fn lines(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

tally! {
    /// Epochs that somebody came to serve in.
    takeovers
    /// Of them, those that began with nothing, since everybody was lost.
    rebirths
    /// Places that were given away, and that were not after all.
    transfers
    not_transferred
    transfers_too_soon
    /// Times that an operator changed what all members go by.
    settings_changed
    /// Times that the coordinator lost what it held, or was rolled back,
    losses
    /// that a primary wrote its record again,
    restored
    /// and that an operator did.
    recovered
    crashes
    stops
    pauses
    /// Links that went silent in one direction.
    cuts
    breaks
    /// Hellos of a process that is no member.
    spoofs
    /// Changes of a standby's state without an entry.
    corruptions
    repairs
    full_syncs
    /// Streams that found their place in the log gone.
    purged
    /// Answers to changes.
    acknowledged
    /// Answers to reads.
    reads
    /// Reads that a standby answers, and those that it does not.
    standby_reads
    standby_reads_refused
    /// Calls of more items than one entry takes.
    large
    /// Attempts of clients after the first.
    retries
    /// Answers that were given a second time.
    answered_again
    /// Other calls under a number that was answered.
    foreign
    /// Calls that clients gave up without an answer.
    unknown
    tasks_assigned
    /// Tenants that were deleted.
    tenants_deleted
    clients_expired
    /// Puts that were given the bytes of what they replace.
    replaced_in_place
    objects_evicted
    puts_discarded
    /// Runs that ended since a member led before a change of its state could be found.
    void
}
