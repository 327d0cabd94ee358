//! What only real files, links, FIFOs and processes can show.
#![allow(clippy::disallowed_methods, reason = "these tests set up what the crate must refuse")]

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use raft_vfs::{Access, FileKind, LockError, OsVfs, Vfs, VfsFile};
use rustix::fs::{CWD, FileType, Mode};

/// Names the directory that a child works in. Set for children only.
const CHILD_DIR: &str = "RAFT_VFS_TEST_DIR";

fn fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

/// This test binary again, running one ignored test in `dir`.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).env(CHILD_DIR, dir);
    command.stdout(Stdio::piped()).stdin(Stdio::piped());
    command
}

fn child_dir() -> PathBuf {
    PathBuf::from(std::env::var_os(CHILD_DIR).expect("run by another test, not by hand"))
}

#[test]
fn a_fifo_is_refused_without_waiting_for_its_other_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    fifo(&path);
    for access in [Access::Read, Access::ReadWrite] {
        assert_eq!(OsVfs.open(&path, access).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert!(matches!(
        OsVfs.lock(&path),
        Err(LockError::Io { source, .. }) if source.kind() == ErrorKind::InvalidInput
    ));
}

#[test]
fn a_socket_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = OsVfs.open(&path, Access::Read).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_symbolic_link_is_neither_opened_nor_created_through_nor_locked() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    for exists in [false, true] {
        if exists {
            std::fs::write(&target, b"precious").unwrap();
        } else {
            symlink(&target, &link).unwrap();
        }
        let opened = OsVfs.open(&link, Access::ReadWrite).unwrap_err();
        assert_eq!(opened.kind(), ErrorKind::InvalidInput);
        let created = OsVfs.create_excl(&link).unwrap_err();
        assert_eq!(created.kind(), ErrorKind::AlreadyExists);
        assert!(matches!(
            OsVfs.lock(&link),
            Err(LockError::Io { source, .. }) if source.kind() == ErrorKind::InvalidInput
        ));
        assert_eq!(target.exists(), exists);
    }
    OsVfs.remove(&link).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
}

#[test]
fn a_directory_given_as_a_link_is_listed_and_synced() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    OsVfs.create_dir(&real).unwrap();
    OsVfs.create_excl(&real.join("a")).unwrap();
    symlink(&real, &link).unwrap();
    assert_eq!(OsVfs.list(&link).unwrap().len(), 1);
    OsVfs.sync_dir(&link).unwrap();
}

#[test]
fn what_is_no_file_or_directory_is_listed_as_other() {
    let dir = tempfile::tempdir().unwrap();
    fifo(&dir.path().join("fifo"));
    symlink("nowhere", dir.path().join("link")).unwrap();
    symlink(dir.path(), dir.path().join("loop")).unwrap();
    let list = OsVfs.list(dir.path()).unwrap();
    let names: Vec<_> = list.iter().map(|e| e.name.to_str().unwrap()).collect();
    assert_eq!(names, ["fifo", "link", "loop"]);
    assert!(list.iter().all(|e| e.kind == FileKind::Other));
}

#[test]
fn new_names_are_private_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    let out = child("child_creates_under_odd_umasks", dir.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    for umask in ["000", "022", "777"] {
        for (name, mode) in [("file", 0o600), ("dir", 0o700), ("lock", 0o600)] {
            let path = dir.path().join(format!("{name}-{umask}"));
            let found = std::fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }
}

#[test]
#[ignore = "changes the umask of its process: run by new_names_are_private_whatever_the_umask"]
fn child_creates_under_odd_umasks() {
    let dir = child_dir();
    for umask in [0o000, 0o022, 0o777] {
        rustix::process::umask(Mode::from_raw_mode(umask));
        OsVfs.create_excl(&dir.join(format!("file-{umask:03o}"))).unwrap();
        OsVfs.create_dir(&dir.join(format!("dir-{umask:03o}"))).unwrap();
        OsVfs.lock(&dir.join(format!("lock-{umask:03o}"))).unwrap();
    }
}

#[test]
fn a_second_lock_in_this_process_is_refused_under_every_path_to_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().join("real");
    OsVfs.create_dir(&real).unwrap();
    symlink(&real, dir.path().join("link")).unwrap();
    let lock = OsVfs.lock(&real.join("LOCK")).unwrap();
    std::fs::hard_link(real.join("LOCK"), dir.path().join("hard")).unwrap();
    for path in ["real/LOCK", "real/../real/LOCK", "link/LOCK", "hard"] {
        match OsVfs.lock(&dir.path().join(path)) {
            Err(LockError::Held { holder, .. }) => assert_eq!(holder, "this process"),
            other => panic!("expected Held for {path}, got {other:?}"),
        }
    }
    drop(lock);
    OsVfs.lock(&dir.path().join("link/LOCK")).unwrap();
}

#[test]
fn a_lock_of_another_process_is_refused_until_that_process_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    let mut owner = child("child_holds_the_lock", dir.path()).spawn().unwrap();
    wait_for(owner.stdout.take().unwrap(), "locked");
    match OsVfs.lock(&path) {
        Err(LockError::Held { path: named, holder }) => {
            assert_eq!((named, holder), (path.clone(), "another process"));
        }
        other => panic!("expected Held, got {other:?}"),
    }
    owner.kill().unwrap();
    owner.wait().unwrap();
    drop(OsVfs.lock(&path).unwrap());
}

/// Reads `from` until it has said `word`.
fn wait_for(from: impl std::io::Read, word: &str) {
    let mut lines = BufReader::new(from).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with(word)), "the child ended without saying {word}");
}

#[test]
#[ignore = "waits to be killed: run by a_lock_of_another_process_..."]
fn child_holds_the_lock() {
    let _lock = OsVfs.lock(&child_dir().join("LOCK")).unwrap();
    println!("locked");
    let mut end = Vec::new();
    std::io::stdin().read_to_end(&mut end).unwrap();
}

#[test]
fn a_lock_dropped_while_a_child_starts_is_free_at_once() {
    // A child has copies of all descriptors until it executes its program. A lock that ended with
    // the last copy, instead of by unlocking, would now and then still be held here.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    std::thread::scope(|threads| {
        let spawner = threads.spawn(|| {
            for _ in 0..40 {
                Command::new("/bin/true").status().unwrap();
            }
        });
        while !spawner.is_finished() {
            drop(OsVfs.lock(&path).unwrap());
        }
    });
}

#[test]
fn of_many_threads_one_gets_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("LOCK");
    let locks: Vec<_> = std::thread::scope(|threads| {
        let handles: Vec<_> = (0..8).map(|_| threads.spawn(|| OsVfs.lock(&path))).collect();
        handles.into_iter().map(|h| h.join().unwrap()).collect()
    });
    assert_eq!(locks.iter().filter(|lock| lock.is_ok()).count(), 1);
}

#[test]
fn an_identity_is_the_device_and_inode_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let id = OsVfs.create_excl(&path).unwrap().id().unwrap();
    let stat = std::fs::metadata(&path).unwrap();
    assert_eq!((id.dev, id.ino), (stat.dev(), stat.ino()));
}

#[test]
fn random_access_to_one_handle_from_many_threads_is_independent() {
    let dir = tempfile::tempdir().unwrap();
    let file = OsVfs.create_excl(&dir.path().join("a")).unwrap();
    std::thread::scope(|threads| {
        for t in 0..4_u8 {
            let file = &file;
            threads.spawn(move || {
                for i in 0..100 {
                    let at = (i * 4 + u64::from(t)) * 16;
                    assert_eq!(file.write_at(&[t + 1; 16], at).unwrap(), 16);
                }
            });
        }
    });
    for slot in 0..400_u64 {
        let mut buf = [0; 16];
        assert_eq!(file.read_at(&mut buf, slot * 16).unwrap(), 16);
        assert_eq!(buf, [(slot % 4) as u8 + 1; 16]);
    }
}
