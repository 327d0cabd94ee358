//! The newest frames, kept in memory so that followers which keep up are served without a read.

use std::collections::VecDeque;

use bytes::Bytes;

/// Frames of the current segment by file offset, oldest dropped first.
///
/// Invariant: frames are adjacent and ascending; a frame that is not written to the file yet is
/// never dropped.
#[derive(Debug, Default)]
pub(crate) struct TailCache {
    frames: VecDeque<(u64, Bytes)>,
    bytes: u64,
    limit: u64,
}

impl TailCache {
    /// A cache of about `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Adds the newest frame.
    pub(crate) fn push(&mut self, offset: u64, frame: Bytes) {
        self.bytes += frame.len() as u64;
        self.frames.push_back((offset, frame));
    }

    /// Drops the oldest frames beyond the limit, of those that end at or below `written`.
    pub(crate) fn trim(&mut self, written: u64) {
        while self.bytes > self.limit
            && let Some((at, frame)) = self.frames.front()
            && at + frame.len() as u64 <= written
        {
            self.bytes -= frame.len() as u64;
            self.frames.pop_front();
        }
    }

    /// Everything goes: the segment is closed.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    /// The frame that holds `offset`, and where `offset` is in it.
    pub(crate) fn find(&self, offset: u64) -> Option<(&Bytes, usize)> {
        let after = self.frames.partition_point(|(at, _)| *at <= offset);
        let (at, frame) = self.frames.get(after.checked_sub(1)?)?;
        let within = usize::try_from(offset - at).ok()?;
        (within < frame.len()).then_some((frame, within))
    }
}
