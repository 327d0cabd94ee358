//! What the storage has done: entries and snapshots that are durable, entries that are applied.

use super::Raft;
use crate::log::{encoded_size, payload_size};
use crate::message::{Message, Snapshot};
use crate::storage::Storage;

impl<S: Storage> Raft<S> {
    /// What was handed out in `term` is durable: everything up to the last entry as it was then,
    /// and the snapshot.
    pub(crate) fn written(&mut self, term: u64, last: (u64, u64), snapshot: Option<u64>) {
        let (index, log_term) = last;
        // In another term the entries may have been replaced meanwhile, even by some of the same
        // index and term that are to be written again. A snapshot stays what it is.
        if term == self.term && index != 0 {
            self.log.stable_to(index, log_term);
        }
        if let Some(index) = snapshot {
            self.snapshot_written(index);
        }
    }

    fn snapshot_written(&mut self, index: u64) {
        self.log.unstable.snapshot_stable(index);
        // Also of one that a newer one has overtaken: what is stored of a snapshot is applied.
        if index <= self.log.committed() {
            self.applied_to(index, 0);
        }
    }

    /// The append thread has written what it was sent.
    pub(super) fn append_written(&mut self, m: &Message) {
        let snapshot = m.snapshot.as_deref().map(Snapshot::index);
        self.written(m.term, (m.index, m.log_term), snapshot);
    }

    /// The apply thread has applied the entries of the message.
    pub(super) fn entries_applied(&mut self, m: &Message) {
        if let Some(last) = m.entries.last() {
            self.applied(last.index, encoded_size(&m.entries), payload_size(&m.entries));
        }
    }

    /// Entries up to `index` are applied; sizes are of what was handed out.
    pub(crate) fn applied(&mut self, index: u64, encoded: u64, payload: u64) {
        self.applied_to(index, encoded);
        self.uncommitted_size = self.uncommitted_size.saturating_sub(payload);
    }

    fn applied_to(&mut self, index: u64, encoded: u64) {
        self.log.applied_to(index, encoded);
        self.leave_joint_if_due();
    }
}
