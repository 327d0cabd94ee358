//! The replicated state machine: a hash of everything that was applied, and the configuration.

use bytes::Bytes;
use raft_core::{ConfState, Entry, Snapshot};

/// FNV-1a: a hash that is the same in every run.
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let start = seed ^ 0xcbf2_9ce4_8422_2325;
    bytes.iter().fold(start, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What is in an entry, wherever it is.
pub(crate) fn entry_hash(entry: &Entry) -> u64 {
    hash(entry.entry_type() as u64, &entry.data)
}

/// The state machine as of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The last index that is applied.
    pub applied: u64,
    /// Of all entries up to there.
    pub chain: u64,
    /// The configuration there.
    pub conf_state: ConfState,
}

impl Image {
    /// As a snapshot has it.
    pub fn data(&self) -> Bytes {
        Bytes::copy_from_slice(&self.chain.to_le_bytes())
    }

    /// From a snapshot; `None` if no machine made it.
    pub fn of(snapshot: &Snapshot) -> Option<Self> {
        let chain = u64::from_le_bytes(snapshot.data.as_ref().try_into().ok()?);
        Some(Self { applied: snapshot.index(), chain, conf_state: snapshot.conf_state() })
    }

    /// The hash behind one more entry.
    pub fn chain_with(&self, entry: &Entry) -> u64 {
        let link = [entry.index.to_le_bytes(), entry.term.to_le_bytes()].concat();
        hash(hash(self.chain, &link), &entry_hash(entry).to_le_bytes())
    }
}

/// A state machine: what it is, and what a crash would leave of it.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Now.
    pub now: Image,
    /// After a crash.
    pub durable: Image,
}
