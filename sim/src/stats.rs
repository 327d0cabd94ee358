//! What happened, counted: so that nothing that was meant to happen can be missing.

use std::fmt;

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts of one run, or of many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// Adds the counts of another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
            }

            /// Every count and its name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

stats! {
    /// Events before the network was healed.
    events,
    /// Events until the cluster was quiet.
    settling,
    /// Messages sent.
    messages,
    /// Messages lost, cut off, or sent to a node that was down.
    lost,
    /// Messages delivered twice.
    repeated,
    /// Leaders that began a term.
    elections,
    /// Entries committed.
    commits,
    /// Entries and snapshots given to state machines.
    applied,
    /// Proposals that were accepted.
    proposals,
    /// Proposals that were dropped.
    dropped,
    /// Nodes that crashed.
    crashes,
    /// Writes that a crash found unfinished.
    unfinished_writes,
    /// Configuration changes that state machines switched to.
    conf_changes,
    /// Of these, into joint configurations.
    joint,
    /// Configuration changes that were refused when applied.
    refused_changes,
    /// Snapshots made.
    snapshots,
    /// Snapshots sent.
    snapshots_sent,
    /// Snapshots installed.
    snapshots_installed,
    /// Reads begun.
    reads,
    /// Reads answered.
    reads_answered,
    /// Lease-based reads that were older than a lease-based read may seem.
    stale_lease_reads,
    /// Leadership transfers asked for.
    transfers,
    /// Partitions.
    partitions,
    /// Nodes that started with a damaged log.
    damaged,
    /// Of these, healed by a snapshot.
    healed,
    /// Of these, healed by having the entries again.
    mended,
    /// Snapshots that a follower asked for.
    requests,
    /// Configuration changes that a snapshot overtook before they were applied.
    overtaken,
    /// Entries that had to be fetched first.
    fetches,
    /// Clusters whose leader was removed before it could tell the others, and that cannot get on
    /// without its vote.
    orphaned,
    /// Clusters without pre-vote in which nobody tells a node that its term is a past one.
    unheard,
    /// Messages that were refused, as they may be.
    refused,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, count)) in self.all().into_iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {}", name.replace('_', " "))?;
        }
        Ok(())
    }
}
