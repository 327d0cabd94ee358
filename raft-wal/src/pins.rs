//! Who still uses a segment's file: what a removal has to wait for, and what it must not recycle.
//! And what of a file is part of the log, for those who read it as a whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::segment::{Cut, SegmentId};

/// What of a segment's file is part of the log, and durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) salt: u32,
    /// The last batch.
    pub(crate) cut: Cut,
    /// Where the log ended when the segment began.
    pub(crate) start_next: u64,
}

impl From<SegmentId> for Extent {
    fn from(id: SegmentId) -> Self {
        Self { salt: id.salt, cut: id.cut, start_next: id.start_next }
    }
}

/// The uses of one segment's file by this process.
///
/// A mapping holds a clone of the `Arc`: the file may lose its name under it, but must not be
/// written again. A [`Pin`] holds the name, too.
///
/// Clones and pins are only made for segments that are part of the log, by whoever may change
/// the log. So once a segment is garbage its count only falls, and what was seen unused stays so.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pins: AtomicUsize,
}

impl Life {
    /// Whether somebody relies on the file's name.
    pub(crate) fn is_pinned(&self) -> bool {
        self.pins.load(Ordering::Acquire) > 0
    }
}

/// Keeps a segment's file where it is, under its name.
#[derive(Debug)]
pub(crate) struct Pin {
    life: Arc<Life>,
}

impl Pin {
    pub(crate) fn new(life: &Arc<Life>) -> Self {
        life.pins.fetch_add(1, Ordering::AcqRel);
        Self { life: life.clone() }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.life.pins.fetch_sub(1, Ordering::AcqRel);
    }
}
