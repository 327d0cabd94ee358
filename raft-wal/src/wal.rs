//! The log handle: what it is made of, how it is opened and closed.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_vfs::{Access, Vfs, VfsFile};

use crate::cache::TailCache;
use crate::dir::{self, Ident};
use crate::encode::Encoder;
use crate::error::{Error, Result};
use crate::format::SegmentHeader;
use crate::gc::DeadTail;
use crate::options::{Options, TailPolicy};
use crate::paths::{Paths, io_error};
use crate::pins::{Extent, Life};
use crate::planted::{Bug, planted};
use crate::recover::{Carry, CutPoint, Newest, Recovered, Recovery, recover};
use crate::report::RecoveryReport;
use crate::scrub::Scrub;
use crate::segment::{ClosedSegment, Cut};
use crate::state::LogState;
use crate::types::{Durable, HardState, SnapshotMark, Ticket};
use crate::writer::SegmentWriter;

/// A published segment: it has its live name and a durable header, and nothing in it.
#[derive(Debug)]
pub(crate) struct Published<F> {
    pub(crate) file: F,
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
}

/// The newest segment as recovery found it: read only, until this process starts its own.
#[derive(Debug)]
pub(crate) struct Inherited<F> {
    pub(crate) file: Arc<F>,
    pub(crate) path: PathBuf,
    pub(crate) seq: u64,
    pub(crate) salt: u32,
    pub(crate) start_next: u64,
    /// End of its last valid batch.
    pub(crate) end: u64,
}

impl<F> From<Newest<F>> for Inherited<F> {
    fn from(n: Newest<F>) -> Self {
        Self {
            seq: n.segment.seq,
            salt: n.header.salt,
            start_next: n.base.next_index,
            end: n.last.end,
            path: n.segment.info.path,
            file: Arc::new(n.segment.file),
        }
    }
}

/// What the first append, or the open itself, has to do before anything else.
#[derive(Debug)]
pub(crate) struct EraStart<F> {
    pub(crate) inherited: Option<Inherited<F>>,
    pub(crate) cut: CutPoint,
    pub(crate) carry: Carry,
    /// Term or vote were raised from a mark and must be written.
    pub(crate) raised: bool,
    pub(crate) discarded: Option<crate::report::Discarded>,
    /// The log was cut by a repair: it must be written so before anything else.
    pub(crate) repairs: bool,
}

impl<F> EraStart<F> {
    /// Whether what was recovered must be written again before it may be relied on.
    pub(crate) fn is_due(&self) -> bool {
        (self.carry.batches > 0 && !planted(Bug::CarryDropped))
            || (self.raised && !planted(Bug::RaisedVoteDropped))
            || self.repairs
    }
}

/// A write-ahead log, open for writing.
///
/// One handle writes. [`Wal::append`] makes a batch readable at once and returns a [`Ticket`];
/// the batch is acknowledged when [`Wal::wait`] (or any sync) returned `Ok` for it. After the
/// first failed write or sync the handle is poisoned: nothing that was not durable by then is
/// ever acknowledged, and only a reopen, which writes again what is not proven, leaves that state.
#[derive(Debug)]
pub struct Wal<V: Vfs> {
    pub(crate) vfs: V,
    pub(crate) paths: Paths,
    pub(crate) options: Options,
    pub(crate) ident: Ident,
    pub(crate) state: LogState<V>,
    pub(crate) start: Option<EraStart<V::File>>,
    pub(crate) writer: Option<SegmentWriter<V::File>>,
    pub(crate) next: Option<Published<V::File>>,
    pub(crate) era: u64,
    pub(crate) era_nonce: u64,
    /// Highest segment number ever seen or given.
    pub(crate) highest: u64,
    /// Highest segment number that the open found: those above were made by this handle.
    pub(crate) highest_found: u64,
    /// How many segments this process published.
    pub(crate) published: u32,
    /// Segments of the log, oldest first, the newest included.
    pub(crate) walk: Vec<u64>,
    /// What of each but the newest is part of the log.
    pub(crate) extents: BTreeMap<u64, Extent>,
    /// Segments below this were, or are being, removed.
    pub(crate) gone_below: u64,
    /// Segment files that exist, and who uses them.
    pub(crate) files: BTreeMap<u64, Arc<Life>>,
    /// Files that the next segments may be made of.
    pub(crate) spares: Vec<PathBuf>,
    /// Closed segments whose files are longer than what is live in them.
    pub(crate) dead_tails: Vec<DeadTail>,
    /// A segment is being published off the handle.
    pub(crate) publishing: bool,
    /// What was read again, and what was found.
    pub(crate) scrub: Scrub,
    /// Closed segments without an index file, oldest first.
    pub(crate) unindexed: VecDeque<Arc<ClosedSegment<V>>>,
    pub(crate) encoder: Encoder,
    pub(crate) cache: TailCache,
    /// The last batch put, and the last durable one.
    pub(crate) tip: Durable,
    pub(crate) durable: Durable,
    /// How often entries were taken back: what is read in pieces is of one log or read again.
    pub(crate) rewrites: u64,
    /// When the log was last seen busy, by the clock of [`Wal::step_mark`].
    pub(crate) busy_at: Duration,
    pub(crate) busy: bool,
    /// What the open recovered is durable; see [`Wal::recovered_durable`].
    pub(crate) recovered_durable: bool,
    /// Lowest index that a batch which no flush took yet wrote or removed; `u64::MAX` if none.
    pub(crate) unsynced_low: u64,
    /// The same for the flush in flight.
    pub(crate) in_flight_low: u64,
    pub(crate) poison: Option<Arc<str>>,
    /// Held for the life of the handle; dropped last.
    _lock: V::Lock,
}

impl<V: Vfs> Wal<V> {
    /// Opens the log in `dir`, making it if there is none, and recovers it.
    ///
    /// Everything that the report calls recovered is durable when this returns, unless
    /// [`RecoveryReport::recovered_durable`] says otherwise. Blocks for the reading and, if
    /// something has to be written again, for a few syncs.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for proven damage; nothing on disk was changed then. [`Error::Locked`],
    /// [`Error::Foreign`], [`Error::NoLog`], [`Error::IdentMissing`],
    /// [`Error::IdentityMismatch`], [`Error::Unsupported`], [`Error::AmbiguousTail`],
    /// [`Error::Option`], [`Error::Io`].
    pub fn open(
        vfs: V,
        dir: impl AsRef<Path>,
        options: &Options,
    ) -> Result<(Self, RecoveryReport)> {
        let begun = Instant::now();
        let options = options.validated()?;
        let paths = Paths::new(dir.as_ref());
        let lock = dir::lock(&vfs, &paths, &options)?;
        let mut report = RecoveryReport::new();
        let ident = open_ident(&vfs, &paths, &options, &mut report)?;
        dir::check_identity(&paths, &ident.page, &options)?;
        sync_names(&vfs, &paths, &ident)?;
        let names = dir::list(&vfs, &paths, &mut report)?;
        let recovered = recover(Recovery {
            vfs: &vfs,
            paths: &paths,
            options: &options,
            ident: &ident,
            names: &names,
            report: &mut report,
            live: false,
        })?;
        refuse_ambiguous(&recovered, &options, &report)?;
        let era_nonce =
            vfs.random().map_err(|e| io_error("random number for", &paths.dir, None, e))?;
        let mut wal =
            Self::assemble(vfs, paths, options, ident, recovered, &mut report, era_nonce, lock);
        wal.register_files(&names);
        wal.finish_open(&names, &mut report)?;
        report.micros = begun.elapsed().as_micros() as u64;
        Ok((wal, report))
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of the handle, assembled once")]
    pub(crate) fn assemble(
        vfs: V,
        paths: Paths,
        options: Options,
        ident: Ident,
        r: Recovered<V>,
        report: &mut RecoveryReport,
        era_nonce: u64,
        lock: V::Lock,
    ) -> Self {
        let last = r.newest.as_ref().map_or(0, |n| n.last.batch_seq);
        let unproven = r.carry.batches;
        let inherited = r.newest.map(Inherited::from);
        let view = &r.state.view;
        report.era = r.era.saturating_add(1);
        (report.first_index, report.next_index) = (view.first_index, view.next_index);
        report.hard_state = r.state.hard_state;
        report.carried = unproven;
        let tip = Durable {
            batch_seq: last,
            last_index: view.next_index.saturating_sub(1),
            term: view.last_term.unwrap_or(0),
        };
        let durable = if unproven == 0 {
            tip
        } else {
            let last_index = r.cut.next_index.saturating_sub(1);
            Durable {
                batch_seq: r.cut.cut.batch_seq,
                last_index,
                term: r.cut.last_term.unwrap_or(0),
            }
        };
        let unindexed = view.spans.iter().map(|s| &s.segment).filter(|s| !s.has_index_file());
        let due = r.carry.batches > 0 || report.state_raised;
        let unsynced_low = match r.carry {
            _ if !due => u64::MAX,
            Carry { reset: true, .. } => 0,
            Carry { low, .. } => low.unwrap_or(view.next_index),
        };
        let start = EraStart {
            inherited,
            cut: r.cut,
            carry: r.carry,
            raised: report.state_raised,
            discarded: report.discarded.clone(),
            repairs: false,
        };
        Self {
            unindexed: unindexed.cloned().collect(),
            cache: TailCache::new(options.tail_cache_bytes),
            vfs,
            paths,
            options,
            ident,
            state: r.state,
            start: Some(start),
            writer: None,
            next: None,
            era: report.era,
            era_nonce,
            highest: r.highest,
            highest_found: r.highest,
            published: 0,
            walk: r.walk,
            extents: r.extents,
            gone_below: 0,
            files: BTreeMap::new(),
            spares: Vec::new(),
            dead_tails: r.dead_tails,
            publishing: false,
            scrub: Scrub::default(),
            encoder: Encoder::default(),
            tip,
            durable,
            rewrites: 0,
            busy_at: Duration::ZERO,
            busy: false,
            recovered_durable: !due,
            unsynced_low,
            in_flight_low: u64::MAX,
            poison: None,
            _lock: lock,
        }
    }

    /// Keeps account of every file, and of who uses it.
    fn register_files(&mut self, names: &dir::Names) {
        let spans = &self.state.view.spans;
        let users = spans.iter().map(|s| &s.segment).chain(&self.unindexed);
        let used = users.map(|s| (s.seq, s.life().clone()));
        self.files = names.segments.iter().map(|&seq| (seq, Arc::default())).collect();
        self.files.extend(used);
    }

    /// Steps 9 and 10 of recovery: writes again what is not proven, then cleans up.
    fn finish_open(&mut self, names: &dir::Names, report: &mut RecoveryReport) -> Result<()> {
        if self.start.as_ref().is_some_and(EraStart::is_due) {
            match self.start_era(None) {
                Ok(()) => {}
                Err(Error::NoSpace { .. }) => report.recovered_durable = false,
                Err(e) => return Err(e),
            }
        }
        if report.recovered_durable {
            // The log is open and whole; what cannot be tidied up now is no reason to refuse it.
            match self.clean_up(names) {
                Ok(removed) => report.removed = removed,
                Err(e @ Error::Poisoned { .. }) => return Err(e),
                Err(e) => report.note(&self.paths.wal, format!("not cleaned up: {e}")),
            }
            while self.unindexed.len() > 2 {
                if let Err(e) = self.step_index() {
                    report.note(&self.paths.wal, format!("no index file: {e}"));
                }
            }
        }
        Ok(())
    }

    /// Makes everything appended so far durable, writes what makes the next open cheap and
    /// certain, and lets go of the directory. Blocks for one or two syncs.
    ///
    /// # Errors
    /// [`Error::Poisoned`] if a write or sync failed now or before; [`Error::NoSpace`] if what the
    /// open recovered still waits for room.
    pub fn close(mut self) -> Result<()> {
        self.sync()?;
        if let Some(writer) = &mut self.writer {
            if let Err(e) = writer.mark_synced(true) {
                let path = writer.path.clone();
                return Err(self.poison("write the closing mark of", &path, &e));
            }
            while !self.unindexed.is_empty() {
                // A cache: the next open scans what has none.
                let _ = self.step_index();
            }
        }
        Ok(())
    }

    /// First index of the log.
    pub fn first_index(&self) -> u64 {
        self.state.view.first_index
    }

    /// One past the last index; equal to [`Wal::first_index`] if the log is empty.
    pub fn next_index(&self) -> u64 {
        self.state.view.next_index
    }

    /// The last index; for an empty log the one before its first. `None` before index 0.
    pub fn last_index(&self) -> Option<u64> {
        self.next_index().checked_sub(1)
    }

    /// The hard state, durable or not.
    pub fn hard_state(&self) -> HardState {
        self.state.hard_state
    }

    /// The newest snapshot marker.
    pub fn snapshot(&self) -> Option<&SnapshotMark> {
        self.state.snapshot.as_ref()
    }

    /// The metadata record.
    pub fn metadata(&self) -> Option<&Bytes> {
        self.state.metadata.as_ref()
    }

    /// The value under `key`.
    pub fn blob(&self, key: &[u8]) -> Option<&Bytes> {
        self.state.blobs.get(key)
    }

    /// All keyed values, by key.
    pub fn blobs(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.state.blobs.iter()
    }

    /// How far the log is durable.
    pub fn durable(&self) -> Durable {
        self.durable
    }

    /// Whether the batch of this ticket is durable.
    pub fn is_durable(&self, ticket: Ticket) -> bool {
        ticket.0 <= self.durable.batch_seq || planted(Bug::AckBeforeSync)
    }

    /// Whether everything that the open recovered is durable. `false` only after an open that
    /// found no space, until an append or a sync has found some.
    pub fn recovered_durable(&self) -> bool {
        self.recovered_durable
    }

    /// Who the log is: its random name, cluster and node.
    pub fn identity(&self) -> crate::format::IdentPage {
        self.ident.page
    }

    /// Why the handle is poisoned, if it is.
    pub fn poisoned(&self) -> Option<&str> {
        self.poison.as_deref()
    }

    /// Fails if the handle is poisoned.
    pub(crate) fn healthy(&self) -> Result<()> {
        match &self.poison {
            Some(cause) if !planted(Bug::PoisonIgnored) => {
                Err(Error::Poisoned { cause: cause.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The first failed write or sync ends the handle's life as a writer. Nothing is retried: the
    /// pages may be marked clean with the data lost (Rebello et al., ATC 2020).
    pub(crate) fn poison(&mut self, op: &str, path: &Path, e: &std::io::Error) -> Error {
        let cause: Arc<str> = format!("{op} {}: {e}", path.display()).into();
        let cause = self.poison.get_or_insert(cause).clone();
        Error::Poisoned { cause }
    }

    /// Ends the handle's life as a writer for a reason outside of it.
    pub(crate) fn poison_because(&mut self, why: &str) {
        self.poison.get_or_insert_with(|| why.into());
    }

    /// A batch is queued and could not be applied: what the handle holds is not what it wrote.
    pub(crate) fn poison_by(&mut self, e: &Error) -> Error {
        let cause: Arc<str> = format!("a batch could not be applied: {e}").into();
        let cause = self.poison.get_or_insert(cause).clone();
        Error::Poisoned { cause }
    }

    /// The last batch of the log, for the Base of the next segment.
    pub(crate) fn last_cut(&self, writer: &SegmentWriter<V::File>) -> CutPoint {
        let v = &self.state.view;
        CutPoint {
            segment: writer.header.seq,
            salt: writer.header.salt,
            cut: writer.last(),
            first_index: v.first_index,
            base_term: v.base_term,
            next_index: v.next_index,
            last_term: v.last_term,
        }
    }
}

/// Reads the log's identity, or makes one.
fn open_ident<V: Vfs>(
    vfs: &V,
    paths: &Paths,
    options: &Options,
    report: &mut RecoveryReport,
) -> Result<Ident> {
    if let Some(ident) = dir::read_ident(vfs, paths, report)? {
        return Ok(ident);
    }
    if !options.create {
        let names = dir::list(vfs, paths, report)?;
        return Err(dir::no_ident(paths, &names));
    }
    report.created = true;
    dir::init(vfs, paths, options)
}

/// What an earlier process created may exist in the cache alone: makes the names, and the HEAD slot
/// that the next one must not be written over, durable before anything is decided by them.
pub(crate) fn sync_names<V: Vfs>(vfs: &V, paths: &Paths, ident: &Ident) -> Result<()> {
    let fault = |op, path: &Path, e| io_error(op, path, None, e);
    match vfs.list(&paths.wal) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && ident.head.start_seq == 0 => {
            // The crash that follows the first init may keep IDENT and lose the directory.
            vfs.create_dir(&paths.wal).map_err(|e| fault("create", &paths.wal, e))?;
        }
        _ => {}
    }
    let ident_file = vfs.open(&paths.ident, Access::ReadWrite);
    let ident_synced = ident_file.and_then(|file| file.sync_data());
    ident_synced.map_err(|e| fault("sync", &paths.ident, e))?;
    vfs.sync_dir(&paths.dir).map_err(|e| fault("sync directory", &paths.dir, e))?;
    match vfs.sync_dir(&paths.wal) {
        // A wal directory that is gone is judged by HEAD, not here.
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(fault("sync directory", &paths.wal, e))
        }
        _ => Ok(()),
    }
}

fn refuse_ambiguous<V: Vfs>(
    r: &Recovered<V>,
    options: &Options,
    report: &RecoveryReport,
) -> Result<()> {
    match &report.discarded {
        Some(d) if options.tail_policy == TailPolicy::RefuseAmbiguous && !report.certain => {
            Err(Error::AmbiguousTail {
                path: d.path.clone(),
                offset: d.offset,
                batch_seq: r.newest.as_ref().map_or(1, |n| n.last.batch_seq.wrapping_add(1)),
                bytes: d.bytes,
            })
        }
        _ => Ok(()),
    }
}

/// Where a batch that has none before it begins.
pub(crate) const NO_CUT: Cut = Cut { batch_seq: 0, chain: 0, end: 0 };
