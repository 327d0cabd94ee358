//! Starting segments: the first of a process (an era) and those that follow by rotation.
//!
//! A segment's first batch names where its predecessor ends and repeats everything that replay
//! needs, so that the log can be read from any segment on. The first segment of an era also
//! carries what was readable but not proven durable; until that is synced nothing is served.

use std::path::PathBuf;
use std::sync::Arc;

use raft_vfs::{Access, Vfs, VfsFile, VfsFileExt};

use crate::append::Prepared;
use crate::encode::frame_len;
use crate::error::Result;
use crate::format::{
    Base, BaseReason, Control, FIRST_FRAME, HeadSlot, PAGE, SEAL_FRAME_LEN, flags,
};
use crate::gc::DeadTail;
use crate::index::SegmentIndex;
use crate::options::ReadMode;
use crate::paths::io_error;
use crate::planted::{Bug, planted};
use crate::recover::CutPoint;
use crate::rules::Change;
use crate::segment::{ClosedSegment, RecordReader, SegmentId};
use crate::types::{Entry, Reset};
use crate::wal::{EraStart, NO_CUT, Published, Wal};
use crate::writer::SegmentWriter;

/// The first batch of a segment, before it is known where it goes.
struct Opening {
    flags: u16,
    controls: Vec<(u64, Control)>,
    entries: Vec<Entry>,
}

impl<V: Vfs> Wal<V> {
    /// Starts this process's first segment, with what must be carried, or else with the first
    /// user batch.
    ///
    /// # Errors
    /// [`Error::NoSpace`] or [`Error::Io`] with nothing written in the new segment; otherwise
    /// [`Error::Poisoned`].
    pub(crate) fn start_era(&mut self, user: Option<&Prepared<'_>>) -> Result<()> {
        let Some(start) = &self.start else { return Ok(()) };
        let carries = start.is_due();
        let entries = self.carried_entries(start)?;
        let cut = start.cut;
        let repairs = start.repairs;
        let reason = if repairs { BaseReason::Repair } else { BaseReason::Open };
        let base = self.base(&cut, reason, start.carry.batches, start.discarded.as_ref());
        let live_seq = start.inherited.as_ref().map_or(0, |i| i.seq);
        let opening =
            if carries { self.carry(base, start, entries) } else { self.opening(base, user) };
        let published = self.take_segment(&opening)?;
        let start_seq = published.header.seq;
        if !repairs {
            self.write_head(start_seq, live_seq, cut.segment)?;
        }
        let Some(start) = self.start.take() else { return Ok(()) };
        if let Some(i) = start.inherited.as_ref().filter(|i| i.seq == cut.segment) {
            let len = i.file.len().unwrap_or(0);
            self.dead_tails.extend(DeadTail::of(i.seq, &i.path, cut.cut.end, len));
        }
        let old = start.inherited.map(|i| (i.path, i.seq, i.salt, i.start_next));
        self.enter(published, cut, old, ClosedSegment::inherited);
        self.walk.retain(|&seq| seq <= cut.segment);
        self.walk.push(self.highest_walk());
        if carries {
            self.put_carry(&opening)?;
            self.sync_writer()?;
            if !planted(Bug::CarryNotPromised) {
                self.promise()?;
            }
            if repairs {
                // Until here a crash leaves the damage as it was found.
                self.write_head(start_seq, live_seq, cut.segment)?;
            }
            self.recovered_durable = true;
        } else {
            self.put_opening(&opening)?;
        }
        Ok(())
    }

    /// The number of the segment that is written.
    fn highest_walk(&self) -> u64 {
        self.writer.as_ref().map_or(0, |w| w.header.seq)
    }

    /// Closes the current segment and starts the next with the user's batch.
    ///
    /// # Errors
    /// As [`Wal::start_era`].
    pub(crate) fn rotate(&mut self, user: &Prepared<'_>) -> Result<()> {
        while self.unindexed.len() >= 2 {
            // Bounds what the next open must scan. A segment that cannot be read is no reason not
            // to append: whoever reads it gets the error.
            let _ = self.step_index();
        }
        let next_index = self.state.view.next_index;
        let Some(writer) = &self.writer else { return Ok(()) };
        let unsealed = self.last_cut(writer);
        let base = self.base(&unsealed, BaseReason::Rotation, 0, None);
        let opening = self.opening(base, Some(user));
        let published = self.take_segment(&opening)?;
        let to = (published.header.seq, published.header.salt);
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        if !planted(Bug::NoSeal) {
            writer.seal(&mut self.encoder, next_index, to);
        }
        let sealed = self.last_cut(&writer);
        let flushed =
            if planted(Bug::SealNotSynced) { writer.write_queue() } else { writer.flush() };
        if let Err(e) = flushed {
            let path = writer.path.clone();
            self.writer = Some(writer);
            return Err(self.poison("write or sync", &path, &e));
        }
        self.tip.batch_seq = sealed.cut.batch_seq;
        self.durable = self.tip;
        (self.unsynced_low, self.in_flight_low) = (u64::MAX, u64::MAX);
        let old = (writer.path, writer.header.seq, writer.header.salt, writer.start_next);
        self.enter(published, sealed, Some(old), ClosedSegment::indexed);
        self.walk.push(to.0);
        // The Base was sized with the cut before SEAL; it is written with the one behind it.
        let mut opening = opening;
        opening.controls[0].1 =
            Control::Base(Box::new(self.base(&sealed, BaseReason::Rotation, 0, None)));
        self.put_opening(&opening)
    }

    /// The published segment that is waiting, if it is large enough, or a new one.
    fn take_segment(&mut self, opening: &Opening) -> Result<Published<V::File>> {
        let frame = frame_len(&opening.controls, &opening.entries);
        let padding = if self.options.align > 1 { self.options.align + PAGE } else { 0 };
        let need = FIRST_FRAME + frame + SEAL_FRAME_LEN + padding;
        if let Some(p) = self.next.take_if(|p| p.header.capacity >= need) {
            return Ok(p);
        }
        // Too small for this batch: a segment of its own. A published one that does not fit stays
        // unstarted and is dead as soon as a younger one is started.
        let capacity = self.next_capacity().max(need.next_multiple_of(PAGE));
        let published = self.publish(capacity)?;
        self.next = None;
        Ok(published)
    }

    /// Makes `published` the segment that is written.
    fn enter(
        &mut self,
        published: Published<V::File>,
        cut: CutPoint,
        old: Option<(PathBuf, u64, u32, u64)>,
        closed: fn(V, SegmentId, ReadMode, SegmentIndex) -> ClosedSegment<V>,
    ) {
        if let Some((path, seq, salt, start_next)) = old {
            let life = self.files.entry(seq).or_default().clone();
            let id = SegmentId { path, seq, salt, cut: cut.cut, start_next, life };
            let live = seq == cut.segment;
            let index = self.state.view.tail.clone();
            let mode = self.options.read_mode;
            let closed = Arc::new(closed(self.vfs.clone(), id, mode, index));
            if live {
                self.extents.insert(seq, closed.id().into());
                self.unindexed.push_back(closed.clone());
            }
            self.state.close_tail(closed);
        }
        self.cache.clear();
        let last = if cut.segment == 0 { NO_CUT } else { cut.cut };
        let Published { file, path, header } = published;
        self.writer = Some(SegmentWriter::new(file, path, header, last, cut.next_index));
    }

    fn base(
        &self,
        cut: &CutPoint,
        reason: BaseReason,
        carried: u64,
        discarded: Option<&crate::report::Discarded>,
    ) -> Base {
        Base {
            prev_segment: cut.segment,
            prev_salt: cut.salt,
            prev_chain: cut.cut.chain,
            prev_batch_seq: cut.cut.batch_seq,
            prev_end: cut.cut.end,
            first_index: cut.first_index,
            base_term: cut.base_term,
            next_index: cut.next_index,
            last_term: cut.last_term.unwrap_or(0),
            floor_seq: self.state.floor_seq,
            era: self.era,
            nonce: self.era_nonce,
            carried,
            disc_segment: discarded.map_or(0, |d| d.segment),
            disc_from: discarded.map_or(0, |d| d.offset),
            disc_len: discarded.map_or(0, |d| d.bytes),
            disc_crc: discarded.map_or(0, |d| d.crc),
            reason,
        }
    }

    /// A segment's first batch without a carry: all that is live, merged with the user's batch.
    fn opening(&self, base: Base, user: Option<&Prepared<'_>>) -> Opening {
        let none = Prepared::default();
        let user = user.unwrap_or(&none);
        let (first_index, base_term) = match user.compact {
            Some(to) => to,
            None => (base.first_index, base.base_term),
        };
        let mut blobs = self.state.blobs.clone();
        for (key, value) in &user.blobs {
            if value.is_empty() {
                blobs.remove(key);
            } else {
                blobs.insert(key.clone(), value.clone());
            }
        }
        let kept = |index: u64| user.reset.is_none_or(|r| index < r.first_index);
        let live_mark = self.state.snapshot.clone().filter(|s| kept(s.index));
        let hard_state = user.hard_state.unwrap_or(self.state.hard_state);
        let mut controls = vec![Control::Base(Box::new(base))];
        controls.extend(
            user.metadata.clone().or_else(|| self.state.metadata.clone()).map(Control::Metadata),
        );
        if !planted(Bug::ValuesNotRepeated) {
            controls.extend(blobs.into_iter().map(|(key, value)| Control::Blob { key, value }));
        }
        let floor_seq = user.floor_seq.max(self.state.floor_seq);
        controls.push(Control::Compact { first_index, base_term, floor_seq });
        controls.extend(user.snapshot.clone().or(live_mark).map(Control::Snap));
        controls.extend(user.reset.map(Control::Reset));
        controls.extend(user.truncate.map(Control::Truncate));
        if !planted(Bug::StateNotRepeated) {
            controls.push(Control::State(hard_state));
        }
        Opening {
            flags: flags::SEG_START | user.flags(),
            controls: controls.into_iter().map(|c| (0, c)).collect(),
            entries: user.entries.to_vec(),
        }
    }

    /// A segment's first batch that repeats the net effect of the unproven batches: at most one
    /// reset or truncation, the entries from there on, and everything that is repeated anyway.
    fn carry(&self, base: Base, start: &EraStart<V::File>, entries: Vec<Entry>) -> Opening {
        let view = &self.state.view;
        let cut = &start.cut;
        // Where a compaction passed a truncation, its base term is the new entries': a reset says
        // the same without asking what stood there before.
        let resets = start.carry.reset
            || view.first_index > cut.next_index
            || start.carry.low.is_some_and(|low| low < view.first_index);
        let reset =
            resets.then_some(Reset { first_index: view.first_index, base_term: view.base_term });
        let truncate = start
            .carry
            .low
            .filter(|&low| !resets && low < cut.next_index && !planted(Bug::CarryKeepsOld));
        let compact = if resets {
            (cut.first_index, cut.base_term)
        } else {
            (view.first_index, view.base_term)
        };
        let everything = Prepared {
            compact: Some(compact),
            snapshot: self.state.snapshot.clone(),
            reset,
            truncate: truncate.map(|low| low.max(view.first_index)),
            hard_state: Some(self.state.hard_state),
            ..Prepared::default()
        };
        let mut opening = self.opening(base, Some(&everything));
        opening.flags |= flags::CARRY;
        opening.entries = entries;
        opening
    }

    /// The entries that unproven batches wrote; all are in the newest segment.
    fn carried_entries(&self, start: &EraStart<V::File>) -> Result<Vec<Entry>> {
        let view = &self.state.view;
        let low = if start.carry.reset { Some(view.first_index) } else { start.carry.low };
        let (Some(low), Some(i)) = (low, &start.inherited) else { return Ok(Vec::new()) };
        let low = low.max(view.first_index);
        if low > view.first_index {
            // Looked up now, while a failure changes nothing: the carry truncates to here.
            view.term(low - 1)?;
        }
        let mut reader = RecordReader::file(&*i.file, i.end);
        let mut entries =
            Vec::with_capacity(view.next_index.saturating_sub(low).min(1 << 16) as usize);
        for index in low..view.next_index {
            let at = view.tail.offset(index);
            let entry = match at {
                Some(at) => reader
                    .entry(i.salt, index, at)
                    .map_err(|e| io_error("read", &i.path, Some(at), e))?,
                None => None,
            };
            entries.push(entry.ok_or_else(|| {
                let at = at.unwrap_or(0);
                crate::segment::bad_record(&i.path, index, at, 0, "an entry that is to be carried")
            })?);
        }
        Ok(entries)
    }

    /// Writes the carry. The log's contents stay what they are; only their place changes.
    fn put_carry(&mut self, opening: &Opening) -> Result<()> {
        let first = opening.entries.first().map_or(self.state.view.next_index, |e| e.index);
        let resets = opening.flags & flags::RESET != 0;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let encoded = writer.put(
            &mut self.encoder,
            opening.flags,
            first,
            &opening.controls,
            &opening.entries,
        );
        self.cache.push(FIRST_FRAME, &encoded.pieces);
        self.tip.batch_seq = writer.last().batch_seq;
        let seq = writer.header.seq;
        let mut truncated = Ok(());
        let (before, view) = (self.state.view.next_index, &mut self.state.view);
        if resets {
            view.reset(&Reset { first_index: view.first_index, base_term: view.base_term });
            self.state.floor_seq = self.state.floor_seq.max(seq);
        } else if opening.flags & flags::TRUNC != 0 || !opening.entries.is_empty() {
            truncated = view.truncate(first);
        }
        if let Err(e) = truncated {
            return Err(self.poison_by(&e));
        }
        let view = &mut self.state.view;
        view.push(first, &encoded.offsets, &encoded.runs);
        assert_eq!(before, view.next_index, "a carry does not change the log");
        Ok(())
    }

    /// Writes a segment's first batch and applies the user's part of it.
    fn put_opening(&mut self, opening: &Opening) -> Result<()> {
        let first = opening.entries.first().map(|e| e.index);
        self.put_and_apply(opening.flags, first, &opening.controls, &opening.entries)
    }

    /// Encodes a batch into the current segment and applies it. The rules have accepted it.
    pub(crate) fn put_and_apply(
        &mut self,
        flags: u16,
        first: Option<u64>,
        controls: &[(u64, Control)],
        entries: &[Entry],
    ) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let before = self.state.view.next_index;
        let next = controls.iter().fold(before, |next, (_, c)| match c {
            Control::Truncate(from) => *from,
            Control::Reset(r) => r.first_index,
            _ => next,
        });
        let first_index = first.unwrap_or(next);
        let touched = if flags & flags::RESET == 0 { first_index.min(next) } else { 0 };
        self.rewrites += u64::from(flags & (flags::RESET | flags::TRUNC) != 0);
        self.unsynced_low = self.unsynced_low.min(touched);
        let at = writer.last().end;
        let encoded = writer.put(&mut self.encoder, flags, first_index, controls, entries);
        self.cache.push(at, &encoded.pieces);
        let seq = writer.header.seq;
        self.tip.batch_seq = writer.last().batch_seq;
        let count = entries.len() as u64;
        let change = Change { controls, first_index, count, runs: &encoded.runs };
        if let Err(e) = self.state.apply(&change, &encoded.offsets, seq) {
            return Err(self.poison_by(&e));
        }
        self.tip.last_index = self.state.view.next_index.saturating_sub(1);
        self.tip.term = self.state.view.last_term.unwrap_or(0);
        Ok(())
    }

    /// Says in IDENT that a segment is about to be started, durably, so that its loss is provable
    /// although nothing closed its predecessor; and which segments it stands on.
    fn write_head(&mut self, start_seq: u64, live_seq: u64, proven_seq: u64) -> Result<()> {
        let page = if (self.ident.head_page == 2) == planted(Bug::HeadOverwritten) { 2 } else { 3 };
        let mut uuid_half = [0; 8];
        uuid_half.copy_from_slice(&self.ident.page.wal_uuid[..8]);
        let slot = HeadSlot {
            slot_no: self.ident.head.slot_no + 1,
            start_seq,
            live_seq,
            proven_seq,
            era: self.era,
            nonce: self.era_nonce,
            uuid_half,
        };
        let path = self.paths.ident.clone();
        let file = self.vfs.open(&path, Access::ReadWrite);
        let file = file.map_err(|e| io_error("open", &path, None, e))?;
        let written = file.write_all_at(&slot.encode(page), u64::from(page) * PAGE);
        if let Err(e) = written.and_then(|()| file.sync_data()) {
            return Err(self.poison("write or sync", &path, &e));
        }
        (self.ident.head, self.ident.head_page) = (slot, page);
        Ok(())
    }

    /// Makes a durable promise about everything that is durable.
    pub(crate) fn promise(&mut self) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if writer.all_proven() {
            return Ok(());
        }
        let (path, marked) = (writer.path.clone(), writer.mark_synced(false));
        marked.map_err(|e| self.poison("write or sync a mark of", &path, &e))
    }
}
