//! One damage, done: which files are not what they were, and in which bytes.

use std::ops::Range;

use raft_vfs::SimVfs;

use crate::logs::Log;
use crate::support::sim::path;

/// A file that is not what it was.
#[derive(Clone, Debug)]
pub(crate) struct Changed {
    /// Its place among the log's files.
    pub(crate) file: usize,
    /// What it is now; `None` if it is gone.
    pub(crate) now: Option<Vec<u8>>,
    /// Outside of this range, and of a change of length, it is what it was.
    pub(crate) within: Range<usize>,
}

/// Damage to a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Harm {
    pub(crate) changed: Vec<Changed>,
    /// Files under names that the log did not have.
    pub(crate) added: Vec<(String, Vec<u8>)>,
    /// Names of whole files were mixed up: what each file says is right, but not here.
    pub(crate) names: bool,
    /// Sound bytes stand in another place or are of another time.
    pub(crate) moved: bool,
}

impl Harm {
    /// Changes bytes of a file, on top of what was changed before.
    pub(crate) fn edit(
        &mut self,
        log: &Log,
        file: usize,
        within: Range<usize>,
        edit: impl FnOnce(&mut Vec<u8>),
    ) {
        let changed = if let Some(c) = self.changed.iter_mut().find(|c| c.file == file) {
            c.within = c.within.start.min(within.start)..c.within.end.max(within.end);
            c
        } else {
            let now = Some(log.files[file].bytes.clone());
            self.changed.push(Changed { file, now, within });
            self.changed.last_mut().expect("just pushed")
        };
        if let Some(now) = &mut changed.now {
            edit(now);
        }
    }

    /// Overwrites bytes, as far as the file goes.
    pub(crate) fn write(&mut self, log: &Log, file: usize, at: usize, bytes: &[u8]) {
        self.edit(log, file, at..at + bytes.len(), |now| {
            let end = now.len().min(at + bytes.len());
            if at < end {
                now[at..end].copy_from_slice(&bytes[..end - at]);
            }
        });
    }

    /// Puts other contents in the place of a file, or nothing.
    pub(crate) fn replace(&mut self, log: &Log, file: usize, now: Option<Vec<u8>>) {
        let len = now.as_ref().map_or(0, Vec::len).max(log.files[file].bytes.len());
        self.changed.retain(|c| c.file != file);
        self.changed.push(Changed { file, now, within: 0..len });
    }

    /// Whether nothing is different.
    pub(crate) fn is_nothing(&self, log: &Log) -> bool {
        let same = |c: &Changed| c.now.as_ref() == Some(&log.files[c.file].bytes);
        self.added.is_empty() && self.changed.iter().all(same)
    }

    /// What a file is now; `None` if it is gone.
    pub(crate) fn now<'a>(&'a self, log: &'a Log, file: usize) -> Option<&'a [u8]> {
        match self.changed.iter().find(|c| c.file == file) {
            Some(c) => c.now.as_deref(),
            None => Some(&log.files[file].bytes),
        }
    }

    /// Whether any of these bytes of a file is not what it was.
    pub(crate) fn hits(&self, log: &Log, file: usize, bytes: &Range<usize>) -> bool {
        let Some(c) = self.changed.iter().find(|c| c.file == file) else { return false };
        let Some(now) = &c.now else { return true };
        if now.len() < bytes.end {
            return true;
        }
        let overlap = bytes.start < c.within.end && c.within.start < bytes.end;
        overlap && now[bytes.clone()] != log.files[file].bytes[bytes.clone()]
    }

    /// A disk with the damaged log.
    pub(crate) fn disk(&self, log: &Log, base: &SimVfs) -> SimVfs {
        let disk = base.fork();
        for c in &self.changed {
            match &c.now {
                Some(bytes) => disk.write_file(&log.paths[c.file], bytes),
                None => disk.delete(&log.paths[c.file]),
            }
        }
        for (name, bytes) in &self.added {
            disk.write_file(path(name), bytes);
        }
        disk
    }

    /// Whether the files of a disk are those of the damaged log. The lock file may have been made.
    pub(crate) fn is_on(&self, log: &Log, disk: &SimVfs) -> bool {
        let mut there = 0;
        for (file, at) in log.paths.iter().enumerate() {
            let now = self.now(log, file);
            if log.files[file].name == "LOCK" {
                there += usize::from(disk.read_file(at).is_some());
                continue;
            }
            there += usize::from(now.is_some());
            if disk.read_file(at).as_deref() != now {
                return false;
            }
        }
        let added =
            |(name, bytes): &(String, Vec<u8>)| disk.read_file(path(name)).as_ref() == Some(bytes);
        self.added.iter().all(added) && disk.paths().len() == there + self.added.len()
    }
}
