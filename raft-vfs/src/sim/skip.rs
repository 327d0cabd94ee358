//! Calls that are forgotten: how a test of tests plants the bug that a program leaves out a sync,
//! a write, a removal, a new name or a lock.

use std::cell::RefCell;
use std::panic::Location;

use super::fault::Op;

/// The calls of one kind that one line of a program makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skip {
    /// What is called: [`Op::Write`], [`Op::SyncData`], [`Op::Truncate`], [`Op::SyncDir`],
    /// [`Op::Rename`], [`Op::Remove`] or [`Op::Lock`]. Calls of other kinds are never skipped.
    pub op: Op,
    /// How the name of the source file ends.
    pub file: String,
    /// The line outside this crate that makes the call, as [`Moment::site`](super::Moment) has it.
    pub line: u32,
}

thread_local! {
    /// What is skipped, and how often it was.
    static SKIPPED: RefCell<Option<(Skip, u64)>> = const { RefCell::new(None) };
}

/// Runs `run`, during which the calls of `skip` do nothing on every simulated disk that this
/// thread uses: they say that they succeeded, are not counted and do not fail. A skipped lock is
/// granted even if somebody holds it. Returns how many calls were skipped, too.
///
/// Inside another `skipping` only the inner one holds.
pub fn skipping<R>(skip: Skip, run: impl FnOnce() -> R) -> (R, u64) {
    /// Puts the outer skip back, after a panic too.
    struct Restore(Option<(Skip, u64)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            SKIPPED.with_borrow_mut(|s| std::mem::swap(s, &mut self.0));
        }
    }
    let mut outer = Restore(SKIPPED.replace(Some((skip, 0))));
    let result = run();
    let inner = SKIPPED.replace(outer.0.take());
    outer.0 = SKIPPED.with_borrow(Clone::clone);
    (result, inner.map_or(0, |(_, times)| times))
}

/// Whether this call is to do nothing.
pub(super) fn is_skipped(op: Op, site: &Location<'_>) -> bool {
    SKIPPED.with_borrow_mut(|skipped| match skipped {
        Some((skip, times))
            if skip.op == op && skip.line == site.line() && site.file().ends_with(&skip.file) =>
        {
            *times += 1;
            true
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sim::{KeepNothing, SimVfs};
    use crate::{Vfs, VfsFile, VfsFileExt};

    fn here(op: Op, line: u32) -> Skip {
        Skip { op, file: "skip.rs".into(), line }
    }

    #[test]
    fn only_the_calls_of_one_kind_on_one_line_are_skipped() {
        let disk = SimVfs::new(1);
        let path = Path::new("/a");
        let line = line!() + 2;
        let write = |disk: &SimVfs| {
            let file = disk.create_excl(path).unwrap();
            file.write_all_at(b"bytes", 0).unwrap();
            file.sync_data().unwrap();
            disk.sync_dir(Path::new("/")).unwrap();
        };
        let left = |disk: &SimVfs| disk.power_cut(&mut KeepNothing).read_file(path);
        let ((), times) = skipping(here(Op::SyncDir, line + 3), || write(&disk));
        assert_eq!((times, left(&disk)), (1, None));
        disk.sync_dir(Path::new("/")).unwrap();
        assert_eq!(left(&disk), Some(b"bytes".to_vec()), "its bytes were synced");

        let other = disk.fork();
        other.delete(path);
        let ((), times) = skipping(here(Op::SyncData, line + 2), || write(&other));
        assert_eq!((times, left(&other)), (1, Some(Vec::new())));
        other.delete(path);
        let ((), times) = skipping(here(Op::SyncDir, line + 2), || write(&other));
        assert_eq!((times, left(&other)), (0, Some(b"bytes".to_vec())));
    }

    #[test]
    fn a_panic_ends_the_skipping() {
        let disk = SimVfs::new(1);
        let line = line!() + 1;
        let lock = || disk.lock(Path::new("/lock")).ok();
        let held = lock();
        let (second, times) = skipping(here(Op::Lock, line), lock);
        assert!(held.is_some() && second.is_some() && times == 1);
        drop((held, second));

        let panics = || skipping(here(Op::Lock, line), || panic!("on purpose"));
        assert!(std::panic::catch_unwind(panics).is_err());
        let held = lock();
        assert!(held.is_some() && lock().is_none());
    }
}
