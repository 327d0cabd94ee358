//! The log on real files: what is appended and acknowledged comes back.

use bytes::Bytes;
use raft_vfs::OsVfs;
use raft_wal::{Batch, Entry, EntryKind, HardState, Options, Wal};

fn entry(index: u64, term: u64, size: usize) -> Entry {
    let data: Vec<u8> = (0..size).map(|i| (index as usize * 31 + i) as u8).collect();
    Entry { index, term, kind: EntryKind::Normal, data: Bytes::from(data) }
}

#[test]
fn what_was_acknowledged_is_there_after_a_reopen_with_and_without_a_clean_close() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::new().segment_bytes(64 << 10);
    let mut model = Vec::new();
    for round in 0..6_u64 {
        let (mut wal, report) = Wal::open(OsVfs, dir.path(), &options).unwrap();
        println!("{report}");
        assert_eq!(wal.entries(1, wal.next_index(), u64::MAX).unwrap(), model);
        for _ in 0..100 {
            let next = wal.next_index();
            let batch: Vec<_> = (next..next + 3).map(|i| entry(i, round + 1, 200)).collect();
            model.extend(batch.iter().cloned());
            let hs = HardState { term: round + 1, vote: 1, commit: next - 1 };
            let t = wal.append(&Batch::of_entries(batch).with_hard_state(hs)).unwrap();
            if next % 2 == 0 {
                wal.wait(t).unwrap();
            }
        }
        if round % 2 == 0 {
            wal.close().unwrap();
        } else {
            wal.sync().unwrap();
        }
    }
    let (mut wal, _) = Wal::open(OsVfs, dir.path(), &options).unwrap();
    assert_eq!(wal.entries(1, wal.next_index(), u64::MAX).unwrap(), model);
    wal.compact_to(1000).unwrap();
    assert!(wal.entries(999, 1001, 10).is_err());
    assert_eq!(wal.entry(1000).unwrap(), model[999]);
    drop(wal);
    let (wal, report) = Wal::open(OsVfs, dir.path(), &options).unwrap();
    println!("{report}");
    assert_eq!(wal.first_index(), 1000);
    assert_eq!(wal.entries(1000, wal.next_index(), u64::MAX).unwrap(), model[999..]);
}
