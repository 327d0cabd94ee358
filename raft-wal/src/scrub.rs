//! Reading again, a little at a time, everything that the log stands on, to find damage while a
//! copy elsewhere can still mend it.
//!
//! A pass goes through IDENT and the segments from the oldest to the newest, each with its header,
//! its marks, its index file and its frames up to the cut, or in the newest up to what is durable.
//! It stops where the budget ends and goes on there, whatever happened meanwhile. The reading is a
//! job of its own ([`Scrubbing`]) that needs no lock; what it read of pages that are written at any
//! time is looked at again with the lock before it is called bad.

mod finding;
mod job;

use std::time::Duration;

use raft_vfs::Vfs;

pub use self::finding::Finding;
pub(crate) use self::job::Scrubbing;
use self::job::{Part, ScrubEnd, Target};
use crate::error::Result;
use crate::format::FIRST_FRAME;
use crate::pins::{Extent, Pin};
use crate::wal::Wal;

/// What is read at once where the options set the pace.
pub(crate) const SCRUB_PIECE: u64 = 1 << 20;
/// How many findings are kept.
const KEPT: usize = 256;

/// What one step of the scrub did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScrubStep {
    /// Number of the pass, from 1 on.
    pub pass: u64,
    /// Bytes that this step read.
    pub bytes: u64,
    /// The segment that it got to; `None` if it is still at IDENT.
    pub segment: Option<u64>,
    /// Whether everything that was live when the pass began has now been read.
    pub pass_done: bool,
    /// What is wrong there and was not known yet.
    pub found: Vec<Finding>,
}

/// What the scrub of an open log has done and found so far.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScrubStatus {
    /// Passes that are finished.
    pub passes: u64,
    /// Bytes read, by all passes.
    pub bytes: u64,
    /// The segment that the pass under way got to, if one is.
    pub segment: Option<u64>,
    /// What is wrong, each place once, in files that are still part of the log.
    pub findings: Vec<Finding>,
    /// There were more findings than are kept.
    pub more: bool,
}

impl ScrubStatus {
    /// Whether anything that was durable is damaged or unreadable.
    pub fn is_damaged(&self) -> bool {
        self.more || self.findings.iter().any(Finding::is_damage)
    }
}

/// Where a pass stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cursor {
    /// Number of the segment; 0 is IDENT.
    seq: u64,
    /// Offset of the next frame; 0 if header, marks and index file come first.
    at: u64,
    /// Number and chain that the frame there must have, where they are known.
    expect: Option<(u64, u32)>,
}

impl Cursor {
    fn segment(seq: u64) -> Self {
        Self { seq, at: 0, expect: None }
    }
}

/// The state of the scrub.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    status: ScrubStatus,
    cursor: Cursor,
    /// The newest segment when the pass began: it ends there, however fast the log grows.
    until: u64,
    /// When the next piece may be read, by the clock of the caller. `None` before the first look.
    due: Option<Duration>,
}

impl Scrub {
    /// Keeps what was not known, and returns that.
    fn keep(&mut self, found: Vec<Finding>) -> Vec<Finding> {
        let mut new = Vec::new();
        for finding in found {
            let kept = &mut self.status.findings;
            if kept.iter().any(|k| k.is_at(&finding)) {
                continue;
            }
            if kept.len() == KEPT {
                self.status.more = true;
                continue;
            }
            kept.push(finding.clone());
            new.push(finding);
        }
        new
    }

    /// The pass is over.
    fn finish(&mut self) {
        self.status.passes += 1;
        self.status.segment = None;
        (self.cursor, self.until) = (Cursor::default(), 0);
    }
}

impl<V: Vfs> Wal<V> {
    /// Reads the next `budget` bytes of what is live and durable and checks every checksum, chain
    /// and cut in them: IDENT and HEAD, headers and marks, index files, and the frames of every
    /// segment of the log up to what is durable. The next step goes on where this one stopped;
    /// after the last byte a new pass begins. A frame, and the tables of an index file, are read
    /// whole, so a step goes beyond its budget by at most that, and reads at least one.
    ///
    /// Damage does not poison: other entries stay readable and appends go on. What was found is in
    /// the step, and each place once in [`Wal::scrub_status`]. What to do: refill the log from a
    /// peer, or restore the named file from a copy, before the next open refuses it.
    ///
    /// Pages that the operating system holds in memory are checked there: what the disk has under
    /// them is seen once they were given up. Blocks for the reading alone.
    ///
    /// # Errors
    /// [`crate::Error::Io`] if no file can be opened for want of descriptors. What cannot be read
    /// is no error of the step but a [`Finding`].
    pub fn step_scrub(&mut self, budget: u64) -> Result<ScrubStep> {
        let mut total = ScrubStep::default();
        loop {
            let left = budget.saturating_sub(total.bytes).max(1);
            let end = self.begin_scrub(left).run()?;
            let step = self.end_scrub(end)?;
            total.bytes += step.bytes;
            total.found.extend(step.found);
            (total.pass, total.segment, total.pass_done) =
                (step.pass, step.segment, step.pass_done);
            if total.pass_done || total.bytes >= budget {
                return Ok(total);
            }
        }
    }

    /// What the scrub has done and found since the log was opened.
    pub fn scrub_status(&self) -> &ScrubStatus {
        &self.scrub.status
    }

    /// How long until the next piece is due, by [`crate::Options::scrub_bytes_per_second`]; `None`
    /// if never. `now` is any monotonic clock.
    pub(crate) fn scrub_wait(&mut self, now: Duration) -> Option<Duration> {
        let rate = self.options.scrub_bytes_per_second;
        if rate == 0 {
            return None;
        }
        let due = *self.scrub.due.get_or_insert(now.saturating_add(duration_of(SCRUB_PIECE, rate)));
        Some(due.saturating_sub(now))
    }

    /// A piece of `bytes` was read at `now`: when the next one is due. What ended before a piece
    /// was full counts as one, so that a small log is not read all the time.
    pub(crate) fn charge_scrub(&mut self, now: Duration, bytes: u64, is_over: bool) {
        let bytes = if is_over { bytes.max(SCRUB_PIECE) } else { bytes };
        let pause = duration_of(bytes, self.options.scrub_bytes_per_second.max(1));
        self.scrub.due = Some(now.saturating_add(pause));
    }

    /// Reads a piece if one is due, for [`Wal::step_all`].
    pub(crate) fn step_scrub_if_due(&mut self, now: Duration) -> Result<()> {
        if self.scrub_wait(now) == Some(Duration::ZERO) {
            let step = self.step_scrub(SCRUB_PIECE);
            let (bytes, is_over) = step.as_ref().map_or((0, true), |s| (s.bytes, s.pass_done));
            self.charge_scrub(now, bytes, is_over);
            step?;
        }
        Ok(())
    }

    /// Takes the part that is next; it stays where it is meanwhile.
    pub(crate) fn begin_scrub(&mut self, budget: u64) -> Scrubbing<V> {
        if self.scrub.until == 0 {
            self.begin_pass();
        }
        self.scrubbing(self.scrub.cursor, budget)
    }

    /// What is wrong with files that are gone is no news any more.
    fn begin_pass(&mut self) {
        self.scrub.until = self.newest_target().max(1);
        let paths = &self.paths;
        let live: Vec<_> =
            self.walk.iter().flat_map(|&n| [paths.segment(n), paths.index(n)]).collect();
        let is_live = |f: &Finding| f.path() == paths.ident || live.iter().any(|p| p == f.path());
        self.scrub.status.findings.retain(is_live);
    }

    fn scrubbing(&self, cursor: Cursor, budget: u64) -> Scrubbing<V> {
        let part = if cursor.seq == 0 {
            Part::Ident(self.paths.ident.clone(), self.ident)
        } else {
            match self.target(cursor.seq) {
                Some(target) => Part::Segment(target),
                None => Part::End,
            }
        };
        Scrubbing { vfs: self.vfs.clone(), part, cursor, budget }
    }

    fn newest_target(&self) -> u64 {
        let next = self.next.as_ref().map_or(0, |n| n.header.seq);
        self.walk.last().copied().unwrap_or(0).max(next)
    }

    /// The first segment from number `from` on, in this pass.
    fn target(&self, from: u64) -> Option<Target> {
        let next = self.next.as_ref().map(|n| n.header.seq);
        let live = self.walk.iter().copied().filter(|&seq| seq >= self.gone_below);
        let wanted = |seq: &u64| (from..=self.scrub.until).contains(seq);
        let seq = live.chain(next).filter(wanted).min()?;
        let (salt, extent) = self.known(seq)?;
        Some(Target {
            seq,
            path: self.paths.segment(seq),
            index: self.paths.index(seq),
            wal_uuid: self.ident.page.wal_uuid,
            salt,
            extent,
            is_newest: !self.extents.contains_key(&seq),
            _pin: Pin::new(self.files.get(&seq)?),
        })
    }

    /// The salt of a segment, and what of it is durable.
    pub(crate) fn known(&self, seq: u64) -> Option<(u32, Option<Extent>)> {
        if let Some(writer) = self.writer.as_ref().filter(|w| w.header.seq == seq) {
            let (salt, cut, start_next) =
                (writer.header.salt, writer.last_durable(), writer.start_next);
            let extent = Extent { salt, cut, start_next };
            return Some((salt, Some(extent).filter(|_| cut.end > FIRST_FRAME)));
        }
        if let Some(next) = self.next.as_ref().filter(|n| n.header.seq == seq) {
            return Some((next.header.salt, None));
        }
        let start = self.start.as_ref();
        if let Some((start, i)) = start.and_then(|s| Some((s, s.inherited.as_ref()?)))
            && i.seq == seq
        {
            let cut = start.cut.cut;
            let extent = Extent { salt: i.salt, cut, start_next: i.start_next };
            return Some((i.salt, Some(extent).filter(|_| start.cut.segment == seq)));
        }
        self.extents.get(&seq).map(|&extent| (extent.salt, Some(extent)))
    }

    /// Takes note of what was read. Nobody may be writing to the log meanwhile.
    pub(crate) fn end_scrub(&mut self, mut end: ScrubEnd) -> Result<ScrubStep> {
        if end.is_doubtful {
            // It may have been a look at a page that was being written.
            let again = self.scrubbing(end.from, 1).run()?;
            end.found = if again.seq == end.seq { again.found } else { Vec::new() };
            end.bytes += again.bytes;
        }
        let pass = self.scrub.status.passes + 1;
        let found = self.scrub.keep(end.found);
        self.scrub.status.bytes += end.bytes;
        self.scrub.cursor = end.to;
        let segment = Some(end.to.seq.min(self.scrub.until)).filter(|&seq| seq > 0);
        self.scrub.status.segment = segment;
        let pass_done = self.target(end.to.seq.max(1)).is_none();
        if pass_done {
            self.scrub.finish();
        }
        Ok(ScrubStep { pass, bytes: end.bytes, segment, pass_done, found })
    }
}

/// How long `bytes` take at so many a second.
fn duration_of(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate)
}

#[cfg(test)]
mod tests {
    use raft_vfs::SimVfs;

    use super::*;
    use crate::options::Options;
    use crate::types::{Batch, HardState};

    /// Pages that may be written while they are read are looked at again when nobody writes.
    #[test]
    fn a_glimpse_of_a_page_that_is_being_written_is_no_damage() {
        let disk = SimVfs::new(1);
        let options = Options::new().segment_bytes(16 << 10);
        let (mut wal, _) = Wal::open(disk.clone(), "/log", &options).unwrap();
        wal.append(&Batch::of_hard_state(HardState { term: 1, vote: 1, commit: 0 })).unwrap();
        wal.sync().unwrap();
        let (ident, segment) = (wal.paths.ident.clone(), wal.paths.segment(1));
        let places = [(&ident, 9), (&ident, 8192 + 9), (&segment, 9), (&segment, 4096 + 130)];
        let flip = |(path, at): (&std::path::PathBuf, usize)| {
            assert!(disk.mutate(path, |bytes| bytes[at] ^= 1));
        };
        for place in places {
            for stays in [false, true] {
                wal.scrub = Scrub::default();
                let mut found = Vec::new();
                let mut pass_done = false;
                while !pass_done {
                    let part = wal.begin_scrub(u64::MAX);
                    flip(place);
                    let end = part.run().unwrap();
                    if !stays {
                        flip(place);
                    }
                    let step = wal.end_scrub(end).unwrap();
                    if stays {
                        flip(place);
                    }
                    found.extend(step.found);
                    pass_done = step.pass_done;
                }
                assert_eq!(found.len(), usize::from(stays), "{place:?}: {found:?}");
            }
        }
    }
}
