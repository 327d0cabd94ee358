//! Tells the torn end of the log from damage.
//!
//! etcd's frames carry no promise of what was synced, so a broken record at the very end may be a
//! write that a crash cut short, or an acknowledged record that the disk damaged. A record is
//! called torn only on the evidence that fits the first and not the second: its beginning is
//! right, from some point on (a sector boundary, or the end of the file) all is missing, and
//! nothing but zeros follows. A record that is all there and wrong is damaged.
//!
//! etcd itself asks whether any sector of the record is all zeros. A value may hold such a sector
//! for good reasons; together with one flipped bit an acknowledged record then counts as torn and
//! is cut off. [`Scan::torn_to_etcd`] says so where it applies, and decides nothing.

use std::io;

use raft_vfs::VfsFile;

use super::{Parsed, Scan, State};
use crate::frame::{HEAD_MAX, Head, HeadError, LengthWord, WORD};
use crate::problem::{Findings, NoteKind, Problem, ProblemKind};

/// What a disk writes whole, as etcd assumes too.
const SECTOR: u64 = 512;

impl<F: VfsFile> Scan<F> {
    /// Whether the frame at the current offset lost its end in a crash.
    ///
    /// Never in a closed segment, which was synced before the next one was begun, and never in a
    /// segment's head, which was synced before the segment got its name.
    pub(super) fn is_torn(&mut self) -> io::Result<bool> {
        if !self.is_last || self.position < 2 {
            return Ok(false);
        }
        let len = self.window.len();
        if len - self.offset < WORD {
            return Ok(true);
        }
        let word = LengthWord::new(self.window.word(self.offset)?);
        if word.record == 0 || word.record > self.max_record || !word.top_is_right() {
            return Ok(false);
        }
        // No overflow: a record length has 56 bits.
        let end = self.offset.saturating_add(WORD + word.record + word.padding());
        let last = self.window.last_nonzero(self.offset)?.unwrap_or(self.offset);
        let cut = (last + 1).next_multiple_of(SECTOR).min(len);
        if cut >= end {
            return Ok(false);
        }
        let start = self.offset + WORD;
        let there = cut.saturating_sub(start).min(word.record).min(HEAD_MAX as u64);
        let head = self.window.bytes(start, there)?;
        Ok(match Head::parse(&head) {
            Ok(head) if head.record_len() == word.record => true,
            // Cut between two fields.
            Ok(head) => head.data.is_none() && head.len as u64 == there && start + there == cut,
            Err(HeadError::Incomplete) => start + there >= cut,
            Err(HeadError::Invalid(_)) => false,
        })
    }

    /// Ends the scan at a torn record.
    pub(super) fn torn(&mut self, findings: &mut Findings) -> io::Result<()> {
        self.state = State::Lost;
        let len = self.window.len();
        if self.window.changed(self.offset, (len - self.offset).min(SECTOR))? {
            findings.set_live();
            let message = "the last record was being written while it was read".to_owned();
            findings.note(&self.name, self.offset, NoteKind::Live, message);
            return Ok(());
        }
        let last = self.window.last_nonzero(self.offset)?.unwrap_or(self.offset);
        findings.problem(Problem {
            segment: self.name.to_string(),
            offset: self.offset,
            kind: ProblemKind::TornTail,
            expected: "a whole record, or zeros".to_owned(),
            found: format!("{} bytes of one, then nothing", last + 1 - self.offset),
            message: "the end of the last record was never written: a crash during a write that \
                      was not acknowledged yet; etcd cuts the log here when it starts"
                .to_owned(),
        });
        Ok(())
    }

    /// What to add to a message if etcd would take this damaged record for a torn one.
    pub(super) fn torn_to_etcd(&mut self, parsed: &Parsed) -> io::Result<&'static str> {
        if !self.is_last {
            return Ok("");
        }
        let mut at = parsed.offset + WORD;
        let end = at + parsed.head.record_len();
        while at < end {
            let next = (at + 1).next_multiple_of(SECTOR).min(end);
            if self.window.bytes(at, next - at)?.iter().all(|&b| b == 0) {
                return Ok("; etcd would take it for torn, for it holds a sector of zeros, and \
                           cut off it and everything behind it");
            }
            at = next;
        }
        Ok("")
    }
}
