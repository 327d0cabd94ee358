//! Reading a log that somebody else may be writing.
//!
//! No lock is taken and nothing is written or mapped (pins do not reach another process). The
//! writer appends, starts segments and removes old ones meanwhile, so what looks like damage may
//! be a glimpse of a change: evidence is collected first, then the bad place is read again, and
//! only a verdict that comes out the same twice is given.
//!
//! A file may be removed, cut short behind its live part, or renamed and written again while it is
//! open here. So no verdict stands on an open file alone: the name is asked again whether it still
//! leads to the segment that was read.

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use raft_vfs::{Access, Vfs};

use crate::dir;
use crate::error::{Corrupt, CorruptKind, Error, Result};
use crate::format::IdentPage;
use crate::options::{Options, ReadMode};
use crate::paths::Paths;
use crate::read::Reading;
use crate::recover::{Recovered, Recovery, load_segment, load_segment_at, recover};
use crate::report::{RecoveryReport, Tail};
use crate::state::LogState;
use crate::types::{Entry, HardState, SnapshotMark};
use crate::wal::Inherited;

/// How often a look at a changing directory is repeated.
const LOOKS: usize = 12;

const GONE: &str = "the segment was removed while it was read";

/// A log as it stood at one moment.
#[derive(Debug)]
pub struct ReadOnly<V: Vfs> {
    vfs: V,
    state: LogState<V>,
    tail: Option<Inherited<V::File>>,
    ident: IdentPage,
    /// Whether the log changed while it was read.
    live: bool,
}

/// The outcome of one look.
struct Look<V: Vfs> {
    recovered: Recovered<V>,
    report: RecoveryReport,
    ident: IdentPage,
}

impl<V: Vfs> ReadOnly<V> {
    /// Reads the log in `dir`. Takes no lock and changes nothing; works on a log in use.
    ///
    /// # Errors
    /// [`Error::NoLog`] if there is none, [`Error::Corrupt`] for proven damage, [`Error::Busy`] if
    /// the directory changes faster than it can be read, and what else [`crate::Wal::open`] has.
    pub fn open(
        vfs: V,
        dir: impl AsRef<Path>,
        options: &Options,
    ) -> Result<(Self, RecoveryReport)> {
        let begun = Instant::now();
        let options = options.validated()?.read_mode(ReadMode::Pread);
        let paths = Paths::new(dir.as_ref());
        let (look, live) = look_until_stable(&vfs, &paths, &options)?;
        let mut report = look.report;
        report.micros = begun.elapsed().as_micros() as u64;
        let tail = look.recovered.newest.map(Inherited::from);
        Ok((Self { vfs, state: look.recovered.state, tail, ident: look.ident, live }, report))
    }

    /// Whether the end of the log moved while it was read: a torn tail is then a batch in flight.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// First index of the log.
    pub fn first_index(&self) -> u64 {
        self.state.view.first_index
    }

    /// One past the last index.
    pub fn next_index(&self) -> u64 {
        self.state.view.next_index
    }

    /// The hard state.
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

    /// All keyed values, by key.
    pub fn blobs(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.state.blobs.iter()
    }

    /// Who the log is.
    pub fn identity(&self) -> IdentPage {
        self.ident
    }

    /// As [`crate::Wal::term`].
    ///
    /// # Errors
    /// As there; [`Error::Busy`] if the writer has removed the segment meanwhile: open again.
    pub fn term(&self, index: u64) -> Result<Option<u64>> {
        self.reading().term(index).map_err(|e| self.judge_again(e))
    }

    /// As [`crate::Wal::entries`].
    ///
    /// # Errors
    /// As there; [`Error::Busy`] if the writer has removed the segment meanwhile, or used its file
    /// again: open again.
    pub fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>> {
        self.reading().entries(low, high, max_bytes).map_err(|e| self.judge_again(e))
    }

    /// What looks like damage in a segment that is gone, or not the one that was opened, is a
    /// glimpse of a file's next life.
    fn judge_again(&self, e: Error) -> Error {
        let path = match &e {
            Error::Corrupt(c) => &c.path,
            Error::Io { path, .. } => path,
            _ => return e,
        };
        let known = |path: &Path| {
            let tail = self.tail.as_ref().filter(|t| t.path == path);
            let closed = self.state.view.spans.iter().map(|s| &*s.segment);
            let mut closed = closed.filter(|s| s.path == path).map(|s| (s.seq, s.salt, s.cut.end));
            tail.map(|t| (t.seq, t.salt, t.end)).or_else(|| closed.next_back())
        };
        match known(path).map(|segment| self.is_there(path, segment)) {
            Some(Ok(false)) => Error::Busy { path: path.clone(), what: GONE },
            _ => e,
        }
    }

    /// Whether the name still leads to this segment, and the part that was seen is still in it.
    fn is_there(&self, path: &Path, (seq, salt, end): (u64, u32, u64)) -> Result<bool> {
        match load_segment_at(&self.vfs, path.to_owned(), seq) {
            Ok(s) => Ok(s.header.is_none_or(|h| h.salt == salt) && s.file_len >= end),
            Err(e) if is_vanished(&e) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn reading(&self) -> Reading<'_, V> {
        let tail = self.tail.as_ref().map(Inherited::source);
        Reading { view: &self.state.view, tail, doubt: None }
    }
}

/// Looks until two looks agree, or one finds nothing to doubt.
fn look_until_stable<V: Vfs>(vfs: &V, paths: &Paths, options: &Options) -> Result<(Look<V>, bool)> {
    let mut before: Option<String> = None;
    for _ in 0..LOOKS {
        let seen = match look(vfs, paths, options) {
            Ok(l) => match (&l.report.discarded, l.report.tail) {
                (_, Tail::Clean) => return Ok((l, before.is_some())),
                // Bytes of a batch in flight look like a tear: look again.
                (Some(d), _) => {
                    let seen = format!("{} {} {} {:08x}", d.segment, d.offset, d.bytes, d.crc);
                    if before.as_ref() == Some(&seen) {
                        return Ok((l, false));
                    }
                    seen
                }
                _ => return Ok((l, before.is_some())),
            },
            Err(Error::Corrupt(c)) if is_gone(vfs, &c) => c.to_string(),
            Err(e) => {
                let seen = e.to_string();
                if before.as_ref() == Some(&seen) && !is_vanished(&e) {
                    return Err(e);
                }
                seen
            }
        };
        before = Some(seen);
    }
    // A tear that looks different each time is a writer at work; anything else is not for us.
    match look(vfs, paths, options) {
        Ok(l) => Ok((l, true)),
        Err(e) if is_vanished(&e) || matches!(e, Error::Corrupt(_)) => {
            Err(Error::Busy { path: paths.dir.clone(), what: "no two looks agree" })
        }
        Err(e) => Err(e),
    }
}

/// A file that was listed and is gone: removed by the writer.
fn is_vanished(e: &Error) -> bool {
    matches!(e, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
        || matches!(e, Error::Busy { .. })
}

/// Whether a verdict is about a file that is not there any more.
fn is_gone<V: Vfs>(vfs: &V, c: &Corrupt) -> bool {
    let is_missing = |e: std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
    c.kind != CorruptKind::MissingSegment
        && vfs.open(&c.path, Access::Read).map(drop).is_err_and(is_missing)
}

fn look<V: Vfs>(vfs: &V, paths: &Paths, options: &Options) -> Result<Look<V>> {
    let mut report = RecoveryReport::new();
    // HEAD before the names: what it speaks of existed before they were listed.
    let ident = dir::read_ident(vfs, paths, &mut report)?;
    let names = dir::list(vfs, paths, &mut report)?;
    let ident = ident.ok_or_else(|| dir::no_ident(paths, &names))?;
    dir::check_identity(paths, &ident.page, options)?;
    let recovered = recover(Recovery {
        vfs,
        paths,
        options,
        ident: &ident,
        names: &names,
        report: &mut report,
        live: true,
    })?;
    if let Some(newest) = &recovered.newest {
        // Its file may have been used again while it was scanned: then it ended too early.
        let now = load_segment(vfs, paths, newest.segment.seq)?;
        if now.header.is_some_and(|h| h.salt != newest.header.salt) {
            return Err(Error::Busy { path: now.path, what: GONE });
        }
    }
    let view = &recovered.state.view;
    (report.first_index, report.next_index) = (view.first_index, view.next_index);
    report.hard_state = recovered.state.hard_state;
    report.carried = recovered.carry.batches;
    report.era = recovered.era;
    Ok(Look { recovered, report, ident: ident.page })
}
