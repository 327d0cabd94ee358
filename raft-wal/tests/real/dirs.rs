//! Directories that are empty, foreign, half-made or not directories at all: each gets its own
//! answer, and an unfinished creation is finished.

use std::fs;
use std::path::Path;

use raft_vfs::OsVfs;
use raft_wal::{Batch, Error, Identity, Options, ReadOnly, WalName};
use tempfile::TempDir;

use crate::support::model::Model;
use crate::workload::{assert_says, entry, look, open, read_all};

fn options() -> Options {
    Options::new().segment_bytes(64 << 10)
}

/// A log of three entries, closed.
fn small_log() -> (TempDir, Model) {
    let temp = tempfile::tempdir().expect("a directory");
    let (mut wal, _) = open(temp.path(), &options()).expect("a new log");
    wal.append(&Batch::of_entries((1..4).map(|i| entry(i, 1, 100)).collect())).expect("room");
    let log = read_all(&wal);
    wal.close().expect("it closes");
    (temp, log.expect("it is readable"))
}

/// The names and contents below a directory, the lock file aside: what a refusal must not change.
fn contents(dir: &Path) -> Vec<(std::path::PathBuf, Option<Vec<u8>>)> {
    let mut all = Vec::new();
    for e in fs::read_dir(dir).expect("a directory") {
        let path = e.expect("an entry").path();
        let kind = fs::symlink_metadata(&path).expect("it is there").file_type();
        if kind.is_dir() {
            all.extend(contents(&path));
        }
        if !path.ends_with("LOCK") {
            let bytes = kind.is_file().then(|| fs::read(&path).expect("a file"));
            all.push((path, bytes));
        }
    }
    all.sort();
    all
}

/// Opening for writing is refused, saying the given pieces, and changes nothing.
fn refused(dir: &Path, pieces: &[&str]) -> Error {
    let before = contents(dir);
    let e = open(dir, &options()).expect_err("this is not a log to open");
    assert_says(&e, pieces);
    assert_eq!(contents(dir), before, "a refused open changes nothing: {e}");
    e
}

/// A new log comes out of whatever is there, and works.
fn becomes_a_log(dir: &Path) {
    let (mut wal, report) = open(dir, &options()).expect("the creation is finished");
    assert!(report.created, "{report}");
    let t = wal.append(&Batch::of_entries(vec![entry(1, 1, 10)])).expect("room");
    wal.wait(t).expect("the disk works");
    drop(wal);
    let (wal, report) = open(dir, &options()).expect("it is a log now");
    assert!(!report.created);
    assert_eq!(wal.next_index(), 2);
}

#[test]
fn a_missing_directory_is_made_with_its_parents_only_if_creation_is_allowed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b/c");
    let e = open(&dir, &options().create(false)).unwrap_err();
    assert!(matches!(&e, Error::NoLog { dir: d } if *d == dir), "{e}");
    assert_says(&e, &[dir.to_str().unwrap(), "IDENT", "create"]);
    let e = ReadOnly::open(OsVfs, &dir, &options()).unwrap_err();
    assert!(matches!(e, Error::NoLog { .. }), "{e}");
    assert!(!temp.path().join("a").exists(), "nothing was made");
    becomes_a_log(&dir);
}

#[test]
fn an_empty_directory_and_every_stage_of_an_unfinished_creation_become_a_log() {
    let stages: [&[&str]; 6] = [
        &[],
        &["LOCK"],
        &["LOCK", "wal/"],
        &["LOCK", "wal/", "IDENT.tmp"],
        &["LOCK", "IDENT.tmp"],
        // What a file system and other parts of a node keep beside it.
        &["lost+found/", "snap/"],
    ];
    for stage in stages {
        let temp = tempfile::tempdir().unwrap();
        for name in stage {
            let path = temp.path().join(name);
            if name.ends_with('/') {
                fs::create_dir(path).unwrap();
            } else {
                fs::write(path, b"half").unwrap();
            }
        }
        let e = open(temp.path(), &options().create(false)).unwrap_err();
        assert!(matches!(e, Error::NoLog { .. }), "{stage:?}: {e}");
        let e = look(temp.path(), &options()).unwrap_err();
        assert!(matches!(e, Error::NoLog { .. }), "{stage:?}: {e}");
        becomes_a_log(temp.path());
    }
}

#[test]
fn an_ident_without_a_wal_directory_is_an_empty_log_if_nothing_was_ever_started() {
    let temp = tempfile::tempdir().unwrap();
    drop(open(temp.path(), &options()).unwrap());
    fs::remove_dir(temp.path().join("wal")).unwrap();
    let (wal, report) = open(temp.path(), &options()).unwrap();
    assert!(!report.created);
    assert_eq!(read_all(&wal).unwrap(), Model::new(1));
}

#[test]
fn a_directory_with_other_files_is_foreign_and_left_as_it_is() {
    for name in ["main.rs", "wal/0000.wal", "IDENT~", "00000000000000000001.seg"] {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"somebody's").unwrap();
        let e = refused(temp.path(), &["not a log directory", name, "empty directory"]);
        assert!(matches!(&e, Error::Foreign { found, .. } if found == name), "{e}");
        let e = open(temp.path(), &options().create(false)).unwrap_err();
        assert!(matches!(e, Error::NoLog { .. } | Error::Foreign { .. }), "{e}");
    }
}

#[test]
fn segments_without_ident_are_a_log_that_lost_its_identity() {
    let (temp, log) = small_log();
    let ident = fs::read(temp.path().join("IDENT")).unwrap();
    fs::remove_file(temp.path().join("IDENT")).unwrap();
    let e = refused(temp.path(), &["IDENT is missing", ".seg", "restore", "backup"]);
    assert!(matches!(e, Error::IdentMissing { .. }), "{e}");
    for e in [
        open(temp.path(), &options().create(false)).unwrap_err(),
        look(temp.path(), &options()).unwrap_err(),
    ] {
        assert!(matches!(e, Error::IdentMissing { .. }), "{e}");
    }
    fs::write(temp.path().join("IDENT"), ident).unwrap();
    assert_eq!(look(temp.path(), &options()).unwrap().0, log);
}

#[test]
fn an_ident_cut_short_is_good_as_long_as_one_copy_of_the_identity_is() {
    let (temp, log) = small_log();
    let path = temp.path().join("IDENT");
    let ident = fs::read(&path).unwrap();
    for len in [0, 1, 127] {
        fs::write(&path, &ident[..len]).unwrap();
        let e = refused(temp.path(), &["identity", "IDENT", "expected", "restore IDENT"]);
        assert!(matches!(e, Error::Corrupt(_)), "{len}: {e}");
    }
    for len in [128, 4096, 8191, 16_383] {
        fs::write(&path, &ident[..len]).unwrap();
        let (got, report) = look(temp.path(), &options()).unwrap();
        assert_eq!(got, log, "{len}");
        assert!(report.notes.iter().any(|n| n.path == path && n.what.contains("bytes")));
    }
    fs::write(&path, &ident[..128]).unwrap();
    assert_eq!(read_all(&open(temp.path(), &options()).unwrap().0).unwrap(), log);
}

#[test]
fn a_wal_directory_that_is_gone_is_a_lost_segment_and_not_an_empty_log() {
    let (temp, log) = small_log();
    let (wal, aside) = (temp.path().join("wal"), temp.path().join("quarantine"));
    fs::rename(&wal, &aside).unwrap();
    let e = refused(temp.path(), &["missing segment", ".seg", "put the file back"]);
    assert!(matches!(e, Error::Corrupt(_)), "{e}");
    fs::rename(&aside, &wal).unwrap();
    assert_eq!(read_all(&open(temp.path(), &options()).unwrap().0).unwrap(), log);
}

#[test]
fn a_file_where_a_directory_should_be_is_an_error_that_names_it() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, b"not a directory").unwrap();
    for dir in [file.clone(), file.join("below"), file.join("far/below")] {
        let e = open(&dir, &options()).unwrap_err();
        assert!(matches!(e, Error::Io { .. }), "{e}");
        assert_says(&e, &[dir.to_str().unwrap()]);
        let e = open(&dir, &options().create(false)).unwrap_err();
        assert!(matches!(e, Error::Io { .. } | Error::NoLog { .. }), "{e}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"not a directory");
    let (temp, _) = small_log();
    fs::remove_dir_all(temp.path().join("wal")).unwrap();
    fs::write(temp.path().join("wal"), b"").unwrap();
    let e = refused(temp.path(), &["wal"]);
    assert!(matches!(e, Error::Io { .. } | Error::Corrupt(_)), "{e}");
}

#[test]
fn a_log_of_another_node_is_refused_and_says_whose_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let ours = Identity { cluster_id: u64::MAX, node_id: 0 };
    let (wal, _) = open(temp.path(), &options().identity(ours)).unwrap();
    assert_eq!((wal.identity().cluster_id, wal.identity().node_id), (u64::MAX, 0));
    drop(wal);
    for (other, what, found) in [
        (Identity { cluster_id: 0, ..ours }, "cluster id", u64::MAX.to_string()),
        (Identity { node_id: u64::MAX, ..ours }, "node id", "0".to_owned()),
    ] {
        let e = open(temp.path(), &options().identity(other)).unwrap_err();
        assert!(matches!(e, Error::IdentityMismatch { .. }), "{e}");
        assert_says(&e, &["IDENT", what, &found, "expected", "check the data directory"]);
    }
    open(temp.path(), &options().identity(ours)).unwrap();
}

#[test]
fn a_segment_of_another_log_is_refused_and_both_logs_are_named() {
    let ((ours, log), (theirs, _)) = (small_log(), small_log());
    let uuid = |dir: &Path| {
        let uuid = open(dir, &options()).unwrap().0.identity().wal_uuid;
        format!("{:032x}", u128::from_be_bytes(uuid))
    };
    let expected = [uuid(ours.path()), uuid(theirs.path())];
    let theirs = theirs.path().join("wal/00000000000000000001.seg");
    let guest = ours.path().join("wal/00000000000000000002.seg");
    fs::copy(&theirs, &guest).unwrap();
    let e = refused(ours.path(), &["2.seg", &expected[0], &expected[1], "another node"]);
    assert!(matches!(e, Error::IdentityMismatch { .. }), "{e}");
    fs::remove_file(&guest).unwrap();
    // The same file of the log itself, under another number.
    fs::copy(ours.path().join("wal/00000000000000000001.seg"), &guest).unwrap();
    let e = refused(ours.path(), &["segment name", "2.seg", "segment 2", "segment 1"]);
    assert!(matches!(e, Error::Corrupt(_)), "{e}");
    fs::remove_file(&guest).unwrap();
    assert_eq!(look(ours.path(), &options()).unwrap().0, log);
}

#[test]
fn names_that_are_not_the_logs_are_noted_and_left_alone() {
    let (temp, _) = small_log();
    let wal = temp.path().join("wal");
    let strangers = [
        "README",
        "1.seg",
        "00000000000000000000.seg",
        "000000000000000000001.seg",
        "99999999999999999999.seg",
        "0000000000000000000a.seg",
        "00000000000000000001.seg.bak",
        "spare-.tmp",
        "spare-x.tmp",
        ".seg",
    ];
    for name in strangers {
        fs::write(wal.join(name), b"keep me").unwrap();
    }
    let (mut handle, report) = open(temp.path(), &options()).unwrap();
    for name in strangers {
        let path = wal.join(name);
        assert!(report.notes.iter().any(|n| n.path == path), "{name} is not noted");
        assert!(report.to_string().contains(name));
    }
    handle.append(&Batch::of_entries(vec![entry(4, 1, 1)])).unwrap();
    handle.compact_to(4).unwrap();
    handle.step_gc().unwrap();
    handle.close().unwrap();
    drop(open(temp.path(), &options()).unwrap());
    for name in strangers {
        assert_eq!(fs::read(wal.join(name)).unwrap(), b"keep me", "{name}");
    }
}

#[test]
fn leftovers_with_the_logs_own_temporary_names_go_after_a_successful_open() {
    let (temp, log) = small_log();
    let wal = temp.path().join("wal");
    let ours = ["spare-0.tmp", "spare-18446744073709551615.tmp", "00000000000000000007.idx.tmp"];
    for name in ours {
        assert!(WalName::parse(name).is_some());
        fs::write(wal.join(name), b"half").unwrap();
    }
    let (handle, report) = open(temp.path(), &options()).unwrap();
    assert_eq!(read_all(&handle).unwrap(), log);
    assert!(report.removed >= ours.len(), "{report}");
    for name in ours {
        assert!(!wal.join(name).exists(), "{name}");
    }
}

#[test]
fn a_segment_with_the_last_possible_number_ends_the_numbers_and_nothing_else() {
    let (temp, log) = small_log();
    let path = temp.path().join(format!("wal/{:020}.seg", u64::MAX));
    fs::write(&path, b"").unwrap();
    let e = refused(temp.path(), &["18446744073709551615.seg", "header", "expected", "found"]);
    assert!(matches!(e, Error::Corrupt(_)), "{e}");
    fs::remove_file(&path).unwrap();
    // An index file is a cache: one with that number takes no number, and goes as an orphan.
    fs::write(path.with_extension("idx"), b"").unwrap();
    let (mut wal, _) = open(temp.path(), &options()).unwrap();
    assert_eq!(read_all(&wal).unwrap(), log);
    let ticket = wal.append(&Batch::of_entries(vec![entry(4, 1, 1)])).unwrap();
    wal.wait(ticket).unwrap();
    assert!(!path.with_extension("idx").exists());
}
