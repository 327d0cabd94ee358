//! The same on real files.

#![allow(clippy::disallowed_methods, reason = "damages real files")]

use std::path::{Path, PathBuf};

use raft_vfs::OsVfs;
use raft_wal::error::CorruptKind;
use raft_wal::inspect::Segment;
use raft_wal::scan::Step;
use raft_wal::{Error, Options, ReadMode, Status, Wal, verify};

use crate::judge::lost_range;
use crate::log::{entries, entry};
use crate::lost;

/// A closed log of ten batches on real files, and where its batches stand.
fn closed_log(dir: &Path) -> Vec<(u64, u64)> {
    let options = Options::new().segment_bytes(16 << 10);
    let (mut wal, _) = Wal::open(OsVfs, dir, &options).unwrap();
    for index in 1..11 {
        let ticket = wal.append(&entries(index..index + 1, 1)).unwrap();
        wal.wait(ticket).unwrap();
    }
    wal.close().unwrap();
    let file = Segment::open(&OsVfs, &segment(dir)).unwrap();
    let mut scanner = file.scanner().unwrap();
    let mut places = Vec::new();
    while scanner.step().unwrap() == Step::Frame {
        places.push((scanner.frame().offset, scanner.frame().end));
    }
    places
}

fn segment(dir: &Path) -> PathBuf {
    dir.join("wal/00000000000000000001.seg")
}

/// Every byte of every file of a log.
fn bytes(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect()
    };
    let mut all = files(dir);
    all.extend(files(&dir.join("wal")));
    all.sort();
    all.into_iter().map(|p| (p.clone(), std::fs::read(&p).unwrap())).collect()
}

#[test]
fn on_real_files_a_loss_is_named_the_rest_is_read_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let places = closed_log(dir.path());
    let mut harmed = std::fs::read(segment(dir.path())).unwrap();
    harmed[places[4].1 as usize - 9] ^= 1;
    std::fs::write(segment(dir.path()), harmed).unwrap();
    let before = bytes(dir.path());

    for mode in [ReadMode::Map, ReadMode::Pread] {
        let options = Options::new().read_mode(mode);
        let Err(Error::Corrupt(c)) = Wal::open(OsVfs, dir.path(), &options) else { panic!() };
        assert_eq!((c.kind, c.offset), (CorruptKind::Batch, places[4].0));
        assert_eq!(c.path, segment(dir.path()));
        let g = Wal::open_degraded(OsVfs, dir.path(), &options).unwrap();
        assert_eq!(g.lost(), [lost(5, 5)]);
        assert_eq!(lost_range(&g.entries(5, 6, 1).unwrap_err()), Some(lost(5, 5)));
        let sound: Vec<_> = (1..11).filter(|&i| i != 5).map(|i| entry(i, 1)).collect();
        let mut found = g.entries(1, 5, u64::MAX).unwrap();
        found.extend(g.entries(6, 11, u64::MAX).unwrap());
        assert_eq!(found, sound);
        assert!(matches!(Wal::open(OsVfs, dir.path(), &options), Err(Error::Locked { .. })));
        drop(g);
        let v = verify(OsVfs, dir.path(), &options).unwrap();
        assert_eq!((v.status, v.lost), (Status::Corrupt, vec![lost(5, 5)]));
    }
    assert_eq!(bytes(dir.path()), before);
}

#[test]
fn on_real_files_what_is_not_a_regular_file_is_named_and_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    closed_log(dir.path());
    let segment = segment(dir.path());
    let elsewhere = dir.path().join("elsewhere");
    std::fs::rename(&segment, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &segment).unwrap();
    let bytes = std::fs::read(&elsewhere).unwrap();
    let options = Options::new();
    let opened = [
        Wal::open(OsVfs, dir.path(), &options).map(drop),
        Wal::open_degraded(OsVfs, dir.path(), &options).map(drop),
        verify(OsVfs, dir.path(), &options).map(drop),
    ];
    for result in opened {
        match result {
            Err(Error::Io { path, .. }) => assert_eq!(path, segment),
            other => panic!("a link was followed: {other:?}"),
        }
    }
    assert_eq!(std::fs::read(&elsewhere).unwrap(), bytes);
}
