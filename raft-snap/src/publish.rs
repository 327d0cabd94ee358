//! Giving a complete file its name.

use std::sync::MutexGuard;

use raft_vfs::Vfs;

use crate::building::Complete;
use crate::dir::Shared;
use crate::error::{Error, Result, io_error};
use crate::file::{SnapFile, SnapInfo};
use crate::keep::move_aside;
use crate::names::SnapName;

impl<V: Vfs> Complete<V> {
    /// Gives the file its name and makes that durable. If a sound snapshot of this index and term
    /// is there already, that one is kept and this one goes; a damaged one is quarantined first.
    ///
    /// The bytes are synced before the name exists: a [`Complete`] is made in no other way. So
    /// whatever a crash leaves under the name is whole.
    pub(crate) fn publish(mut self) -> Result<SnapInfo> {
        let shared = self.building.shared.clone();
        let changes = shared.changes();
        shared.writable()?;
        if let Some(existing) = keep_existing(&shared, &changes, &self.info)? {
            self.building.temporary = true;
            return Ok(existing);
        }
        let name = shared.path(SnapName::Snapshot(self.info.id()));
        let renamed = shared.vfs.rename(&self.building.path, &name);
        renamed.map_err(|e| io_error("rename", &name, None, e))?;
        // There is nothing under the temporary name any more.
        self.building.temporary = false;
        let Err(e) = shared.sync_names(&changes) else { return Ok(self.info.clone()) };
        // A name that may not be durable is for nobody to find.
        if let Err(e) = shared.vfs.remove(&name) {
            shared.put_in_doubt(self.info.id(), &e);
        }
        Err(e)
    }
}

/// The sound snapshot that has the name already. Reads all of it: what is kept in place of a new
/// file must be as good.
fn keep_existing<V: Vfs>(
    shared: &Shared<V>,
    changes: &MutexGuard<'_, ()>,
    new: &SnapInfo,
) -> Result<Option<SnapInfo>> {
    let opened = SnapFile::open(shared, new.id());
    match opened.and_then(|file| file.verify().map(|()| file)) {
        Ok(file) if file.info.meta == new.meta => Ok(Some(file.info)),
        Ok(file) => Err(Error::Conflict {
            expected: new.meta.conf_state.len(),
            found: file.info.meta.conf_state.len(),
            path: file.path,
        }),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(Error::Corrupt(_)) => move_aside(shared, changes, new.id()).map(|_| None),
        Err(e) => Err(e),
    }
}
