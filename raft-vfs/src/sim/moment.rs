//! The disks that a program leaves behind it, one after each call that changed something.

use std::panic::Location;

use super::fault::Op;
use super::{SimVfs, World};

/// A disk as it was right after a call that changed it: a place to crash.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Number of the call, as [`SimVfs::calls`] counts.
    pub call: u64,
    /// What was called.
    pub op: Op,
    /// Where: the line outside this crate that made the call.
    pub site: &'static Location<'static>,
    /// The disk, pending changes included, as [`SimVfs::fork`] would have given it.
    pub disk: SimVfs,
}

impl World {
    /// Keeps the moment, if anybody wants it.
    pub(super) fn keep_moment(&mut self, op: Op, site: &'static Location<'static>) {
        if let Some(moments) = &mut self.moments {
            let disk = SimVfs::with_disk(self.disk.clone());
            moments.push(Moment { call: self.schedule.calls(), op, site, disk });
        }
    }
}

impl SimVfs {
    /// Starts or stops keeping the moment after every call that changes the disk: a name, a
    /// length, a byte, or what of them is durable. Off at first. A sync that finds everything
    /// durable changes nothing; a failed one may.
    pub fn set_moments(&self, on: bool) {
        let mut world = self.world();
        world.moments = on.then(|| world.moments.take().unwrap_or_default());
    }

    /// The moments since they were first kept, or last taken.
    pub fn take_moments(&self) -> Vec<Moment> {
        self.world().moments.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sim::KeepNothing;
    use crate::{Vfs, VfsFile, VfsFileExt};

    #[test]
    fn every_call_that_changes_the_disk_leaves_a_moment_with_the_line_that_made_it() {
        let disk = SimVfs::new(1);
        let (root, path) = (Path::new("/"), Path::new("/a"));
        disk.create_excl(Path::new("/before")).unwrap();
        disk.set_moments(true);
        let first = line!() + 1;
        let file = disk.create_excl(path).unwrap();
        file.write_all_at(b"bytes", 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(root).unwrap();
        let last = line!() - 1;
        file.sync_data().unwrap();
        disk.sync_dir(root).unwrap();
        assert!(disk.create_excl(path).is_err());

        let moments = disk.take_moments();
        let ops: Vec<_> = moments.iter().map(|m| m.op).collect();
        assert_eq!(ops, [Op::Create, Op::Write, Op::SyncData, Op::SyncDir]);
        let lines: Vec<_> = moments.iter().map(|m| m.site.line()).collect();
        assert_eq!(lines, (first..=last).collect::<Vec<_>>());
        assert!(moments.iter().all(|m| m.site.file() == file!()));
        let calls: Vec<_> = moments.iter().map(|m| m.call).collect();
        assert_eq!(calls, [2, 3, 4, 5], "one call was made before");
        let left = |m: &Moment| m.disk.power_cut(&mut KeepNothing).read_file(path);
        assert_eq!(moments.iter().filter_map(left).collect::<Vec<_>>(), [b"bytes"]);
        assert!(disk.take_moments().is_empty());
    }
}
