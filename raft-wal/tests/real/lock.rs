//! One process at a time, and in it one handle, may write a log; whoever dies lets go.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Barrier;

use raft_wal::{Batch, Error, Options};

use crate::child::{self, Running};
use crate::workload::{assert_says, entry, look, open, read_all};

/// The child: opens the log, appends without a close, and holds it for ever.
pub(crate) fn hold(dir: &Path) {
    let (mut wal, _) = open(dir, &Options::new().segment_bytes(64 << 10)).expect("the log opens");
    let next = wal.next_index();
    let t = wal.append(&Batch::of_entries(vec![entry(next, 1, 100)])).expect("it takes an entry");
    wal.wait(t).expect("the disk works");
    child::say(&format!("HOLDING {next}"));
    loop {
        std::thread::park();
    }
}

fn options() -> Options {
    Options::new().segment_bytes(64 << 10)
}

fn refused_by(dir: &Path, who: &str) {
    let e = open(dir, &options()).expect_err("the log is held");
    assert!(matches!(&e, Error::Locked { path, .. } if path.ends_with("LOCK")), "{e}");
    assert_says(&e, &["LOCK", who, "stop the other", "read-only"]);
}

#[test]
fn a_second_handle_in_the_same_process_is_refused_under_every_path_until_the_first_is_gone() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, link) = (temp.path().join("log"), temp.path().join("link"));
    symlink(&dir, &link).unwrap();
    let (mut wal, _) = open(&dir, &options()).unwrap();
    refused_by(&dir, "this process");
    refused_by(&link, "this process");
    refused_by(&temp.path().join("link/../log"), "this process");
    // The refused ones, closing what they opened, did not take the lock away.
    let t = wal.append(&Batch::of_entries(vec![entry(1, 1, 10)])).unwrap();
    wal.wait(t).unwrap();
    refused_by(&link, "this process");
    drop(wal);
    let (wal, _) = open(&link, &options()).unwrap();
    assert_eq!(wal.next_index(), 2);
    refused_by(&dir, "this process");
}

#[test]
fn of_many_threads_that_open_at_once_one_gets_the_log() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    drop(open(&dir, &options()).unwrap());
    for _ in 0..20 {
        let start = Barrier::new(4);
        let finish = Barrier::new(4);
        let race = || {
            start.wait();
            let result = open(&dir, &options());
            finish.wait();
            match result {
                Ok(_) => 1,
                Err(Error::Locked { .. }) => 0,
                Err(e) => panic!("{e}"),
            }
        };
        let winners: u32 = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4).map(|_| s.spawn(race)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(winners, 1);
    }
}

#[test]
fn another_process_holds_the_log_against_this_one_until_sigkill_ends_it() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, link) = (temp.path().join("log"), temp.path().join("link"));
    symlink(&dir, &link).unwrap();
    drop(open(&dir, &options()).unwrap());
    for round in 1..=3 {
        let mut owner = Running::start(child::command("hold", &link, 0), temp.path().join("out"));
        owner.wait_for(&format!("HOLDING {round}"));
        refused_by(&dir, "another process");
        refused_by(&link, "another process");
        // Readers need no lock, and what the owner acknowledged is there for them.
        let (seen, _) = look(&dir, &options()).unwrap();
        assert_eq!(seen.next(), round + 1);
        owner.kill();
        let (wal, _) = open(&dir, &options()).unwrap();
        assert_eq!(read_all(&wal).unwrap(), seen);
    }
}
