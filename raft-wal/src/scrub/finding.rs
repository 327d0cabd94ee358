//! What a scrub finds.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Corrupt;

/// Something that is not as it was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Finding {
    /// Bytes that are part of the log and were durable have changed, or are gone.
    Damage(Corrupt),
    /// Bytes that are part of the log cannot be read. The disk may be failing.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// From where on it was read.
        offset: u64,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// A copy or a cache is not valid, and what it repeats is: no entry is lost by it. A crash may
    /// leave this, too, where it tore the copy that was being written.
    Spare {
        /// The file.
        path: PathBuf,
        /// Where the copy begins.
        offset: u64,
        /// Which one it is, and what stands in for it.
        what: &'static str,
    },
}

impl Finding {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Damage(c) => &c.path,
            Self::Unreadable { path, .. } | Self::Spare { path, .. } => path,
        }
    }

    /// Where in the file what is wrong begins.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Damage(c) => c.offset,
            Self::Unreadable { offset, .. } | Self::Spare { offset, .. } => *offset,
        }
    }

    /// Whether the log itself is concerned, and not only a copy.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::Spare { .. })
    }

    /// Whether both tell of the same place.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        let place = |f: &Self| (f.offset(), std::mem::discriminant(f));
        place(self) == place(other) && self.path() == other.path()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damage(c) => c.fmt(f),
            Self::Unreadable { path, offset, source } => {
                write!(f, "cannot read {}+{offset}: {source}; check the disk", path.display())
            }
            Self::Spare { path, offset, what } => write!(f, "{}+{offset}: {what}", path.display()),
        }
    }
}
