//! The golden logs: how each is made, byte for byte the same every time.

use bytes::Bytes;
use raft_vfs::sim::SimVfs;
use raft_vfs::{Access, Vfs};
use raft_wal::format::{FrameHeader, SegmentHeader, crc};
use raft_wal::scan::{Check, Scanner, Step};
use raft_wal::{Batch, Entry, EntryKind, HardState, Identity, Options, Reset, SnapshotMark, Wal};

/// Where the log stands on the simulated disk.
pub(crate) const DIR: &str = "/log";

/// 2026-01-01, so that nothing depends on when the logs are made.
const MILLIS: u64 = 1_767_225_600_000;

/// One golden log.
pub(crate) struct Log {
    pub(crate) name: &'static str,
    make: fn(&SimVfs),
}

impl Log {
    /// A disk that holds it.
    pub(crate) fn make(&self) -> SimVfs {
        // Each log has its own salts and uuid.
        let disk = SimVfs::new(crc(0, self.name.as_bytes()).into());
        disk.set_unix_millis(MILLIS);
        (self.make)(&disk);
        disk
    }
}

/// All of them, and what each is for.
pub(crate) const LOGS: [Log; 10] = [
    // Made, never written.
    Log { name: "empty", make: empty },
    // The worked example of docs/FORMAT.md.
    Log { name: "one-segment", make: one_segment },
    // Written and synced, and then the process was gone.
    Log { name: "not-closed", make: not_closed },
    // Rotation, index files, an overwritten suffix across segments, a marker, a compaction.
    Log { name: "segments", make: segments },
    // An entry that is larger than an ordinary segment.
    Log { name: "jumbo", make: jumbo },
    // A snapshot was installed: the log jumps.
    Log { name: "reset", make: reset },
    // Metadata and keyed values, replaced and deleted.
    Log { name: "blobs-and-metadata", make: blobs_and_metadata },
    // A second era that wrote again what was not proven, and gave up a torn batch.
    Log { name: "carried", make: carried },
    // Flushes padded to 512 bytes.
    Log { name: "padded", make: padded },
    // A log whose first entry has index 0.
    Log { name: "from-index-zero", make: from_index_zero },
];

/// The golden log of this name.
pub(crate) fn log(name: &str) -> &'static Log {
    LOGS.iter().find(|l| l.name == name).expect("a golden log's name")
}

/// How golden logs are written and read.
pub(crate) fn options() -> Options {
    let identity = Identity { cluster_id: 0xc1, node_id: 1 };
    Options::new().segment_bytes(16 << 10).spare_segments(0).identity(identity)
}

/// The frames of a segment: offset, end and header of each.
pub(crate) fn frames(disk: &SimVfs, path: &str) -> Vec<(u64, u64, FrameHeader)> {
    let bytes = disk.read_file(path).expect("a segment");
    let page: [u8; SegmentHeader::LEN] = bytes[..SegmentHeader::LEN].try_into().unwrap();
    let header = SegmentHeader::decode(&page).expect("a sound header");
    let file = disk.open(path.as_ref(), Access::Read).unwrap();
    let mut scanner = Scanner::new(&file, header.salt, bytes.len() as u64, Check::Full);
    let mut frames = Vec::new();
    while scanner.step().unwrap() == Step::Frame {
        let f = scanner.frame();
        frames.push((f.offset, f.end, f.header));
    }
    frames
}

/// The path of a segment on the simulated disk.
pub(crate) fn segment(seq: u64) -> String {
    format!("{DIR}/wal/{seq:020}.seg")
}

fn open(disk: &SimVfs) -> Wal<SimVfs> {
    Wal::open(disk.clone(), DIR, &options()).unwrap().0
}

/// An entry of about `size` bytes that can be told from every other.
fn entry(index: u64, term: u64, size: usize) -> Entry {
    let text = format!("entry {index} of term {term}; ");
    let data = text.bytes().cycle().take(size.max(text.len())).collect::<Vec<_>>();
    Entry { index, term, kind: EntryKind::Normal, data: data.into() }
}

fn entries(from: u64, to: u64, term: u64, size: usize) -> Batch {
    Batch::of_entries((from..=to).map(|i| entry(i, term, size)).collect())
}

fn state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit }
}

fn save(wal: &mut Wal<SimVfs>, batch: &Batch) {
    let ticket = wal.append(batch).unwrap();
    wal.wait(ticket).unwrap();
}

fn empty(disk: &SimVfs) {
    drop(open(disk));
}

fn one_segment(disk: &SimVfs) {
    let mut wal = open(disk);
    save(&mut wal, &Batch::of_hard_state(state(1, 1, 0)));
    let hello = Entry { data: Bytes::from_static(b"hello"), ..entry(1, 1, 0) };
    save(&mut wal, &Batch::of_entries(vec![hello]).with_hard_state(state(1, 1, 1)));
    wal.close().unwrap();
}

fn not_closed(disk: &SimVfs) {
    let mut wal = open(disk);
    save(&mut wal, &entries(1, 3, 1, 40).with_hard_state(state(1, 1, 0)));
    save(&mut wal, &entries(4, 5, 1, 40).with_hard_state(state(1, 1, 3)));
    save(&mut wal, &Batch::of_entries(vec![entry(6, 1, 40)]));
    save(&mut wal, &Batch::of_hard_state(state(2, 3, 5)));
}

fn segments(disk: &SimVfs) {
    let mut wal = open(disk);
    let metadata = Some(Bytes::from_static(b"node 1 of cluster c1"));
    let first = Batch { metadata, ..entries(1, 4, 1, 200) };
    save(&mut wal, &first.with_hard_state(state(1, 2, 0)));
    for from in [5, 9, 13, 17, 21] {
        save(&mut wal, &entries(from, from + 3, 1, 200).with_hard_state(state(1, 2, from - 1)));
    }
    let snapshot = SnapshotMark {
        index: 16,
        term: 1,
        file_len: 1234,
        file_hash: [0x5a; 32],
        conf_state: Bytes::from_static(b"\x08\x01\x08\x02\x08\x03"),
    };
    save(&mut wal, &Batch { snapshot: Some(snapshot), ..Batch::default() });
    // Entries from 22 on, in the segment before, are overwritten at a higher term.
    save(&mut wal, &entries(22, 25, 3, 200).with_hard_state(state(3, 0, 20)));
    wal.compact_to(17).unwrap();
    save(&mut wal, &Batch::of_hard_state(state(3, 2, 24)));
    wal.close().unwrap();
}

fn jumbo(disk: &SimVfs) {
    let mut wal = open(disk);
    save(&mut wal, &entries(1, 2, 1, 40).with_hard_state(state(1, 1, 0)));
    save(&mut wal, &Batch::of_entries(vec![entry(3, 1, 4200)]).with_hard_state(state(1, 1, 2)));
    save(&mut wal, &entries(4, 5, 1, 40).with_hard_state(state(1, 1, 3)));
    wal.close().unwrap();
}

fn reset(disk: &SimVfs) {
    let mut wal = open(disk);
    save(&mut wal, &entries(1, 9, 1, 40).with_hard_state(state(1, 1, 7)));
    let snapshot = SnapshotMark { index: 99, term: 4, ..SnapshotMark::default() };
    let install = Batch {
        snapshot: Some(snapshot),
        reset: Some(Reset { first_index: 100, base_term: Some(4) }),
        ..entries(100, 101, 4, 40)
    };
    save(&mut wal, &install.with_hard_state(state(4, 0, 99)));
    save(&mut wal, &entries(102, 103, 5, 40).with_hard_state(state(5, 2, 101)));
    wal.close().unwrap();
}

fn blobs_and_metadata(disk: &SimVfs) {
    let pair = |k: &'static str, v: &'static str| (Bytes::from(k), Bytes::from(v));
    let mut wal = open(disk);
    let first = Batch {
        metadata: Some(Bytes::from_static(b"first")),
        blobs: vec![pair("vote", "1-1"), pair("purged", "0"), pair("gone", "soon")],
        ..Batch::default()
    };
    save(&mut wal, &first);
    let kinds = [
        EntryKind::Normal,
        EntryKind::ConfChange,
        EntryKind::ConfChangeV2,
        EntryKind::App3,
        EntryKind::App4,
        EntryKind::App5,
    ];
    let all = (1..).zip(kinds).map(|(i, kind)| Entry { kind, ..entry(i, 1, 0) }).collect();
    save(&mut wal, &Batch::of_entries(all));
    let second = Batch {
        metadata: Some(Bytes::from_static(b"second")),
        blobs: vec![pair("vote", "2-3"), pair("gone", "")],
        ..Batch::default()
    };
    save(&mut wal, &second);
    wal.close().unwrap();
}

fn carried(disk: &SimVfs) {
    let mut wal = open(disk);
    save(&mut wal, &entries(1, 3, 1, 40).with_hard_state(state(1, 1, 0)));
    save(&mut wal, &entries(4, 6, 1, 40).with_hard_state(state(1, 1, 2)));
    // Written, and torn: entries 6 and 7 at term 2 are whole, entry 8 is not.
    wal.append(&entries(6, 7, 2, 40).with_hard_state(state(2, 3, 4))).unwrap();
    wal.append(&entries(8, 8, 2, 40)).unwrap();
    wal.write_through().unwrap();
    drop(wal);
    let (_, end, _) = *frames(disk, &segment(1)).last().unwrap();
    disk.mutate(segment(1), |b| b[end as usize - 24..end as usize].fill(0));
    let mut wal = open(disk);
    save(&mut wal, &entries(8, 9, 3, 40).with_hard_state(state(3, 1, 6)));
    wal.close().unwrap();
}

fn padded(disk: &SimVfs) {
    let (mut wal, _) = Wal::open(disk.clone(), DIR, &options().align(512)).unwrap();
    save(&mut wal, &entries(1, 3, 1, 40).with_hard_state(state(1, 1, 0)));
    save(&mut wal, &entries(4, 5, 1, 40).with_hard_state(state(1, 1, 3)));
    wal.close().unwrap();
}

fn from_index_zero(disk: &SimVfs) {
    let (mut wal, _) = Wal::open(disk.clone(), DIR, &options().initial_index(0)).unwrap();
    save(&mut wal, &entries(0, 2, 1, 40).with_hard_state(state(1, 1, 0)));
    save(&mut wal, &entries(3, 3, 1, 40).with_hard_state(state(1, 1, 2)));
    wal.close().unwrap();
}
