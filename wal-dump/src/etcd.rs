//! etcd's logs as a source.

use std::path::Path;
use std::sync::Arc;

use etcd_reader::{
    Error, Findings, HardState, Layout, ReadOptions, Reader, RecordKind, Replay, SnapFile, Step,
};
use raft_vfs::{Access, Vfs, VfsFile};

use crate::source::{
    Failure, Item, LogFile, Note, Place, Problem, Record, Source, Status, Stop, Verdict, Visit,
};

/// Every record in physical order.
pub(crate) struct Physical<V: Vfs> {
    reader: Reader<V>,
    files: Vec<LogFile>,
}

impl<V: Vfs> Physical<V> {
    /// Finds the log at `path`.
    pub(crate) fn open(vfs: &V, path: &Path) -> Result<Self, Failure> {
        let reader = Reader::open(vfs.clone(), path, ReadOptions::default()).map_err(failure)?;
        let files = files(vfs, reader.layout());
        Ok(Self { reader, files })
    }
}

impl<V: Vfs> Source for Physical<V> {
    fn format(&self) -> &'static str {
        "etcd"
    }

    fn files(&self) -> &[LogFile] {
        &self.files
    }

    fn read(&mut self, visit: &mut Visit<'_>) -> Result<Verdict, Stop> {
        while let Some(step) = self.reader.step().map_err(failure)? {
            visit(&match step {
                Step::Record(record) => item(record),
                Step::SnapFile(snap) => snap_item(snap),
                Step::Problem(p) => Item::Problem(problem(&p)),
            })?;
        }
        let state = Some(self.reader.hard_state()).filter(|s| *s != HardState::default());
        Ok(verdict(self.reader.findings(), self.reader.range(), state))
    }
}

/// The log after replay.
pub(crate) struct Effective<V: Vfs> {
    replay: Replay<V>,
    files: Vec<LogFile>,
}

impl<V: Vfs> Effective<V> {
    /// Replays the log at `path`.
    pub(crate) fn open(vfs: &V, path: &Path) -> Result<Self, Failure> {
        let replay = Replay::read(vfs.clone(), path, ReadOptions::default()).map_err(failure)?;
        let files = files(vfs, replay.layout());
        Ok(Self { replay, files })
    }
}

impl<V: Vfs> Source for Effective<V> {
    fn format(&self) -> &'static str {
        "etcd"
    }

    fn files(&self) -> &[LogFile] {
        &self.files
    }

    fn read(&mut self, visit: &mut Visit<'_>) -> Result<Verdict, Stop> {
        // The marker of a new log says that there is no snapshot.
        let is_real =
            |r: &&etcd_reader::Record| !matches!(&r.kind, RecordKind::Snapshot(m) if m.index == 0);
        let marker = self.replay.marker().filter(is_real);
        for head in [self.replay.metadata(), marker].into_iter().flatten() {
            visit(&item(head.clone()))?;
        }
        let names = self.replay.layout().segments.iter();
        let names: Vec<Arc<str>> = names.map(|s| Arc::from(s.name.as_str())).collect();
        let entries = self.replay.entries().to_vec();
        for at in &entries {
            let entry = self.replay.fetch(at).map_err(failure)?;
            let segment = Arc::clone(&names[at.segment as usize]);
            let place = Place { segment, offset: at.offset, len: at.frame_len };
            visit(&Item::Record(Some(place), record(RecordKind::Entry(entry))))?;
        }
        let state = self.replay.hard_state();
        if let Some(state) = state {
            visit(&item(state.clone()))?;
        }
        if let Some(snap) = self.replay.snap() {
            visit(&snap_item(snap.clone()))?;
        }
        let range = entries.first().zip(entries.last()).map(|(a, b)| (a.index, b.index));
        let state = state.and_then(|r| match r.kind {
            RecordKind::HardState(state) => Some(state),
            _ => None,
        });
        Ok(verdict(self.replay.findings(), range, state))
    }
}

fn files<V: Vfs>(vfs: &V, layout: &Layout) -> Vec<LogFile> {
    let file = |name: &String| {
        let path = layout.wal_dir.join(name);
        // A file that cannot be opened is reported when it is read.
        let bytes = vfs.open(&path, Access::Read).and_then(|f| f.len()).unwrap_or(0);
        LogFile { name: name.clone(), path, bytes }
    };
    layout.segments.iter().map(|s| file(&s.name)).collect()
}

fn item(record_: etcd_reader::Record) -> Item {
    let etcd_reader::Record { segment, offset, frame_len: len, kind, .. } = record_;
    Item::Record(Some(Place { segment, offset, len }), record(kind))
}

fn record(kind: RecordKind) -> Record {
    match kind {
        RecordKind::Metadata(data) => Record::Metadata(data),
        RecordKind::Entry(e) => {
            Record::Entry { term: e.term, index: e.index, kind: e.kind.as_str(), data: e.data }
        }
        RecordKind::HardState(HardState { term, vote, commit }) => {
            Record::HardState { term, vote, commit }
        }
        RecordKind::Snapshot(m) => Record::Snapshot {
            term: m.term,
            index: m.index,
            conf_state: m.conf_state,
            opaque: None,
        },
        RecordKind::Crc(crc) => Record::Crc(crc),
    }
}

fn snap_item(snap: SnapFile) -> Item {
    let SnapFile { name, term, index, conf_state, data } = snap;
    Item::SnapshotFile { name, term, index, conf_state, data }
}

fn problem(p: &etcd_reader::Problem) -> Problem {
    Problem {
        segment: p.segment.clone(),
        offset: p.offset,
        kind: p.kind.to_string(),
        expected: p.expected.clone(),
        found: p.found.clone(),
        message: p.message.clone(),
    }
}

fn verdict(findings: &Findings, range: Option<(u64, u64)>, state: Option<HardState>) -> Verdict {
    let note = |n: &etcd_reader::Note| Note {
        segment: n.segment.clone(),
        message: format!("{}: {}", n.kind, n.message),
    };
    Verdict {
        status: match findings.status() {
            etcd_reader::Status::Intact => Status::Intact,
            etcd_reader::Status::TornTail => Status::TornTail,
            etcd_reader::Status::LiveTail => Status::LiveTail,
            etcd_reader::Status::Corrupt => Status::Corrupt,
        },
        problems: findings.problems().iter().map(problem).collect(),
        notes: findings.notes().iter().map(note).collect(),
        range,
        hard_state: state.map(|s| (s.term, s.vote, s.commit)),
    }
}

fn failure(e: Error) -> Failure {
    match e {
        Error::NotEtcd { path, found } => Failure::NotALog(format!(
            "{} is no log: expected a raft-wal directory (a file IDENT, or wal/*.seg), an etcd \
             one (member/wal/, wal/, or *.wal), or one .seg, .wal or .snap file; found {found}",
            path.display()
        )),
        Error::Vanished { .. } | Error::Changed { .. } => Failure::Busy(e.to_string()),
        _ => Failure::Io(e.to_string()),
    }
}
