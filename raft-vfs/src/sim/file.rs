//! A simulated file: its page cache, its disk blocks, and what lies between.
//!
//! Invariant: `live` and `durable` differ only where `pending` or `lost` say so, and a page never
//! has both: it is clean, dirty (`pending`), or clean by mistake (`lost`).

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;

use super::crash::{Change, Fate, PendingUnit};
use super::image::{Image, page_of, sectors};

/// What one write put into one sector.
#[derive(Clone, Debug)]
struct Sector {
    offset: u64,
    /// The whole write's bytes, and which of them are here.
    data: Arc<[u8]>,
    part: Range<usize>,
}

impl Sector {
    fn bytes(&self) -> &[u8] {
        &self.data[self.part.clone()]
    }

    fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.part.len() as u64
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Sector),
    Size { from: u64, to: u64 },
}

/// The page states after a failed `sync_data`, by file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FsyncFailure {
    /// ext4 and XFS: the pages are marked clean and keep the new bytes, the disk has the old ones
    /// for some of them. Reads see the new bytes until the page is evicted or the power goes; a
    /// second sync succeeds and writes none of them; a write into the page makes it dirty again.
    #[default]
    KeepCache,
    /// btrfs: the pages revert to what the disk has.
    RevertCache,
}

/// A regular file.
#[derive(Clone, Debug)]
pub(super) struct FileNode {
    /// Its newest name, for labels.
    pub(super) path: Arc<Path>,
    live: Image,
    live_len: u64,
    durable: Image,
    durable_len: u64,
    /// With the number of each change in the history of the disk.
    pending: Vec<(u64, Step)>,
    /// In the cache, not on the disk, and not going there by itself.
    lost: Vec<Sector>,
}

impl FileNode {
    /// A file whose contents are durable.
    pub(super) fn new(path: Arc<Path>, bytes: &[u8]) -> Self {
        let mut live = Image::default();
        live.write(0, bytes);
        let len = bytes.len() as u64;
        let durable = live.clone();
        let (pending, lost) = (Vec::new(), Vec::new());
        Self { path, live, live_len: len, durable, durable_len: len, pending, lost }
    }

    pub(super) fn len(&self) -> u64 {
        self.live_len
    }

    pub(super) fn live(&self) -> &Image {
        &self.live
    }

    pub(super) fn live_bytes(&self) -> Vec<u8> {
        self.live.bytes(0..self.live_len)
    }

    pub(super) fn durable_bytes(&self) -> Vec<u8> {
        self.durable.bytes(0..self.durable_len)
    }

    /// Whether cache and disk agree.
    pub(super) fn is_clean(&self) -> bool {
        self.pending.is_empty() && self.lost.is_empty() && self.live_len == self.durable_len
    }

    /// Reads what the cache has; returns the count.
    pub(super) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let count = self.live_len.saturating_sub(offset).min(buf.len() as u64) as usize;
        if count > 0 {
            self.live.read(offset, &mut buf[..count]);
        }
        count
    }

    /// Writes into the cache.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], seq: &mut u64) {
        if bytes.is_empty() {
            return;
        }
        let range = offset..offset + bytes.len() as u64;
        self.redirty(page_of(range.start)..page_of(range.end - 1) + 1, seq);
        if range.end > self.live_len {
            self.push(seq, Step::Size { from: self.live_len, to: range.end });
            self.live_len = range.end;
        }
        self.live.write(offset, bytes);
        let data: Arc<[u8]> = Arc::from(bytes);
        for piece in sectors(range) {
            let part = (piece.start - offset) as usize..(piece.end - offset) as usize;
            let sector = Sector { offset: piece.start, data: Arc::clone(&data), part };
            self.push(seq, Step::Write(sector));
        }
    }

    /// Sets the length in the cache.
    pub(super) fn truncate(&mut self, len: u64, seq: &mut u64) {
        if len == self.live_len {
            return;
        }
        // Cutting writes zeros into the page of the cut, which makes it dirty.
        self.redirty(page_of(len)..page_of(len) + 1, seq);
        self.push(seq, Step::Size { from: self.live_len, to: len });
        self.live.cut(len);
        self.live_len = len;
        self.lost.retain_mut(|sector| clip(sector, len));
    }

    /// A write to a page whose loss went unnoticed makes all of it dirty again.
    fn redirty(&mut self, pages: Range<u64>, seq: &mut u64) {
        if self.lost.is_empty() {
            return;
        }
        let inside = |sector: &mut Sector| pages.contains(&page_of(sector.offset));
        for sector in self.lost.extract_if(.., inside).collect::<Vec<_>>() {
            let bytes = self.live.bytes(sector.range());
            let part = 0..bytes.len();
            let sector = Sector { offset: sector.offset, data: bytes.into(), part };
            self.push(seq, Step::Write(sector));
        }
    }

    fn push(&mut self, seq: &mut u64, step: Step) {
        *seq += 1;
        self.pending.push((*seq, step));
    }

    /// A sync that succeeds: the disk gets every dirty page. Pages clean by mistake stay away.
    pub(super) fn sync(&mut self) {
        for (_, step) in std::mem::take(&mut self.pending) {
            match step {
                Step::Size { from, to } => self.size_arrives(from, to),
                // A dirty page has no byte that is clean by mistake, so it goes as it is.
                Step::Write(sector) => self.durable.take_page(page_of(sector.offset), &self.live),
            }
        }
    }

    fn size_arrives(&mut self, from: u64, to: u64) {
        self.durable_len = to;
        if to < from {
            self.durable.cut(to);
            self.lost.retain_mut(|sector| clip(sector, to));
        }
    }

    /// Write-back that fails in part: of the dirty sectors some reach the disk, some do not, and
    /// a few arrive as noise. All pages count as clean afterwards. The size is metadata, which
    /// file systems journal: it arrives or stays pending, and is never taken for durable.
    pub(super) fn fail_write_back(&mut self, mode: FsyncFailure, rng: &mut Rng) {
        let shrinks =
            |(_, step): &(u64, Step)| matches!(step, Step::Size { from, to } if to < from);
        let sizes_arrive = self.pending.iter().any(shrinks) || rng.bool();
        let mut still_pending = Vec::new();
        for (seq, step) in std::mem::take(&mut self.pending) {
            match step {
                Step::Size { from, to } if sizes_arrive => self.size_arrives(from, to),
                Step::Size { .. } => still_pending.push((seq, step)),
                Step::Write(sector) => match rng.u8(..10) {
                    0..5 => self.durable.write(sector.offset, sector.bytes()),
                    5 => {
                        self.durable.garble(sector.range(), rng.u64(..));
                        self.lost.push(sector);
                    }
                    _ => self.lost.push(sector),
                },
            }
        }
        self.pending = still_pending;
        if mode == FsyncFailure::RevertCache {
            self.pending.clear();
            self.lost.clear();
            self.durable.cut(self.durable_len);
            self.live = self.durable.clone();
            self.live_len = self.durable_len;
        }
    }

    /// Drops clean pages from the cache, those for which `chosen` says so, and reads them from
    /// the disk again.
    pub(super) fn evict(&mut self, mut chosen: impl FnMut(u64) -> bool) {
        let mut pages: Vec<u64> = self.lost.iter().map(|s| page_of(s.offset)).collect();
        pages.sort_unstable();
        pages.dedup();
        pages.retain(|&page| chosen(page));
        for &page in &pages {
            self.live.take_page(page, &self.durable);
        }
        self.lost.retain(|sector| pages.binary_search(&page_of(sector.offset)).is_err());
    }

    /// Numbers of the pending changes, in order.
    pub(super) fn pending_seqs(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|(seq, _)| *seq)
    }

    /// The pending change at `index`, for a chooser.
    pub(super) fn unit(&self, index: usize) -> PendingUnit {
        let change = match &self.pending[index].1 {
            Step::Size { from, to } => Change::Size { from: *from, to: *to },
            Step::Write(sector) => {
                Change::Write { offset: sector.offset, len: sector.part.len() as u64 }
            }
        };
        PendingUnit { path: Arc::clone(&self.path), change }
    }

    /// The file after a power cut: the disk, plus what `fates` gives of the pending changes.
    pub(super) fn after_power_cut(&self, fates: &[Fate], stale: &Stale<'_>) -> Self {
        let mut disk = self.durable.clone();
        let mut len = self.durable_len;
        for ((_, step), &fate) in self.pending.iter().zip(fates) {
            match step {
                Step::Write(sector) => settle_write(&mut disk, sector, fate, stale),
                Step::Size { from, to } => {
                    len = settle_size(&mut disk, len, *from..*to, fate, stale);
                }
            }
        }
        disk.cut(len);
        Self {
            path: Arc::clone(&self.path),
            live: disk.clone(),
            live_len: len,
            durable: disk,
            durable_len: len,
            pending: Vec::new(),
            lost: Vec::new(),
        }
    }
}

/// Shortens a sector's bytes to the part before `len`; false if there is none.
fn clip(sector: &mut Sector, len: u64) -> bool {
    let keep = len.saturating_sub(sector.offset).min(sector.part.len() as u64) as usize;
    sector.part.end = sector.part.start + keep;
    keep > 0
}

/// Where old bytes come from, and how far damage reaches.
#[derive(Debug)]
pub(super) struct Stale<'a> {
    /// Images of removed and cut files, youngest last.
    pub(super) images: &'a [Image],
    /// Whether a sector that fails half-written leaves its other bytes alone.
    pub(super) powersafe_overwrite: bool,
}

impl Stale<'_> {
    fn fill(&self, disk: &mut Image, range: Range<u64>, nth: u64) {
        match (self.images.len() as u64).checked_sub(1) {
            None => disk.zero(range),
            Some(last) => disk.copy_from(&self.images[(last - nth % (last + 1)) as usize], range),
        }
    }

    /// The bytes that damage to a write takes.
    fn reach(&self, sector: &Sector) -> Range<u64> {
        let range = sector.range();
        if self.powersafe_overwrite {
            return range;
        }
        let first = range.start - range.start % super::image::SECTOR;
        first..first + super::image::SECTOR
    }
}

fn settle_write(disk: &mut Image, sector: &Sector, fate: Fate, stale: &Stale<'_>) {
    match fate {
        Fate::Keep => disk.write(sector.offset, sector.bytes()),
        Fate::Drop => {}
        Fate::Torn(count) => {
            let bytes = sector.bytes();
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
            disk.write(sector.offset, &bytes[..count]);
        }
        Fate::Zero => disk.zero(stale.reach(sector)),
        Fate::Garbage(seed) => disk.garble(stale.reach(sector), seed),
        Fate::Stale(nth) => stale.fill(disk, stale.reach(sector), nth),
    }
}

/// Applies a change of size (`change.start` to `change.end`, which may be less); returns the new
/// length.
fn settle_size(
    disk: &mut Image,
    len: u64,
    change: Range<u64>,
    fate: Fate,
    stale: &Stale<'_>,
) -> u64 {
    let (from, to) = (change.start, change.end);
    let grown = from..to.max(from);
    let reached = match fate {
        Fate::Drop => return len,
        Fate::Torn(count) if to > from => from + count.min(to - from),
        Fate::Torn(count) => from - count.min(from - to),
        Fate::Keep | Fate::Zero | Fate::Garbage(_) | Fate::Stale(_) => to,
    };
    if to < from {
        disk.cut(reached);
    }
    match fate {
        Fate::Garbage(seed) => disk.garble(grown, seed),
        Fate::Stale(nth) => stale.fill(disk, grown, nth),
        Fate::Keep | Fate::Drop | Fate::Torn(_) | Fate::Zero => {}
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: u64 = 12_000;

    fn marks(ranges: impl Iterator<Item = Range<u64>>) -> Vec<bool> {
        let mut marks = vec![false; ROOM as usize];
        for range in ranges {
            marks[range.start as usize..range.end as usize].fill(true);
        }
        marks
    }

    fn check(file: &FileNode, what: &str) {
        let writes = file.pending.iter().filter_map(|(_, step)| match step {
            Step::Write(sector) => Some(sector.range()),
            // What lies behind a pending cut is still on the disk.
            Step::Size { from, to } => (to < from).then_some(*to..ROOM),
        });
        let pending = marks(writes);
        let lost = marks(file.lost.iter().map(Sector::range));
        let live = file.live.bytes(0..ROOM);
        let durable = file.durable.bytes(0..ROOM);
        for i in 0..ROOM as usize {
            assert!(live[i] == durable[i] || pending[i] || lost[i], "{what}: byte {i} differs");
            assert!((i as u64) < file.live_len || live[i] == 0, "{what}: byte {i} behind the end");
            assert!((i as u64) < file.live_len || !lost[i], "{what}: byte {i} lost behind the end");
        }
        let dirty = file.pending.iter().filter_map(|(_, step)| match step {
            Step::Write(sector) => Some(page_of(sector.offset)),
            Step::Size { .. } => None,
        });
        let wrong = |page| file.lost.iter().any(|sector| page_of(sector.offset) == page);
        assert!(!dirty.into_iter().any(wrong), "{what}: a page is both dirty and lost");

        let stale = Stale { images: &[], powersafe_overwrite: true };
        let kept = file.after_power_cut(&vec![Fate::Keep; file.pending.len()], &stale);
        assert_eq!(kept.live_len, file.live_len, "{what}: all sizes kept");
        for (i, byte) in kept.live_bytes().into_iter().enumerate() {
            assert!(byte == live[i] || lost[i], "{what}: byte {i} after all was kept");
        }
    }

    #[test]
    fn cache_and_disk_differ_only_where_something_is_pending_or_lost() {
        for seed in 0..1500 {
            let mut rng = Rng::with_seed(seed);
            let mut file = FileNode::new(Path::new("/a").into(), &[1; 5000]);
            let mut seq = 0;
            for step in 0..16 {
                let op = rng.u8(..9);
                match op {
                    0..3 => {
                        let bytes = vec![rng.u8(1..); rng.usize(..2000)];
                        file.write(rng.u64(..ROOM - 2000), &bytes, &mut seq);
                    }
                    3 => file.write(rng.u64(..9000), &[rng.u8(1..)], &mut seq),
                    4 => file.truncate(rng.u64(..ROOM), &mut seq),
                    5 => file.sync(),
                    6 => file.fail_write_back(FsyncFailure::KeepCache, &mut rng),
                    7 => file.evict(|_| rng.bool()),
                    _ if rng.u8(..4) > 0 => file.evict(|_| true),
                    _ => file.fail_write_back(FsyncFailure::RevertCache, &mut rng),
                }
                check(&file, &format!("seed {seed}, step {step}, operation {op}"));
                if op == 5 && file.lost.is_empty() {
                    assert!(file.is_clean() && file.live_bytes() == file.durable_bytes());
                }
            }
            file.evict(|_| true);
            assert!(file.lost.is_empty());
        }
    }
}
