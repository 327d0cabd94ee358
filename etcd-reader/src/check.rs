//! What records mean together: replays the log's shape and names what cannot be.
//!
//! etcd's replay looks at an entry only if it lies behind the snapshot it starts from, and
//! forgets that an older one also cuts the log; a tail that was overwritten can then come back.
//! Here every record is applied in physical order, before anything is filtered:
//!
//! - an entry at `i` drops everything at and behind `i`;
//! - a marker at `i` with term `t` keeps the log if it holds `i` with term `t` (the node's own
//!   snapshot), else the log begins anew behind it (a snapshot received from a leader).

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::layout::{SegmentName, SnapName};
use crate::problem::{Findings, NoteKind, Problem, ProblemKind};
use crate::record::Fault;
use crate::terms::Terms;
use crate::types::{Entry, HardState, Marker, RecordKind};

/// What a record does to the log that is being replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Adds an entry at the end.
    Append,
    /// Drops the entries from the new entry's index to `last`, then adds it.
    Overwrite {
        /// The last index before.
        last: u64,
    },
    /// Drops the whole log, which begins anew behind the marker.
    Reset,
}

/// Where a record stands.
#[derive(Clone, Debug)]
struct Place {
    segment: Arc<str>,
    offset: u64,
}

/// The log's shape while it is replayed.
#[derive(Debug)]
pub(crate) struct Checker {
    terms: Terms,
    hard_state: Option<HardState>,
    metadata: Option<Bytes>,
    /// A commit index beyond the log. Old versions of etcd write the hard state before the marker
    /// of a received snapshot, so this is no problem yet.
    beyond: Option<(Place, u64)>,
    /// The first entry of a term for which no hard state was written yet.
    ahead: Option<Place>,
    /// The highest index that was ever dropped; an entry there may still stand in the files.
    dropped_to: u64,
    /// The index that etcd itself would put into the next segment's name, less one.
    enti: u64,
    /// Index of the last entry record.
    last_written: u64,
    /// Markers behind index 0, as (term, index, where).
    markers: Vec<(u64, u64, Place)>,
}

impl Checker {
    /// A log that begins with segment `first`; `None` if the segment may stand anywhere.
    pub(crate) fn new(first: Option<&SegmentName>) -> Self {
        let base = first.filter(|s| s.seq == 0).map(|_| (0, 0));
        Self {
            terms: Terms::new(base),
            hard_state: None,
            metadata: None,
            beyond: None,
            ahead: None,
            dropped_to: 0,
            enti: 0,
            last_written: 0,
            markers: Vec::new(),
        }
    }

    /// First and last index of the replayed log; `None` if it is empty.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        self.terms.first().zip(self.terms.last())
    }

    /// Checks a segment's name against what was read before it.
    pub(crate) fn segment(&self, name: &SegmentName, is_first: bool, findings: &mut Findings) {
        let expected = if is_first {
            // Names of later first segments are checked when their first entry is read.
            if name.seq != 0 || name.index == 0 {
                return;
            }
            "0, as in every first segment".to_owned()
        } else {
            let fits = |last: u64| last.checked_add(1) == Some(name.index);
            let unknown = self.terms.last().is_none();
            if fits(self.enti) || fits(self.last_written) || unknown && self.enti == 0 {
                return;
            }
            self.enti.saturating_add(1).to_string()
        };
        findings.problem(Problem {
            segment: name.name.clone(),
            offset: 0,
            kind: ProblemKind::SegmentNameMismatch,
            expected: format!("a first index of {expected}"),
            found: name.index.to_string(),
            message: "the segment's name does not fit the entries before it".to_owned(),
        });
    }

    /// Applies one record. `position` counts the segment's records from 0.
    pub(crate) fn record(
        &mut self,
        kind: &RecordKind,
        position: u64,
        segment: &SegmentName,
        place: (&Arc<str>, u64),
        findings: &mut Findings,
    ) -> Effect {
        let place = Place { segment: Arc::clone(place.0), offset: place.1 };
        check_position(kind, position, &place, findings);
        match kind {
            RecordKind::Crc(_) => Effect::None,
            RecordKind::Metadata(data) => {
                self.metadata(data, &place, findings);
                Effect::None
            }
            RecordKind::HardState(state) => {
                self.hard_state(*state, &place, findings);
                Effect::None
            }
            RecordKind::Entry(entry) => self.entry(entry, segment, &place, findings),
            RecordKind::Snapshot(marker) => self.marker(marker, &place, findings),
        }
    }

    fn metadata(&mut self, data: &Bytes, place: &Place, findings: &mut Findings) {
        match &self.metadata {
            None => self.metadata = Some(data.clone()),
            Some(first) if first == data => {}
            Some(first) => place.report(
                Fault::new(
                    ProblemKind::MetadataConflict,
                    format!("{:02x?}", &first[..first.len().min(32)]),
                    format!("{:02x?}", &data[..data.len().min(32)]),
                    "the segment belongs to another node or cluster than the one before it",
                ),
                findings,
            ),
        }
    }

    fn hard_state(&mut self, state: HardState, place: &Place, findings: &mut Findings) {
        if let Some(before) = self.hard_state {
            if state.term < before.term {
                let fault = went_back(ProblemKind::TermWentBack, before.term, state.term);
                place.report(fault, findings);
            } else if state.term == before.term && before.vote != 0 && state.vote != before.vote {
                let HardState { term, vote, .. } = state;
                let message = format!("in term {term} voted {:x}, then {vote:x}", before.vote);
                findings.note(&place.segment, place.offset, NoteKind::VoteChanged, message);
            }
            if state.commit < before.commit {
                let fault = went_back(ProblemKind::CommitWentBack, before.commit, state.commit);
                place.report(fault, findings);
            }
        }
        if let Some((_, term)) = self.terms.last_term()
            && state.term < term
            && self.hard_state.is_none_or(|before| state.term >= before.term)
        {
            let fault = went_back(ProblemKind::TermWentBack, term, state.term);
            place.report(fault, findings);
        }
        if self.terms.last().is_some_and(|last| state.commit > last) {
            self.beyond = Some((place.clone(), state.commit));
        }
        self.hard_state = Some(state);
        self.ahead = None;
    }

    fn entry(
        &mut self,
        entry: &Entry,
        segment: &SegmentName,
        place: &Place,
        findings: &mut Findings,
    ) -> Effect {
        let &Entry { index, term, .. } = entry;
        let last = self.terms.last();
        match last {
            None => check_first(index, segment, place, findings),
            Some(last) if index - 1 > last => self.gap(last, index, place, findings),
            Some(_) => {}
        }
        self.commit_beyond(findings);
        let overwrites = last.is_some_and(|last| index <= last);
        if let Some(last) = last.filter(|_| overwrites) {
            self.check_overwrite(entry, place, findings);
            self.dropped_to = self.dropped_to.max(last);
        }
        if let Some(before) = self.terms.term(index - 1)
            && term < before
        {
            place.report(went_back(ProblemKind::TermWentBack, before, term), findings);
        }
        self.terms.truncate(index);
        self.terms.push(index, term);
        self.enti = index;
        self.last_written = index;
        if self.hard_state.is_some_and(|state| term > state.term) {
            self.ahead.get_or_insert_with(|| place.clone());
        }
        match last {
            Some(last) if overwrites => Effect::Overwrite { last },
            _ => Effect::Append,
        }
    }

    /// Reports that the entries between `last` and `index` are missing.
    fn gap(&mut self, last: u64, index: u64, place: &Place, findings: &mut Findings) {
        let commit = self.hard_state.map_or(0, |s| s.commit);
        let message = if commit > last {
            "entries are missing between this one and the one before it, committed ones among them"
        } else {
            "entries are missing between this one and the one before it"
        };
        let expected = format!("at most {}", last + 1);
        let found = format!("{index}: entries {} to {} are missing", last + 1, index - 1);
        place.report(Fault::new(ProblemKind::IndexGap, expected, found, message), findings);
        // The gap explains it.
        self.beyond.take_if(|b| b.1 < index);
    }

    fn check_overwrite(&self, entry: &Entry, place: &Place, findings: &mut Findings) {
        let &Entry { index, term, .. } = entry;
        let commit = self.hard_state.map_or(0, |s| s.commit);
        if index <= commit {
            let fault = Fault::new(
                ProblemKind::CommittedOverwritten,
                format!("an index behind the commit index {commit}"),
                index.to_string(),
                "the entry replaces one that was committed; a record of another type may have \
                 been read as an entry (no checksum covers the type)",
            );
            place.report(fault, findings);
        } else if self.terms.term(index) == Some(term) {
            let message = format!("entry {term}/{index} was written twice");
            findings.note(&place.segment, place.offset, NoteKind::SameTermOverwrite, message);
        }
    }

    fn marker(&mut self, marker: &Marker, place: &Place, findings: &mut Findings) -> Effect {
        let &Marker { index, term, .. } = marker;
        if self.beyond.as_ref().is_some_and(|b| b.1 <= index) {
            self.beyond = None;
        }
        if index == 0 {
            return Effect::None;
        }
        self.enti = self.enti.max(index);
        self.markers.push((term, index, place.clone()));
        let commit = self.hard_state.map_or(0, |s| s.commit);
        match self.terms.term(index) {
            Some(held) if held == term => return Effect::None,
            Some(held) if index <= commit => {
                let fault = Fault::new(
                    ProblemKind::SnapshotMismatch,
                    format!("term {held}, that of the committed entry {index}"),
                    format!("term {term}"),
                    "the snapshot marker disagrees with the log",
                );
                place.report(fault, findings);
            }
            // Older than the log that is left: the node's own, its entry was removed since.
            None if index <= commit && self.terms.last().is_none_or(|last| index <= last) => {
                return Effect::None;
            }
            _ => {}
        }
        self.dropped_to = self.dropped_to.max(self.terms.last().unwrap_or(0));
        self.terms = Terms::new(Some((index, term)));
        Effect::Reset
    }

    /// Reports a commit index beyond the log, once it is clear that no marker makes up for it.
    fn commit_beyond(&mut self, findings: &mut Findings) {
        if let Some((place, commit)) = self.beyond.take() {
            let last = self.terms.last().unwrap_or(0);
            let fault = Fault::new(
                ProblemKind::CommitBeyondLog,
                format!("a commit index of at most {last}, the last entry's"),
                commit.to_string(),
                "committed entries are missing at the end of the log",
            );
            place.report(fault, findings);
        }
    }

    /// What can only be said at the end of the log.
    pub(crate) fn finish(&mut self, findings: &mut Findings) {
        self.commit_beyond(findings);
        self.ghosts(findings);
        // etcd writes the entries of a new term and its hard state in one go, entries first.
        if let Some(place) = self.ahead.take() {
            let term = self.hard_state.map_or(0, |s| s.term);
            let fault = Fault::new(
                ProblemKind::TornTail,
                "a hard state with the term of the last entries",
                format!("term {term} in the last one"),
                "the last write was cut between its entries and their hard state: it was not \
                 acknowledged",
            );
            place.report(fault, findings);
        }
    }

    /// Notes entries that are not in the log but that etcd would find in it: opened from a
    /// snapshot, it skips all entries up to that one, and what they overwrote behind it with them.
    fn ghosts(&self, findings: &mut Findings) {
        let Some((term, index, place)) = self.markers.last() else { return };
        let rewritten = self.terms.last().is_some_and(|last| last > *index);
        if self.dropped_to > *index && !rewritten {
            let (first, last) = (index + 1, self.dropped_to);
            let message = format!(
                "opened from the snapshot {term}/{index}, etcd brings back the entries {first} to \
                 {last} although they were overwritten (etcd#22442); they are not part of the log"
            );
            findings.note(&place.segment, place.offset, NoteKind::GhostSuffix, message);
        }
    }

    /// Checks that a log whose first segments are gone has a snapshot to start from.
    pub(crate) fn check_start(&self, first: &SegmentName, findings: &mut Findings) {
        let start = self.terms.first().unwrap_or(first.index);
        if self.markers.iter().any(|m| m.1.saturating_add(1) >= start) {
            let message = format!("the log's segments before {} were removed", first.seq);
            findings.note(&first.name, 0, NoteKind::StartsLate, message);
            return;
        }
        let before = start.saturating_sub(1);
        findings.problem(Problem {
            segment: first.name.clone(),
            offset: 0,
            kind: ProblemKind::MissingSegment,
            expected: format!("segment 0, or a snapshot marker for entry {before} or later"),
            found: format!("segment {} first, and no such marker", first.seq),
            message: "the log's beginning is missing and no snapshot replaces it".to_owned(),
        });
    }

    /// Compares the markers with the snapshot files that are there.
    pub(crate) fn compare_snaps(&self, snaps: &[SnapName], findings: &mut Findings) {
        if snaps.is_empty() {
            return;
        }
        let files: HashSet<_> = snaps.iter().map(|s| (s.term, s.index)).collect();
        let mut markers = HashSet::new();
        for (term, index, place) in &self.markers {
            markers.insert((*term, *index));
            if !files.contains(&(*term, *index)) {
                let message = format!("no snapshot file for the marker {term}/{index}");
                findings.note(&place.segment, place.offset, NoteKind::MarkerWithoutFile, message);
            }
        }
        for snap in snaps.iter().filter(|s| !markers.contains(&(s.term, s.index))) {
            let message = "no marker in the log names this snapshot; etcd ignores it".to_owned();
            findings.note(&snap.name, 0, NoteKind::SnapFileWithoutMarker, message);
        }
    }

    /// Whether the log has a marker for `term`/`index`.
    pub(crate) fn has_marker(&self, term: u64, index: u64) -> bool {
        self.markers.iter().any(|m| (m.0, m.1) == (term, index))
    }
}

impl Place {
    fn report(&self, fault: Fault, findings: &mut Findings) {
        findings.problem(fault.at(&self.segment, self.offset));
    }
}

fn went_back(kind: ProblemKind, before: u64, now: u64) -> Fault {
    let message = "a number that only grows is smaller than before; a record of another type may \
                   have been read as this one (no checksum covers the type)";
    Fault::new(kind, format!("at least {before}"), now.to_string(), message)
}

/// A segment begins with the checksum, then the metadata; neither stands anywhere else.
fn check_position(kind: &RecordKind, position: u64, place: &Place, findings: &mut Findings) {
    let expected = match (position, kind) {
        (0, RecordKind::Crc(_)) | (1, RecordKind::Metadata(_)) => return,
        (0, _) => "crc",
        (1, _) => "metadata",
        (_, RecordKind::Crc(_) | RecordKind::Metadata(_)) => "entry, hard_state or snapshot",
        _ => return,
    };
    let message = "etcd writes no record of this type here";
    let fault = Fault::new(ProblemKind::MisplacedRecord, expected, kind.as_str(), message);
    place.report(fault, findings);
}

/// Checks the first entry of a log that does not begin with segment 0 against its name.
fn check_first(index: u64, segment: &SegmentName, place: &Place, findings: &mut Findings) {
    if segment.seq != 0 && index > segment.index {
        let fault = Fault::new(
            ProblemKind::SegmentNameMismatch,
            format!("a first entry of at most {}, as the segment's name has it", segment.index),
            index.to_string(),
            "the segment lacks its first entries, or has another one's name",
        );
        place.report(fault, findings);
    }
}
