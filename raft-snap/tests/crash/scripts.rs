//! What is done to a snapshot directory while the power goes off, and what may be there afterwards.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use raft_snap::{Error, SnapDir, SnapName};
use raft_vfs::SimVfs;

use crate::support::{
    CHUNK, DIR, announcement, data, disk, id, open, options, path, receive, write,
};

/// Length of the data of every snapshot here: four chunks, the last one not full.
pub(crate) const LEN: usize = 3 * CHUNK + 100;

type Indexes = &'static [u64];

/// An operation. Run again after a crash, it brings about the same.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// Indexes of the usable snapshots before.
    pub(crate) before: Indexes,
    /// And after.
    pub(crate) after: Indexes,
    /// One that is damaged, and stays on the disk under its own or a quarantine name.
    pub(crate) damaged: Option<u64>,
    pub(crate) run: fn(&SimVfs) -> Result<(), Error>,
    /// Opens by itself; else the directory was opened before.
    pub(crate) from_scratch: bool,
}

fn the_dir(disk: &SimVfs) -> Result<SnapDir<SimVfs>, Error> {
    SnapDir::open(disk.clone(), DIR, &options())
}

/// With a sync after every second chunk.
fn the_dir_synced_often(disk: &SimVfs) -> Result<SnapDir<SimVfs>, Error> {
    SnapDir::open(disk.clone(), DIR, &options().sync_bytes(2 * CHUNK as u64))
}

fn put(snaps: &SnapDir<SimVfs>, index: u64, upto: u32) -> Result<(), Error> {
    let mut receiver = snaps.receiver(&announcement(index, LEN))?;
    let data = data(index, LEN);
    for (n, chunk) in (0..upto).zip(data.chunks(CHUNK)).skip(receiver.next_chunk() as usize) {
        receiver.put(n, chunk)?;
    }
    Ok(())
}

pub(crate) const SCRIPTS: [Script; 9] = [
    Script {
        name: "first",
        before: &[],
        after: &[10],
        damaged: None,
        run: |disk| write(&the_dir(disk)?, 10, LEN).map(drop),
        from_scratch: true,
    },
    Script {
        name: "create",
        before: &[10, 20],
        after: &[10, 20, 30],
        damaged: None,
        run: |disk| write(&the_dir(disk)?, 30, LEN).map(drop),
        from_scratch: false,
    },
    Script {
        name: "create, synced often",
        before: &[10],
        after: &[10, 30],
        damaged: None,
        run: |disk| write(&the_dir_synced_often(disk)?, 30, LEN).map(drop),
        from_scratch: false,
    },
    Script {
        name: "receive in two connections",
        before: &[10],
        after: &[10, 30],
        damaged: None,
        run: |disk| {
            let snaps = the_dir(disk)?;
            put(&snaps, 30, 2)?;
            receive(&snaps, 30, LEN).map(drop)
        },
        from_scratch: false,
    },
    Script {
        name: "receive in three processes, synced often",
        before: &[10],
        after: &[10, 30],
        damaged: None,
        run: |disk| {
            put(&the_dir_synced_often(disk)?, 30, 1)?;
            put(&the_dir_synced_often(disk)?, 30, 3)?;
            receive(&the_dir_synced_often(disk)?, 30, LEN).map(drop)
        },
        from_scratch: false,
    },
    Script {
        name: "retain",
        before: &[10, 20, 30, 40, 50],
        after: &[40, 50],
        damaged: None,
        run: |disk| match the_dir(disk)?.retain(u64::MAX)?.unusable.pop() {
            // It could not be read, so it did not count, and was not removed.
            Some(unusable) => Err(unusable.error),
            None => Ok(()),
        },
        from_scratch: false,
    },
    Script {
        name: "quarantine",
        before: &[10, 30],
        after: &[10, 30],
        damaged: Some(20),
        run: |disk| match the_dir(disk)?.quarantine(id(20)) {
            Err(Error::NotFound { .. }) => Ok(()),
            done => done.map(drop),
        },
        from_scratch: false,
    },
    Script {
        name: "replace a damaged one",
        before: &[10],
        after: &[10, 20],
        damaged: Some(20),
        run: |disk| write(&the_dir(disk)?, 20, LEN).map(drop),
        from_scratch: false,
    },
    Script {
        name: "clean up",
        before: &[10, 20],
        after: &[10, 20],
        damaged: None,
        run: |disk| {
            let snaps = the_dir(disk)?;
            put(&snaps, 15, 2)?;
            snaps.clean_up().map(drop)
        },
        from_scratch: false,
    },
];

impl Script {
    /// The disk at its beginning: everything durable, nothing open.
    pub(crate) fn setup(&self) -> SimVfs {
        let disk = disk(7);
        if self.from_scratch {
            return disk;
        }
        let snaps = open(&disk);
        for &index in self.before.iter().chain(&self.damaged) {
            write(&snaps, index, LEN).unwrap();
        }
        if self.name == "clean up" {
            disk.write_file(leftover(), b"of a process that died");
        }
        if let Some(index) = self.damaged {
            disk.mutate(path(index), |bytes| damage(bytes));
        }
        drop(snaps);
        disk.fork()
    }

    /// What must be usable while the script runs, and what may be.
    pub(crate) fn bounds(&self, done: bool) -> (BTreeSet<u64>, BTreeSet<u64>) {
        let [before, after] = [self.before, self.after].map(|s| s.iter().copied().collect());
        let (before, after): (BTreeSet<u64>, BTreeSet<u64>) = (before, after);
        if done {
            return (after.clone(), after);
        }
        (&before & &after, &before | &after)
    }
}

/// A temporary file that the script `clean up` finds.
pub(crate) fn leftover() -> PathBuf {
    Path::new(DIR).join(format!("{}-00000000000000ff.tmp", id(5)))
}

/// In the second chunk: header and footer stay sound.
fn damage(bytes: &mut [u8]) {
    bytes[1100] ^= 1;
}

/// The bytes of the damaged file at the beginning of a script.
pub(crate) fn damaged_bytes(start: &SimVfs, index: u64) -> Vec<u8> {
    start.read_file(path(index)).expect("the script begins with it")
}

/// Where the damaged file of this index may be.
pub(crate) fn places(disk: &SimVfs, index: u64) -> Vec<PathBuf> {
    let is_one = |p: &PathBuf| {
        let name = p.file_name().and_then(|name| name.to_str()).and_then(SnapName::parse);
        let found = match name {
            Some(SnapName::Snapshot(found) | SnapName::Broken(found, _)) => Some(found),
            _ => None,
        };
        p.starts_with(DIR) && found == Some(id(index))
    };
    disk.paths().into_iter().filter(is_one).collect()
}
