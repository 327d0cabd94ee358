//! Files that are used again, and tails that are cut off: that it happens, that nothing of an
//! earlier life is seen in a later one, and that the end of such a log looks like an end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use raft_vfs::sim::{KeepAll, KeepNothing};
use raft_vfs::{OsVfs, SimVfs, Vfs};
use raft_wal::format::SegmentHeader;
use raft_wal::{Batch, Entry, EntryKind, Error, Options, Tail, Wal, verify};

const DIR: &str = "/data/log";
const SEGMENT: u64 = 24 << 10;

fn options() -> Options {
    Options::new().segment_bytes(SEGMENT)
}

fn open(disk: &SimVfs, options: &Options) -> Wal<SimVfs> {
    Wal::open(disk.clone(), DIR, options).unwrap().0
}

fn put<V: Vfs>(wal: &mut Wal<V>, len: usize) {
    let data = vec![wal.next_index() as u8; len].into();
    let entry = Entry { index: wal.next_index(), term: 1, kind: EntryKind::Normal, data };
    let ticket = wal.append(&Batch::of_entries(vec![entry])).unwrap();
    wal.wait(ticket).unwrap();
}

fn names(disk: &SimVfs, ending: &str) -> Vec<PathBuf> {
    let wal = Path::new(DIR).join("wal");
    let all = disk.paths().into_iter().filter(|p| p.starts_with(&wal));
    all.filter(|p| p.to_string_lossy().ends_with(ending)).collect()
}

fn headers(disk: &SimVfs) -> BTreeMap<PathBuf, SegmentHeader> {
    let header = |path: &PathBuf| {
        let bytes = disk.read_file(path).unwrap();
        SegmentHeader::decode(bytes[..SegmentHeader::LEN].try_into().unwrap()).unwrap()
    };
    names(disk, ".seg").into_iter().map(|p| (p.clone(), header(&p))).collect()
}

/// Appends and compacts until files are used again.
fn in_used_files(disk: &SimVfs, options: &Options) -> Wal<SimVfs> {
    let mut wal = open(disk, options);
    for n in 0..120 {
        put(&mut wal, 700);
        if n % 15 == 14 {
            wal.compact_to(wal.next_index() - 5).unwrap();
        }
    }
    wal
}

#[test]
fn removed_segments_become_later_ones_under_another_salt() {
    let disk = SimVfs::new(7);
    let wal = in_used_files(&disk, &options());
    let headers = headers(&disk);
    assert!(headers.values().any(|h| h.reused), "{headers:?}");
    let salts: std::collections::BTreeSet<_> = headers.values().map(|h| h.salt).collect();
    assert_eq!(salts.len(), headers.len());
    assert!(names(&disk, ".tmp").len() <= 2, "at most two spares");
    let low = wal.first_index();
    let all = wal.entries(low, wal.next_index(), u64::MAX).unwrap();
    assert!(all.iter().zip(low..).all(|(e, index)| e.data[0] == index as u8 && e.index == index));
}

#[test]
fn no_file_is_used_again_where_none_is_wanted() {
    let disk = SimVfs::new(7);
    let _wal = in_used_files(&disk, &options().spare_segments(0));
    assert!(headers(&disk).values().all(|h| !h.reused));
    assert_eq!(names(&disk, ".tmp"), Vec::<PathBuf>::new());
    let too_many = options().spare_segments(17);
    assert!(matches!(Wal::open(SimVfs::new(1), DIR, &too_many), Err(Error::Option { .. })));
}

#[test]
fn a_kill_or_a_power_cut_after_a_sync_leaves_a_blank_end_and_nothing_to_give_up() {
    for len in [100, 333, 700] {
        let disk = SimVfs::new(7);
        let mut wal = in_used_files(&disk, &options());
        put(&mut wal, len);
        let last = wal.next_index();
        for crashed in [disk.power_cut(&mut KeepNothing), disk.power_cut(&mut KeepAll)] {
            let verdict = verify(crashed.clone(), DIR, &options()).unwrap();
            assert_eq!(verdict.status, raft_wal::Status::Intact, "{verdict:?}");
            let (wal, report) = Wal::open(crashed, DIR, &options()).unwrap();
            assert_eq!((wal.next_index(), report.tail), (last, Tail::Blank), "{report}");
            assert!(report.discarded.is_none(), "{report}");
        }
    }
}

#[test]
fn a_close_with_the_next_segment_published_in_a_used_file_is_clean() {
    let disk = SimVfs::new(7);
    let mut wal = in_used_files(&disk, &options());
    while !wal.step_publish().unwrap() {
        put(&mut wal, 300);
    }
    wal.close().unwrap();
    let newest = headers(&disk).into_values().next_back().unwrap();
    assert!(newest.reused, "the published segment is in a used file");
    let (_, report) = Wal::open(disk, DIR, &options()).unwrap();
    assert_eq!((report.tail, report.certain), (Tail::Clean, true), "{report}");
    assert!(report.notes.is_empty(), "{report}");
}

#[test]
fn a_file_that_a_payload_of_it_is_still_held_of_is_not_written_again() {
    // Real files: a map of the simulated disk is a copy.
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::open(OsVfs, dir.path().join("log"), &options()).unwrap().0;
    for _ in 0..40 {
        put(&mut wal, 700);
    }
    while wal.step_index().unwrap() {}
    // A slice of the mapping of the first segment.
    let held = wal.entry(1).unwrap();
    for _ in 0..80 {
        put(&mut wal, 700);
        if wal.next_index().is_multiple_of(15) {
            wal.compact_to(wal.next_index() - 5).unwrap();
        }
    }
    assert!(held.data.iter().all(|&b| b == 1), "somebody wrote over a payload that is in use");
}

#[test]
fn a_payload_that_outlives_its_handle_is_not_written_over_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::open(OsVfs, dir.path().join("log"), &options()).unwrap().0;
    for _ in 0..60 {
        put(&mut wal, 700);
    }
    let held = wal.entries(1, 55, u64::MAX).unwrap();
    drop(wal);
    let mut wal = Wal::open(OsVfs, dir.path().join("log"), &options()).unwrap().0;
    for _ in 0..120 {
        put(&mut wal, 700);
        if wal.next_index().is_multiple_of(15) {
            wal.compact_to(wal.next_index() - 5).unwrap();
        }
    }
    for e in held {
        assert!(e.data.iter().all(|&b| b == e.index as u8), "entry {} was written over", e.index);
    }
}

#[test]
fn spares_of_an_earlier_process_go() {
    let disk = SimVfs::new(7);
    let wal = in_used_files(&disk, &options());
    assert!(!names(&disk, ".tmp").is_empty());
    drop(wal);
    drop(open(&disk, &options()));
    assert_eq!(names(&disk, ".tmp"), Vec::<PathBuf>::new());
}

#[test]
fn a_process_that_dies_again_and_again_costs_its_data_and_not_a_segment_each_time() {
    let disk = SimVfs::new(7);
    let large = Options::new().segment_bytes(16 << 20);
    for _ in 0..5 {
        let mut wal = open(&disk, &large);
        put(&mut wal, 1000);
    }
    let (wal, report) = Wal::open(disk.clone(), DIR, &large).unwrap();
    let sizes: Vec<_> = names(&disk, ".seg");
    let sizes: Vec<_> = sizes.iter().map(|p| disk.read_file(p).unwrap().len() as u64).collect();
    let whole = sizes.iter().filter(|&&len| len >= 4 << 20).count();
    assert!(whole <= 2, "{sizes:?}: {report}");
    assert!(sizes.iter().all(|&len| len >= (1 << 20)), "the evidence stays: {sizes:?}");
    assert_eq!(wal.entries(1, 6, u64::MAX).unwrap().len(), 5);
}
