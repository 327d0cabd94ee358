//! On real files: what the simulated disk cannot show. Links and FIFOs, memory, other handles.
#![allow(clippy::disallowed_methods, reason = "the tests lay out real files")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;

use raft_snap::{Announcement, Error, Options, SnapDir, SnapMeta};
use raft_vfs::OsVfs;
use sha2::{Digest as _, Sha256};

use crate::support::{
    CHUNK, IDENTITY, announce, announcement, data, id, indexes, meta, options, read, receive, write,
};

fn open(dir: &Path) -> SnapDir<OsVfs> {
    SnapDir::open(OsVfs, dir, &options()).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let name = |e: fs::DirEntry| e.file_name().into_string().unwrap();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| name(e.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn snapshots_are_written_received_read_retained_and_quarantined_on_real_files() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("snap");
    let snaps = open(&dir);
    for (index, len) in (1..).zip([0, 1, CHUNK, 3 * CHUNK, 100_000]) {
        let info = write(&snaps, index, len).unwrap();
        assert_eq!(read(&snaps, &info).unwrap(), data(index, len));
        snaps.verify(&info).unwrap();
        assert_eq!(fs::metadata(snaps.path_of(info.id())).unwrap().len(), info.file_len);
    }
    let mut receiver = snaps.receiver(&announcement(6, 5 * CHUNK)).unwrap();
    receiver.put(0, &data(6, 5 * CHUNK)[..CHUNK]).unwrap();
    drop((receiver, snaps));

    let snaps = open(&dir);
    assert_eq!(snaps.receiver(&announcement(6, 5 * CHUNK)).unwrap().resumed(), 1);
    let info = receive(&snaps, 6, 5 * CHUNK).unwrap();
    assert_eq!(read(&snaps, &info).unwrap(), data(6, 5 * CHUNK));
    let mut reader = snaps.reader(&snaps.find(id(1)).unwrap()).unwrap();
    assert_eq!(snaps.retain(u64::MAX).unwrap().removed.len(), 3);
    assert_eq!(indexes(&snaps), [6, 5, 1]);
    assert_eq!(reader.read(&mut [0; 8]).unwrap(), 0);
    drop(reader);
    snaps.quarantine(id(6)).unwrap();
    assert_eq!(snaps.retain(u64::MAX).unwrap().removed.len(), 0, "two are left");
    assert_eq!(indexes(&snaps), [5, 1]);
    assert_eq!(names(&dir).len(), 3);
}

#[test]
fn symbolic_links_fifos_and_directories_are_refused_and_left_as_they_are() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("snap");
    let snaps = open(&dir);
    let info = write(&snaps, 5, 100).unwrap();
    // A sound snapshot, elsewhere: to follow the link would find nothing wrong.
    let elsewhere = temp.path().join("elsewhere");
    fs::rename(snaps.path_of(info.id()), &elsewhere).unwrap();
    let before = fs::read(&elsewhere).unwrap();
    symlink(&elsewhere, snaps.path_of(id(5))).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, snaps.path_of(id(6)), rustix::fs::FileType::Fifo, mode, 0)
        .unwrap();
    fs::create_dir(snaps.path_of(id(7))).unwrap();
    symlink(&elsewhere, dir.join(format!("{}.part", id(8)))).unwrap();
    symlink(&elsewhere, dir.join(format!("{}-00000000000000ff.tmp", id(9)))).unwrap();
    let all = names(&dir);

    let listing = snaps.list().unwrap();
    assert_eq!((listing.usable.len(), listing.unusable.len()), (0, 3));
    assert!(listing.unusable.iter().all(|u| matches!(u.error, Error::NotAFile { .. })));
    for index in [5, 6, 7] {
        assert!(matches!(write(&snaps, index, 10).unwrap_err(), Error::NotAFile { .. }));
        assert!(matches!(snaps.quarantine(id(index)).unwrap_err(), Error::NotAFile { .. }));
    }
    let error = snaps.receiver(&announcement(8, 10)).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    assert!(snaps.clean_up().unwrap().is_empty());
    assert_eq!((names(&dir), fs::read(&elsewhere).unwrap()), (all, before));
}

#[test]
fn a_directory_may_be_named_through_a_link_and_by_a_relative_path() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("snap");
    write(&open(&dir), 5, 100).unwrap();
    symlink(&dir, temp.path().join("link")).unwrap();
    assert_eq!(indexes(&open(&temp.path().join("link"))), [5]);
    let error = SnapDir::open(OsVfs, temp.path().join("no/snap"), &options()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    fs::write(temp.path().join("file"), b"").unwrap();
    let error = SnapDir::open(OsVfs, temp.path().join("file"), &options()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

/// Anonymous memory of this process, in bytes.
fn anonymous() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// `RAFT_SNAP_MIB=n` sets the length of the data; 64 MiB otherwise.
#[test]
fn a_long_snapshot_is_written_sent_received_resumed_verified_and_read_in_little_memory() {
    const MOST: u64 = 12 << 20;
    let Some(before) = anonymous() else {
        announce("no /proc/self/status on this machine: memory was not measured");
        return;
    };
    let mib: u64 = std::env::var("RAFT_SNAP_MIB").map_or(64, |n| n.parse().expect("a number"));
    let temp = tempfile::tempdir().unwrap();
    let (mut peak, mut block) = (0, vec![0; 1 << 20]);
    let mut look = || peak = peak.max(anonymous().unwrap_or(0).saturating_sub(before));
    let options = Options::new(IDENTITY);

    let ours = SnapDir::open(OsVfs, temp.path().join("ours"), &options).unwrap();
    let mut writer = ours.writer(&SnapMeta { index: 5, ..meta(5) }).unwrap();
    let mut hash = Sha256::new();
    for n in 0..mib {
        fastrand::Rng::with_seed(n).fill(&mut block);
        hash.update(&block);
        writer.write_all(&block).unwrap();
        look();
    }
    let info = writer.finish().unwrap();
    let hash: [u8; 32] = hash.finalize().into();
    assert_eq!((info.data_len, info.data_hash), (mib << 20, hash));

    let theirs = SnapDir::open(OsVfs, temp.path().join("theirs"), &options).unwrap();
    let announced = Announcement::from(&info);
    let reader = ours.reader(&info).unwrap();
    for upto in [info.chunks / 2, info.chunks] {
        let mut receiver = theirs.receiver(&announced).unwrap();
        look();
        for n in receiver.next_chunk()..upto {
            receiver.put(n, &reader.chunk(n).unwrap()).unwrap();
            look();
        }
        if upto == info.chunks {
            receiver.finish().unwrap();
        }
    }
    let received = theirs.newest_usable().unwrap().unwrap();
    theirs.verify(&received).unwrap();
    look();
    let (mut reader, mut hash) = (theirs.reader(&received).unwrap(), Sha256::new());
    loop {
        let count = reader.read(&mut block).unwrap();
        if count == 0 {
            break;
        }
        hash.update(&block[..count]);
        look();
    }
    assert_eq!(<[u8; 32]>::from(hash.finalize()), info.data_hash);
    announce(&format!("{mib} MiB: {} KiB of anonymous memory at most", peak >> 10));
    assert!(peak < MOST, "{peak} bytes");
}
