//! Opening a damaged log for what is sound in it.

use std::path::Path;

use bytes::Bytes;
use raft_vfs::Vfs;

use crate::dir;
use crate::error::{Corrupt, Error, LostRange, Result};
use crate::format::IdentPage;
use crate::options::{Options, Verify};
use crate::paths::Paths;
use crate::recover::{Recovery, recover};
use crate::report::RecoveryReport;
use crate::survey::{Survey, survey};
use crate::types::{Entry, HardState, SnapshotMark};
use crate::wal::Wal;

/// A damaged log, open for reading what is sound, with the directory locked.
///
/// The node that opened it must neither vote nor campaign nor acknowledge anything: what is lost
/// may have been part of a quorum (Protocol-Aware Recovery, Alagappan et al., FAST 2018). It may
/// serve sound entries and fetch the lost ones from its peers. Nothing on disk is changed, but for
/// a lock file where there was none.
#[derive(Debug)]
pub struct Degraded<V: Vfs> {
    survey: Survey<V>,
    lost: Vec<LostRange>,
    ident: IdentPage,
    _lock: V::Lock,
}

impl<V: Vfs> Wal<V> {
    /// Opens a log that [`Wal::open`] refuses as corrupt, and names what is lost. Reads every byte,
    /// twice where nothing seems wrong; holds 4 bytes an entry in memory.
    ///
    /// # Errors
    /// [`crate::Error::Locked`], [`crate::Error::NoLog`], [`crate::Error::IdentMissing`],
    /// [`crate::Error::IdentityMismatch`], [`crate::Error::Unsupported`], [`crate::Error::Io`];
    /// [`crate::Error::Corrupt`] only if not even the identity is readable.
    #[expect(clippy::needless_pass_by_value, reason = "as in `Wal::open`")]
    pub fn open_degraded(vfs: V, dir: impl AsRef<Path>, options: &Options) -> Result<Degraded<V>> {
        let options = options.validated()?.create(false).verify(Verify::Full);
        let paths = Paths::new(dir.as_ref());
        let lock = dir::lock(&vfs, &paths, &options)?;
        let mut report = RecoveryReport::new();
        let ident = dir::read_ident(&vfs, &paths, &mut report)?;
        let names = dir::list(&vfs, &paths, &mut report)?;
        let ident = ident.ok_or_else(|| dir::no_ident(&paths, &names))?;
        dir::check_identity(&paths, &ident.page, &options)?;
        let mut survey = survey(&vfs, &paths, &ident, &names, options.vote_rule)?;
        if survey.problems().is_empty() {
            let (vfs, paths, ident, names) = (&vfs, &paths, &ident, &names);
            let (options, report) = (&options, &mut report);
            let r = Recovery { vfs, paths, options, ident, names, report, live: false };
            if let Err(Error::Corrupt(c)) = recover(r) {
                survey.take_over(&c);
            }
        }
        let lost = survey.lost_ranges();
        Ok(Degraded { survey, lost, ident: ident.page, _lock: lock })
    }
}

impl<V: Vfs> Degraded<V> {
    /// The lost ranges, oldest first. A range without a last index reaches to an unknown end.
    pub fn lost(&self) -> &[LostRange] {
        &self.lost
    }

    /// Everything that is damaged, in the order of the log.
    pub fn problems(&self) -> &[Corrupt] {
        self.survey.problems()
    }

    /// How many more problems there are: 1000 are kept.
    pub fn more_problems(&self) -> u64 {
        self.survey.more_problems()
    }

    /// First index of the log, lost or not; the lowest that is known to be possible.
    pub fn first_index(&self) -> u64 {
        self.survey.bounds().0
    }

    /// One past the last index that is known of, lost or not.
    pub fn next_index(&self) -> u64 {
        self.survey.bounds().1
    }

    /// The newest hard state that is readable.
    pub fn hard_state(&self) -> HardState {
        self.survey.hard_state().0
    }

    /// Whether no lost batch can have held a newer hard state. If not, a vote may be forgotten.
    pub fn hard_state_is_certain(&self) -> bool {
        self.survey.hard_state().1
    }

    /// The newest readable snapshot marker.
    pub fn snapshot(&self) -> Option<&SnapshotMark> {
        self.survey.snapshot()
    }

    /// The metadata record, as far as it is readable.
    pub fn metadata(&self) -> Option<&Bytes> {
        self.survey.metadata()
    }

    /// All readable keyed values, by key.
    pub fn blobs(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.survey.blobs().iter()
    }

    /// Who the log is.
    pub fn identity(&self) -> IdentPage {
        self.ident
    }

    /// Term of a sound entry; `None` if `index` is lost or not in the log.
    pub fn term(&self, index: u64) -> Option<u64> {
        self.survey.term(index)
    }

    /// Entries `[low, high)`, as many as fit `max_bytes` of payload, and at least one; each
    /// checked on this read.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] that names the lost range at the first lost index, and what
    /// [`Wal::entries`] has.
    pub fn entries(&self, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>> {
        self.survey.entries(low, high, max_bytes)
    }
}
