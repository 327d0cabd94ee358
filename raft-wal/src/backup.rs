//! Copying a log that is in use: exactly what is durable at one moment, each checksum verified.
//!
//! The copy has the same identity and segments with the same frames. Marks and HEAD are written
//! anew, because those of the source go on to speak of what the copy does not have: the copy ends
//! with a promise that covers all of it, so it opens as a log that was closed. IDENT comes last;
//! until then the directory is no log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_vfs::{Vfs, VfsFile, VfsFileExt};

use crate::dir;
use crate::error::{Acked, Corrupt, CorruptKind, Error, Result};
use crate::format::{FIRST_FRAME, HeadSlot, IdentPage, Mark, PAGE, SEAL_FRAME_LEN};
use crate::paths::{Paths, io_error, is_no_space};
use crate::pins::{Extent, Pin};
use crate::recover::load_segment_at;
use crate::scan::{Check, Scanner, Step};
use crate::segment::{Cut, SegmentId, scan_to_cut};
use crate::types::Durable;
use crate::wal::Wal;

/// Its name keeps a directory in which a copy was begun from being taken for a new one.
const UNFINISHED: &str = "COPYING";
/// What is copied at once.
const CHUNK: u64 = 1 << 20;

/// A hold on a log as it was durable at one moment, from which it can be copied while it goes on.
///
/// Every segment that it consists of keeps its name and its bytes until this is dropped: compaction
/// frees no space of theirs so long. Keep the log open meanwhile: another process that opens it
/// knows nothing of this hold.
#[derive(Debug)]
pub struct Backup<V: Vfs> {
    vfs: V,
    paths: Paths,
    ident: IdentPage,
    era: u64,
    era_nonce: u64,
    durable: Durable,
    /// Oldest first; the last is the newest that holds a durable batch.
    parts: Vec<Held>,
}

/// A segment that stays where it is.
#[derive(Debug)]
struct Held {
    seq: u64,
    extent: Extent,
    _pin: Pin,
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupReport {
    /// The last batch in the copy, or the SEAL behind it.
    pub durable: Durable,
    /// Segments copied.
    pub segments: u64,
    /// Bytes read from the log.
    pub bytes: u64,
}

impl<V: Vfs> Wal<V> {
    /// Holds on to the log as it is durable now, to copy it with [`Backup::copy_to`]. What was
    /// appended and is not durable yet is no part of it: call [`Wal::sync`] first to have it.
    /// Neither reads nor writes.
    ///
    /// # Errors
    /// [`Error::Poisoned`]; [`Error::Busy`] if what the open recovered is not durable for want of
    /// space, see [`Wal::recovered_durable`].
    pub fn backup(&self) -> Result<Backup<V>> {
        self.healthy()?;
        if !self.recovered_durable() {
            let what = "what the open recovered waits for space to be written again";
            return Err(Error::Busy { path: self.paths.dir.clone(), what });
        }
        let mut parts = Vec::new();
        for &seq in self.walk.iter().filter(|&&seq| seq >= self.gone_below) {
            let (Some((_, extent)), Some(life)) = (self.known(seq), self.files.get(&seq)) else {
                let what = "the handle does not know this segment";
                return Err(Error::Busy { path: self.paths.segment(seq), what });
            };
            let pin = Pin::new(life);
            // The one that is written may have nothing durable in it yet.
            parts.extend(extent.map(|extent| Held { seq, extent, _pin: pin }));
        }
        Ok(Backup {
            vfs: self.vfs.clone(),
            paths: self.paths.clone(),
            ident: self.ident.page,
            era: self.era,
            era_nonce: self.era_nonce,
            durable: self.durable(),
            parts,
        })
    }
}

impl<V: Vfs> Backup<V> {
    /// The last batch that a copy has, or the SEAL behind it, which closed its segment.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// Copies the log into `dest`, which is made if it is not there and must be empty: IDENT, and
    /// the segments up to the last durable batch, each read back and verified frame by frame.
    /// Index files are left out, an open makes them; so is a SEAL behind the last batch, since what
    /// it leads to is not part of the copy. An ordinary open of the copy gives exactly this log,
    /// and closed; it keeps the identity, so a copy takes the place of the log and never stands
    /// beside it. A node that runs on a copy has forgotten what it acknowledged since, its
    /// votes included: it must not come back under its old name while others remember them.
    ///
    /// Everything is durable when this returns. After an error or a crash the directory does not
    /// open ([`Error::Foreign`], [`Error::IdentMissing`] or [`Error::NoLog`]): remove it and copy
    /// again. Blocks for the reading and writing of the whole log and a few syncs a segment. Takes
    /// no lock and disturbs nobody.
    ///
    /// # Errors
    /// [`Error::Foreign`] if `dest` holds anything; [`Error::Corrupt`] with file and offset if the
    /// log is damaged, or the copy does not read back as it was written; [`Error::NoSpace`];
    /// [`Error::Io`].
    pub fn copy_to<W: Vfs>(&self, vfs: &W, dest: impl AsRef<Path>) -> Result<BackupReport> {
        let to = Copying { vfs, paths: Paths::new(dest.as_ref()) };
        let unfinished = to.begin()?;
        let mut bytes = 0;
        for (i, part) in self.parts.iter().enumerate() {
            bytes += to.segment(self, part, i + 1 == self.parts.len())?;
        }
        to.sync_dir(&to.paths.wal)?;
        to.ident(self)?;
        vfs.remove(&unfinished).map_err(|e| fault("remove", &unfinished, e))?;
        to.sync_dir(&to.paths.dir)?;
        let segments = self.parts.len() as u64;
        Ok(BackupReport { durable: self.durable, segments, bytes })
    }
}

/// The destination.
struct Copying<'a, W> {
    vfs: &'a W,
    paths: Paths,
}

impl<W: Vfs> Copying<'_, W> {
    /// Makes the directory, durably, with a file in it that says what it is.
    fn begin(&self) -> Result<PathBuf> {
        let dir = &self.paths.dir;
        dir::create_dirs(self.vfs, dir)?;
        let there = self.vfs.list(dir).map_err(|e| fault("list", dir, e))?;
        if let Some(first) = there.first() {
            let found = first.name.to_string_lossy().into_owned();
            return Err(Error::Foreign { dir: dir.clone(), found });
        }
        let unfinished = dir.join(UNFINISHED);
        self.vfs.create_excl(&unfinished).map_err(|e| fault("create", &unfinished, e))?;
        self.sync_dir(dir)?;
        let wal = &self.paths.wal;
        self.vfs.create_dir(wal).map_err(|e| fault("create", wal, e))?;
        self.sync_dir(dir)?;
        dir::sync_ancestors(self.vfs, dir)?;
        Ok(unfinished)
    }

    fn sync_dir(&self, dir: &Path) -> Result<()> {
        self.vfs.sync_dir(dir).map_err(|e| fault("sync directory", dir, e))
    }

    /// Copies one segment; returns how many bytes were read.
    fn segment<V: Vfs>(&self, from: &Backup<V>, part: &Held, is_newest: bool) -> Result<u64> {
        let source = load_segment_at(&from.vfs, from.paths.segment(part.seq), part.seq)?;
        let cut = part.extent.cut;
        let header = source.header.filter(|h| {
            (h.salt, h.seq, h.wal_uuid) == (part.extent.salt, part.seq, from.ident.wal_uuid)
        });
        let Some(header) = header else {
            let expected = format!("the header of segment {}, in two copies", part.seq);
            return Err(damaged(&source.path, CorruptKind::Header, 0, expected));
        };
        if source.file_len < cut.end {
            let expected = format!("{} bytes", cut.end);
            return Err(damaged(&source.path, CorruptKind::Length, source.file_len, expected));
        }
        let cut = if is_newest { open_end(&source.file, &source.path, &part.extent)? } else { cut };
        let path = self.paths.segment(part.seq);
        let file = self.vfs.create_excl(&path).map_err(|e| fault("create", &path, e))?;
        copy_frames(&source.file, &source.path, &file, &path, cut.end)?;
        let put =
            |bytes: &[u8], at| file.write_all_at(bytes, at).map_err(|e| fault("write", &path, e));
        // The newest has its whole length, closed ones may be shorter. What is between the last
        // batch and the last page is a hole: nobody writes there again.
        let len = if is_newest { header.capacity.max(cut.end) } else { cut.end };
        let len = len.next_multiple_of(PAGE);
        let zeros = [0; PAGE as usize];
        let rest = cut.end.max(len.saturating_sub(PAGE));
        put(&zeros[..(len - rest) as usize], rest)?;
        put(&header.encode(), 0)?;
        let promise = Mark {
            mark_no: 1,
            durable_to: cut.end,
            batch_seq: cut.batch_seq,
            chain: cut.chain,
            clean: is_newest,
            ..Mark::blank(header)
        };
        put(&promise.encode(1), PAGE)?;
        put(&Mark::blank(header).encode(2), 2 * PAGE)?;
        file.sync_data().map_err(|e| fault("sync", &path, e))?;
        let extent = Extent { cut, ..part.extent };
        verify((&source.file, &source.path), (&file, &path), part.seq, &extent)?;
        Ok(cut.end)
    }

    /// Writes the identity, and that the newest segment must exist: this makes it a log.
    fn ident<V: Vfs>(&self, from: &Backup<V>) -> Result<()> {
        let mut raw = vec![0; IdentPage::FILE_LEN as usize];
        for at in [0, PAGE as usize] {
            raw[at..at + IdentPage::LEN].copy_from_slice(&from.ident.encode());
        }
        if let Some(newest) = from.parts.last() {
            let mut uuid_half = [0; 8];
            uuid_half.copy_from_slice(&from.ident.wal_uuid[..8]);
            let head = HeadSlot {
                slot_no: 1,
                start_seq: newest.seq,
                live_seq: newest.seq,
                proven_seq: newest.seq,
                era: from.era,
                nonce: from.era_nonce,
                uuid_half,
            };
            let at = 2 * PAGE as usize;
            raw[at..at + HeadSlot::LEN].copy_from_slice(&head.encode(2));
        }
        let tmp = &self.paths.ident_tmp;
        let file = self.vfs.create_excl(tmp).map_err(|e| fault("create", tmp, e))?;
        file.write_all_at(&raw, 0).map_err(|e| fault("write", tmp, e))?;
        file.sync_data().map_err(|e| fault("sync", tmp, e))?;
        let ident = &self.paths.ident;
        self.vfs.rename(tmp, ident).map_err(|e| fault("rename", tmp, e))?;
        self.sync_dir(&self.paths.dir)
    }
}

/// Copies `[FIRST_FRAME, end)`.
fn copy_frames<F: VfsFile, G: VfsFile>(
    from: &F,
    from_path: &Path,
    to: &G,
    to_path: &Path,
    end: u64,
) -> Result<()> {
    let mut buf = vec![0; CHUNK.min(end) as usize];
    let mut at = FIRST_FRAME;
    while at < end {
        let piece = &mut buf[..(end - at).min(CHUNK) as usize];
        from.read_exact_at(piece, at).map_err(|e| io_error("read", from_path, Some(at), e))?;
        to.write_all_at(piece, at).map_err(|e| fault("write", to_path, e))?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// What was written must be what the log holds: every frame up to the cut. If it is not, the error
/// names the file that is to blame.
fn verify<F: VfsFile, G: VfsFile>(
    (source, source_path): (&F, &Path),
    (copy, path): (&G, &Path),
    seq: u64,
    extent: &Extent,
) -> Result<()> {
    let id = |path: &Path| SegmentId {
        path: path.to_owned(),
        seq,
        salt: extent.salt,
        cut: extent.cut,
        start_next: extent.start_next,
        life: Arc::default(),
    };
    let Err(e) = scan_to_cut(copy, &id(path), Check::Full) else { return Ok(()) };
    scan_to_cut(source, &id(source_path), Check::Full)?;
    Err(e)
}

/// Where the copy of the newest segment ends: at the cut, or in front of a SEAL there. The segment
/// that a SEAL names holds nothing durable yet, and without SEAL nobody asks for it.
fn open_end<F: VfsFile>(file: &F, path: &Path, e: &Extent) -> Result<Cut> {
    let mut scanner = Scanner::new(file, e.salt, e.cut.end, Check::Full);
    scanner.resume_at(e.cut.end.saturating_sub(SEAL_FRAME_LEN).max(FIRST_FRAME));
    let step = scanner.step().map_err(|err| io_error("read", path, None, err))?;
    let last = scanner.frame();
    let is_last = step == Step::Frame
        && (last.header.batch_seq, last.header.header_crc) == (e.cut.batch_seq, e.cut.chain);
    if !is_last || last.seal().is_none() {
        return Ok(e.cut);
    }
    let (batch_seq, chain) = (e.cut.batch_seq.saturating_sub(1), last.header.chain);
    Ok(Cut { batch_seq, chain, end: last.offset })
}

fn damaged(path: &Path, kind: CorruptKind, offset: u64, expected: String) -> Error {
    Corrupt {
        kind,
        path: path.to_owned(),
        offset,
        batch_seq: 0,
        expected,
        found: "something else".into(),
        lost: None,
        acked: Acked::Proven,
        advice: "the log is damaged here: verify it; the copy was not finished",
    }
    .into()
}

fn fault(op: &'static str, path: &Path, e: std::io::Error) -> Error {
    if is_no_space(&e) {
        Error::NoSpace { what: "the copy", source: Arc::new(e) }
    } else {
        io_error(op, path, None, e)
    }
}
