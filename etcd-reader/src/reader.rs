//! Walks a log, segment by segment, then its snapshot files.

use std::io;
use std::path::Path;
use std::sync::Arc;

use raft_vfs::{Access, Vfs};

use crate::Error;
use crate::check::Checker;
use crate::layout::{Layout, SegmentName};
use crate::problem::{Findings, NoteKind, Problem, ProblemKind, Status};
use crate::record::decode;
use crate::scan::{Frame, Scan};
use crate::snap::{self, SnapFile};
use crate::types::{HardState, Record, RecordKind};

/// How a log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// The longest record, and the longest snapshot file, that is accepted, in bytes. Default
    /// 512 MiB. A record's length is checked against what its file still holds as well, before
    /// memory is allocated for it.
    pub max_record_bytes: u64,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { max_record_bytes: 512 * 1024 * 1024 }
    }
}

/// What a reader comes across.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A record whose checksum holds.
    Record(Record),
    /// A snapshot file whose checksum holds; they come behind all records.
    SnapFile(SnapFile),
    /// Something is wrong here. Stands before the record it is about, if that is readable.
    Problem(Problem),
}

/// Reads one log from beginning to end.
///
/// Keeps one buffer, the runs of terms, and the list of findings: memory does not grow with the
/// number of entries. Takes no lock and writes nothing, so that a log in use can be read; its
/// segments are those that were there at the beginning.
#[derive(Debug)]
pub struct Reader<V: Vfs> {
    vfs: V,
    options: ReadOptions,
    layout: Layout,
    findings: Findings,
    /// How many of the problems were handed out by `step`.
    reported: usize,
    /// A record that waits until the problems before it are handed out.
    waiting: Option<Step>,
    scan: Option<Scan<V::File>>,
    /// How many segments and snapshot files were begun.
    segments_begun: usize,
    snaps_begun: usize,
    carried: Option<u32>,
    checker: Checker,
    hard_state: HardState,
    finished: bool,
}

impl<V: Vfs> Reader<V> {
    /// Finds the log at `path` (see [`Layout`]) and begins to read it.
    ///
    /// # Errors
    /// [`Error::NotEtcd`] or [`Error::Io`] as from [`Layout::detect`].
    pub fn open(vfs: V, path: &Path, options: ReadOptions) -> Result<Self, Error> {
        let layout = Layout::detect(&vfs, path)?;
        Ok(Self::with_layout(vfs, layout, options))
    }

    /// Begins to read the files of `layout`.
    pub fn with_layout(vfs: V, layout: Layout, options: ReadOptions) -> Self {
        let mut findings = Findings::default();
        for name in &layout.ignored {
            let message = "not a file of the log; passed over".to_owned();
            findings.note(name, 0, NoteKind::IgnoredFile, message);
        }
        for name in &layout.not_files {
            findings.problem(Problem {
                segment: name.clone(),
                offset: 0,
                kind: ProblemKind::NotAFile,
                expected: "a regular file".to_owned(),
                found: "a directory, symbolic link, FIFO or device".to_owned(),
                message: "the name is one of the log's, but it is no file; it is not read"
                    .to_owned(),
            });
        }
        let checker = Checker::new(layout.segments.first());
        Self {
            vfs,
            options,
            layout,
            findings,
            reported: 0,
            waiting: None,
            scan: None,
            segments_begun: 0,
            snaps_begun: 0,
            carried: None,
            checker,
            hard_state: HardState::default(),
            finished: false,
        }
    }

    /// The log's files.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What was found so far.
    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    /// What the findings so far make of the log; final once [`Reader::step`] returned `None`.
    pub fn status(&self) -> Status {
        self.findings.status()
    }

    /// The last hard state read; all zero before the first.
    pub fn hard_state(&self) -> HardState {
        self.hard_state
    }

    /// First and last index of the log as replayed so far; `None` while it is empty.
    pub fn range(&self) -> Option<(u64, u64)> {
        self.checker.range()
    }

    /// Whether a marker read so far names the snapshot `term`/`index`.
    pub fn has_marker(&self, term: u64, index: u64) -> bool {
        self.checker.has_marker(term, index)
    }

    /// The next record, snapshot file or problem; `None` at the end. Goes on behind damage where
    /// that is possible. Blocks on reads.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Vanished`]; the reader is then at its end.
    pub fn step(&mut self) -> Result<Option<Step>, Error> {
        loop {
            if let Some(problem) = self.findings.problems().get(self.reported) {
                self.reported += 1;
                return Ok(Some(Step::Problem(problem.clone())));
            }
            if let Some(step) = self.waiting.take() {
                return Ok(Some(step));
            }
            if self.finished {
                return Ok(None);
            }
            match self.advance() {
                Ok(step) => self.waiting = step,
                Err(e) => {
                    self.finished = true;
                    return Err(e);
                }
            }
        }
    }

    /// The records, up to the end or the first problem.
    ///
    /// A torn tail ends the iteration without an error, as it ends the log: what was torn was not
    /// acknowledged. [`Reader::status`] tells afterwards.
    pub fn records(&mut self) -> Records<'_, V> {
        Records { reader: self, failed: false }
    }

    /// Makes one step forward; `None` may also mean that there are problems to hand out.
    fn advance(&mut self) -> Result<Option<Step>, Error> {
        if let Some(scan) = &mut self.scan {
            let number = self.segments_begun - 1;
            let frame = scan.next(&mut self.findings).map_err(|e| {
                let name = &self.layout.segments[number].name;
                Error::io("read", &self.layout.wal_dir.join(name), e)
            })?;
            match frame {
                Some(frame) => return Ok(self.record(&frame).map(Step::Record)),
                None => self.end_segment(),
            }
        }
        if self.segments_begun < self.layout.segments.len() {
            self.begin_segment()?;
        } else if let Some(dir) = &self.layout.snap_dir
            && let Some(name) = self.layout.snaps.get(self.snaps_begun)
        {
            self.snaps_begun += 1;
            match snap::read(&self.vfs, dir, name, self.options.max_record_bytes)? {
                Ok(file) => return Ok(Some(Step::SnapFile(file))),
                Err(problem) => self.findings.problem(problem),
            }
        } else {
            self.finish();
        }
        Ok(None)
    }

    /// Checks the next segment's name against the one before it and opens it.
    fn begin_segment(&mut self) -> Result<(), Error> {
        let number = self.segments_begun;
        let name = self.layout.segments[number].clone();
        let in_order = match number.checked_sub(1).map(|n| &self.layout.segments[n]) {
            None => true,
            Some(before) => check_sequence(before, &name, &mut self.findings),
        };
        if !in_order {
            self.carried = None;
        } else if number == 0 || self.carried.is_some() {
            self.checker.segment(&name, number == 0, &mut self.findings);
        }
        if number == 0 && name.seq == 0 {
            self.carried = Some(0);
        }
        let path = self.layout.wal_dir.join(&name.name);
        let file = self.vfs.open(&path, Access::Read).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound if !self.layout.single => {
                Error::Vanished { path: path.clone() }
            }
            _ => Error::io("open", &path, source),
        })?;
        let is_last = number + 1 == self.layout.segments.len();
        let max = self.options.max_record_bytes;
        let scan = Scan::new(Arc::from(name.name.as_str()), file, is_last, self.carried, max);
        self.scan = Some(scan.map_err(|e| Error::io("read", &path, e))?);
        self.segments_begun += 1;
        Ok(())
    }

    fn end_segment(&mut self) {
        let Some(scan) = self.scan.take() else { return };
        let name = &self.layout.segments[self.segments_begun - 1];
        self.carried = scan.final_crc();
        if scan.position() < 2 && scan.is_at_end() {
            self.findings.problem(Problem {
                segment: name.name.clone(),
                offset: scan.offset(),
                kind: ProblemKind::EmptySegment,
                expected: "a crc record and the metadata".to_owned(),
                found: format!("{} records", scan.position()),
                message: "etcd writes a segment's first records before it gives the segment its \
                          name: they were lost"
                    .to_owned(),
            });
        }
    }

    /// Decodes and checks a record.
    fn record(&mut self, frame: &Frame) -> Option<Record> {
        let number = self.segments_begun - 1;
        let name = &self.layout.segments[number];
        let kind = match decode(frame) {
            Ok(kind) => kind,
            Err(fault) => {
                self.findings.problem(fault.at(&name.name, frame.offset));
                return None;
            }
        };
        let segment = self.scan.as_ref().map(Scan::name)?;
        let place = (&segment, frame.offset);
        let effect = self.checker.record(&kind, frame.position, name, place, &mut self.findings);
        if let RecordKind::HardState(state) = kind {
            self.hard_state = state;
        }
        Some(Record {
            segment,
            segment_number: number as u32,
            offset: frame.offset,
            frame_len: frame.len,
            seed: frame.seed,
            crc: frame.crc,
            kind,
            effect,
        })
    }

    fn finish(&mut self) {
        self.finished = true;
        self.checker.finish(&mut self.findings);
        if self.layout.single {
            return;
        }
        if let Some(first) = self.layout.segments.first() {
            if first.seq > 0 {
                self.checker.check_start(first, &mut self.findings);
            }
            if self.layout.snap_dir.is_some() {
                self.checker.compare_snaps(&self.layout.snaps, &mut self.findings);
            }
        }
    }
}

/// Whether `next` follows `before` by number.
fn check_sequence(before: &SegmentName, next: &SegmentName, findings: &mut Findings) -> bool {
    if before.seq.checked_add(1) == Some(next.seq) {
        return true;
    }
    let twice = before.seq == next.seq;
    findings.problem(Problem {
        segment: next.name.clone(),
        offset: 0,
        kind: if twice { ProblemKind::SegmentNameMismatch } else { ProblemKind::MissingSegment },
        expected: format!("segment {}", before.seq.saturating_add(1)),
        found: format!("segment {}", next.seq),
        message: if twice {
            "two segments with one number".to_owned()
        } else {
            format!(
                "{} segments are missing behind {}, and the records in them",
                next.seq - before.seq - 1,
                before.name
            )
        },
    });
    false
}

/// The strict iterator over a log's records; see [`Reader::records`].
#[derive(Debug)]
pub struct Records<'a, V: Vfs> {
    reader: &'a mut Reader<V>,
    failed: bool,
}

impl<V: Vfs> Iterator for Records<'_, V> {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.failed {
            match self.reader.step() {
                Ok(Some(Step::Record(record))) => return Some(Ok(record)),
                Ok(Some(Step::Problem(p))) if p.kind != ProblemKind::TornTail => {
                    self.failed = true;
                    return Some(Err(Error::Damaged(Box::new(p))));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(e) => {
                    self.failed = true;
                    return Some(Err(e));
                }
            }
        }
        None
    }
}
