//! The state of a log: what its batches, applied in order, amount to.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use raft_vfs::Vfs;

use crate::error::Result;
use crate::format::Control;
use crate::rules::{Before, Change};
use crate::segment::ClosedSegment;
use crate::types::{HardState, SnapshotMark};
use crate::view::LogView;

/// Everything that recovery hands over and that appends change.
#[derive(Clone, Debug)]
pub(crate) struct LogState<V: Vfs> {
    pub(crate) view: LogView<V>,
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<SnapshotMark>,
    pub(crate) metadata: Option<Bytes>,
    /// Live keyed values. Invariant: none is empty.
    pub(crate) blobs: BTreeMap<Bytes, Bytes>,
    /// Segments below this number are garbage. Never falls.
    pub(crate) floor_seq: u64,
}

impl<V: Vfs> LogState<V> {
    /// An empty log that begins at `first`.
    pub(crate) fn empty(first: u64) -> Self {
        Self {
            view: LogView::empty(first),
            hard_state: HardState::default(),
            snapshot: None,
            metadata: None,
            blobs: BTreeMap::new(),
            floor_seq: 0,
        }
    }

    /// Applies a batch that [`crate::rules::check`] accepted; `offsets` say where its entries are
    /// in the newest segment, whose number is `seq`.
    pub(crate) fn apply(&mut self, change: &Change<'_>, offsets: &[u32], seq: u64) -> Result<()> {
        let starts_segment = change.controls.iter().any(|(_, c)| matches!(c, Control::Base(_)));
        if starts_segment {
            // The batch repeats all that is live, so that replay may begin here.
            self.metadata = None;
            self.blobs.clear();
        }
        for (_, control) in change.controls {
            match control {
                Control::Base(b) => self.floor_seq = self.floor_seq.max(b.floor_seq),
                Control::Metadata(m) => self.metadata = Some(m.clone()),
                Control::Blob { key, value } if value.is_empty() => {
                    self.blobs.remove(key);
                }
                Control::Blob { key, value } => {
                    self.blobs.insert(key.clone(), value.clone());
                }
                Control::Compact { first_index, base_term, floor_seq } => {
                    self.view.compact(*first_index, *base_term);
                    self.floor_seq = self.floor_seq.max(*floor_seq);
                }
                Control::Snap(mark) => self.snapshot = Some(mark.clone()),
                Control::Reset(r) => {
                    self.view.reset(r);
                    self.floor_seq = self.floor_seq.max(seq);
                    // An older marker above the new log speaks of a state that was given up.
                    let brought =
                        change.controls.iter().any(|(_, c)| matches!(c, Control::Snap(_)));
                    let above = self.snapshot.as_ref().is_some_and(|s| s.index >= r.first_index);
                    if above && !brought {
                        self.snapshot = None;
                    }
                }
                Control::Truncate(from) => self.view.truncate(*from)?,
                Control::State(s) => self.hard_state = *s,
                Control::Seal { .. } => {}
            }
        }
        self.view.push(change.first_index, offsets, change.runs);
        debug_assert!(self.hard_state.commit == 0 || self.hard_state.commit < self.view.next_index);
        Ok(())
    }

    /// The newest segment is closed: what follows goes into the next one.
    pub(crate) fn close_tail(&mut self, segment: Arc<ClosedSegment<V>>) {
        self.view.close_tail(segment);
    }
}

impl<V: Vfs> Before for LogState<V> {
    fn bounds(&self) -> (u64, u64) {
        (self.view.first_index, self.view.next_index)
    }

    fn base_term(&self) -> Option<u64> {
        self.view.base_term
    }

    fn last_term(&self) -> Option<u64> {
        self.view.last_term
    }

    fn term(&self, index: u64) -> Result<Option<u64>> {
        self.view.term(index)
    }

    fn hard_state(&self) -> HardState {
        self.hard_state
    }

    fn snapshot(&self) -> Option<&SnapshotMark> {
        self.snapshot.as_ref()
    }
}
