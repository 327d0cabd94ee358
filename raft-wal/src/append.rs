//! Appending: a batch is judged, encoded and queued; a sync makes it durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_vfs::{Vfs, VfsFile};

use crate::encode::{frame_len, runs_of};
use crate::error::{Error, Reject, Result};
use crate::format::{BLOBS_MAX, Control, SMALL_MAX, flags};
use crate::planted::{Bug, planted};
use crate::rules::{Change, check};
use crate::types::{Batch, Durable, Entry, HardState, Reset, SnapshotMark, Ticket};
use crate::wal::{EraStart, Wal};
use crate::writer::Flush;

/// Bytes at the end of a segment that only small batches may use while no next segment is
/// published, so that a hard state or a compaction still finds room on a full disk.
const RESERVE: u64 = 256 << 10;
/// Room that a segment's first batch needs besides the user's part: Base, State, Compact, and
/// what metadata, blobs and a snapshot marker may take.
const OPENING_MAX: u64 = 4 * SMALL_MAX + 8192;

/// A flush, and what is durable once it has returned.
#[derive(Debug)]
pub(crate) struct Flight<F> {
    flush: Flush<F>,
    tip: Durable,
}

impl<F: VfsFile> Flight<F> {
    /// Writes and syncs. Blocks until the disk says so.
    pub(crate) fn run(&self) -> std::io::Result<()> {
        self.flush.run()
    }
}

/// A batch with everything implied made explicit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Prepared<'a> {
    pub(crate) entries: &'a [Entry],
    pub(crate) truncate: Option<u64>,
    pub(crate) hard_state: Option<HardState>,
    pub(crate) snapshot: Option<SnapshotMark>,
    pub(crate) reset: Option<Reset>,
    /// First index and base term.
    pub(crate) compact: Option<(u64, Option<u64>)>,
    /// Segments below are garbage once this is durable; 0 says nothing.
    pub(crate) floor_seq: u64,
    pub(crate) metadata: Option<Bytes>,
    pub(crate) blobs: Vec<(Bytes, Bytes)>,
}

impl Prepared<'_> {
    /// The flags that its records demand.
    pub(crate) fn flags(&self) -> u16 {
        let trunc = if self.truncate.is_some() { flags::TRUNC } else { 0 };
        let reset = if self.reset.is_some() { flags::RESET } else { 0 };
        trunc | reset
    }

    /// Its control records in order.
    fn controls(&self) -> Vec<(u64, Control)> {
        let mut out = Vec::new();
        out.extend(self.metadata.clone().map(Control::Metadata));
        let blobs = self.blobs.iter().cloned();
        out.extend(blobs.map(|(key, value)| Control::Blob { key, value }));
        let floor_seq = self.floor_seq;
        out.extend(self.compact.map(|(first_index, base_term)| Control::Compact {
            first_index,
            base_term,
            floor_seq,
        }));
        out.extend(self.snapshot.clone().map(Control::Snap));
        out.extend(self.reset.map(Control::Reset));
        out.extend(self.truncate.map(Control::Truncate));
        out.extend(self.hard_state.map(Control::State));
        out.into_iter().map(|c| (0, c)).collect()
    }
}

impl<V: Vfs> Wal<V> {
    /// Appends one atomic batch. It is readable when this returns, and acknowledged only when
    /// [`Wal::wait`] or [`Wal::sync`] has returned `Ok` after it.
    ///
    /// Blocks only where it must: for the first batch of a process, where a segment ends, and
    /// where more than [`crate::Options::max_unsynced_bytes`] wait for a sync.
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::TooLarge`] and [`Error::NoSpace`] leave the log as it was.
    /// So does [`Error::Io`], from making a segment or from looking up a term. [`Error::Poisoned`]:
    /// the batch, and all that was not durable, is in doubt.
    pub fn append(&mut self, batch: &Batch) -> Result<Ticket> {
        let Some(ticket) = self.append_or_busy(batch)? else {
            unreachable!("what is in flight belongs to a shared handle, which does not call this")
        };
        if self.exceeds_unsynced() {
            self.sync()?;
        }
        Ok(ticket)
    }

    /// Whether more is waiting for a sync than may.
    pub(crate) fn exceeds_unsynced(&self) -> bool {
        let limit = self.options.max_unsynced_bytes;
        self.writer.as_ref().is_some_and(|w| w.unsynced() > limit)
    }

    /// Appends; `None`, with nothing changed, if the batch needs what a flush in flight or a
    /// segment that is being published has in its hands.
    pub(crate) fn append_or_busy(&mut self, batch: &Batch) -> Result<Option<Ticket>> {
        self.healthy()?;
        let prepared = self.prepare_batch(batch)?;
        let controls = prepared.controls();
        let runs = runs_of(prepared.entries);
        let change = Change {
            controls: &controls,
            first_index: prepared.entries.first().map_or(0, |e| e.index),
            count: prepared.entries.len() as u64,
            runs: &runs,
        };
        check(&self.state, &change, self.options.vote_rule)?;
        let size = frame_len(&controls, prepared.entries);
        if size + OPENING_MAX > self.options.max_batch_bytes.max(OPENING_MAX + 4096) {
            let max = self.options.max_batch_bytes.saturating_sub(OPENING_MAX).max(4096);
            return Err(Error::TooLarge { what: "a batch", size, max });
        }
        if !self.place(&prepared, &controls, size)? {
            return Ok(None);
        }
        self.busy = true;
        Ok(Some(Ticket(self.tip.batch_seq)))
    }

    /// Finds the segment for a batch and puts it there; `false` if it is not at hand just now.
    fn place(&mut self, p: &Prepared<'_>, controls: &[(u64, Control)], size: u64) -> Result<bool> {
        if self.start.as_ref().is_some_and(EraStart::is_due) {
            // The open found no space for what it had to write again; nothing comes before that.
            self.start_era(None)?;
        }
        let Some(writer) = &self.writer else { return self.start_era(Some(p)).map(|()| true) };
        let reserve = RESERVE.min(writer.header.capacity / 8);
        let room = writer.room();
        if size <= room {
            if self.next.is_none() && !p.entries.is_empty() && size + reserve > room {
                if self.publishing {
                    return Ok(false);
                }
                let capacity = self.next_capacity();
                self.next = Some(self.publish(capacity)?);
            }
            let first = p.entries.first().map(|e| e.index);
            return self.put_and_apply(p.flags(), first, controls, p.entries).map(|()| true);
        }
        if self.publishing || writer.is_in_flight() {
            return Ok(false);
        }
        self.rotate(p).map(|()| true)
    }

    /// Bounds everything in a batch and spells out what it implies.
    fn prepare_batch<'b>(&self, batch: &'b Batch) -> Result<Prepared<'b>> {
        if batch.is_empty() {
            return Err(Error::Rejected(Reject::Empty));
        }
        let view = &self.state.view;
        check_entries(&batch.entries, self.options.max_entry_bytes)?;
        check_small(batch)?;
        self.check_blobs(&batch.blobs)?;
        if batch.reset.is_some() && (batch.truncate.is_some() || batch.compact.is_some()) {
            return Err(Error::Rejected(Reject::ResetWithOther));
        }
        if let Some(r) = batch.reset.filter(|r| r.first_index == u64::MAX) {
            return Err(Error::Rejected(Reject::IndexOverflow(r.first_index)));
        }
        let mut truncate = batch.truncate;
        if let Some(first) = batch.entries.first().map(|e| e.index)
            && batch.reset.is_none()
            && first < truncate.unwrap_or(view.next_index)
            && !planted(Bug::OverwriteKeepsOld)
        {
            truncate = Some(first);
        }
        let compact = match batch.compact {
            Some(index) => Some((index, self.base_term_for(index)?)),
            None => None,
        };
        Ok(Prepared {
            entries: &batch.entries,
            // Cutting where the log ends anyway is nothing; not even a record.
            truncate: truncate.filter(|&from| from != view.next_index),
            hard_state: batch.hard_state,
            snapshot: batch.snapshot.clone(),
            reset: batch.reset,
            floor_seq: compact.map_or(0, |(index, _)| self.floor_for(index)),
            compact,
            metadata: batch.metadata.clone(),
            blobs: self.effective_blobs(&batch.blobs),
        })
    }

    /// The term before `index`, once the log begins there.
    fn base_term_for(&self, index: u64) -> Result<Option<u64>> {
        let view = &self.state.view;
        if index < view.first_index || index > view.next_index {
            let (first_index, next_index) = (view.first_index, view.next_index);
            let rule = Reject::CompactRange { index, first_index, next_index };
            return Err(Error::Rejected(rule));
        }
        match index.checked_sub(1) {
            Some(before) => view.term(before),
            None => Ok(None),
        }
    }

    /// Bounds each keyed value and the set that is live afterwards, which every segment repeats.
    fn check_blobs(&self, blobs: &[(Bytes, Bytes)]) -> Result<()> {
        if blobs.is_empty() {
            return Ok(());
        }
        let size_of = |key: &Bytes, value: &Bytes| (1 + key.len() + value.len()) as u64;
        let mut live: BTreeMap<&Bytes, &Bytes> = self.state.blobs.iter().collect();
        for (key, value) in blobs {
            if key.is_empty() || key.len() > 255 {
                return Err(Error::Rejected(Reject::BlobKey(key.len())));
            }
            too_large("a keyed value", size_of(key, value), SMALL_MAX)?;
            if value.is_empty() {
                live.remove(key);
            } else {
                live.insert(key, value);
            }
        }
        if live.len() > BLOBS_MAX {
            return Err(Error::Rejected(Reject::BlobKeys(BLOBS_MAX)));
        }
        let total = live.into_iter().map(|(k, v)| size_of(k, v)).sum();
        too_large("the live keyed values", total, SMALL_MAX)
    }

    /// The keyed values of a batch as they stand at its end: the last of each key, and no deletion
    /// of what is not there. This bounds the records of a batch whatever was asked.
    fn effective_blobs(&self, blobs: &[(Bytes, Bytes)]) -> Vec<(Bytes, Bytes)> {
        let last: BTreeMap<Bytes, Bytes> = blobs.iter().cloned().collect();
        let changes = |(k, v): &(Bytes, Bytes)| !v.is_empty() || self.state.blobs.contains_key(k);
        last.into_iter().filter(changes).collect()
    }

    /// Makes everything appended so far durable. Blocks for one sync; does nothing if everything
    /// is durable already.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if the write or the sync failed, now or before. It is never retried.
    pub fn sync(&mut self) -> Result<()> {
        self.healthy()?;
        if self.start.as_ref().is_some_and(EraStart::is_due) {
            self.start_era(None)?;
        }
        self.sync_writer()
    }

    /// [`Wal::sync`] up to where it would block.
    pub(crate) fn begin_sync(&mut self) -> Result<Option<Flight<V::File>>> {
        self.healthy()?;
        if self.start.as_ref().is_some_and(EraStart::is_due) {
            self.start_era(None)?;
        }
        Ok(self.begin_flight())
    }

    pub(crate) fn sync_writer(&mut self) -> Result<()> {
        let Some(flight) = self.begin_flight() else { return Ok(()) };
        let done = flight.run();
        self.end_flight(&flight, done)
    }

    /// Takes everything that is queued, to be written and synced by [`Flight::run`]. `None` if
    /// everything is durable.
    pub(crate) fn begin_flight(&mut self) -> Option<Flight<V::File>> {
        let next_index = self.state.view.next_index;
        let writer = self.writer.as_mut()?;
        if writer.header.align > 1 {
            let at = writer.last().end;
            if let Some(pad) = writer.pad(&mut self.encoder, next_index) {
                self.cache.push(at, &pad.pieces);
                self.tip.batch_seq = writer.last().batch_seq;
            }
        }
        let flush = writer.begin_flush()?;
        let low = std::mem::replace(&mut self.unsynced_low, u64::MAX);
        self.in_flight_low = self.in_flight_low.min(low);
        Some(Flight { flush, tip: self.tip })
    }

    /// What the flight carried is durable, or the log is poisoned.
    pub(crate) fn end_flight(
        &mut self,
        flight: &Flight<V::File>,
        done: std::io::Result<()>,
    ) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if let Err(e) = done
            && !planted(Bug::FailedSyncForgiven)
        {
            let path = writer.path.clone();
            return Err(self.poison("write or sync", &path, &e));
        }
        writer.end_flush(&flight.flush);
        self.cache.trim(writer.written());
        self.durable = flight.tip;
        self.in_flight_low = u64::MAX;
        Ok(())
    }

    /// Blocks until the batch of `ticket` is durable: it is then acknowledged.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if the log failed before that: the batch is in doubt.
    pub fn wait(&mut self, ticket: Ticket) -> Result<()> {
        if self.is_durable(ticket) {
            return Ok(());
        }
        self.sync()
    }

    /// Writes what is queued to the file without a sync. A later sync makes it durable; a process
    /// crash, unlike a power cut, does not lose it.
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub fn write_through(&mut self) -> Result<()> {
        self.healthy()?;
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if let Err(e) = writer.write_queue() {
            let path = writer.path.clone();
            return Err(self.poison("write", &path, &e));
        }
        Ok(())
    }
}

fn too_large(what: &'static str, size: u64, max: u64) -> Result<()> {
    if size > max { Err(Error::TooLarge { what, size, max }) } else { Ok(()) }
}

fn check_entries(entries: &[Entry], max: u64) -> Result<()> {
    let mut before: Option<&Entry> = None;
    for e in entries {
        too_large("an entry's payload", e.data.len() as u64, max)?;
        if e.index == u64::MAX {
            return Err(Error::Rejected(Reject::IndexOverflow(e.index)));
        }
        if let Some(b) = before
            && e.index != b.index + 1
        {
            let (expected, found) = (b.index + 1, e.index);
            return Err(Error::Rejected(Reject::Index { expected, found }));
        }
        before = Some(e);
    }
    Ok(())
}

fn check_small(batch: &Batch) -> Result<()> {
    let metadata = batch.metadata.as_ref().map_or(0, Bytes::len) as u64;
    too_large("the metadata", metadata, SMALL_MAX)?;
    let conf_state = batch.snapshot.as_ref().map_or(0, |s| s.conf_state.len()) as u64;
    too_large("a conf state", conf_state, SMALL_MAX)
}
