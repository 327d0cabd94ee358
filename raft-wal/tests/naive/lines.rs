//! What `raft-wal` makes of a directory, in the words of `decoder.py`.

use std::fmt::Write as _;
use std::path::Path;

use raft_vfs::{SimVfs, Vfs};
use raft_wal::error::CorruptKind;
use raft_wal::format::{Base, Control, Mark, SegmentHeader};
use raft_wal::inspect::{self, Segment};
use raft_wal::scan::{Frame, Step, StopReason};
use raft_wal::{Entry, Error, Options, ReadOnly, RecoveryReport, SnapshotMark, Tail, Verify, Wal};

use crate::support::sim::DIR;

/// One line of JSON, spaced as Python spaces it.
struct Line(String);

impl Line {
    fn of(name: &str, value: impl std::fmt::Display) -> Self {
        Self(format!("{{\"{name}\": {value}")).closed()
    }

    fn text(name: &str, value: impl std::fmt::Display) -> Self {
        Self::of(name, format_args!("\"{value}\""))
    }

    fn closed(mut self) -> Self {
        self.0.push('}');
        self
    }

    fn and(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.0.pop();
        let _ = write!(self.0, ", \"{name}\": {value}");
        self.closed()
    }

    fn and_text(self, name: &str, value: impl std::fmt::Display) -> Self {
        self.and(name, format_args!("\"{value}\""))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

fn or_null<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or("null".into(), |v| v.to_string())
}

/// Everything about the log on `disk`: its files one by one, what it comes to, and the verdict.
/// Opens it in every way and panics if they differ.
pub(crate) fn of(disk: &SimVfs) -> Vec<String> {
    let mut out = physical(disk);
    let options = Options::new().verify(Verify::Full);
    match ReadOnly::open(disk.clone(), DIR, &options) {
        Ok((log, report)) => {
            let (mut lines, verdict) = effective(&log, &report);
            opened_for_writing(disk, &lines);
            out.append(&mut lines);
            out.push(verdict);
        }
        Err(e) => {
            // An open for writing refuses the same, but makes a log where there is none.
            let again = Wal::open(disk.fork(), DIR, &options).map(|_| ());
            match (&e, again) {
                (Error::NoLog { .. }, Ok(())) => {}
                (_, Err(again)) => assert_eq!(refused(&again), refused(&e)),
                (e, Ok(())) => panic!("opened for writing, and for reading: {e}"),
            }
            out.push(refused(&e));
        }
    }
    out
}

/// An open for writing comes to the same log, also where it writes something again, and the log
/// is the same when entries of closed segments are found by index files.
fn opened_for_writing(disk: &SimVfs, expected: &[String]) {
    for verify in [Verify::Full, Verify::Tail] {
        let disk = disk.fork();
        let (wal, report) = Wal::open(disk, DIR, &Options::new().verify(verify)).unwrap();
        let found = contents(&Contents {
            first: wal.first_index(),
            next: wal.next_index(),
            base_term: wal.first_index().checked_sub(1).and_then(|i| wal.term(i).unwrap()),
            report: &report,
            snapshot: wal.snapshot(),
            metadata: wal.metadata().map(AsRef::as_ref),
            blobs: wal.blobs().map(|(k, v)| (k.as_ref(), v.as_ref())).collect(),
            entries: wal.entries(wal.first_index(), wal.next_index(), u64::MAX).unwrap(),
        });
        assert_eq!(found, expected[..found.len()], "{verify:?}");
    }
}

fn effective(log: &ReadOnly<SimVfs>, report: &RecoveryReport) -> (Vec<String>, String) {
    let (first, next) = (log.first_index(), log.next_index());
    let mut out = contents(&Contents {
        first,
        next,
        base_term: first.checked_sub(1).and_then(|i| log.term(i).unwrap()),
        report,
        snapshot: log.snapshot(),
        metadata: log.metadata().map(AsRef::as_ref),
        blobs: log.blobs().map(|(k, v)| (k.as_ref(), v.as_ref())).collect(),
        entries: log.entries(first, next, u64::MAX).unwrap(),
    });
    out.push(Line::of("segments", report.segments).0);
    let verdict = match report.tail {
        Tail::Empty => "empty",
        Tail::Clean => "closed",
        Tail::Sealed => "sealed",
        Tail::Blank | Tail::Torn { .. } | Tail::Unknown => "torn",
    };
    (out, Line::text("verdict", verdict).0)
}

/// What a log holds.
struct Contents<'a> {
    first: u64,
    next: u64,
    base_term: Option<u64>,
    report: &'a RecoveryReport,
    snapshot: Option<&'a SnapshotMark>,
    metadata: Option<&'a [u8]>,
    blobs: Vec<(&'a [u8], &'a [u8])>,
    entries: Vec<Entry>,
}

fn contents(c: &Contents<'_>) -> Vec<String> {
    let hs = c.report.hard_state;
    let state = Line::of("term", hs.term).and("vote", hs.vote).and("commit", hs.commit);
    let blobs: Vec<_> =
        c.blobs.iter().map(|(k, v)| format!("\"{}\": \"{}\"", hex(k), hex(v))).collect();
    let metadata = c.metadata.map(|m| format!("\"{}\"", hex(m)));
    let marker = c.snapshot.map(|m| {
        let line = marker(Line::of("index", m.index), m);
        line.0
    });
    let mut out = vec![
        Line::of("log", c.first).and("next", c.next).and("base_term", or_null(c.base_term)),
        state.and("raised", c.report.state_raised),
        Line::of("marker", or_null(marker)),
        Line::of("metadata", or_null(metadata)),
        Line::of("blobs", format_args!("{{{}}}", blobs.join(", "))),
    ];
    assert_eq!(c.entries.len() as u64, c.next - c.first);
    out.extend(c.entries.iter().map(|e| {
        let line = Line::of("entry", e.index).and("term", e.term);
        line.and_text("kind", format_args!("{:?}", e.kind)).and_text("data", hex(&e.data))
    }));
    out.into_iter().map(|l| l.0).collect()
}

/// A log that is refused: why, the file, and where the bad frame is, if it is one. Which file the
/// entries of a gap were in, nobody knows.
fn refused(e: &Error) -> String {
    let gap = matches!(e, Error::Corrupt(c) if c.kind == CorruptKind::Gap);
    let line = |verdict, path: &Path, at| {
        let file = format!("\"{}\"", path.strip_prefix(DIR).unwrap_or(path).display());
        let file = if gap { "null" } else { &file };
        Line::text("verdict", verdict).and("file", file).and("at", or_null::<u64>(at)).0
    };
    match e {
        Error::Corrupt(c) => {
            let frame = matches!(c.kind, CorruptKind::Batch | CorruptKind::SegmentStart);
            line("damage", &c.path, frame.then_some(c.offset))
        }
        Error::Unsupported { path, .. } => line("unsupported", path, None),
        Error::IdentityMismatch { path, .. } => line("foreign", path, None),
        Error::NoLog { .. } => line("no log", Path::new("IDENT"), None),
        Error::IdentMissing { .. } => line("no IDENT", Path::new("IDENT"), None),
        e => panic!("{e}"),
    }
}

/// The identity and every segment.
fn physical(disk: &SimVfs) -> Vec<String> {
    let Ok(layout) = inspect::layout(disk, Path::new(DIR)) else { return Vec::new() };
    let i = &layout.ident;
    let line = Line::text("identity", hex(&i.wal_uuid)).and("cluster", i.cluster_id);
    let mut out = vec![line.and("node", i.node_id).and("created_ms", i.created_ms)];
    for (seq, path) in &layout.segments {
        match Segment::open(disk, path) {
            Ok(s) => segment(&s, &mut out),
            Err(Error::Unsupported { .. }) => {
                out.push(Line::of("segment", seq).and_text("bad", "unsupported"));
            }
            Err(e) => panic!("{e}"),
        }
    }
    out.into_iter().map(|l| l.0).collect()
}

fn segment<V: Vfs>(s: &Segment<V>, out: &mut Vec<Line>) {
    let Some(h) = s.header() else {
        return out.push(Line::of("segment", s.seq()).and_text("bad", "damage"));
    };
    out.push(header(s, h));
    out.extend(s.marks().iter().map(mark));
    let mut scanner = s.scanner().unwrap();
    let (end, newer) = loop {
        match scanner.step().unwrap() {
            Step::Frame => {
                let f = scanner.frame();
                frame(s, f, out);
                if f.seal().is_some() {
                    break (f.end, false);
                }
            }
            Step::Stop(stop) => break (stop.offset, stop.reason == StopReason::Unsupported),
        }
    };
    out.push(Line::of("end", end).and("newer", newer));
}

fn header<V: Vfs>(s: &Segment<V>, h: &SegmentHeader) -> Line {
    let line = Line::of("segment", s.seq()).and("len", s.file_len()).and("salt", h.salt);
    let line = line.and_text("uuid", hex(&h.wal_uuid)).and("seq", h.seq);
    let line = line.and("capacity", h.capacity).and("created_ms", h.created_ms);
    line.and("align", h.align).and("era", h.era).and("era_nonce", h.era_nonce)
}

fn mark(m: &Mark) -> Line {
    let line = Line::of("mark", m.mark_no).and("durable_to", m.durable_to);
    let line = line.and("batch_seq", m.batch_seq).and("chain", m.chain).and("clean", m.clean);
    line.and("state_off", m.state_off).and("term", m.term).and("vote", m.vote)
}

fn frame<V: Vfs>(s: &Segment<V>, f: &Frame, out: &mut Vec<Line>) {
    let h = &f.header;
    let line = Line::of("frame", h.batch_seq).and("at", f.offset).and("end", f.end);
    let line = line.and("n_entries", h.n_entries).and("durable_to", h.durable_to);
    let line = line.and("first_index", h.first_index).and("chain", h.chain);
    let line = line.and("body_crc", h.body_crc).and("flags", h.flags);
    out.push(line.and("header_crc", h.header_crc));
    out.extend(f.controls.iter().map(|(at, c)| control(*at, c)));
    for (i, at) in f.offsets.iter().enumerate() {
        let e = s.entry(f, i).unwrap();
        let line = Line::text("record", format_args!("{:?}", e.kind)).and("at", u64::from(*at) * 8);
        out.push(line.and("index", e.index).and("term", e.term).and("len", e.data.len()));
    }
}

fn control(at: u64, c: &Control) -> Line {
    let line = Line::text("record", format_args!("{:?}", c.kind())).and("at", at);
    match c {
        Control::Base(b) => base(line, b),
        Control::Metadata(m) => line.and_text("data", hex(m)),
        Control::Blob { key, value } => {
            line.and_text("key", hex(key)).and_text("value", hex(value))
        }
        Control::Compact { first_index, base_term, floor_seq } => line
            .and("first_index", first_index)
            .and("base_term", or_null(*base_term))
            .and("floor_seq", floor_seq),
        Control::Snap(m) => marker(line.and("index", m.index), m),
        Control::Reset(r) => {
            line.and("first_index", r.first_index).and("base_term", or_null(r.base_term))
        }
        Control::Truncate(from) => line.and("from_index", from),
        Control::State(s) => line.and("term", s.term).and("vote", s.vote).and("commit", s.commit),
        Control::Seal { next_segment, next_salt } => {
            line.and("next_segment", next_segment).and("next_salt", next_salt)
        }
    }
}

fn base(line: Line, b: &Base) -> Line {
    let line = line.and("prev_segment", b.prev_segment).and("prev_salt", b.prev_salt);
    let line = line.and("prev_chain", b.prev_chain).and("prev_batch_seq", b.prev_batch_seq);
    let line = line.and("prev_end", b.prev_end).and("first_index", b.first_index);
    let line = line.and("base_term", or_null(b.base_term)).and("next_index", b.next_index);
    let line = line.and("last_term", b.last_term).and("floor_seq", b.floor_seq).and("era", b.era);
    let line = line.and("nonce", b.nonce).and("carried", b.carried);
    let line = line.and("disc_segment", b.disc_segment).and("disc_from", b.disc_from);
    let line = line.and("disc_len", b.disc_len).and("disc_crc", b.disc_crc);
    line.and("reason", b.reason as u8)
}

fn marker(line: Line, m: &SnapshotMark) -> Line {
    let line = line.and("term", m.term).and("file_len", m.file_len);
    let line = line.and_text("file_hash", hex(&m.file_hash)).and("conf_len", m.conf_state.len());
    line.and_text("conf_state", hex(&m.conf_state))
}
