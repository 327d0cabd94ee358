//! Planned faults, the log of calls, a full disk, and a test's own access to the files.
#![cfg(feature = "sim")]

use std::io::{self, ErrorKind};
use std::path::Path;

use raft_vfs::sim::{Call, Fault, KeepAll, KeepNothing, Op, Persistence};
use raft_vfs::{Access, FileKind, LockError, SimVfs, Vfs, VfsFile, VfsFileExt};

const A: &str = "/a";

fn disk() -> SimVfs {
    let disk = SimVfs::new(1);
    disk.write_file(A, b"0123456789");
    disk
}

fn open(disk: &SimVfs) -> raft_vfs::sim::SimFile {
    disk.open(Path::new(A), Access::ReadWrite).unwrap()
}

/// Calls everything that can fail once; returns what each call returned.
fn every_operation(disk: &SimVfs, file: &impl VfsFile) -> Vec<(Op, io::Result<()>)> {
    let path = Path::new(A);
    let lock = |e| match e {
        LockError::Io { source, .. } => source,
        LockError::Held { .. } => panic!("nobody holds it"),
    };
    vec![
        (Op::Open, disk.open(path, Access::Read).map(drop)),
        (Op::Create, disk.create_excl(Path::new("/b")).map(drop)),
        (Op::CreateDir, disk.create_dir(Path::new("/d"))),
        (Op::Rename, disk.rename(path, Path::new("/c"))),
        (Op::Remove, disk.remove(Path::new("/victim"))),
        (Op::List, disk.list(Path::new("/")).map(drop)),
        (Op::SyncDir, disk.sync_dir(Path::new("/"))),
        (Op::Lock, disk.lock(Path::new("/LOCK")).map(drop).map_err(lock)),
        (Op::Random, disk.random().map(drop)),
        (Op::Read, file.read_at(&mut [0; 4], 0).map(drop)),
        (Op::Write, file.write_at(b"abcd", 2).map(drop)),
        (Op::SyncData, file.sync_data()),
        (Op::Stat, file.len().map(drop)),
        (Op::Stat, file.id().map(drop)),
        (Op::Truncate, file.truncate(3)),
        (Op::Map, file.map(2).map(drop)),
    ]
}

#[test]
fn the_nth_call_fails_with_its_error_and_no_other_does() {
    for fault in Fault::ALL {
        for n in 1..=16 {
            let disk = disk();
            disk.write_file("/victim", b"");
            let file = open(&disk);
            disk.fail_call(n, fault, Persistence::Once);
            let results = every_operation(&disk, &file);
            let failed: Vec<_> = (1..).zip(&results).filter(|(_, (_, r))| r.is_err()).collect();
            if matches!(fault, Fault::ShortByte | Fault::ShortHalf) {
                assert!(failed.is_empty(), "{fault:?} is no error: {failed:?}");
                continue;
            }
            assert_eq!(failed.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [n]);
        }
    }
}

#[test]
fn each_fault_has_the_error_number_it_is_named_for() {
    let named = [
        (Fault::Eio, 5),
        (Fault::Enospc, 28),
        (Fault::Edquot, 122),
        (Fault::Eintr, 4),
        (Fault::Eagain, 11),
        (Fault::Efbig, 27),
        (Fault::Emfile, 24),
        (Fault::Eacces, 13),
        (Fault::Erofs, 30),
    ];
    if !cfg!(target_os = "linux") {
        return;
    }
    for (fault, number) in named {
        let disk = disk();
        disk.fail_next(Op::List, fault);
        let error = disk.list(Path::new("/")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(number), "{fault:?}");
    }
}

#[test]
fn a_failed_call_has_no_effect() {
    let disk = disk();
    disk.write_file("/victim", b"v");
    let file = open(&disk);
    disk.fail_call(1, Fault::Eio, Persistence::Forever);
    let before = disk.fingerprint();
    assert!(every_operation(&disk, &file).iter().all(|(_, result)| result.is_err()));
    assert_eq!(disk.fingerprint(), before);
    assert_eq!(disk.pending_units(), []);
    disk.clear_faults();
    assert!(every_operation(&disk, &file).iter().all(|(_, result)| result.is_ok()));
    assert_ne!(disk.fingerprint(), before);
}

#[test]
fn a_fault_for_one_kind_of_call_leaves_the_others_alone() {
    let disk = disk();
    disk.write_file("/victim", b"v");
    let file = open(&disk);
    disk.fail_op(Op::Stat, 2, Fault::Eacces, Persistence::Forever);
    let failed: Vec<Op> = every_operation(&disk, &file)
        .into_iter()
        .filter_map(|(op, result)| result.is_err().then_some(op))
        .collect();
    assert_eq!(failed, [Op::Stat], "the second of the two");
    assert_eq!(file.len().unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn of_two_faults_due_at_once_the_one_planned_first_comes_and_both_are_spent() {
    let disk = disk();
    disk.fail_next(Op::List, Fault::Eacces);
    disk.fail_call(1, Fault::Enospc, Persistence::Once);
    assert_eq!(disk.list(Path::new("/")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    disk.list(Path::new("/")).unwrap();
}

#[test]
fn short_reads_and_writes_are_continued_and_interruptions_repeated() {
    for fault in [Fault::ShortByte, Fault::ShortHalf, Fault::Eintr] {
        let disk = disk();
        let file = open(&disk);
        disk.fail_call(1, fault, Persistence::Forever);
        file.write_all_at(b"abcdefg", 1).unwrap();
        let mut bytes = [0; 10];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"0abcdefg89", "{fault:?}");
        assert!(disk.calls() >= 5, "{} calls", disk.calls());
    }
}

#[test]
fn a_short_write_writes_one_byte_or_half() {
    let disk = disk();
    let file = open(&disk);
    disk.fail_next(Op::Write, Fault::ShortByte);
    assert_eq!(file.write_at(b"abcdefg", 0).unwrap(), 1);
    disk.fail_next(Op::Write, Fault::ShortHalf);
    assert_eq!(file.write_at(b"ABCDEFG", 3).unwrap(), 4);
    assert_eq!(disk.read_file(A).unwrap(), b"a12ABCD789");
    disk.fail_next(Op::Write, Fault::ShortByte);
    assert_eq!(file.write_at(b"", 0).unwrap(), 0);
}

#[test]
fn a_full_disk_takes_what_fits_and_then_nothing_until_there_is_room() {
    let disk = disk();
    let file = open(&disk);
    disk.set_space(Some(14));
    assert_eq!(file.write_at(b"abcdefg", 9).unwrap(), 5, "one byte over, four new");
    assert_eq!(file.write_at(b"x", 14).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(b"x", 20).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.truncate(15).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.write_at(b"over", 10).unwrap(), 4, "no new space needed");
    assert_eq!(disk.read_file(A).unwrap(), b"012345678aover");
    let other = disk.create_excl(Path::new("/b")).expect("an empty file needs no space");
    assert_eq!(other.write_at(b"x", 0).unwrap_err().kind(), ErrorKind::StorageFull);
    file.truncate(10).unwrap();
    other.write_all_at(b"wxyz", 0).unwrap();
    disk.remove(Path::new(A)).unwrap();
    assert_eq!(other.write_at(b"x", 4).unwrap_err().kind(), ErrorKind::StorageFull);
    drop(file);
    other.write_all_at(b"x", 4).expect("the last handle of the removed file is closed");
    disk.set_space(None);
    other.truncate(1 << 20).unwrap();
}

#[test]
fn no_file_grows_beyond_what_the_simulator_holds() {
    let disk = disk();
    let file = open(&disk);
    for offset in [1 << 32, u64::MAX - 1, u64::MAX] {
        assert_eq!(file.write_at(b"xx", offset).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
    assert_eq!(file.truncate(u64::MAX).unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(file.len().unwrap(), 10);
}

#[test]
fn the_trace_has_every_call_with_its_place() {
    let disk = disk();
    open(&disk);
    assert_eq!(disk.take_trace(), [], "off at first");
    disk.set_trace(true);
    let file = open(&disk);
    file.write_at(b"abc", 4).unwrap();
    disk.fail_next(Op::SyncData, Fault::Eio);
    file.sync_data().unwrap_err();
    disk.rename(Path::new(A), Path::new("/b")).unwrap();
    let call = |op, path: &str, offset, len| Call { op, path: path.into(), offset, len };
    let expected = [
        call(Op::Open, A, 0, 0),
        call(Op::Write, A, 4, 3),
        call(Op::SyncData, A, 0, 0),
        call(Op::Rename, "/b", 0, 0),
    ];
    assert_eq!(disk.take_trace(), expected);
    assert_eq!(disk.take_trace(), []);
    assert_eq!(disk.calls(), 5);
}

#[test]
fn a_special_file_is_listed_and_refused() {
    let disk = disk();
    disk.plant_special("/dir/fifo");
    let path = Path::new("/dir/fifo");
    assert_eq!(disk.open(path, Access::Read).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(disk.create_excl(path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(matches!(disk.lock(path), Err(LockError::Io { .. })));
    assert_eq!(disk.list(Path::new("/dir")).unwrap()[0].kind, FileKind::Other);
    assert_eq!(disk.paths(), [Path::new("/a"), path]);
    disk.remove(path).unwrap();
}

#[test]
fn a_tests_own_changes_are_durable_at_once_and_seen_by_open_handles() {
    let disk = disk();
    let file = open(&disk);
    file.write_all_at(b"pending", 0).unwrap();
    assert!(disk.mutate(A, |bytes| bytes[0] ^= 0x20));
    assert_eq!(disk.durable_file(A).unwrap(), b"Pending789");
    assert_eq!(disk.pending_units(), []);
    let mut bytes = [0; 7];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"Pending");
    assert!(!disk.mutate("/none", |_| unreachable!("there is no such file")));

    let pending = disk.create_excl(Path::new("/p")).unwrap();
    pending.write_all_at(b"pending", 0).unwrap();
    disk.write_file("/p", b"planted");
    assert_eq!(disk.power_cut(&mut KeepNothing).read_file("/p").unwrap(), b"planted");
    assert_eq!(disk.power_cut(&mut KeepAll).read_file("/p").unwrap(), b"planted");
    disk.delete("/p");
    drop(pending);

    disk.write_file("/deep/er/b", b"b");
    disk.write_file(A, b"replaced");
    assert_eq!(disk.paths(), [Path::new("/a"), Path::new("/deep/er/b")]);
    assert_eq!(file.len().unwrap(), 10, "a handle keeps the file it opened");
    assert_eq!(disk.read_file(A).unwrap(), b"replaced");
    disk.delete("/deep");
    disk.delete("/none/at/all");
    assert_eq!(disk.paths(), [Path::new("/a")]);
    assert_eq!(disk.pending_units(), []);
    assert_eq!(disk.read_file("/deep/er/b"), None);
}

#[test]
fn the_clock_stands_where_it_was_set() {
    let disk = disk();
    assert_eq!(disk.unix_millis(), disk.unix_millis());
    disk.set_unix_millis(0);
    assert_eq!(disk.unix_millis(), 0);
    assert_eq!(disk.fork().unix_millis(), 0);
}

#[test]
fn a_map_is_a_copy_that_later_changes_do_not_reach() {
    let disk = disk();
    let file = open(&disk);
    let map = file.map(4).unwrap();
    file.write_all_at(b"xxxx", 0).unwrap();
    file.truncate(0).unwrap();
    assert_eq!(map.as_ref(), b"0123");
}

#[test]
fn equal_contents_have_equal_fingerprints() {
    let (one, two) = (SimVfs::new(1), SimVfs::new(2));
    one.write_file(A, &[0; 9000]);
    let file = two.create_excl(Path::new(A)).unwrap();
    file.truncate(9000).unwrap();
    assert_eq!(one.fingerprint(), two.fingerprint(), "a hole reads like written zeros");
    file.write_all_at(&[1], 8999).unwrap();
    assert_ne!(one.fingerprint(), two.fingerprint());
    file.write_all_at(&[0], 8999).unwrap();
    two.create_dir(Path::new("/d")).unwrap();
    assert_ne!(one.fingerprint(), two.fingerprint(), "a directory counts");
}
