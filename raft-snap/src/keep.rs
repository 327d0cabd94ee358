//! What stays and what goes: retention, quarantine, and the clean-up after an open.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::MutexGuard;

use raft_vfs::{FileKind, Vfs};

use crate::dir::{Claim, Doom, Shared, SnapDir};
use crate::error::{Error, Result, io_error};
use crate::file::SnapInfo;
use crate::list::{Listing, Unusable};
use crate::names::{SnapId, SnapName};

/// What [`SnapDir::retain`] did.
#[derive(Clone, Debug, Default)]
pub struct Retained {
    /// Snapshots removed, oldest first.
    pub removed: Vec<SnapInfo>,
    /// Snapshots that would have gone, but are pinned.
    pub pinned: Vec<SnapInfo>,
    /// Snapshots that did not count, because they are damaged or could not be read. They stay.
    pub unusable: Vec<Unusable>,
}

impl<V: Vfs> SnapDir<V> {
    /// Removes snapshots that are no longer needed, oldest first: usable ones, older than the
    /// newest [`Options::retain`](crate::Options::retain) usable ones, of an index below
    /// `also_keep`, and not pinned. Header, footer and length of every file are checked before it
    /// counts as usable. What is not usable stays, for somebody to look at. Blocks for a sync of
    /// the directory if anything went.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed or a file not removed: those before it are
    /// gone. [`Error::Poisoned`] if the sync fails. [`Error::ReadOnly`].
    pub fn retain(&self, also_keep: u64) -> Result<Retained> {
        let shared = &self.shared;
        let changes = shared.changes();
        let keep = shared.writable()?.retain;
        let Listing { usable, unusable, .. } = self.list()?;
        debug_assert!(usable.is_sorted_by(|a, b| a.id() > b.id()), "newest first");
        let mut retained = Retained { unusable, ..Retained::default() };
        let mut failed = None;
        for info in usable.into_iter().skip(keep).rev() {
            if info.meta.index >= also_keep {
                continue;
            }
            let path = self.path_of(info.id());
            let Some(_doom) = Doom::new(shared, info.id()) else {
                retained.pinned.push(info);
                continue;
            };
            if let Err(e) = shared.vfs.remove(&path) {
                failed = Some(io_error("remove", &path, None, e));
                break;
            }
            retained.removed.push(info);
        }
        if !retained.removed.is_empty() {
            shared.sync_names(&changes)?;
        }
        failed.map_or(Ok(retained), Err)
    }

    /// Moves the file of a snapshot aside, whatever is in it: renames it to `.broken`, numbered if
    /// that is taken. Nothing reads or removes it there. Returns the new path. Blocks for a sync of
    /// the directory. Readers that are open go on reading.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotAFile`] if the name leads to something else; [`Error::Io`]
    /// with nothing changed; [`Error::Poisoned`] if the sync fails; [`Error::ReadOnly`].
    pub fn quarantine(&self, id: SnapId) -> Result<PathBuf> {
        let changes = self.shared.changes();
        self.shared.writable()?;
        move_aside(&self.shared, &changes, id)
    }

    /// Removes what crashes and failures have left: temporary files that nobody is writing, and
    /// transfers that nobody will resume: all but the newest, and that too if a snapshot as new is
    /// there. To be called after whatever the directory belongs to was opened successfully; a
    /// failed opening is to change nothing. Returns the names removed. Blocks for a sync of the
    /// directory if there were any.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed or a file not removed; [`Error::Poisoned`]
    /// if the sync fails; [`Error::ReadOnly`].
    pub fn clean_up(&self) -> Result<Vec<SnapName>> {
        let shared = &self.shared;
        let changes = shared.changes();
        shared.writable()?;
        let (mut removed, mut failed) = (Vec::new(), None);
        for name in useless(&self.list()?) {
            // Whoever writes it has it claimed.
            let Ok(claim) = Claim::new(shared, name) else { continue };
            let path = claim.path();
            match shared.vfs.remove(&path) {
                Ok(()) => removed.push(name),
                // Its writer was dropped meanwhile and has taken it along.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => {
                    failed = Some(io_error("remove", &path, None, e));
                    break;
                }
            }
        }
        if !removed.is_empty() {
            shared.sync_names(&changes)?;
        }
        failed.map_or(Ok(removed), Err)
    }
}

/// Temporary files, and the transfers that are not worth resuming.
fn useless(listing: &Listing) -> Vec<SnapName> {
    let newest = listing.usable.first().map(SnapInfo::id);
    let resumable = listing.parts.iter().copied().max().filter(|&part| Some(part) > newest);
    let parts = listing.parts.iter().filter(|&&part| Some(part) != resumable);
    let parts = parts.map(|&part| SnapName::Part(part));
    listing.temporary.iter().copied().chain(parts).collect()
}

/// Renames a snapshot to the first quarantine name that is free, and syncs.
pub(crate) fn move_aside<V: Vfs>(
    shared: &Shared<V>,
    changes: &MutexGuard<'_, ()>,
    id: SnapId,
) -> Result<PathBuf> {
    let entries = shared.vfs.list(&shared.dir);
    let entries = entries.map_err(|e| io_error("list", &shared.dir, None, e))?;
    let find = |name: SnapName| {
        let name = name.to_string();
        entries.iter().find(|entry| entry.name == OsStr::new(&name))
    };
    let from = SnapName::Snapshot(id);
    match find(from) {
        None => return Err(Error::NotFound { path: shared.path(from) }),
        Some(entry) if entry.kind != FileKind::File => {
            return Err(Error::NotAFile { path: shared.path(from) });
        }
        Some(_) => {}
    }
    // As many names as entries cannot all be taken.
    let numbers = 1..=u32::try_from(entries.len()).unwrap_or(u32::MAX).saturating_add(1);
    let mut names = numbers.map(|n| SnapName::Broken(id, n));
    let free = names.find(|&name| find(name).is_none());
    let to = shared.path(free.expect("there are more numbers than entries"));
    let renamed = shared.vfs.rename(&shared.path(from), &to);
    renamed.map_err(|e| io_error("rename", &to, None, e))?;
    shared.sync_names(changes)?;
    Ok(to)
}
