//! raft-wal's logs as a source.
//!
//! The records come from the files one by one, dead and alive; the verdict comes from recovery,
//! which alone can tell a torn tail from damage. One segment without its log has no recovery: its
//! own promises decide.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcd_reader::ConfState;
use raft_vfs::Vfs;
use raft_wal::error::Corrupt;
use raft_wal::format::{Base, Control};
use raft_wal::inspect::{self, Segment};
use raft_wal::scan::{Frame, Step, StopReason};
use raft_wal::{
    EntryKind, Error, Options, ReadOnly, RecoveryReport, SnapshotMark, Verification, Verify,
    VoteRule, WalName,
};

use crate::source::{
    Failure, Item, LogFile, Note, Place, Problem, Record, Source, Status, Stop, Verdict, Visit,
};

/// How many bytes of entries the effective log is read at a time.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// Whether a file name is that of a segment.
pub(crate) fn is_segment(path: &Path) -> bool {
    segment_seq(path).is_some()
}

fn segment_seq(path: &Path) -> Option<u64> {
    match WalName::parse(path.file_name()?.to_str()?)? {
        WalName::Segment(seq) => Some(seq),
        _ => None,
    }
}

/// The directory of the log that `path` is or belongs to, if it is there.
fn log_dir<V: Vfs>(vfs: &V, path: &Path) -> Option<PathBuf> {
    let has = |dir: &Path| {
        vfs.list(dir).is_ok_and(|names| names.iter().any(|e| e.name == "IDENT" || e.name == "wal"))
    };
    let parent = || path.parent().filter(|_| path.ends_with("wal"));
    [Some(path), parent()].into_iter().flatten().find(|dir| has(dir)).map(Path::to_path_buf)
}

/// The segments in a directory, in order. Number 0 is never given, and left alone as by recovery.
fn segments_in<V: Vfs>(vfs: &V, dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let names = vfs.list(dir);
    let names = names.map_err(|e| Failure::Io(format!("cannot list {}: {e}", dir.display())))?;
    Ok(names.iter().map(|e| dir.join(&e.name)).filter(|p| segment_seq(p) > Some(0)).collect())
}

/// How a log is opened for looking.
fn options() -> Options {
    // That one term has one vote is the node's business; an imported log may not keep the rule.
    Options::new().create(false).verify(Verify::Full).vote_rule(VoteRule::Unchecked)
}

/// The problem that an error stands for, if it is one of the log and not of reading it.
fn damage(e: Error) -> Result<Problem, Failure> {
    let message = e.to_string();
    let (path, offset, kind, expected, found) = match e {
        Error::Corrupt(c) => return Ok(problem(&c)),
        Error::IdentMissing { dir, found } => {
            let (kind, expected) = ("ident_missing".to_owned(), "a file IDENT".to_owned());
            (dir.join("IDENT"), 0, kind, expected, found)
        }
        Error::IdentityMismatch { path, expected, found, .. } => {
            (path, 0, "identity_mismatch".to_owned(), expected, found)
        }
        Error::NoLog { .. } | Error::Foreign { .. } => return Err(Failure::NotALog(message)),
        Error::Busy { .. } | Error::Locked { .. } => return Err(Failure::Busy(message)),
        _ => return Err(Failure::Io(message)),
    };
    Ok(Problem { segment: file_name(&path), offset, kind, expected, found, message })
}

fn problem(c: &Corrupt) -> Problem {
    Problem {
        segment: file_name(&c.path),
        offset: c.offset,
        kind: c.kind.to_string().replace(' ', "_"),
        expected: c.expected.clone(),
        found: c.found.clone(),
        message: c.to_string(),
    }
}

fn failure(e: Error) -> Failure {
    match e {
        // A segment that was listed and is gone: the writer removed it.
        Error::Io { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Failure::Busy(format!("{e}: the log is in use; try again"))
        }
        e => damage(e).map_or_else(|failure| failure, |p| Failure::Busy(p.message)),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Every record in physical order.
pub(crate) struct Physical<V: Vfs> {
    vfs: V,
    /// The log's directory; `None` for segments without their log.
    dir: Option<PathBuf>,
    files: Vec<LogFile>,
    notes: Vec<Note>,
}

impl<V: Vfs> Physical<V> {
    /// Opens the log in or around `path`, or the one segment `path`.
    pub(crate) fn open(vfs: &V, path: &Path) -> Result<Self, Failure> {
        let (dir, paths) = if is_segment(path) {
            (None, vec![path.to_path_buf()])
        } else if let Some(dir) = log_dir(vfs, path) {
            let paths = segments_in(vfs, &dir.join("wal"));
            // A log that was begun but never written has no segments, perhaps no directory.
            (Some(dir), paths.unwrap_or_default())
        } else {
            (None, segments_in(vfs, path)?)
        };
        let mut notes = Vec::new();
        if let Some(dir) = &dir
            && let Ok(layout) = inspect::layout(vfs, dir)
        {
            notes.extend(layout.notes.into_iter().map(note));
        }
        let mut files = Vec::new();
        for path in paths {
            let bytes = Segment::open(vfs, &path).map_err(failure)?.file_len();
            files.push(LogFile { name: file_name(&path), path, bytes });
        }
        Ok(Self { vfs: vfs.clone(), dir, files, notes })
    }

    /// Where each segment's live part ends and which segment says so, following the chain of
    /// predecessors from the newest segment that was started.
    fn cuts(&self) -> Result<BTreeMap<u64, (u64, u64)>, Failure> {
        let mut bases = BTreeMap::new();
        for file in &self.files {
            let segment = Segment::open(&self.vfs, &file.path).map_err(failure)?;
            if let Some(base) = first_base(&segment, &file.path)? {
                bases.insert(segment.seq(), base);
            }
        }
        let mut cuts = BTreeMap::new();
        let mut by = bases.last_key_value().map(|(&seq, _)| seq);
        while let Some(seq) = by
            && let Some(base) = bases.get(&seq)
            && base.prev_segment < seq
        {
            for &dead in bases.range(base.prev_segment + 1..seq).map(|(seq, _)| seq) {
                cuts.insert(dead, (0, seq));
            }
            cuts.insert(base.prev_segment, (base.prev_end, seq));
            by = Some(base.prev_segment);
        }
        Ok(cuts)
    }

    /// Hands out one segment; returns where and why its frames end, if that is not its end.
    fn segment(
        &self,
        file: &LogFile,
        cut: Option<(u64, u64)>,
        visit: &mut Visit<'_>,
    ) -> Result<Option<Problem>, Stop> {
        let segment = Segment::open(&self.vfs, &file.path).map_err(failure)?;
        let name: Arc<str> = Arc::from(file.name.as_str());
        let place = |offset, len| Some(Place { segment: Arc::clone(&name), offset, len });
        let Some(header) = segment.header() else {
            let whole = |found: &str| Problem {
                segment: file.name.clone(),
                offset: 0,
                kind: "segment_header".to_owned(),
                expected: "a segment header".to_owned(),
                found: found.to_owned(),
                message: "no copy of the segment's header is readable".to_owned(),
            };
            return Ok(Some(whole("something else")));
        };
        let first_index = first_base(&segment, &file.path)?.map(|b| b.next_index);
        let (seq, era, capacity) = (header.seq, header.era, header.capacity);
        let head = Record::Segment { seq, first_index, era, capacity };
        visit(&Item::Record(place(0, 0), head))?;
        let Some(mut scanner) = segment.scanner() else { return Ok(None) };
        let mut dead = false;
        let mut problem = None;
        loop {
            match scanner.step().map_err(|e| read_error(&file.path, &e))? {
                Step::Frame => {
                    let frame = scanner.frame();
                    if let Some((end, by)) = cut.filter(|c| frame.offset >= c.0 && !dead) {
                        dead = true;
                        let record = Record::Dead { by: Some(by) };
                        visit(&Item::Record(place(frame.offset.max(end), 0), record))?;
                    }
                    self.frame(&segment, &name, frame, visit)?;
                }
                Step::Stop(stop) => {
                    let next = segment.next_frame(stop.offset + 8).map_err(failure)?;
                    let is_end = matches!(stop.reason, StopReason::End | StopReason::Blank);
                    if problem.is_none() && (next.is_some() || !is_end) {
                        let durable = segment.marks().iter().any(|m| m.durable_to > stop.offset);
                        problem = Some(bad_frame(&file.name, &stop, durable));
                    }
                    let Some(next) = next else { return Ok(problem) };
                    scanner.resume_at(next);
                    if !dead {
                        dead = true;
                        let record = Record::Dead { by: None };
                        visit(&Item::Record(place(next, 0), record))?;
                    }
                }
            }
            let promised = scanner.frame().header.durable_to;
            if let Some(p) = problem.as_mut().filter(|p| promised > p.offset) {
                "batch".clone_into(&mut p.kind);
            }
        }
    }

    /// Hands out one batch.
    #[expect(clippy::unused_self, reason = "one of the walk's three levels")]
    fn frame(
        &self,
        segment: &Segment<V>,
        name: &Arc<str>,
        frame: &Frame,
        visit: &mut Visit<'_>,
    ) -> Result<(), Stop> {
        let entries = frame.offsets.iter().map(|&o| u64::from(o) * 8);
        let mut ends = frame.controls.iter().map(|c| c.0).chain(entries).skip(1).chain([frame.end]);
        let mut place = |offset: u64| {
            let len = ends.next().map_or(0, |end| end.saturating_sub(offset));
            Some(Place { segment: Arc::clone(name), offset, len })
        };
        for (offset, control) in &frame.controls {
            visit(&Item::Record(place(*offset), control_record(control)))?;
        }
        for (i, &offset) in frame.offsets.iter().enumerate() {
            let entry = segment.entry(frame, i).map_err(failure)?;
            visit(&Item::Record(place(u64::from(offset) * 8), entry_record(entry)))?;
        }
        Ok(())
    }
}

impl<V: Vfs> Source for Physical<V> {
    fn format(&self) -> &'static str {
        "raft-wal"
    }

    fn files(&self) -> &[LogFile] {
        &self.files
    }

    fn read(&mut self, visit: &mut Visit<'_>) -> Result<Verdict, Stop> {
        let cuts = self.cuts()?;
        let mut problems = Vec::new();
        for file in &self.files {
            let cut = segment_seq(&file.path).and_then(|seq| cuts.get(&seq)).copied();
            problems.extend(self.segment(file, cut, visit)?);
        }
        let mut verdict = match &self.dir {
            Some(dir) => judge(raft_wal::verify(self.vfs.clone(), dir, &options()))?,
            None => alone(problems),
        };
        verdict.notes.append(&mut self.notes);
        Ok(verdict)
    }
}

/// The log after recovery.
pub(crate) struct Effective<V: Vfs> {
    log: Result<(ReadOnly<V>, RecoveryReport), Problem>,
    files: Vec<LogFile>,
}

impl<V: Vfs> Effective<V> {
    /// Recovers the log in or around `path`, without writing.
    pub(crate) fn open(vfs: &V, path: &Path) -> Result<Self, Failure> {
        let dir = log_dir(vfs, path).filter(|_| !is_segment(path)).ok_or_else(|| {
            let path = path.display();
            Failure::NotALog(format!("{path} is part of a log: recovery needs the whole directory"))
        })?;
        let files = Physical::open(vfs, &dir)?.files;
        let log = match ReadOnly::open(vfs.clone(), &dir, &options()) {
            Ok(found) => Ok(found),
            Err(e) => Err(damage(e)?),
        };
        Ok(Self { log, files })
    }
}

impl<V: Vfs> Source for Effective<V> {
    fn format(&self) -> &'static str {
        "raft-wal"
    }

    fn files(&self) -> &[LogFile] {
        &self.files
    }

    fn read(&mut self, visit: &mut Visit<'_>) -> Result<Verdict, Stop> {
        let (log, report) = match &self.log {
            Ok(found) => found,
            Err(problem) => return Ok(corrupt(problem.clone())),
        };
        let mut record = |record| visit(&Item::Record(None, record));
        if let Some(data) = log.metadata() {
            record(Record::Metadata(data.clone()))?;
        }
        for (key, value) in log.blobs() {
            record(Record::Blob { key: key.clone(), value: value.clone() })?;
        }
        if let Some(mark) = log.snapshot() {
            record(snapshot(mark))?;
        }
        let mut next = log.first_index();
        while next < log.next_index() {
            let entries = log.entries(next, log.next_index(), CHUNK_BYTES).map_err(failure)?;
            let Some(last) = entries.last() else { break };
            next = last.index + 1;
            for entry in entries {
                record(entry_record(entry))?;
            }
        }
        let state = log.hard_state();
        record(Record::HardState { term: state.term, vote: state.vote, commit: state.commit })?;
        Ok(recovered(report, report.is_torn(), log.is_live()))
    }
}

/// The Base record of a segment's first batch.
fn first_base<V: Vfs>(segment: &Segment<V>, path: &Path) -> Result<Option<Base>, Failure> {
    let Some(mut scanner) = segment.scanner() else { return Ok(None) };
    let step = scanner.step().map_err(|e| read_error(path, &e))?;
    Ok(if step == Step::Frame { scanner.frame().base().copied() } else { None })
}

fn read_error(path: &Path, e: &io::Error) -> Failure {
    Failure::Io(format!("cannot read {}: {e}", path.display()))
}

fn bad_frame(segment: &str, stop: &raft_wal::scan::Stop, durable: bool) -> Problem {
    let lost = stop.header.filter(|h| h.n_entries > 0).map(|h| {
        let last = h.first_index.saturating_add(u64::from(h.n_entries) - 1);
        format!(": entries {} to {last}", h.first_index)
    });
    Problem {
        segment: segment.to_owned(),
        offset: stop.offset,
        kind: if durable { "batch" } else { "torn_tail" }.to_owned(),
        expected: stop.expected.clone(),
        found: stop.found.clone(),
        message: format!("a batch cannot be read{}", lost.unwrap_or_default()),
    }
}

/// The verdict on segments without their log.
fn alone(problems: Vec<Problem>) -> Verdict {
    let status = if problems.is_empty() {
        Status::Intact
    } else if problems.iter().all(|p| p.kind == "torn_tail") {
        Status::TornTail
    } else {
        Status::Corrupt
    };
    Verdict { status, problems, notes: Vec::new(), range: None, hard_state: None }
}

fn corrupt(problem: Problem) -> Verdict {
    let (status, problems) = (Status::Corrupt, vec![problem]);
    Verdict { status, problems, notes: Vec::new(), range: None, hard_state: None }
}

/// The verdict on a whole log.
fn judge(verified: raft_wal::Result<Verification>) -> Result<Verdict, Failure> {
    let verified = match verified {
        Ok(verified) => verified,
        Err(e) => return damage(e).map(corrupt),
    };
    let status = verified.status;
    Ok(match verified.report {
        Some(report) => recovered(
            &report,
            status == raft_wal::Status::TornTail,
            status == raft_wal::Status::LiveTail,
        ),
        None => Verdict {
            status: Status::Corrupt,
            problems: verified.problems.iter().map(problem).collect(),
            notes: Vec::new(),
            range: None,
            hard_state: None,
        },
    })
}

/// The verdict on a log that recovers.
fn recovered(report: &RecoveryReport, torn: bool, live: bool) -> Verdict {
    let status = match (live, torn) {
        (true, _) => Status::LiveTail,
        (false, true) => Status::TornTail,
        (false, false) => Status::Intact,
    };
    let problem =
        report.discarded.as_ref().filter(|_| status == Status::TornTail).map(|d| Problem {
            segment: file_name(&d.path),
            offset: d.offset,
            kind: "torn_tail".to_owned(),
            expected: "a whole batch, or zeros".to_owned(),
            found: format!("{} ({} bytes)", report.tail, d.bytes),
            message: "a crash cut the last write short; nothing says that it was durable"
                .to_owned(),
        });
    let (first, next, state) = (report.first_index, report.next_index, report.hard_state);
    Verdict {
        status,
        problems: problem.into_iter().collect(),
        notes: report.notes.iter().cloned().map(note).collect(),
        range: (first < next).then(|| (first, next - 1)),
        hard_state: Some((state.term, state.vote, state.commit)),
    }
}

fn note(n: raft_wal::Note) -> Note {
    Note { segment: file_name(&n.path), message: n.what }
}

fn entry_record(entry: raft_wal::Entry) -> Record {
    let kind = match entry.kind {
        EntryKind::Normal => "normal",
        EntryKind::ConfChange => "conf_change",
        EntryKind::ConfChangeV2 => "conf_change_v2",
        EntryKind::App3 => "app_3",
        EntryKind::App4 => "app_4",
        EntryKind::App5 => "app_5",
    };
    Record::Entry { term: entry.term, index: entry.index, kind, data: entry.data }
}

/// A marker; its conf state is opaque to the log, and by custom etcd's protobuf.
fn snapshot(mark: &SnapshotMark) -> Record {
    let SnapshotMark { index, term, conf_state: raw, .. } = mark;
    let conf_state = ConfState::decode(raw).ok().filter(|_| !raw.is_empty());
    let opaque = (conf_state.is_none() && !raw.is_empty()).then(|| raw.clone());
    Record::Snapshot { term: *term, index: *index, conf_state, opaque }
}

fn control_record(control: &Control) -> Record {
    match control {
        Control::Base(base) => Record::Base {
            prev_segment: base.prev_segment,
            prev_end: base.prev_end,
            first_index: base.first_index,
            next_index: base.next_index,
            reason: format!("{:?}", base.reason).to_lowercase(),
        },
        Control::Metadata(data) => Record::Metadata(data.clone()),
        Control::Blob { key, value } => Record::Blob { key: key.clone(), value: value.clone() },
        Control::Compact { first_index, base_term, .. } => {
            Record::Compact { index: first_index.checked_sub(1), term: *base_term }
        }
        Control::Snap(mark) => snapshot(mark),
        Control::Reset(reset) => {
            Record::Reset { index: reset.first_index.checked_sub(1), term: reset.base_term }
        }
        Control::Truncate(from) => Record::Truncate { from: *from },
        Control::State(s) => Record::HardState { term: s.term, vote: s.vote, commit: s.commit },
        Control::Seal { next_segment, .. } => Record::Seal { next_segment: *next_segment },
    }
}
