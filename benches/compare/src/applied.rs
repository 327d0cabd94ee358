//! The state machine behind either node: it looks at everything and keeps nothing.

/// After so many entries the log is compacted.
const COMPACT_EVERY: u64 = 10_000;
/// So many entries are left then.
const KEEP: u64 = 1_000;

/// What was applied.
#[derive(Debug, Default)]
pub struct Applied {
    proposals: u64,
    sum: u64,
    index: u64,
    compacted: u64,
}

impl Applied {
    /// Applies an entry. Those without data are the state machine's own.
    pub fn apply(&mut self, index: u64, data: &[u8]) {
        self.index = index;
        if let [first, .., last] = data {
            self.proposals += 1;
            self.sum = self.sum.wrapping_add(u64::from(*first)).wrapping_add(u64::from(*last));
        }
    }

    /// How many proposals were applied.
    pub fn proposals(&self) -> u64 {
        self.proposals
    }

    /// What was seen in them.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The index up to which the log is to be compacted now, once each time it is due.
    pub fn compaction_due(&mut self) -> Option<u64> {
        if self.index < self.compacted + COMPACT_EVERY + KEEP {
            return None;
        }
        self.compacted = self.index - KEEP;
        Some(self.compacted)
    }
}
