//! What can be kept of a damaged log: the state after its last good batch.
//!
//! 1. `Site::look`: every segment's header and first batch, and what later batches say of the
//!    beginning of the log, damaged or not.
//! 2. `Site::keep`: recovery up to the newest segment that was started. If it meets damage on the
//!    way down, recovery up to the batch before that, and so on. Each try ends lower.
//! 3. `Site::behind_the_marker`: damage in front of the newest snapshot marker costs nothing but
//!    what the snapshot holds; the log then begins behind the marker.
//! 4. `Site::begin_again`: a cut so deep that the entries at its beginning were removed by a later
//!    compaction begins where that compaction, or the newest snapshot marker, says.
//! 5. `Site::restart`: of a log of which nothing is left, an empty one behind the marker.

use std::collections::BTreeMap;

use raft_vfs::Vfs;

use crate::dir::{Ident, Names};
use crate::error::{Corrupt, CorruptKind, Error, Result};
use crate::format::{Base, Control, FIRST_FRAME};
use crate::options::{Options, VoteRule};
use crate::paths::{Paths, WalName};
use crate::recover::{
    Bound, Carry, CutPoint, Recovered, Recovery, SegmentInfo, Segments, load_segment,
    recover_prefix,
};
use crate::report::RecoveryReport;
use crate::scan::Frame;
use crate::segment::Cut;
use crate::state::LogState;
use crate::survey::{Survey, each_frame, promised_end};
use crate::types::SnapshotMark;

/// A segment whose first batch is sound.
#[derive(Clone, Copy, Debug)]
struct Start {
    salt: u32,
    base: Base,
}

/// A damaged directory.
pub(super) struct Site<'a, V: Vfs> {
    vfs: &'a V,
    paths: &'a Paths,
    options: &'a Options,
    ident: &'a Ident,
    names: &'a Names,
    survey: &'a Survey<V>,
    segments: Segments,
    /// Segments of this log whose first batch is sound.
    starts: BTreeMap<u64, Start>,
    /// The highest floor that any sound batch sets.
    floor: u64,
    /// Where the log begins, and the term before it, as the newest sound batch has it.
    begin: Option<(u64, Option<u64>)>,
    /// The highest number of a segment that anything speaks of.
    highest: u64,
    era: u64,
}

impl<'a, V: Vfs> Site<'a, V> {
    /// Reads every sound batch.
    ///
    /// # Errors
    /// Those of reading, and [`Error::Unsupported`].
    pub(super) fn look(
        vfs: &'a V,
        paths: &'a Paths,
        options: &'a Options,
        ident: &'a Ident,
        names: &'a Names,
        survey: &'a Survey<V>,
    ) -> Result<Self> {
        let head = ident.head;
        let mut site = Self {
            vfs,
            paths,
            options,
            ident,
            names,
            survey,
            segments: Segments::new(),
            starts: BTreeMap::new(),
            floor: 0,
            begin: None,
            highest: names.highest().max(head.start_seq).max(head.live_seq),
            era: head.era,
        };
        for &seq in &names.segments {
            let info = load_segment(vfs, paths, seq)?;
            site.read(&info)?;
            site.segments.insert(seq, Ok(info));
        }
        Ok(site)
    }

    fn read(&mut self, info: &SegmentInfo) -> Result<()> {
        let uuid = self.ident.page.wal_uuid;
        let Some(header) = info.header.filter(|h| h.wal_uuid == uuid && h.seq == info.seq) else {
            return Ok(());
        };
        self.era = self.era.max(header.era);
        each_frame(&info.open(self.vfs)?, |frame| {
            self.note(info.seq, header.salt, header.era, frame);
        })
    }

    fn note(&mut self, seq: u64, salt: u32, era: u64, frame: &Frame) {
        if let Some(base) = frame.base().filter(|b| b.era == era) {
            self.starts.insert(seq, Start { salt, base: *base });
        }
        for (_, control) in &frame.controls {
            match control {
                Control::Base(b) => {
                    self.floor = self.floor.max(b.floor_seq);
                    self.highest = self.highest.max(b.prev_segment);
                    self.begin_at(b.first_index, b.base_term);
                }
                Control::Compact { first_index, base_term, floor_seq } => {
                    self.floor = self.floor.max(*floor_seq);
                    self.begin_at(*first_index, *base_term);
                }
                Control::Reset(r) => {
                    self.floor = self.floor.max(seq);
                    self.begin_at(r.first_index, r.base_term);
                }
                Control::Seal { next_segment, .. } => {
                    self.highest = self.highest.max(*next_segment);
                }
                _ => {}
            }
        }
    }

    fn begin_at(&mut self, first_index: u64, base_term: Option<u64>) {
        self.begin = Some((first_index, base_term.filter(|_| first_index > 0)));
    }

    /// The log after its last good batch.
    ///
    /// # Errors
    /// Those of reading, and what is no damage.
    pub(super) fn keep(&self) -> Result<Recovered<V>> {
        let mut at = self.top();
        let mut kept = None;
        while let (Some(bound), None) = (at, &kept) {
            at = match self.prefix(&bound) {
                Ok(found) => {
                    kept = self.begin_again(found)?;
                    None
                }
                Err(Error::Corrupt(c)) => {
                    kept = self.behind_the_marker(&bound, &c)?;
                    self.lower(&bound, &c)
                }
                Err(e) => return Err(e),
            };
        }
        let mut kept = kept.unwrap_or_else(|| self.restart());
        (kept.era, kept.highest) = (self.era, self.highest);
        self.keep_vote(&mut kept);
        Ok(kept)
    }

    fn prefix(&self, bound: &Bound) -> Result<Recovered<V>> {
        let mut report = RecoveryReport::new();
        let recovery = Recovery {
            vfs: self.vfs,
            paths: self.paths,
            options: self.options,
            ident: self.ident,
            names: self.names,
            report: &mut report,
            live: false,
        };
        recover_prefix(recovery, &self.segments, bound)
    }

    /// The log of `bound` without the segment that `c` speaks of and all older ones, if a snapshot
    /// holds what was in them.
    fn behind_the_marker(&self, bound: &Bound, c: &Corrupt) -> Result<Option<Recovered<V>>> {
        let older = segment_of(c).filter(|&seq| seq < bound.seq && seq >= bound.floor);
        let (Some(seq), Some(_)) = (older, self.survey.snapshot()) else { return Ok(None) };
        match self.prefix(&Bound { floor: seq + 1, ..*bound }) {
            Ok(found) => self.begin_again(found),
            Err(Error::Corrupt(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether no lost batch can have held a newer term or vote: each is followed by a sound one
    /// that repeats the hard state, or by a mark that does. `refused` is why the log does not open.
    ///
    /// A mark repeats what was in force when everything that it promises had been written, so the
    /// newest one of the newest segment speaks for all batches up to the furthest promise. Where
    /// intact batches break the rules or contradict a mark, nobody wrote what is there, and nothing
    /// in it speaks for anything.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn vote_is_certain(&self, refused: &Corrupt) -> Result<bool> {
        let contradicts = |c: &Corrupt| matches!(c.kind, CorruptKind::State | CorruptKind::Rule);
        if contradicts(refused) || self.survey.problems().iter().any(contradicts) {
            return Ok(false);
        }
        if self.survey.hard_state().1 {
            return Ok(true);
        }
        let marked = |s: &&SegmentInfo| s.marks.iter().any(|m| m.durable_to > FIRST_FRAME);
        let was_written = |s: &&SegmentInfo| self.starts.contains_key(&s.seq) || marked(s);
        let newest = self.segments.values().rev().flatten().find(was_written);
        let Some(s) = newest.filter(|s| s.bad_pages.is_empty()) else { return Ok(false) };
        let younger = |c: &Corrupt| segment_of(c).is_some_and(|seq| seq > s.seq);
        if self.survey.more_problems() > 0 || self.survey.problems().iter().any(younger) {
            return Ok(false);
        }
        let Some(mark) = s.marks.iter().max_by_key(|m| m.mark_no) else { return Ok(false) };
        let promised = promised_end(&s.open(self.vfs)?)?;
        Ok(mark.state_off != 0 && mark.durable_to > FIRST_FRAME && mark.durable_to >= promised)
    }

    /// The segments above `seq` whose first batch is sound.
    pub(super) fn started_above(&self, seq: u64) -> impl Iterator<Item = u64> {
        self.starts.range(seq.saturating_add(1)..).map(|(&seq, _)| seq)
    }

    /// The newest segment that was started. If the one that IDENT speaks of was and is gone, that
    /// on which its era stood: what it stepped over is dead.
    fn top(&self) -> Option<Bound> {
        let newest = *self.starts.last_key_value()?.0;
        let head = self.ident.head;
        let most = if head.start_seq > newest { head.live_seq } else { u64::MAX };
        self.started_up_to(most)
    }

    fn started_up_to(&self, most: u64) -> Option<Bound> {
        let (&seq, _) = self.starts.range(..=most).next_back()?;
        Some(Bound { seq, end: u64::MAX, proven: false, floor: 0 })
    }

    /// Below a segment of which not even the first batch is sound.
    fn below(&self, seq: u64) -> Option<Bound> {
        let head = self.ident.head;
        let most = if seq == head.start_seq { head.live_seq } else { u64::MAX };
        self.started_up_to(most.min(seq.checked_sub(1)?))
    }

    /// Where to try next, after damage was met on the way down from `from`: always lower.
    fn lower(&self, from: &Bound, c: &Corrupt) -> Option<Bound> {
        let seq = segment_of(c)?;
        // Batches that are intact and break the rules do not stop the scanner.
        let rule = (c.kind == CorruptKind::Rule && c.offset > FIRST_FRAME).then_some(c.offset);
        if seq >= from.seq {
            return match rule.filter(|&at| at < from.end) {
                Some(end) => Some(Bound { end, ..*from }),
                None => self.below(from.seq),
            };
        }
        if c.kind == CorruptKind::MissingSegment && from.floor <= seq && self.floor > seq {
            // A batch that is given up may have let go of what is kept, too.
            return Some(Bound { floor: self.floor.min(from.seq), ..*from });
        }
        let cut = self.cut_of(from.seq, seq);
        let own = self.starts.get(&seq);
        match (cut, own) {
            (Some(base), Some(own)) if own.salt == base.prev_salt => {
                let end = rule.unwrap_or(u64::MAX).min(base.prev_end);
                Some(Bound { seq, end, proven: true, floor: from.floor })
            }
            _ => self.below(seq),
        }
    }

    /// The Base that cuts segment `seq`, on the walk down from segment `from`.
    fn cut_of(&self, from: u64, seq: u64) -> Option<Base> {
        let mut at = from;
        loop {
            let base = self.starts.get(&at)?.base;
            if base.prev_segment == seq {
                return Some(base);
            }
            if base.prev_segment >= at || base.prev_segment < seq {
                return None;
            }
            at = base.prev_segment;
        }
    }

    /// Moves the beginning of a log whose first entries are not there any more, because a batch
    /// behind the cut compacted them away. `None` if the log cannot begin within what is kept.
    fn begin_again(&self, mut found: Recovered<V>) -> Result<Option<Recovered<V>>> {
        let view = &mut found.state.view;
        let (covered, next) = (view.covered_from(), view.next_index);
        if covered <= view.first_index {
            view.settle()?;
            return Ok(Some(found));
        }
        let mark = self.survey.snapshot().filter(|m| m.index < next);
        if let Some(m) = mark.filter(|m| m.index >= covered)
            && view.term(m.index)? != Some(m.term)
        {
            return Ok(None);
        }
        let begin = self.begin.filter(|(first, _)| (covered..=next).contains(first));
        let (first, base_term) = match (begin, mark) {
            (Some((first, term)), Some(m)) if first <= m.index + 1 => (first, term),
            (Some(begin), None) if self.survey.snapshot().is_none() => begin,
            (_, Some(m)) if (covered..=next).contains(&(m.index + 1)) => {
                (m.index + 1, Some(m.term))
            }
            _ => return Ok(None),
        };
        // An entry that is at hand must be the one that is said to stand there.
        let before = first.checked_sub(1).filter(|last| *last >= covered);
        let found_term = before.map(|last| view.term(last)).transpose()?.flatten();
        if found_term.is_some() && found_term != base_term {
            return Ok(None);
        }
        view.compact(first, base_term);
        view.settle()?;
        let mut commit = self.commit_below(first);
        if let Some(m) = mark {
            if view.term(m.index)?.is_some_and(|term| term != m.term) {
                return Ok(None);
            }
            commit = commit.max(m.index);
            found.state.snapshot = Some(m.clone());
        }
        found.state.hard_state.commit = found.state.hard_state.commit.max(commit);
        Ok(Some(found))
    }

    /// An empty log behind the newest marker, or else where the log began.
    fn restart(&self) -> Recovered<V> {
        let behind = |m: &SnapshotMark| Some((m.index.checked_add(1)?, Some(m.term)));
        let mark = self.survey.snapshot();
        let begin = self.begin.unwrap_or((self.options.initial_index, None));
        let begin = mark.and_then(behind).filter(|(first, _)| *first >= begin.0).unwrap_or(begin);
        let mut state = LogState::empty(begin.0);
        (state.view.base_term, state.view.last_term) = (begin.1, begin.1);
        state.snapshot = mark.filter(|m| m.index < begin.0).cloned();
        let marked = state.snapshot.as_ref().map_or(0, |m| m.index);
        state.hard_state.commit = self.commit_below(begin.0).max(marked);
        state.metadata = self.survey.metadata().cloned();
        state.blobs = self.survey.blobs().clone();
        let cut = CutPoint {
            segment: 0,
            salt: 0,
            cut: Cut { batch_seq: 0, chain: 0, end: 0 },
            first_index: begin.0,
            base_term: begin.1,
            next_index: begin.0,
            last_term: begin.1,
        };
        Recovered {
            state,
            newest: None,
            cut,
            carry: Carry::default(),
            walk: Vec::new(),
            extents: BTreeMap::new(),
            young: Vec::new(),
            dead_tails: Vec::new(),
            era: 0,
            highest: 0,
        }
    }

    /// The commit index as far as it lies below the beginning of the log: what it says of entries
    /// that are kept may be of others that replaced them.
    fn commit_below(&self, first: u64) -> u64 {
        self.survey.hard_state().0.commit.min(first.saturating_sub(1))
    }

    /// Term and vote are the newest that are readable anywhere: neither ever goes back.
    fn keep_vote(&self, kept: &mut Recovered<V>) {
        let (known, _) = self.survey.hard_state();
        let hs = &mut kept.state.hard_state;
        let once = self.options.vote_rule == VoteRule::OncePerTerm;
        let revotes = known.term == hs.term && known.vote != 0 && (hs.vote == 0 || !once);
        if known.term > hs.term || revotes {
            (hs.term, hs.vote) = (known.term, known.vote);
        }
    }
}

/// The segment that an error names.
fn segment_of(c: &Corrupt) -> Option<u64> {
    match WalName::parse(c.path.file_name()?.to_str()?)? {
        WalName::Segment(seq) => Some(seq),
        _ => None,
    }
}
