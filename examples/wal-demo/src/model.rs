//! What the log must be after so many saves: the source's records, applied one by one in memory.
//!
//! This is the oracle. It shares nothing with the import but the records themselves: it knows no
//! batches and asks neither the native log nor the reader what a record does.

use std::collections::VecDeque;

use bytes::Bytes;
use etcd_reader::{ConfState, Entry, HardState, Marker, RecordKind};

use crate::Error;
use crate::source::Save;

/// A log in memory.
#[derive(Clone, Debug)]
pub struct Model {
    first_index: u64,
    entries: VecDeque<Entry>,
    /// Term of the entry before the first, where a snapshot stands there.
    base_term: Option<u64>,
    /// The source's first segments were removed, and no entry was read yet.
    late: bool,
    hard_state: HardState,
    marker: Option<Marker>,
    metadata: Option<Bytes>,
    saves: u64,
    overwritten: u64,
    second_vote: Option<u64>,
}

impl Model {
    /// The log before its first record. `late`: its first segments were removed.
    pub fn new(late: bool) -> Self {
        Self {
            first_index: 1,
            entries: VecDeque::new(),
            base_term: None,
            late,
            hard_state: HardState::default(),
            marker: None,
            metadata: None,
            saves: 0,
            overwritten: 0,
            second_vote: None,
        }
    }

    /// Applies one save.
    ///
    /// # Errors
    /// [`Error::Gap`] for an entry that leaves a hole.
    pub fn apply(&mut self, save: &Save) -> Result<(), Error> {
        self.saves += 1;
        for record in &save.records {
            match record {
                RecordKind::Crc(_) => {}
                RecordKind::Metadata(data) => self.metadata = Some(data.clone()),
                RecordKind::Entry(entry) => self.entry(entry)?,
                RecordKind::HardState(state) => self.state(*state),
                RecordKind::Snapshot(marker) => self.marker(marker),
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        let next = self.next_index();
        if entry.index > next && !self.late {
            return Err(Error::Gap { expected: next, found: entry.index });
        }
        self.late = false;
        while self.entries.back().is_some_and(|e| e.index >= entry.index) {
            self.entries.pop_back();
            self.overwritten += 1;
        }
        if self.entries.is_empty() && entry.index != self.first_index {
            // The segments before this entry were removed.
            self.first_index = entry.index;
            self.base_term = None;
        }
        self.entries.push_back(entry.clone());
        Ok(())
    }

    fn state(&mut self, state: HardState) {
        let old = self.hard_state;
        if old.term == state.term && old.vote != 0 && old.vote != state.vote {
            self.second_vote.get_or_insert(state.term);
        }
        self.hard_state = state;
    }

    /// A marker that fits the log is the node's own snapshot; one that does not replaces the log.
    fn marker(&mut self, marker: &Marker) {
        let index = marker.index;
        let removed = self.late && index <= self.hard_state.commit;
        let older = index < self.first_index;
        if !older && !removed && self.term(index) != Some(marker.term) {
            self.late = false;
            self.entries.clear();
            self.first_index = index.saturating_add(1);
            self.base_term = Some(marker.term);
        }
        self.marker = Some(marker.clone());
    }

    /// First index of the log.
    pub fn first_index(&self) -> u64 {
        self.first_index
    }

    /// One past the last index.
    pub fn next_index(&self) -> u64 {
        self.first_index + self.entries.len() as u64
    }

    /// Term of an entry, or of the one before the first if a received snapshot stands there.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index.checked_add(1) == Some(self.first_index) {
            return self.base_term;
        }
        self.entry_at(index).map(|e| e.term)
    }

    /// The entry at `index`.
    pub fn entry_at(&self, index: u64) -> Option<&Entry> {
        let at = usize::try_from(index.checked_sub(self.first_index)?).ok()?;
        self.entries.get(at)
    }

    /// The hard state.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// The newest marker.
    pub fn snapshot(&self) -> Option<&Marker> {
        self.marker.as_ref()
    }

    /// The metadata.
    pub fn metadata(&self) -> Option<&Bytes> {
        self.metadata.as_ref()
    }

    /// How many saves were applied.
    pub fn saves(&self) -> u64 {
        self.saves
    }

    /// How many entries were replaced by a later leader's.
    pub fn overwritten(&self) -> u64 {
        self.overwritten
    }

    /// The first term in which the vote changed, which Raft forbids.
    pub fn second_vote(&self) -> Option<u64> {
        self.second_vote
    }
}

/// `raftpb.ConfState`, field by field as etcd declares it.
#[derive(Clone, PartialEq, prost::Message)]
struct WireConfState {
    #[prost(uint64, repeated, packed = "false", tag = "1")]
    voters: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    learners: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    voters_outgoing: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    learners_next: Vec<u64>,
    #[prost(bool, optional, tag = "5")]
    auto_leave: Option<bool>,
}

/// A marker's conf state as the native log keeps it: protobuf, and nothing where etcd wrote none.
pub fn conf_state_bytes(conf_state: Option<&ConfState>) -> Bytes {
    let Some(c) = conf_state else { return Bytes::new() };
    let wire = WireConfState {
        voters: c.voters.clone(),
        learners: c.learners.clone(),
        voters_outgoing: c.voters_outgoing.clone(),
        learners_next: c.learners_next.clone(),
        auto_leave: Some(c.auto_leave),
    };
    prost::Message::encode_to_vec(&wire).into()
}
