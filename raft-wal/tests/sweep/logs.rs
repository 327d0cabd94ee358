//! The logs that are damaged: one of every kind that a node's life makes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use raft_vfs::{SimVfs, Vfs};
use raft_wal::{Batch, Entry, EntryKind, Options, Reset, SnapshotMark};

use crate::chart::{Chart, File, Seg};
use crate::history::{History, entries, entry, state, values};
use crate::page::Page;
use crate::support::model::Model;
use crate::support::sim::{DIR, open, path, read_all};

/// A sound log: its files, what they mean, and what the log is and was.
pub(crate) struct Log {
    pub(crate) name: &'static str,
    pub(crate) options: Options,
    pub(crate) files: Vec<File>,
    pub(crate) chart: Chart,
    /// Paths of the files, in the same order.
    pub(crate) paths: Vec<PathBuf>,
    /// The log after each batch.
    pub(crate) states: Vec<Model>,
    /// For each frame of the chart the state behind it, by segment and end.
    behind: BTreeMap<(u64, usize), usize>,
    /// The disk with these files and no others.
    pub(crate) disk: SimVfs,
    /// Whether an open of it is certain that nothing is missing.
    pub(crate) certain: bool,
}

impl Log {
    fn of(name: &'static str, page: &Page, seed: u64, options: Options, write: Write) -> Self {
        let mut history = History::begin(page, seed, &options);
        write(&mut history);
        let files = history.files();
        let chart = Chart::draw(page, &files);
        // Salts of later segments must not be those of the segments there are.
        let disk = SimVfs::new(seed ^ 0x5eed_0000);
        for f in &files {
            disk.write_file(path(&f.name), &f.bytes);
        }
        if chart.segments.is_empty() {
            disk.create_dir(&path("wal")).unwrap();
        }
        for dir in ["/", "/data", DIR] {
            disk.sync_dir(dir.as_ref()).unwrap();
        }
        let paths = files.iter().map(|f| path(&f.name)).collect();
        let History { states, behind, .. } = history;
        let (wal, report) = open(&disk.fork(), &options).expect("a sound log");
        assert_eq!(Some(&read_all(&wal).expect("a sound log")), states.last(), "{name}: {report}");
        let certain = report.certain;
        Self { name, options, files, chart, paths, states, behind, disk, certain }
    }

    /// The log, undamaged.
    pub(crate) fn last(&self) -> &Model {
        self.states.last().expect("there is the empty log")
    }

    /// Whether it is what its name says: the logs whose files were used again or cut short.
    pub(crate) fn is_what_it_is_called(&self) -> bool {
        let behind = |s: &Seg| &self.files[s.file].bytes[s.frames.last().map_or(0, |f| f.end)..];
        let mut segments = self.chart.segments.iter();
        match self.name {
            "recycled" => self.chart.newest().is_some_and(|s| behind(s).iter().any(|&b| b != 0)),
            "released" => segments.any(|s| self.files[s.file].bytes.len() < s.capacity),
            _ => true,
        }
    }

    /// The state behind the frame of segment `seq` that ends at `end`.
    pub(crate) fn state_behind(&self, seq: u64, end: usize) -> usize {
        self.behind[&(seq, end)]
    }

    /// Number of the file of this name.
    pub(crate) fn file(&self, name: &str) -> Option<usize> {
        self.files.iter().position(|f| f.name == name)
    }
}

type Write = fn(&mut History<'_>);

/// Small segments; whatever is asked of memory is asked for small entries.
fn small() -> Options {
    Options::new().segment_bytes(16 << 10).max_entry_bytes(64 << 10)
}

/// The largest payload that these options allow.
pub(crate) const RECORD_MAX: u64 = 64 << 10;

/// Writes all of them.
pub(crate) fn all(page: &Page) -> Vec<Log> {
    let kinds: [(&'static str, Options, Write); 13] = [
        ("one-segment", small(), one_segment),
        ("sealed-and-tail", small(), sealed_and_tail),
        ("truncated", small(), truncated),
        ("compacted", small(), compacted),
        ("clean-closed", small(), clean_closed),
        ("not-closed", small(), not_closed),
        ("empty", small(), |_| ()),
        ("large-entry", small(), large_entry),
        ("eras", small(), eras),
        ("values-padded", small().align(512), values_padded),
        ("installed", small(), installed),
        ("recycled", small().segment_bytes(20 << 10), recycled),
        ("released", small().segment_bytes((1 << 20) + (32 << 10)), released),
    ];
    let log = |(n, (name, options, write))| Log::of(name, page, 100 + n, options, write);
    (0_u64..).zip(kinds).map(log).collect()
}

/// One segment; the last batch is promised by an idle mark.
fn one_segment(h: &mut History<'_>) {
    h.save(&entries(1, 2, 1, 60).with_hard_state(state(1, 1, 0)));
    h.save(&entries(3, 1, 1, 300).with_hard_state(state(1, 1, 2)));
    h.put(&entries(4, 2, 1, 40));
    h.put(&entries(6, 1, 1, 0));
    h.save(&entries(7, 3, 1, 40).with_hard_state(state(1, 1, 5)));
    h.save(&Batch::of_hard_state(state(2, 3, 6)));
    h.save(&entries(10, 2, 2, 100));
    h.idle();
}

/// Three closed segments, two with an index file, and a fourth whose last batch nothing promises.
fn sealed_and_tail(h: &mut History<'_>) {
    h.save(&entries(1, 3, 1, 100).with_hard_state(state(1, 2, 0)));
    h.fill_until(2, 1, 500);
    let next = h.log().next();
    h.save(&Batch::of_hard_state(state(2, 0, next - 2)));
    h.fill_until(4, 2, 700);
    h.step(|wal| assert!(wal.step_index().unwrap()));
    let next = h.log().next();
    h.save(&entries(next, 2, 2, 200).with_hard_state(state(2, 4, next - 1)));
    h.save(&entries(next + 2, 2, 2, 90));
}

/// Suffixes overwritten: inside the segment, across two segments, and by a bare truncation.
fn truncated(h: &mut History<'_>) {
    h.save(&entries(1, 4, 1, 200).with_hard_state(state(1, 1, 1)));
    h.save(&entries(3, 3, 2, 200).with_hard_state(state(2, 0, 2)));
    h.fill_until(2, 2, 600);
    let next = h.log().next();
    h.save(&entries(next - 4, 3, 3, 150).with_hard_state(state(3, 3, 3)));
    h.save(&entries(next - 1, 4, 3, 150));
    h.save(&Batch { truncate: Some(next + 1), ..Batch::default() });
    h.fill_until(3, 3, 600);
    let next = h.log().next();
    h.save(&entries(next - 1, 2, 4, 80).with_hard_state(state(4, 1, next - 3)));
    h.idle();
}

fn marker(index: u64, term: u64) -> SnapshotMark {
    let conf_state = Bytes::from_static(b"\x08\x01\x08\x02\x08\x03");
    SnapshotMark { index, term, file_len: 1234, file_hash: [0x5a; 32], conf_state }
}

/// A snapshot, what it covers removed, and a clean close.
fn compacted(h: &mut History<'_>) {
    h.save(&values(&[("peers", "1,2,3"), ("applied", "0")]));
    h.save(&entries(1, 3, 1, 100).with_hard_state(state(1, 2, 0)));
    h.fill_until(3, 1, 600);
    let next = h.log().next();
    let snapshot = Some(marker(next - 3, 1));
    let taken = Batch { snapshot, ..values(&[("applied", "many"), ("peers", "")]) };
    h.save(&taken.with_hard_state(state(1, 2, next - 2)));
    h.compact(next - 6);
    h.fill_until(4, 1, 400);
    h.close();
}

/// Closed properly, with a next segment that was published and not started.
fn clean_closed(h: &mut History<'_>) {
    h.save(&entries(1, 3, 1, 100).with_hard_state(state(1, 1, 0)));
    h.fill_until(2, 1, 500);
    let mut published = false;
    while !published {
        let next = h.log().next();
        h.save(&entries(next, 1, 1, 300));
        h.step(|wal| published = wal.step_publish().unwrap());
    }
    let next = h.log().next();
    h.save(&Batch::of_hard_state(state(1, 1, next - 1)));
    h.close();
}

/// Not closed, and the last flush gave a vote and had two batches.
fn not_closed(h: &mut History<'_>) {
    h.save(&entries(1, 3, 1, 40).with_hard_state(state(1, 1, 0)));
    h.save(&entries(4, 2, 1, 300).with_hard_state(state(1, 1, 3)));
    h.save(&entries(6, 1, 1, 40));
    h.put(&entries(7, 1, 1, 40));
    h.save(&Batch::of_hard_state(state(3, 2, 5)));
}

/// An entry larger than an ordinary segment, between small ones.
fn large_entry(h: &mut History<'_>) {
    h.save(&entries(1, 2, 1, 40).with_hard_state(state(1, 1, 0)));
    h.save(&Batch::of_entries(vec![entry(3, 1, 14_000)]).with_hard_state(state(1, 1, 2)));
    h.save(&entries(4, 2, 1, 40).with_hard_state(state(1, 1, 3)));
    h.idle();
}

/// Four processes: a torn batch given up, batches carried twice, a close, and one more that votes.
fn eras(h: &mut History<'_>) {
    h.save(&entries(1, 3, 1, 60).with_hard_state(state(1, 1, 0)));
    h.save(&entries(4, 3, 1, 60).with_hard_state(state(1, 1, 2)));
    h.put(&entries(6, 2, 2, 60).with_hard_state(state(2, 3, 4)));
    h.put(&entries(8, 1, 2, 60));
    h.tear();
    h.restart();
    h.save(&entries(8, 2, 3, 60).with_hard_state(state(3, 1, 6)));
    h.put(&entries(10, 2, 3, 60).with_hard_state(state(3, 1, 8)));
    h.restart();
    h.save(&entries(12, 1, 3, 200));
    h.close();
    h.restart();
    h.save(&entries(13, 2, 3, 30).with_hard_state(state(4, 2, 11)));
    h.save(&entries(15, 1, 4, 30));
    h.idle();
}

/// Metadata, keyed values, every kind of entry, and flushes padded to sectors.
fn values_padded(h: &mut History<'_>) {
    let metadata = Some(Bytes::from_static(b"node 1 of cluster c1"));
    h.save(&Batch { metadata, ..values(&[("vote", "1-1"), ("purged", "0"), ("gone", "soon")]) });
    let kinds = [
        EntryKind::Normal,
        EntryKind::ConfChange,
        EntryKind::ConfChangeV2,
        EntryKind::App3,
        EntryKind::App4,
        EntryKind::App5,
    ];
    let all = (1..).zip(kinds).map(|(i, kind)| Entry { kind, ..entry(i, 1, 20) }).collect();
    h.save(&Batch::of_entries(all).with_hard_state(state(1, 1, 0)));
    let metadata = Some(Bytes::from_static(b"second"));
    h.save(&Batch { metadata, ..values(&[("vote", "2-3"), ("gone", "")]) });
    h.save(&entries(7, 2, 2, 100).with_hard_state(state(2, 1, 6)));
}

/// A snapshot came from elsewhere: the log jumps, and goes on there.
fn installed(h: &mut History<'_>) {
    h.save(&entries(1, 9, 1, 300).with_hard_state(state(1, 1, 7)));
    h.fill_until(2, 1, 700);
    let install = Batch {
        snapshot: Some(marker(99, 4)),
        reset: Some(Reset { first_index: 100, base_term: Some(4) }),
        ..entries(100, 2, 4, 40)
    };
    h.save(&install.with_hard_state(state(4, 0, 99)));
    h.save(&entries(102, 2, 5, 40).with_hard_state(state(5, 2, 101)));
    h.fill_until(3, 5, 700);
    h.idle();
}

/// Segments written into files of removed ones, whose frames stand behind the new ones where these
/// have not come to the second page.
fn recycled(h: &mut History<'_>) {
    h.save(&entries(1, 3, 1, 100).with_hard_state(state(1, 1, 0)));
    h.fill_until(4, 1, 600);
    let next = h.log().next();
    h.save(&Batch::of_hard_state(state(1, 1, next - 2)));
    h.compact(next - 1);
    h.fill_until(6, 1, 400);
    let next = h.log().next();
    h.save(&entries(next, 1, 1, 50).with_hard_state(state(2, 3, next - 1)));
    h.save(&entries(next + 1, 1, 2, 20));
    h.put(&entries(next + 2, 1, 2, 20));
    h.idle();
}

/// A process that was killed left most of its segment empty, and the next one cut that off.
fn released(h: &mut History<'_>) {
    h.save(&entries(1, 3, 1, 100).with_hard_state(state(1, 1, 0)));
    h.save(&entries(4, 3, 1, 100).with_hard_state(state(1, 1, 2)));
    h.put(&entries(7, 1, 1, 100));
    h.restart();
    h.save(&entries(8, 3, 2, 100).with_hard_state(state(2, 2, 6)));
    h.restart();
    h.save(&entries(11, 1, 2, 100));
    h.idle();
}
