//! What a handle does after a call has failed: what it shows, what it still does, and what it
//! refuses. (Every failing call of every operation, with crashes after it: `crash.rs`.)

mod support;

use std::io::{Read as _, Write as _};
use std::path::Path;

use raft_snap::{Error, SnapDir};
use raft_vfs::SimVfs;
use raft_vfs::sim::{Fault, KeepNothing, Op, Persistence};

use crate::support::{
    CHUNK, DIR, announcement, data, disk, id, indexes, meta, open, options, path, read, receive,
    write,
};

const LEN: usize = 4 * CHUNK + 1;

/// How many files there are, under any name.
fn files(disk: &SimVfs) -> usize {
    disk.paths().len()
}

/// A disk that the directory has been opened on, with one snapshot.
fn with_one() -> (SimVfs, SnapDir<SimVfs>) {
    let disk = disk(1);
    let snaps = open(&disk);
    write(&snaps, 10, LEN).unwrap();
    (disk, snaps)
}

#[test]
fn after_a_failed_sync_of_a_file_nothing_of_it_is_left_and_the_next_one_succeeds() {
    let (disk, snaps) = with_one();
    for fault in [Fault::Eio, Fault::Enospc, Fault::Edquot] {
        disk.fail_next(Op::SyncData, fault);
        disk.set_trace(true);
        let error = write(&snaps, 20, LEN).unwrap_err();
        let told = match fault {
            Fault::Eio => matches!(error, Error::Io { op: "sync", .. }),
            _ => matches!(error, Error::NoSpace { .. }),
        };
        assert!(told, "{error}");
        let syncs = disk.take_trace().iter().filter(|c| c.op == Op::SyncData).count();
        assert_eq!(syncs, 1, "a failed sync is not tried again");
        assert_eq!((indexes(&snaps), files(&disk)), (vec![10], 1));
    }
    write(&snaps, 20, LEN).unwrap();
    assert_eq!(indexes(&open(&disk.power_cut(&mut KeepNothing))), [20, 10]);
}

#[test]
fn a_writer_that_failed_refuses_everything_after() {
    let (disk, snaps) = with_one();
    let mut writer = snaps.writer(&meta(20)).unwrap();
    disk.fail_next(Op::Write, Fault::Eio);
    let first = writer.write_all(&data(20, LEN)).unwrap_err();
    assert!(matches!(Error::of(&first), Some(Error::Io { op: "write", .. })), "{first}");
    assert_eq!(files(&disk), 1, "the file goes at once");
    let next = writer.write(b"more").unwrap_err();
    assert!(matches!(Error::of(&next), Some(Error::GivenUp { .. })), "{next}");
    let next = writer.flush().unwrap_err();
    assert!(next.to_string().contains("begin again"), "{next}");
    assert!(matches!(writer.finish().unwrap_err(), Error::GivenUp { .. }));
    assert_eq!(indexes(&snaps), [10]);
}

#[test]
fn an_interrupted_sync_is_an_error_and_not_tried_again_by_who_writes_a_stream() {
    let disk = disk(1);
    let options = options().sync_bytes(2 * CHUNK as u64);
    let snaps = SnapDir::open(disk.clone(), DIR, &options).unwrap();
    let mut writer = snaps.writer(&meta(20)).unwrap();
    disk.fail_next(Op::SyncData, Fault::Eintr);
    let error = writer.write_all(&data(20, LEN)).unwrap_err();
    assert!(matches!(Error::of(&error), Some(Error::Io { op: "sync", .. })), "{error}");
}

#[test]
fn after_a_failed_sync_of_the_directory_it_is_read_and_never_written_again() {
    let (disk, snaps) = with_one();
    disk.fail_next(Op::SyncDir, Fault::Eio);
    let error = write(&snaps, 20, LEN).unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    assert!(snaps.poisoned().is_some_and(|cause| cause.contains("sync directory")));
    assert_eq!((indexes(&snaps), files(&disk)), (vec![10], 1), "nothing is visible");
    let info = snaps.newest_usable().unwrap().unwrap();
    assert_eq!(read(&snaps, &info).unwrap(), data(10, LEN));
    disk.set_trace(true);
    let refused = [
        write(&snaps, 30, LEN).unwrap_err(),
        receive(&snaps, 30, LEN).unwrap_err(),
        snaps.retain(u64::MAX).unwrap_err(),
        snaps.clean_up().unwrap_err(),
        snaps.quarantine(id(10)).unwrap_err(),
    ];
    assert!(refused.iter().all(|e| matches!(e, Error::Poisoned { .. })), "{refused:?}");
    assert!(disk.take_trace().is_empty(), "no call is made for them");
    let reopened = open(&disk.fork());
    write(&reopened, 20, LEN).unwrap();
    assert_eq!(indexes(&reopened), [20, 10]);
}

#[test]
fn a_writer_that_began_before_a_failed_sync_of_the_directory_cannot_finish() {
    let (disk, snaps) = with_one();
    let mut writer = snaps.writer(&meta(20)).unwrap();
    let mut receiver = snaps.receiver(&announcement(30, CHUNK)).unwrap();
    disk.fail_next(Op::SyncDir, Fault::Eio);
    assert!(snaps.quarantine(id(10)).is_err());
    writer.write_all(b"less than a chunk").unwrap();
    assert!(matches!(writer.finish().unwrap_err(), Error::Poisoned { .. }));
    let put = receiver.put(0, &data(30, CHUNK)).unwrap_err();
    assert!(matches!(put, Error::Poisoned { .. }), "{put}");
}

#[test]
fn a_name_that_a_failed_sync_left_behind_is_not_usable() {
    let (disk, snaps) = with_one();
    disk.fail_next(Op::SyncDir, Fault::Eio);
    disk.fail_op(Op::Remove, 1, Fault::Eio, Persistence::Forever);
    let error = write(&snaps, 20, LEN).unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    assert!(disk.read_file(path(20)).is_some());
    let listing = snaps.list().unwrap();
    assert_eq!(listing.usable.len(), 1);
    let error = &listing.unusable[0].error;
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
    assert_eq!(snaps.newest_usable().unwrap().unwrap().id(), id(10));
    // The next to open the directory syncs it, and then the name is durable.
    let disk = disk.fork();
    assert_eq!(indexes(&open(&disk)), [20, 10]);
    assert_eq!(indexes(&open(&disk.power_cut(&mut KeepNothing))), [20, 10]);
}

#[test]
fn a_directory_that_could_not_be_opened_to_be_synced_is_not_poisoned() {
    let (disk, snaps) = with_one();
    disk.fail_next(Op::SyncDir, Fault::Emfile);
    let error = write(&snaps, 20, LEN).unwrap_err();
    assert!(matches!(error, Error::Io { op: "sync directory", .. }), "{error}");
    assert_eq!((indexes(&snaps), files(&disk)), (vec![10], 1));
    write(&snaps, 20, LEN).unwrap();
    assert_eq!(indexes(&open(&disk.power_cut(&mut KeepNothing))), [20, 10]);
}

#[test]
fn a_full_disk_costs_the_new_snapshot_and_no_old_one() {
    let (disk, snaps) = with_one();
    let used = disk.read_file(path(10)).unwrap().len() as u64;
    for more in [0, 100, 512, 1000, 2000, 2600] {
        disk.set_space(Some(used + more));
        let error = write(&snaps, 20, LEN).unwrap_err();
        assert!(matches!(error, Error::NoSpace { .. }), "{more}: {error}");
        assert_eq!((indexes(&snaps), files(&disk)), (vec![10], 1), "{more}");
    }
    disk.set_space(None);
    write(&snaps, 20, LEN).unwrap();
}

#[test]
fn a_transfer_goes_on_after_a_full_disk() {
    let (disk, snaps) = with_one();
    let used = disk.read_file(path(10)).unwrap().len() as u64;
    let mut receiver = snaps.receiver(&announcement(20, LEN)).unwrap();
    let bytes = data(20, LEN);
    for (n, chunk) in (0..).zip(bytes.chunks(CHUNK)) {
        disk.set_space(Some(used + 512 + u64::from(n) * 520 + 300));
        let error = receiver.put(n, chunk).map_err(|e| e.to_string());
        if chunk.len() == CHUNK {
            assert!(error.unwrap_err().contains("free space"));
            assert_eq!(receiver.next_chunk(), n);
            disk.set_space(None);
            receiver.put(n, chunk).unwrap();
        }
    }
    disk.set_space(Some(used + 512 + LEN as u64));
    let error = receiver.finish().unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    disk.set_space(None);
    let receiver = snaps.receiver(&announcement(20, LEN)).unwrap();
    assert_eq!(receiver.next_chunk(), receiver.chunks(), "nothing is to be sent again");
    let info = receiver.finish().unwrap();
    assert_eq!(read(&snaps, &info).unwrap(), bytes);
}

#[test]
fn after_a_failed_sync_a_transfer_begins_anew() {
    let disk = disk(1);
    let options = options().sync_bytes(2 * CHUNK as u64);
    let snaps = SnapDir::open(disk.clone(), DIR, &options).unwrap();
    let mut receiver = snaps.receiver(&announcement(20, LEN)).unwrap();
    let bytes = data(20, LEN);
    let chunk = |n: u32| &bytes[n as usize * CHUNK..][..CHUNK];
    receiver.put(0, chunk(0)).unwrap();
    disk.fail_next(Op::SyncData, Fault::Eio);
    let error = receiver.put(1, chunk(1)).unwrap_err();
    assert!(matches!(error, Error::Io { op: "sync", .. }), "{error}");
    let error = receiver.put(receiver.next_chunk(), chunk(2)).unwrap_err();
    assert!(matches!(error, Error::GivenUp { .. }), "{error}");
    assert!(matches!(receiver.finish().unwrap_err(), Error::Rejected(_)));
    assert_eq!(files(&disk), 0);
    assert_eq!(snaps.receiver(&announcement(20, LEN)).unwrap().next_chunk(), 0);
}

#[test]
fn what_a_dead_process_failed_to_write_back_is_written_again_by_who_resumes() {
    // Of many pages, so that what is written next does not make the lost ones dirty by chance.
    let (len, mut resumed) = (60 * CHUNK, 0);
    for seed in 0..200 {
        let disk = disk(seed);
        let snaps = open(&disk);
        let mut receiver = snaps.receiver(&announcement(20, len)).unwrap();
        for (n, chunk) in (0..55).zip(data(20, len).chunks(CHUNK)) {
            receiver.put(n, chunk).unwrap();
        }
        drop(receiver);
        // The cache may show what the disk has lost, and no sync would tell.
        let killed = disk.kill(seed);
        let snaps = open(&killed);
        resumed += u64::from(snaps.receiver(&announcement(20, len)).unwrap().resumed());
        let info = receive(&snaps, 20, len).unwrap();
        for left in [killed.power_cut(&mut KeepNothing), killed.fork()] {
            left.drop_caches();
            let snaps = open(&left);
            assert_eq!(read(&snaps, &info).unwrap(), data(20, len), "seed {seed}");
        }
    }
    support::announce(&format!("200 kills, {resumed} chunks of 11000 taken over"));
    assert!(resumed > 1_000, "nothing was resumed");
}

#[test]
fn a_read_error_is_told_and_says_nothing_against_the_file() {
    let (disk, snaps) = with_one();
    write(&snaps, 20, LEN).unwrap();
    disk.fail_next(Op::Read, Fault::Eio);
    let error = snaps.newest_usable().unwrap_err();
    assert!(matches!(error, Error::Io { op: "read", .. }), "no reason to go back to 10: {error}");
    let info = snaps.newest_usable().unwrap().unwrap();
    let mut reader = snaps.reader(&info).unwrap();
    disk.fail_next(Op::Read, Fault::Eio);
    let mut bytes = Vec::new();
    let error = reader.read_to_end(&mut bytes).unwrap_err();
    assert!(matches!(Error::of(&error), Some(Error::Io { offset: Some(512), .. })), "{error}");
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, data(20, LEN));
    // Whoever cannot be read does not count, and does not go.
    disk.fail_next(Op::Open, Fault::Emfile);
    let listing = snaps.list().unwrap();
    assert_eq!((listing.usable.len(), listing.unusable.len()), (1, 1));
    disk.fail_next(Op::Open, Fault::Emfile);
    write(&snaps, 20, LEN).map(drop).unwrap_or_default();
    assert_eq!(indexes(&snaps), [20, 10]);
}

#[test]
fn two_readers_and_a_retention_at_once_never_meet_a_missing_file() {
    let disk = disk(1);
    let snaps = open(&disk);
    let reads = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let snaps = snaps.clone();
                scope.spawn(move || {
                    let mut reads = 0;
                    while reads < 200 {
                        let Some(info) = snaps.newest_usable().unwrap() else { continue };
                        // The newest two stay, and a pin holds what is being read.
                        let Ok(reader) = snaps.reader(&info) else { continue };
                        for n in 0..info.chunks {
                            reader.chunk(n).unwrap();
                        }
                        assert!(Path::new(DIR).join(format!("{}.snap", info.id())).is_absolute());
                        assert!(snaps.find(info.id()).is_ok(), "it is pinned");
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        for index in 1..200 {
            write(&snaps, index, LEN).unwrap();
            snaps.retain(u64::MAX).unwrap();
        }
        readers.into_iter().map(|r| r.join().unwrap()).sum::<u64>()
    });
    assert_eq!(reads, 400);
    snaps.retain(u64::MAX).unwrap();
    assert_eq!(indexes(&snaps), [199, 198]);
}
