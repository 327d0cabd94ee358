//! How a shared log ends: closed, dropped, poisoned.

use std::path::Path;
use std::sync::mpsc;

use raft_vfs::SimVfs;
use raft_vfs::sim::{Fault, Op};
use raft_wal::{Batch, Error, HardState, Options, SharedWal, Wal};

use crate::support::{batch, entry};

const DIR: &str = "/data/log";

fn open(disk: &SimVfs) -> SharedWal<SimVfs> {
    let options = Options::new().segment_bytes(64 << 10);
    SharedWal::open(disk.clone(), Path::new(DIR), &options).unwrap().0
}

#[test]
fn closing_serves_every_callback_and_the_other_handles_are_told() {
    let disk = SimVfs::new(1);
    let wal = open(&disk);
    let other = wal.clone();
    let (told, outcome) = mpsc::channel();
    for index in 1..=20 {
        let ticket = wal.append(&batch(entry(index, 0, index, 100))).unwrap();
        let told = told.clone();
        wal.on_durable(ticket, move |result| told.send((index, result.is_ok())).unwrap());
    }
    drop(told);
    wal.close().unwrap();
    let all: Vec<_> = outcome.iter().collect();
    assert_eq!(all, (1..=20).map(|index| (index, true)).collect::<Vec<_>>());
    assert!(matches!(other.append(&batch(entry(21, 0, 21, 1))), Err(Error::Closed)));
    assert!(matches!(other.entries(1, 2, u64::MAX), Err(Error::Closed)));
    assert!(matches!(other.close(), Err(Error::Closed)));
    let (wal, report) = Wal::open(disk, DIR, &Options::new()).unwrap();
    assert!(report.certain);
    assert_eq!(wal.next_index(), 21);
}

#[test]
fn dropping_the_last_handle_lets_go_of_the_directory() {
    let disk = SimVfs::new(1);
    let wal = open(&disk);
    let ticket = wal.append(&batch(entry(1, 0, 1, 100))).unwrap();
    wal.wait(ticket).unwrap();
    let other = wal.clone();
    drop(wal);
    assert!(matches!(Wal::open(disk.clone(), DIR, &Options::new()), Err(Error::Locked { .. })));
    drop(other);
    assert_eq!(Wal::open(disk, DIR, &Options::new()).unwrap().0.next_index(), 2);
}

#[test]
fn a_failed_sync_fails_everybody_who_waits_and_everybody_who_comes_later() {
    let disk = SimVfs::new(1);
    let wal = open(&disk);
    let first = wal.append(&batch(entry(1, 0, 1, 100))).unwrap();
    wal.wait(first).unwrap();
    disk.fail_next(Op::SyncData, Fault::Eio);
    let second = wal.append(&batch(entry(2, 0, 2, 100))).unwrap();
    let (told, outcome) = mpsc::channel();
    wal.on_durable(second, move |result| told.send(result).unwrap());
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| assert!(matches!(wal.wait(second), Err(Error::Poisoned { .. }))));
        }
    });
    assert!(matches!(outcome.recv().unwrap(), Err(Error::Poisoned { .. })));
    assert!(matches!(wal.append(&batch(entry(3, 0, 3, 1))), Err(Error::Poisoned { .. })));
    assert!(wal.wait(first).is_ok(), "what was acknowledged stays so");
    assert_eq!(wal.entries(1, 2, u64::MAX).unwrap().len(), 1);
    assert!(matches!(wal.entries(2, 3, u64::MAX), Err(Error::Poisoned { .. })));
}

#[test]
fn a_callback_that_panics_poisons_the_log_and_the_others_are_still_called() {
    let disk = SimVfs::new(1);
    let wal = open(&disk);
    let (told, outcome) = mpsc::channel();
    let ticket = wal.append(&batch(entry(1, 0, 1, 100))).unwrap();
    wal.on_durable(ticket, |_| panic!("this test's own panic"));
    wal.on_durable(ticket, move |result| told.send(result).unwrap());
    outcome.recv().unwrap().unwrap();
    while wal.poisoned().is_none() {
        std::thread::yield_now();
    }
    assert!(matches!(wal.append(&batch(entry(2, 0, 2, 1))), Err(Error::Poisoned { .. })));
}

#[test]
fn a_callback_may_append_and_may_drop_the_last_handle() {
    let disk = SimVfs::new(1);
    let wal = open(&disk);
    let (told, outcome) = mpsc::channel();
    let ticket = wal.append(&batch(entry(1, 0, 1, 100))).unwrap();
    let own = wal.clone();
    wal.on_durable(ticket, move |_| {
        let ticket = own.append(&batch(entry(2, 0, 2, 100))).unwrap();
        own.wait(ticket).unwrap();
        drop(own);
        told.send(()).unwrap();
    });
    drop(wal);
    outcome.recv().unwrap();
    // The thread that dropped it lets go of the lock when it ends.
    let opened = loop {
        match Wal::open(disk.clone(), DIR, &Options::new()) {
            Err(Error::Locked { .. }) => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(opened.0.next_index(), 3);
}

#[test]
fn a_close_whose_sync_fails_tells_those_who_wait_that_their_batches_are_in_doubt() {
    let disk = SimVfs::new(1);
    let wal = open(&disk);
    let first = wal.append(&batch(entry(1, 0, 1, 100))).unwrap();
    wal.wait(first).unwrap();
    let other = wal.clone();
    let second = wal.append(&batch(entry(2, 0, 2, 100))).unwrap();
    disk.fail_next(Op::SyncData, Fault::Eio);
    assert!(matches!(wal.close(), Err(Error::Poisoned { .. })));
    assert!(matches!(other.wait(second), Err(Error::Poisoned { .. })));
    assert!(other.wait(first).is_ok(), "what was acknowledged stays so");
}

#[test]
fn what_a_handle_tells_is_what_the_log_holds() {
    let disk = SimVfs::new(1);
    let wal = open(&disk);
    let small = |key: &'static str, value: &'static str| (key.into(), value.into());
    let first = Batch {
        hard_state: Some(HardState { term: 1, vote: 2, commit: 1 }),
        metadata: Some("m".into()),
        blobs: vec![small("k", "v"), small("l", "w")],
        ..batch(entry(1, 0, 1, 100))
    };
    wal.append(&first).unwrap();
    wal.append(&batch(entry(2, 0, 2, 100))).unwrap();
    assert_eq!(wal.durable().batch_seq, 0, "nobody has waited");
    wal.sync().unwrap();
    assert_eq!((wal.durable().last_index, wal.durable().term), (2, 1));
    assert_eq!((wal.first_index().unwrap(), wal.next_index().unwrap()), (1, 3));
    assert_eq!(wal.last_index().unwrap(), Some(2));
    assert_eq!(wal.hard_state().unwrap(), first.hard_state.unwrap());
    assert_eq!(wal.metadata().unwrap(), first.metadata);
    assert_eq!(wal.blobs().unwrap(), first.blobs);
    assert_eq!(wal.blob(b"k").unwrap(), Some("v".into()));
    assert_eq!(wal.snapshot().unwrap(), None);
    assert_eq!((wal.term(0).unwrap(), wal.term(2).unwrap()), (None, Some(1)));
    assert!(matches!(wal.entries(2, 4, 10), Err(Error::Unavailable { .. })));
    assert_eq!(wal.entries(1, 3, 0).unwrap().len(), 1, "one in any case");
    assert!(wal.recovered_durable().unwrap() && wal.poisoned().is_none());
}
