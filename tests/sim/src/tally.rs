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
    transfers
    crashes
    stops
    pauses
    /// Links that went silent in one direction.
    cuts
    breaks
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
    /// Attempts of clients after the first.
    retries
    /// Answers that were given a second time.
    answered_again
    /// Calls that clients gave up without an answer.
    unknown
    tasks_assigned
    clients_expired
    objects_evicted
    puts_discarded
    /// Runs that ended since a member led before a change of its state could be found.
    void
}
