//! Judging a directory: intact, torn, live, or corrupt, with every problem found.

use std::path::Path;

use raft_vfs::Vfs;

use crate::dir;
use crate::error::{Corrupt, Error, LostRange, Result};
use crate::options::{Options, Verify};
use crate::paths::Paths;
use crate::read_only::ReadOnly;
use crate::report::RecoveryReport;
use crate::survey::survey;

/// What a verification says of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Everything is as it was written.
    Intact,
    /// The last batch is unfinished: a crash, and the next open cuts it; or a writer that paused in
    /// the middle of it while this looked.
    TornTail,
    /// The last batch is being written right now.
    LiveTail,
    /// Something durable is damaged.
    Corrupt,
}

/// The outcome of [`verify`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Verification {
    /// The judgement.
    pub status: Status,
    /// What recovery saw, where it got through.
    pub report: Option<RecoveryReport>,
    /// Everything that is damaged; empty unless the status is [`Status::Corrupt`].
    pub problems: Vec<Corrupt>,
    /// Indexes that are lost.
    pub lost: Vec<LostRange>,
}

/// Reads every live byte of the log in `dir` and judges it as recovery would. Takes no lock and
/// changes nothing; works on a log in use.
///
/// # Errors
/// What keeps it from judging at all: [`Error::NoLog`], [`Error::IdentMissing`],
/// [`Error::IdentityMismatch`], [`Error::Unsupported`], [`Error::Busy`], [`Error::Io`].
#[expect(clippy::needless_pass_by_value, reason = "as in `Wal::open`")]
pub fn verify<V: Vfs>(vfs: V, dir: impl AsRef<Path>, options: &Options) -> Result<Verification> {
    let options = options.clone().verify(Verify::Full);
    let first = match ReadOnly::open(vfs.clone(), dir.as_ref(), &options) {
        Ok((log, report)) => {
            let status = match (log.is_live(), report.is_torn()) {
                (true, _) => Status::LiveTail,
                (false, true) => Status::TornTail,
                (false, false) => Status::Intact,
            };
            let report = Some(report);
            return Ok(Verification { status, report, problems: Vec::new(), lost: Vec::new() });
        }
        Err(Error::Corrupt(c)) => *c,
        Err(e) => return Err(e),
    };
    let paths = Paths::new(dir.as_ref());
    let mut report = RecoveryReport::new();
    let (mut problems, mut lost) = (vec![first.clone()], Vec::new());
    // Without a readable identity there is nothing to go on with.
    if let Ok(Some(ident)) = dir::read_ident(&vfs, &paths, &mut report) {
        let names = dir::list(&vfs, &paths, &mut report)?;
        // What keeps the survey from its end is no word against the damage that is proven.
        if let Ok(mut all) = survey(&vfs, &paths, &ident, &names, options.vote_rule) {
            all.take_over(&first);
            lost = all.lost_ranges();
            let other = |p: &Corrupt| (&p.path, p.offset) != (&first.path, first.offset);
            problems.extend(all.problems().iter().filter(|p| other(p)).cloned());
        }
    }
    Ok(Verification { status: Status::Corrupt, report: None, problems, lost })
}
