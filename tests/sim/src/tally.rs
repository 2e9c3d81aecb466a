//! Counts of what happened in runs: a simulator in which nothing happens proves nothing.

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

            /// Each with its name, for display.
            pub fn lines(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

tally! {
    /// Epochs in which a member came to serve.
    takeovers
    /// Those that began with nothing, because all members were lost.
    rebirths
    /// Transfers that were done, and those that failed.
    transfers
    not_transferred
    transfers_too_soon
    /// How often an operator changed the cluster's settings.
    settings_changed
    /// How often the coordinator lost its data, or was rolled back,
    losses
    /// how often a primary wrote its record again,
    restored
    /// and how often an operator did.
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
    /// Streams whose entries in the log were gone.
    purged
    /// Answers to changes.
    acknowledged
    /// Answers to reads.
    reads
    /// Reads that a standby answers, and those that it refuses.
    standby_reads
    standby_reads_refused
    /// Calls with more items than one entry takes.
    large
    /// Attempts of clients after the first.
    retries
    /// Answers that were given a second time.
    answered_again
    /// Other calls with a number that was answered.
    foreign
    /// Calls that clients gave up without an answer.
    unknown
    tasks_assigned
    /// Tenants that were deleted.
    tenants_deleted
    clients_expired
    /// Puts that were given the buffers of what they replace.
    replaced_in_place
    objects_evicted
    puts_discarded
    /// Runs that ended because a member led before a change of its state could be found.
    void
}
