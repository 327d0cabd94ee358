//! Symbolic links, FIFOs and other things that are not files, under names of the log's. None is
//! followed, none makes an opener wait, none is written through or removed.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use raft_wal::{Batch, Error, Options, Result};
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use crate::child::watched;
use crate::workload::{assert_says, entry, look, open, read_all};

fn options() -> Options {
    Options::new().segment_bytes(64 << 10)
}

/// A log of two closed segments with index files and an open one, and its directory's parent.
fn log() -> (TempDir, PathBuf) {
    let temp = tempfile::tempdir().expect("a directory");
    let dir = temp.path().join("log");
    let (mut wal, _) = open(&dir, &options()).expect("a new log");
    for i in 1..20 {
        wal.append(&Batch::of_entries(vec![entry(i, 1, 9000)])).expect("room");
    }
    wal.close().expect("it closes");
    (temp, dir)
}

/// What may lie under a name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Thing {
    LinkToTheFile,
    LinkToAnother,
    LinkToNothing,
    LinkToItself,
    LinkToADevice,
    Fifo,
    Socket,
    Directory,
}

const THINGS: [Thing; 8] = [
    Thing::LinkToTheFile,
    Thing::LinkToAnother,
    Thing::LinkToNothing,
    Thing::LinkToItself,
    Thing::LinkToADevice,
    Thing::Fifo,
    Thing::Socket,
    Thing::Directory,
];

/// Bytes of a file outside the log that must stay as they are.
const OUTSIDE: &[u8] = b"not the log's";

/// Puts a thing where `path` is, what is there aside. Returns where that went, if it was there.
fn place(thing: Thing, path: &Path, outside: &Path) -> Option<PathBuf> {
    let aside = outside.join("aside");
    let moved = fs::rename(path, &aside).is_ok();
    let another = outside.join("another");
    fs::write(&another, OUTSIDE).expect("a file");
    match thing {
        Thing::LinkToTheFile => symlink(&aside, path).expect("a link"),
        Thing::LinkToAnother => symlink(&another, path).expect("a link"),
        Thing::LinkToNothing => symlink(outside.join("nothing"), path).expect("a link"),
        Thing::LinkToItself => symlink(path, path).expect("a link"),
        Thing::LinkToADevice => symlink("/dev/zero", path).expect("a link"),
        Thing::Fifo => mkfifoat(CWD, path, Mode::RWXU).expect("a FIFO"),
        Thing::Socket => drop(UnixListener::bind(path).expect("a socket")),
        Thing::Directory => fs::create_dir(path).expect("a directory"),
    }
    moved.then_some(aside)
}

/// What the thing at `path` is, by its own type and not that of what it leads to.
fn kind(path: &Path) -> &'static str {
    match fs::symlink_metadata(path).map(|m| m.file_type()) {
        Ok(t) if t.is_symlink() => "link",
        Ok(t) if t.is_fifo() => "fifo",
        Ok(t) if t.is_socket() => "socket",
        Ok(t) if t.is_dir() => "directory",
        Ok(t) if t.is_file() => "file",
        _ => "nothing",
    }
}

/// Opens for writing under a watchdog.
fn attempt(dir: &Path) -> Result<u64> {
    let dir = dir.to_owned();
    watched("an open", move || open(&dir, &options()).map(|(wal, _)| wal.next_index()))
}

/// Puts every thing under the name, and opens in both ways.
fn under(name: &str, check: impl Fn(Thing, Result<u64>, Result<u64>)) {
    for thing in THINGS {
        let (temp, dir) = log();
        let path = dir.join(name);
        let whole = read_all(&open(&dir, &options()).unwrap().0).unwrap();
        let aside = place(thing, &path, temp.path());
        let before = kind(&path);
        let reader = dir.clone();
        let seen = watched("a look", move || look(&reader, &options()).map(|(log, _)| log.next()));
        check(thing, attempt(&dir), seen);
        assert_eq!(kind(&path), before, "{name}: a {thing:?} stays what it was");
        assert_eq!(fs::read(temp.path().join("another")).unwrap(), OUTSIDE, "{name}: {thing:?}");
        assert!(!temp.path().join("nothing").exists(), "{name}: a link to nothing was followed");
        // With the thing away and the file back, the log is whole.
        if before == "directory" { fs::remove_dir(&path) } else { fs::remove_file(&path) }.unwrap();
        if let Some(aside) = aside {
            fs::rename(aside, &path).unwrap();
        }
        assert_eq!(read_all(&open(&dir, &options()).unwrap().0).unwrap(), whole);
    }
}

/// A refusal that names the path.
fn refused(name: &str, thing: Thing, result: &Result<u64>) {
    let Err(e) = result else { panic!("{name}: a {thing:?} was opened as a file") };
    assert!(matches!(e, Error::Io { .. }), "{name}: {thing:?}: {e}");
    assert_says(e, &[name, "not a regular file"]);
}

#[test]
fn a_thing_that_is_no_file_under_the_name_of_a_segment_is_refused() {
    for n in [1, 2, 4] {
        let name = format!("wal/{n:020}.seg");
        under(&name, |thing, written, seen| {
            refused(&name, thing, &written);
            refused(&name, thing, &seen);
        });
    }
}

#[test]
fn a_thing_that_is_no_file_under_the_name_of_ident_is_refused() {
    under("IDENT", |thing, written, seen| {
        refused("IDENT", thing, &written);
        refused("IDENT", thing, &seen);
    });
}

#[test]
fn a_thing_that_is_no_file_under_the_name_of_the_lock_stops_writers_and_not_readers() {
    under("LOCK", |thing, written, seen| {
        refused("LOCK", thing, &written);
        assert_eq!(seen.unwrap(), 20);
    });
}

#[test]
fn a_thing_that_is_no_file_under_the_name_of_an_index_is_refused_or_done_without() {
    let name = format!("wal/{:020}.idx", 1);
    under(&name, |thing, written, seen| {
        for result in [written, seen] {
            match result {
                Ok(next) => assert_eq!(next, 20),
                Err(_) => refused(&name, thing, &result),
            }
        }
    });
}

#[test]
fn a_thing_that_is_no_file_under_a_temporary_name_is_refused_or_left_alone() {
    for name in ["wal/spare-1.tmp".to_owned(), format!("wal/{:020}.idx.tmp", 1)] {
        under(&name, |thing, written, seen| {
            for result in [written, seen] {
                match result {
                    Ok(next) => assert_eq!(next, 20),
                    Err(_) => refused(&name, thing, &result),
                }
            }
        });
    }
}

#[test]
fn a_thing_that_is_no_file_under_an_unknown_name_is_left_alone() {
    under("wal/core", |_, written, seen| {
        assert_eq!(written.unwrap(), 20);
        assert_eq!(seen.unwrap(), 20);
    });
}

#[test]
fn a_wal_directory_that_is_a_link_is_not_followed_out_of_the_log() {
    let (temp, dir) = log();
    let (wal, elsewhere) = (dir.join("wal"), temp.path().join("elsewhere"));
    fs::rename(&wal, &elsewhere).unwrap();
    symlink(&elsewhere, &wal).unwrap();
    let names = || fs::read_dir(&elsewhere).unwrap().count();
    let before = names();
    let e = attempt(&dir).unwrap_err();
    assert_says(&e, &["wal"]);
    assert_eq!(names(), before);
    fs::remove_file(&wal).unwrap();
    fs::rename(&elsewhere, &wal).unwrap();
    assert_eq!(attempt(&dir).unwrap(), 20);
}

#[test]
fn a_new_log_is_not_made_through_links_that_lie_in_wait_for_it() {
    for name in ["LOCK", "IDENT", "IDENT.tmp", "wal"] {
        let temp = tempfile::tempdir().unwrap();
        let (dir, outside) = (temp.path().join("log"), temp.path().join("outside"));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(&outside).unwrap();
        let target = outside.join("target");
        if name == "wal" {
            fs::create_dir(&target).unwrap();
        }
        symlink(&target, dir.join(name)).unwrap();
        // A link in the place of a temporary file of ours may go; nothing else may.
        if let Err(e) = attempt(&dir) {
            assert_says(&e, &[name]);
            assert!(fs::symlink_metadata(dir.join(name)).unwrap().is_symlink(), "{name}");
        } else {
            assert_eq!(name, "IDENT.tmp", "a log was made around a link");
        }
        if name == "wal" {
            assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "written outside");
        } else {
            assert!(!target.exists(), "{name}: written outside");
        }
    }
}
