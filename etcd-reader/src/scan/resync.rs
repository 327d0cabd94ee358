//! Finds the way back to readable records behind damage.
//!
//! Frames begin at multiples of eight. A place is taken for a frame's beginning if a frame reads
//! well there and the checksum of the one behind it follows from its own: two records that fit
//! each other by two lengths and 32 bits of checksum. The first of the two cannot be verified (its
//! own predecessor is what was lost) and is left out; from the second on everything is verified.
//!
//! A payload may hold a copy of another log, in which such pairs stand too. So the place behind
//! the damaged frame is tried first, if its length word is possible; and whatever is found, the
//! log stays marked as damaged.

use std::io;

use raft_vfs::VfsFile;

use super::window::CHUNK;
use super::{Bad, Parsed, Scan};
use crate::frame::{HEAD_MAX, Head, LengthWord, WORD, record_type};
use crate::problem::Findings;

/// How many bytes are read to prove candidates per search, at least. A hostile file could
/// otherwise make every eighth byte point to the same long record.
const WORK_MIN: u64 = 16 * 1024 * 1024;

/// What is left to spend in one search.
struct Work(u64);

impl Work {
    /// Takes `bytes` off, or says no, for this and every later time.
    fn spend(&mut self, bytes: u64) -> bool {
        self.0 = self.0.saturating_sub(bytes);
        self.0 > 0
    }
}

impl<F: VfsFile> Scan<F> {
    /// Goes on at the first readable record behind the current offset and reports `bad`; or
    /// returns false without a report if there is none.
    pub(super) fn resync(&mut self, bad: &Bad, findings: &mut Findings) -> io::Result<bool> {
        let mut work = Work((2 * (self.window.len() - self.offset)).max(WORK_MIN));
        let mut found = None;
        if let Some(next) = self.behind()? {
            found = self.follows(next, &mut work)?;
        }
        let last = self.window.last_nonzero(self.offset)?.unwrap_or(self.offset);
        let mut at = self.offset + WORD;
        while found.is_none() && at + WORD < last && work.0 > 0 {
            found = self.follows(at, &mut work)?;
            at += WORD;
        }
        let Some(first) = found else { return Ok(false) };
        let detail = format!(
            "the record at {} cannot be verified either and is left out; reading goes on at {}",
            first.offset,
            first.next()
        );
        self.report(bad, &detail, findings);
        self.skip(&first, first.head.crc);
        self.position = self.position.max(2);
        Ok(true)
    }

    /// The offset behind the damaged frame, going by its length word.
    fn behind(&mut self) -> io::Result<Option<u64>> {
        let word = LengthWord::new(self.window.word(self.offset)?);
        let next = self.offset.saturating_add(WORD + word.record + word.padding());
        Ok((word.record > 0 && next < self.window.len()).then_some(next))
    }

    /// The frame at `offset`, if the one behind it follows from it.
    fn follows(&mut self, offset: u64, work: &mut Work) -> io::Result<Option<Parsed>> {
        let Some(first) = self.peek_head(offset)? else { return Ok(None) };
        // A far jump makes the window read anew, there and back.
        if !work.spend(first.frame_len.min(2 * CHUNK)) {
            return Ok(None);
        }
        let Some(second) = self.peek_head(first.next())? else { return Ok(None) };
        if !work.spend(second.frame_len) {
            return Ok(None);
        }
        let second = self.body(second.offset, second.head)?;
        let fits = second.roll(first.head.crc) == second.head.crc;
        Ok(fits.then_some(first))
    }

    /// The frame at `offset` if its length word and head are those of a record with data; the
    /// data itself is not read.
    fn peek_head(&mut self, offset: u64) -> io::Result<Option<Parsed>> {
        let Some(room) = self.window.len().checked_sub(offset).and_then(|l| l.checked_sub(WORD))
        else {
            return Ok(None);
        };
        let word = LengthWord::new(self.window.word(offset)?);
        let frame = word.record + word.padding();
        if word.record == 0 || frame > room || word.record > self.max_record {
            return Ok(None);
        }
        if !word.top_is_right() {
            return Ok(None);
        }
        let start = self.window.bytes(offset + WORD, word.record.min(HEAD_MAX as u64))?;
        let Ok(head) = Head::parse(&start) else { return Ok(None) };
        let kinds = record_type::METADATA..=record_type::SNAPSHOT;
        let fits = head.record_len() == word.record && head.data.is_some();
        Ok((fits && kinds.contains(&head.kind)).then_some(Parsed {
            offset,
            frame_len: WORD + frame,
            head,
            data: None,
            padding_is_zero: true,
        }))
    }
}
