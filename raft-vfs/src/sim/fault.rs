//! Calls that fail on purpose, and the log of calls.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// Kind of a call, for filters and traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    /// [`Vfs::open`](crate::Vfs::open).
    Open,
    /// [`Vfs::create_excl`](crate::Vfs::create_excl).
    Create,
    /// [`Vfs::create_dir`](crate::Vfs::create_dir).
    CreateDir,
    /// [`Vfs::rename`](crate::Vfs::rename).
    Rename,
    /// [`Vfs::remove`](crate::Vfs::remove).
    Remove,
    /// [`Vfs::list`](crate::Vfs::list).
    List,
    /// [`Vfs::sync_dir`](crate::Vfs::sync_dir).
    SyncDir,
    /// [`Vfs::lock`](crate::Vfs::lock).
    Lock,
    /// [`Vfs::random`](crate::Vfs::random).
    Random,
    /// [`VfsFile::read_at`](crate::VfsFile::read_at).
    Read,
    /// [`VfsFile::write_at`](crate::VfsFile::write_at) and
    /// [`VfsFile::write_vectored_at`](crate::VfsFile::write_vectored_at).
    Write,
    /// [`VfsFile::sync_data`](crate::VfsFile::sync_data).
    SyncData,
    /// [`VfsFile::len`](crate::VfsFile::len) and [`VfsFile::id`](crate::VfsFile::id).
    Stat,
    /// [`VfsFile::truncate`](crate::VfsFile::truncate).
    Truncate,
    /// [`VfsFile::map`](crate::VfsFile::map).
    Map,
}

/// One call, as recorded by [`SimVfs::take_trace`](super::SimVfs::take_trace).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was called.
    pub op: Op,
    /// On which path; for a rename the new name.
    pub path: PathBuf,
    /// Offset of a read or write, else 0.
    pub offset: u64,
    /// Bytes asked for; for a truncation and a map the length; else 0.
    pub len: u64,
}

/// How a call fails.
///
/// A call that fails with an error number has no effect, but for the two syncs, whatever the
/// number: what a failed one leaves behind is set by
/// [`SimVfs::set_fsync_mode`](super::SimVfs::set_fsync_mode) and
/// [`SimVfs::set_dir_sync_lies`](super::SimVfs::set_dir_sync_lies).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Input/output error.
    Eio,
    /// No space left on the device.
    Enospc,
    /// Disk quota exceeded.
    Edquot,
    /// Interrupted by a signal.
    Eintr,
    /// Try again.
    Eagain,
    /// File too large.
    Efbig,
    /// Too many open files.
    Emfile,
    /// Permission denied.
    Eacces,
    /// Read-only file system.
    Erofs,
    /// A read or write of one byte only. Other calls succeed.
    ShortByte,
    /// A read or write of half of what was asked, at least one byte. Other calls succeed.
    ShortHalf,
    /// The process dies in this call: it and every later call return an error for which
    /// [`is_crashed`] holds. A write may have reached the page cache in part; other calls have no
    /// effect.
    Crash,
}

impl Fault {
    /// All faults that a living process can meet: what a sweep goes through.
    pub const ALL: [Self; 11] = [
        Self::Eio,
        Self::Enospc,
        Self::Edquot,
        Self::Eintr,
        Self::Eagain,
        Self::Efbig,
        Self::Emfile,
        Self::Eacces,
        Self::Erofs,
        Self::ShortByte,
        Self::ShortHalf,
    ];

    fn errno(self) -> Option<Errno> {
        Some(match self {
            Self::Eio => Errno::IO,
            Self::Enospc => Errno::NOSPC,
            Self::Edquot => Errno::DQUOT,
            Self::Eintr => Errno::INTR,
            Self::Eagain => Errno::AGAIN,
            Self::Efbig => Errno::FBIG,
            Self::Emfile => Errno::MFILE,
            Self::Eacces => Errno::ACCESS,
            Self::Erofs => Errno::ROFS,
            Self::ShortByte | Self::ShortHalf | Self::Crash => return None,
        })
    }
}

/// Whether a fault comes once or from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Persistence {
    /// Only the n-th call.
    Once,
    /// The n-th call and all later ones; with [`Fault::Eintr`] every other one, since whoever
    /// rightly tries again would never come to an end.
    Forever,
}

#[derive(Debug, thiserror::Error)]
#[error("the simulated process has crashed")]
struct Crashed;

/// The error of every call of a crashed process.
pub(super) fn crashed() -> io::Error {
    io::Error::other(Crashed)
}

/// Whether `error` says that the simulated process has crashed: nothing was wrong but that, and
/// the test goes on with [`SimVfs::power_cut`](super::SimVfs::power_cut) or
/// [`SimVfs::kill`](super::SimVfs::kill).
pub fn is_crashed(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<Crashed>())
}

#[derive(Debug)]
struct Plan {
    op: Option<Op>,
    /// Matching calls to let pass before the fault.
    pass: u64,
    fault: Fault,
    persistence: Persistence,
}

/// How far a read or write goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Full,
    OneByte,
    Half,
}

impl Extent {
    pub(super) fn of(self, len: usize) -> usize {
        match self {
            Self::Full => len,
            Self::OneByte => len.min(1),
            Self::Half => len.div_ceil(2),
        }
    }
}

/// What a call must do instead of succeeding.
#[derive(Debug)]
pub(super) enum Denial {
    /// Return this error.
    Error(io::Error),
    /// Die. Later calls are refused by the schedule itself.
    Crash,
}

impl From<Denial> for io::Error {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Error(error) => error,
            Denial::Crash => crashed(),
        }
    }
}

/// The faults to come, and the calls that were.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    calls: u64,
    dead: bool,
    plans: Vec<Plan>,
    trace: Option<Vec<Call>>,
}

impl Schedule {
    /// Makes the `n`-th matching call from now fail; `n` counts from 1.
    pub(super) fn plan(&mut self, op: Option<Op>, n: u64, fault: Fault, persistence: Persistence) {
        self.plans.push(Plan { op, pass: n.saturating_sub(1), fault, persistence });
    }

    pub(super) fn clear(&mut self) {
        self.plans.clear();
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls
    }

    pub(super) fn dead(&self) -> bool {
        self.dead
    }

    pub(super) fn set_trace(&mut self, on: bool) {
        self.trace = on.then(|| self.trace.take().unwrap_or_default());
    }

    pub(super) fn take_trace(&mut self) -> Vec<Call> {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Counts and logs a call, and says whether and how far it may go.
    pub(super) fn admit(
        &mut self,
        op: Op,
        path: &Path,
        offset: u64,
        len: u64,
    ) -> Result<Extent, Denial> {
        if self.dead {
            return Err(Denial::Error(crashed()));
        }
        self.calls += 1;
        if let Some(trace) = &mut self.trace {
            trace.push(Call { op, path: path.into(), offset, len });
        }
        match self.due(op) {
            None => Ok(Extent::Full),
            Some(Fault::ShortByte) => Ok(Extent::OneByte),
            Some(Fault::ShortHalf) => Ok(Extent::Half),
            Some(fault) => Err(self.denial(fault)),
        }
    }

    fn denial(&mut self, fault: Fault) -> Denial {
        if let Some(errno) = fault.errno() {
            return Denial::Error(errno.into());
        }
        self.dead = true;
        Denial::Crash
    }

    /// The fault due for this call. Every matching plan counts it, the first one due wins.
    fn due(&mut self, op: Op) -> Option<Fault> {
        let mut due = None;
        self.plans.retain_mut(|plan| {
            if plan.op.is_some_and(|wanted| wanted != op) {
                return true;
            }
            if plan.pass > 0 {
                plan.pass -= 1;
                return true;
            }
            due = due.or(Some(plan.fault));
            plan.pass = u64::from(plan.fault == Fault::Eintr);
            plan.persistence == Persistence::Forever
        });
        due
    }
}
