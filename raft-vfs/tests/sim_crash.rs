//! What a power cut and a kill may do on the simulated disk, and what they may not.
#![cfg(feature = "sim")]

use std::collections::BTreeSet;
use std::path::Path;

use fastrand::Rng;
use raft_vfs::sim::{
    Change, Fate, Fault, FsyncFailure, KeepAll, KeepNothing, Op, PendingUnit, RandomCrash, SimFile,
    Subset, is_crashed,
};
use raft_vfs::{Access, SimVfs, Vfs, VfsFile, VfsFileExt};

const A: &str = "/a";

/// A disk with one file whose bytes and name are durable.
fn disk_with(bytes: &[u8]) -> (SimVfs, SimFile) {
    let disk = SimVfs::new(1);
    disk.write_file(A, bytes);
    let file = disk.open(Path::new(A), Access::ReadWrite).unwrap();
    (disk, file)
}

/// The file after each subset of the pending units has survived.
fn all_subsets(disk: &SimVfs, path: &str, others: Fate) -> BTreeSet<Option<Vec<u8>>> {
    let count = disk.pending_units().len();
    assert!(count <= 12, "{count} units are too many to try all subsets");
    let cut = |bits| disk.power_cut(&mut Subset::new(bits).others(others));
    (0..1 << count).map(|bits| cut(bits).read_file(path)).collect()
}

fn labels(disk: &SimVfs) -> Vec<String> {
    disk.pending_units().iter().map(ToString::to_string).collect()
}

fn names(disk: &SimVfs) -> Vec<String> {
    disk.paths().iter().map(|path| path.display().to_string()).collect()
}

#[test]
fn two_unsynced_sectors_and_a_size_reach_all_five_states_and_no_other() {
    let (disk, file) = disk_with(&[b'o'; 512]);
    file.write_all_at(&[b'n'; 1024], 512).unwrap();
    let expected_labels =
        ["/a: size 512 to 1536", "/a: write 512 bytes at 512", "/a: write 512 bytes at 1024"];
    assert_eq!(labels(&disk), expected_labels);

    let state = |first, second| Some([[b'o'; 512], [first; 512], [second; 512]].concat());
    let mut expected = BTreeSet::from([Some(vec![b'o'; 512])]);
    for first in [0, b'n'] {
        for second in [0, b'n'] {
            expected.insert(state(first, second));
        }
    }
    assert_eq!(all_subsets(&disk, A, Fate::Drop), expected);
}

#[test]
fn writes_to_one_sector_survive_one_by_one_and_the_last_kept_wins() {
    let (disk, file) = disk_with(b"....");
    file.write_all_at(b"xxx", 0).unwrap();
    file.write_all_at(b"yy", 1).unwrap();
    let expected = [&b"...."[..], b"xxx.", b".yy.", b"xyy."];
    let expected = expected.iter().map(|s| Some(s.to_vec())).collect();
    assert_eq!(all_subsets(&disk, A, Fate::Drop), expected);
}

#[test]
fn a_write_may_arrive_as_any_prefix_of_its_part_in_a_sector() {
    let (disk, file) = disk_with(&[b'o'; 1024]);
    file.write_all_at(&[b'n'; 8], 508).unwrap();
    assert_eq!(labels(&disk), ["/a: write 4 bytes at 508", "/a: write 4 bytes at 512"]);
    for kept in 0..=5 {
        let after = disk.power_cut(&mut |i: usize, _: &PendingUnit| match i {
            0 => Fate::Torn(kept as u64),
            _ => Fate::Keep,
        });
        let first = kept.min(4);
        let mut expected = vec![b'o'; 1024];
        expected[508..508 + first].fill(b'n');
        expected[512..516].fill(b'n');
        assert!(after.read_file(A).unwrap() == expected, "{kept} bytes kept");
    }
}

#[test]
fn damage_stays_within_the_bytes_written_unless_overwrites_are_not_powersafe() {
    let (disk, file) = disk_with(&[b'o'; 1024]);
    file.write_all_at(&[b'n'; 10], 100).unwrap();
    for fate in [Fate::Zero, Fate::Garbage(3), Fate::Stale(0)] {
        let after = disk.power_cut(&mut Subset::new(0).others(fate)).read_file(A).unwrap();
        assert_ne!(after[100..110], [b'n'; 10]);
        assert!(after[..100].iter().chain(&after[110..]).all(|&b| b == b'o'), "{fate:?}");
    }
    disk.set_powersafe_overwrite(false);
    let after = disk.power_cut(&mut Subset::new(0).others(Fate::Zero)).read_file(A).unwrap();
    assert!(after == [[0; 512], [b'o'; 512]].concat());
    assert!(disk.power_cut(&mut KeepNothing).read_file(A).unwrap() == [b'o'; 1024]);
}

#[test]
fn space_whose_data_did_not_arrive_is_zero_garbage_or_the_bytes_of_a_removed_file() {
    let (disk, file) = disk_with(b"head");
    disk.write_file("/removed", &[b'R'; 2048]);
    disk.remove(Path::new("/removed")).unwrap();
    file.write_all_at(&[b'n'; 1000], 4).unwrap();
    let cut = |size: Fate| {
        let after = disk.power_cut(&mut |_: usize, unit: &PendingUnit| match unit.change {
            Change::Size { .. } => size,
            _ => Fate::Drop,
        });
        after.read_file(A).unwrap()
    };
    assert!(cut(Fate::Keep) == [b"head".to_vec(), vec![0; 1000]].concat());
    assert!(cut(Fate::Stale(0)) == [b"head".to_vec(), vec![b'R'; 1000]].concat());
    assert_eq!(cut(Fate::Torn(6)), [b"head".to_vec(), vec![0; 6]].concat());
    assert_eq!(cut(Fate::Drop), b"head");
    let garbage = cut(Fate::Garbage(9));
    assert_eq!((garbage.len(), &garbage[..4]), (1004, &b"head"[..]));
    assert!(garbage[4..].iter().any(|&b| b != 0 && b != b'n'));
    assert!(garbage == cut(Fate::Garbage(9)), "the seed decides");
    assert!(garbage != cut(Fate::Garbage(10)));
}

#[test]
fn an_unsynced_cut_may_leave_the_old_bytes_to_a_later_extension() {
    let (disk, file) = disk_with(b"secret");
    file.truncate(2).unwrap();
    file.truncate(4).unwrap();
    let expected = [&b"secret"[..], b"se", b"secr", b"se\0\0"];
    let expected = expected.iter().map(|s| Some(s.to_vec())).collect();
    assert_eq!(all_subsets(&disk, A, Fate::Drop), expected);
    file.sync_data().unwrap();
    assert_eq!(disk.durable_file(A).unwrap(), b"se\0\0");
    assert_eq!(disk.pending_units(), []);
}

#[test]
fn a_cut_may_go_part_of_its_way() {
    let (disk, file) = disk_with(b"0123456789");
    file.truncate(2).unwrap();
    for (gone, expected) in [(0, &b"0123456789"[..]), (3, b"0123456"), (8, b"01"), (99, b"01")] {
        let after = disk.power_cut(&mut Subset::new(0).others(Fate::Torn(gone)));
        assert_eq!(after.read_file(A).unwrap(), expected);
    }
}

#[test]
fn old_bytes_come_from_the_four_files_removed_replaced_or_cut_last_youngest_first() {
    let disk = SimVfs::new(1);
    for name in ["1", "2", "3", "4", "5"] {
        disk.write_file(name, name.as_bytes());
    }
    disk.remove(Path::new("1")).unwrap();
    disk.remove(Path::new("2")).unwrap();
    disk.remove(Path::new("3")).unwrap();
    disk.open(Path::new("4"), Access::ReadWrite).unwrap().truncate(0).unwrap();
    disk.rename(Path::new("4"), Path::new("5")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.write_file(A, b"");
    let file = disk.open(Path::new(A), Access::ReadWrite).unwrap();
    file.write_all_at(b"n", 0).unwrap();
    let old = |nth| {
        let after = disk.power_cut(&mut |_: usize, unit: &PendingUnit| match unit.change {
            Change::Size { .. } => Fate::Keep,
            _ => Fate::Stale(nth),
        });
        after.read_file(A).unwrap()
    };
    assert_eq!((0..5).flat_map(old).collect::<Vec<u8>>(), b"54325");
}

#[test]
fn units_come_in_the_order_of_the_changes_across_files_and_directories() {
    let (disk, file) = disk_with(b"..........");
    file.write_all_at(b"1", 1).unwrap();
    disk.create_dir(Path::new("/d")).unwrap();
    file.write_all_at(b"2", 2).unwrap();
    disk.rename(Path::new(A), Path::new("/b")).unwrap();
    file.write_all_at(b"3", 3).unwrap();
    let expected = [
        "/b: write 1 bytes at 1",
        "/d: create directory",
        "/b: write 1 bytes at 2",
        "/b: rename from /a",
        "/b: write 1 bytes at 3",
    ];
    assert_eq!(labels(&disk), expected);
}

#[test]
fn a_file_whose_removal_is_durable_has_nothing_pending_once_it_is_closed() {
    let (disk, file) = disk_with(b"old");
    file.write_all_at(b"new", 0).unwrap();
    disk.remove(Path::new(A)).unwrap();
    drop(file);
    assert_eq!(labels(&disk), ["/a: write 3 bytes at 0", "/a: remove"]);
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(disk.pending_units(), []);
}

#[test]
fn data_beyond_the_size_that_survived_do_not_come_back_with_a_later_extension() {
    let (disk, file) = disk_with(b"12");
    file.write_all_at(b"ghost", 2).unwrap();
    let after = disk.power_cut(&mut |_: usize, unit: &PendingUnit| match unit.change {
        Change::Size { .. } => Fate::Drop,
        _ => Fate::Keep,
    });
    assert_eq!(after.read_file(A).unwrap(), b"12");
    after.open(Path::new(A), Access::ReadWrite).unwrap().truncate(7).unwrap();
    assert_eq!(after.read_file(A).unwrap(), b"12\0\0\0\0\0");
}

#[test]
fn a_new_name_survives_or_not_whatever_was_synced_of_its_file() {
    let disk = SimVfs::new(1);
    let file = disk.create_excl(Path::new(A)).unwrap();
    file.write_all_at(b"data", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(labels(&disk), ["/a: create"]);
    let both = BTreeSet::from([None, Some(b"data".to_vec())]);
    assert_eq!(all_subsets(&disk, A, Fate::Drop), both);
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(disk.power_cut(&mut KeepNothing).read_file(A).unwrap(), b"data");
}

#[test]
fn a_rename_happens_wholly_or_not_at_all() {
    let disk = SimVfs::new(1);
    disk.write_file("/new", b"new");
    disk.write_file("/old", b"old");
    disk.rename(Path::new("/new"), Path::new("/old")).unwrap();
    assert_eq!(labels(&disk), ["/old: rename from /new"]);
    let kept = disk.power_cut(&mut KeepAll);
    assert_eq!(
        (names(&kept), kept.read_file("/old").unwrap()),
        (vec!["/old".into()], b"new".into())
    );
    let lost = disk.power_cut(&mut KeepNothing);
    assert_eq!(names(&lost), ["/new", "/old"]);
    assert_eq!(lost.read_file("/old").unwrap(), b"old");
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(disk.power_cut(&mut KeepNothing).read_file("/old").unwrap(), b"new");
}

#[test]
fn a_kept_rename_leaves_an_older_file_under_its_former_name_alone() {
    let (disk, _file) = disk_with(b"older");
    disk.remove(Path::new(A)).unwrap();
    disk.create_excl(Path::new(A)).unwrap();
    disk.rename(Path::new(A), Path::new("/b")).unwrap();
    let after = disk.power_cut(&mut Subset::new(0b100));
    assert_eq!(after.read_file(A).unwrap(), b"older");
    assert_eq!(after.read_file("/b").unwrap(), b"");
}

#[test]
fn a_rename_between_directories_may_leave_both_names_or_none() {
    let disk = SimVfs::new(1);
    disk.write_file("/x/f", b"f");
    disk.write_file("/y/other", b"");
    disk.rename(Path::new("/x/f"), Path::new("/y/f")).unwrap();
    let seen: BTreeSet<_> =
        (0..4).map(|bits| names(&disk.power_cut(&mut Subset::new(bits)))).collect();
    let with = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = BTreeSet::from([
        with(&["/x/f", "/y/other"]),
        with(&["/y/f", "/y/other"]),
        with(&["/x/f", "/y/f", "/y/other"]),
        with(&["/y/other"]),
    ]);
    assert_eq!(seen, expected);
}

#[test]
fn names_survive_one_by_one_in_every_combination() {
    let disk = SimVfs::new(1);
    disk.write_file("/gone", b"");
    disk.create_excl(Path::new("/a")).unwrap();
    disk.remove(Path::new("/gone")).unwrap();
    disk.create_excl(Path::new("/b")).unwrap();
    disk.rename(Path::new("/b"), Path::new("/c")).unwrap();
    let seen: BTreeSet<_> =
        (0..16).map(|bits| names(&disk.power_cut(&mut Subset::new(bits)))).collect();
    // For each of a, gone: there or not. Of b and c: none, b, or c (the rename carries the file).
    assert_eq!(seen.len(), 2 * 2 * 3);
}

#[test]
fn a_directory_lost_takes_everything_in_it_along() {
    let disk = SimVfs::new(1);
    let (dir, path) = (Path::new("/d"), Path::new("/d/f"));
    disk.create_dir(dir).unwrap();
    disk.create_excl(path).unwrap();
    disk.sync_dir(dir).unwrap();
    let lost = disk.power_cut(&mut KeepNothing);
    assert!(lost.list(dir).is_err());
    assert_eq!(lost.list(Path::new("/")).unwrap(), []);
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(names(&disk.power_cut(&mut KeepNothing)), ["/d/f"]);
}

#[test]
fn an_unsynced_removal_may_bring_the_file_back() {
    let (disk, file) = disk_with(b"x");
    disk.remove(Path::new(A)).unwrap();
    drop(file);
    assert_eq!(disk.power_cut(&mut KeepNothing).read_file(A).unwrap(), b"x");
    disk.sync_dir(Path::new("/")).unwrap();
    assert_eq!(disk.power_cut(&mut KeepNothing).read_file(A), None);
}

#[test]
fn the_same_seeds_give_the_same_disks_and_others_do_not() {
    let (disk, file) = disk_with(&[b'o'; 4096]);
    file.write_all_at(&[b'n'; 6000], 100).unwrap();
    let cut = |seed| disk.power_cut(&mut RandomCrash::new(seed)).fingerprint();
    let kill = |seed| disk.kill(seed).fingerprint();
    let distinct: BTreeSet<_> = (0..100).map(cut).collect();
    assert!(distinct.len() > 40, "{} distinct states", distinct.len());
    assert!((0..100).all(|seed| cut(seed) == cut(seed) && kill(seed) == kill(seed)));
    assert_eq!(disk.fork().random().unwrap(), disk.random().unwrap());
}

#[test]
fn random_crashes_reach_every_kind_of_damage() {
    let (disk, file) = disk_with(&[b'o'; 2048]);
    disk.write_file("/removed", &[b'R'; 2048]);
    disk.remove(Path::new("/removed")).unwrap();
    file.write_all_at(&[b'n'; 2048], 0).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..2000 {
        let bytes = disk.power_cut(&mut RandomCrash::new(seed)).read_file(A).unwrap();
        for sector in bytes.chunks(512) {
            let all = |b| sector.iter().all(|&x| x == b);
            seen.insert(match (sector[0], sector[511]) {
                _ if all(b'o') => "old",
                _ if all(b'n') => "new",
                _ if all(0) => "zero",
                _ if all(b'R') => "stale",
                (b'n', b'o') => "torn",
                _ => "garbage",
            });
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn a_fork_and_its_origin_go_separate_ways() {
    let (disk, file) = disk_with(b"one");
    file.write_all_at(b"two", 0).unwrap();
    let _lock = disk.lock(Path::new("/LOCK")).unwrap();
    disk.fail_next(Op::Open, Fault::Eio);
    let fork = disk.fork();
    assert_eq!(fork.pending_units(), disk.pending_units());
    let _other = fork.lock(Path::new("/LOCK")).expect("nobody on the fork holds it");
    let forked = fork.open(Path::new(A), Access::ReadWrite).expect("the fault stayed behind");
    forked.write_all_at(b"fork", 0).unwrap();
    file.write_all_at(b"orig", 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(disk.durable_file(A).unwrap(), b"orig");
    assert_eq!(fork.durable_file(A).unwrap(), b"one");
    assert_eq!(fork.read_file(A).unwrap(), b"fork");
}

#[test]
fn a_killed_process_leaves_its_page_cache_but_write_back_may_have_failed_unseen() {
    let (disk, file) = disk_with(&[b'o'; 8192]);
    file.write_all_at(&[b'n'; 8192], 0).unwrap();
    let _lock = disk.lock(Path::new("/LOCK")).unwrap();
    let (mut untouched, mut arrived, mut lied, mut reverted) = (0, 0, 0, 0);
    for seed in 0..500 {
        let after = disk.kill(seed);
        drop(after.lock(Path::new("/LOCK")).expect("a lock dies with its process"));
        let seen = after.read_file(A).unwrap();
        let file = after.open(Path::new(A), Access::ReadWrite).unwrap();
        let is_new = seen == [b'n'; 8192];
        file.sync_data().unwrap();
        let durable = after.durable_file(A).unwrap();
        match (is_new, durable == seen) {
            (true, true) if disk.kill(seed).durable_file(A).unwrap() == seen => arrived += 1,
            (true, true) => untouched += 1,
            (true, false) => lied += 1,
            (false, _) => reverted += 1,
        }
    }
    for count in [untouched, arrived, lied, reverted] {
        assert!(count > 20, "{untouched} {arrived} {lied} {reverted}");
    }
}

#[test]
fn after_a_failed_sync_a_second_one_succeeds_and_the_data_are_gone_after_a_power_cut() {
    let (disk, file) = disk_with(&[b'o'; 4096]);
    file.write_all_at(&[b'n'; 4096], 0).unwrap();
    disk.fail_next(Op::SyncData, Fault::Eio);
    file.sync_data().unwrap_err();
    file.sync_data().unwrap();
    assert!(disk.read_file(A).unwrap() == [b'n'; 4096], "the cache keeps the new bytes");
    assert_eq!(disk.pending_units(), [], "and takes them for durable");
    let on_disk = disk.durable_file(A).unwrap();
    let new = on_disk.chunks(512).filter(|sector| **sector == [b'n'; 512]).count();
    assert!(0 < new && new < 8, "some sectors arrived, some did not: {new} of 8");
    assert!(disk.power_cut(&mut KeepAll).read_file(A).unwrap() == on_disk);
    disk.drop_caches();
    assert!(disk.read_file(A).unwrap() == on_disk, "eviction shows what the disk has");
}

#[test]
fn writing_into_a_page_that_a_failed_sync_lost_makes_all_of_it_dirty_again() {
    let (disk, file) = disk_with(&[b'o'; 8192]);
    file.write_all_at(&[b'n'; 8192], 0).unwrap();
    disk.fail_next(Op::SyncData, Fault::Eio);
    file.sync_data().unwrap_err();
    file.write_all_at(b"n", 17).unwrap();
    file.sync_data().unwrap();
    let durable = disk.durable_file(A).unwrap();
    assert!(durable[..4096] == [b'n'; 4096]);
    assert!(durable[4096..] != [b'n'; 4096], "the other page is still lost");
}

#[test]
fn a_reverting_file_system_shows_what_the_disk_has_after_a_failed_sync() {
    let (disk, file) = disk_with(&[b'o'; 4096]);
    disk.set_fsync_mode(FsyncFailure::RevertCache);
    for round in 1..10 {
        file.write_all_at(&[round; 6000], 0).unwrap();
        disk.fail_next(Op::SyncData, Fault::Enospc);
        file.sync_data().unwrap_err();
        let seen = disk.read_file(A).unwrap();
        assert!(seen == disk.durable_file(A).unwrap(), "round {round}");
        assert!(seen != [round; 6000], "some of round {round} is lost");
        assert_eq!(disk.pending_units(), []);
    }
}

#[test]
fn a_failed_directory_sync_leaves_names_pending_or_lost_for_good() {
    for lies in [false, true] {
        let (mut kept, mut lost) = (0, 0);
        for seed in 0..40 {
            let disk = SimVfs::new(seed);
            disk.set_dir_sync_lies(lies);
            disk.create_excl(Path::new(A)).unwrap();
            disk.fail_next(Op::SyncDir, Fault::Eio);
            disk.sync_dir(Path::new("/")).unwrap_err();
            assert_eq!(names(&disk), [A]);
            disk.sync_dir(Path::new("/")).unwrap();
            let evicted = disk.fork();
            evicted.drop_caches();
            assert_eq!(evicted.read_file(A), disk.durable_file(A));
            match disk.power_cut(&mut KeepNothing).read_file(A) {
                Some(_) => kept += 1,
                None => lost += 1,
            }
        }
        assert!(kept > 10, "some names arrive although the sync fails");
        assert_eq!(lost > 0, lies, "a second sync saves the others unless the disk lies");
    }
}

#[test]
fn a_crash_ends_everything_and_may_leave_part_of_a_write() {
    let mut lengths = BTreeSet::new();
    for seed in 0..200 {
        let disk = SimVfs::new(seed);
        let file = disk.create_excl(Path::new(A)).unwrap();
        disk.crash_at_call(2);
        file.write_all_at(b"1234", 0).unwrap();
        assert!(!disk.crashed());
        assert!(is_crashed(&file.write_all_at(b"56789", 4).unwrap_err()));
        assert!(disk.crashed());
        let (calls, pending) = (disk.calls(), disk.pending_units());
        assert!(is_crashed(&file.sync_data().unwrap_err()));
        assert!(is_crashed(&file.read_at(&mut [0], 0).unwrap_err()));
        assert!(is_crashed(&disk.sync_dir(Path::new("/none")).unwrap_err()));
        assert!(is_crashed(&disk.open(Path::new(A), Access::Read).unwrap_err()));
        assert!(is_crashed(&disk.sync_dir(Path::new("/")).unwrap_err()));
        assert_eq!((disk.calls(), disk.pending_units()), (calls, pending));
        let after = disk.power_cut(&mut KeepAll);
        let bytes = after.read_file(A).unwrap();
        assert!(b"123456789".starts_with(&bytes) && bytes.len() >= 4);
        lengths.insert(bytes.len());
        after.open(Path::new(A), Access::Read).expect("the new disk's process lives");
    }
    assert_eq!(lengths, (4..=9).collect());
}

/// What a file may contain, kept without any of the simulator's means.
struct Oracle {
    live: Vec<u8>,
    synced: Vec<u8>,
    /// Positions that were touched since they were last known to be durable.
    unsafe_at: Vec<bool>,
    /// Of these, those that a failed sync may have lost; only a new write makes them savable.
    lost_at: Vec<bool>,
    /// Least length since the last sync.
    least: usize,
}

const ROOM: usize = 10_000;

impl Oracle {
    fn touch(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if bytes.is_empty() {
            return;
        }
        let from = at.min(self.live.len());
        self.live.resize(self.live.len().max(end), 0);
        self.live[at..end].copy_from_slice(bytes);
        self.unsafe_at[from..end].fill(true);
        self.lost_at[at..end].fill(false);
    }

    fn truncate(&mut self, len: usize) {
        let (low, high) = (self.live.len().min(len), self.live.len().max(len));
        self.live.resize(len, 0);
        self.unsafe_at[low..high].fill(true);
        self.least = self.least.min(len);
    }

    fn sync(&mut self, succeeds: bool) {
        if succeeds {
            self.synced = self.live.clone();
            self.least = self.live.len();
            for (unsafe_at, lost_at) in self.unsafe_at.iter_mut().zip(&self.lost_at) {
                *unsafe_at = *lost_at;
            }
        } else {
            for (lost_at, unsafe_at) in self.lost_at.iter_mut().zip(&self.unsafe_at) {
                *lost_at |= unsafe_at;
            }
        }
    }

    fn check(&self, found: &[u8], what: &str) {
        assert!(found.len() >= self.least, "{what}: {} of {} bytes", found.len(), self.least);
        for (i, (&found, &synced)) in found.iter().zip(&self.synced).enumerate() {
            assert!(found == synced || self.unsafe_at[i], "{what}: synced byte {i} was lost");
        }
    }
}

#[test]
fn nothing_synced_is_lost_in_ten_thousand_crashes_of_random_histories() {
    let mut crashes = 0;
    for seed in 0..500 {
        let mut rng = Rng::with_seed(seed);
        let (mut disk, mut file) = disk_with(&[]);
        let flags = || vec![false; ROOM];
        let mut oracle = Oracle {
            live: Vec::new(),
            synced: Vec::new(),
            unsafe_at: flags(),
            lost_at: flags(),
            least: 0,
        };
        for _ in 0..20 {
            match rng.u8(..10) {
                0..5 => {
                    let at = rng.usize(..ROOM - 3000);
                    let bytes = vec![rng.u8(1..); rng.usize(..3000)];
                    file.write_all_at(&bytes, at as u64).unwrap();
                    oracle.touch(at, &bytes);
                }
                5 => {
                    let len = rng.usize(..ROOM);
                    file.truncate(len as u64).unwrap();
                    oracle.truncate(len);
                }
                6 if seed % 2 == 0 => {
                    disk.fail_next(Op::SyncData, Fault::Eio);
                    file.sync_data().unwrap_err();
                    oracle.sync(false);
                }
                7 if seed % 4 == 1 => {
                    // Nothing pending, so nothing to lose: the process changes, the disk does not.
                    file.sync_data().unwrap();
                    oracle.sync(true);
                    disk = disk.kill(seed);
                    file = disk.open(Path::new(A), Access::ReadWrite).unwrap();
                }
                _ => {
                    file.sync_data().unwrap();
                    oracle.sync(true);
                }
            }
            assert!(disk.read_file(A).unwrap() == oracle.live, "seed {seed}");
            let after = disk.power_cut(&mut RandomCrash::new(rng.u64(..)));
            oracle.check(&after.read_file(A).unwrap(), &format!("power cut, seed {seed}"));
            let after = disk.kill(rng.u64(..)).power_cut(&mut RandomCrash::new(rng.u64(..)));
            oracle.check(&after.read_file(A).unwrap(), &format!("kill and cut, seed {seed}"));
            assert!(disk.power_cut(&mut KeepNothing).read_file(A) == disk.durable_file(A));
            if seed % 2 != 0 {
                assert!(disk.power_cut(&mut KeepAll).read_file(A).unwrap() == oracle.live);
            }
            crashes += 2;
        }
    }
    assert!(crashes >= 10_000);
}
