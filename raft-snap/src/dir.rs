//! The snapshot directory: opening it, and what all who use it share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft_vfs::Vfs;

use crate::error::{Error, Result, io_error};
use crate::format::{CHUNK_MAX, CHUNK_MIN};
use crate::names::{SnapId, SnapName};

/// Whose snapshots they are. Every file carries it, and a file of somebody else is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: u128,
    /// The node in it.
    pub node_id: u64,
}

/// Options of a snapshot directory. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) identity: Identity,
    pub(crate) retain: usize,
    pub(crate) chunk_bytes: u32,
    pub(crate) sync_bytes: u64,
}

impl Options {
    /// The defaults, which are right for a Raft node.
    pub const fn new(identity: Identity) -> Self {
        Self { identity, retain: 2, chunk_bytes: 1 << 20, sync_bytes: 64 << 20 }
    }

    /// How many of the newest usable snapshots [`SnapDir::retain`] keeps at least: 2 or more, so
    /// that there is one to fall back to. Default 2.
    pub const fn retain(mut self, snapshots: usize) -> Self {
        self.retain = snapshots;
        self
    }

    /// Length of the chunks of new snapshots, 512 bytes to 16 MiB: what writing and reading hold
    /// in memory, and what is sent at once. Default 1 MiB.
    pub const fn chunk_bytes(mut self, bytes: u32) -> Self {
        self.chunk_bytes = bytes;
        self
    }

    /// A file that is being written is synced each time that so many bytes were added, at least 1,
    /// so that no single sync takes long and a crash does not cost a whole transfer. Default
    /// 64 MiB.
    pub const fn sync_bytes(mut self, bytes: u64) -> Self {
        self.sync_bytes = bytes;
        self
    }

    fn check(&self) -> Result<()> {
        let out_of_range = |option, found, expected| Err(Error::Option { option, found, expected });
        if self.retain < 2 {
            return out_of_range("retain", self.retain as u64, "at least 2");
        }
        if !(CHUNK_MIN..=CHUNK_MAX).contains(&self.chunk_bytes) {
            return out_of_range("chunk_bytes", self.chunk_bytes.into(), "512 to 16777216");
        }
        if self.sync_bytes == 0 {
            return out_of_range("sync_bytes", 0, "at least 1");
        }
        Ok(())
    }
}

/// A directory of snapshot files. Clones are handles of the same one, for many threads.
///
/// There is to be one writing `SnapDir` a directory at a time; whoever opens it holds the lock of
/// the data directory that it is part of. Pins are known to this handle and its clones only.
#[derive(Debug)]
pub struct SnapDir<V: Vfs> {
    pub(crate) shared: Arc<Shared<V>>,
}

impl<V: Vfs> Clone for SnapDir<V> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

/// What handles, writers, receivers and readers of one directory share.
#[derive(Debug)]
pub(crate) struct Shared<V: Vfs> {
    pub(crate) vfs: V,
    pub(crate) dir: PathBuf,
    /// `None` opens for reading only, without syncs.
    pub(crate) options: Option<Options>,
    /// `None` reads everybody's files.
    pub(crate) identity: Option<Identity>,
    /// Held by whoever changes names.
    ///
    /// Invariant: while nobody holds it and the directory is not poisoned, every `.snap` name that
    /// is seen is durable, and so are the bytes under it. [`SnapDir::open`] establishes that with
    /// a sync of the directory; only `publish` adds such names, each with its own sync.
    changes: Mutex<()>,
    /// Held for moments, never across a call of the file system.
    state: Mutex<State>,
}

/// What is in use, and what is in doubt.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Readers of each snapshot. Never 0.
    pins: BTreeMap<SnapId, usize>,
    /// Snapshots that are being removed.
    ///
    /// Invariant: none of them is pinned.
    doomed: BTreeSet<SnapId>,
    /// Temporary files and transfers that somebody is writing, or removing.
    claims: BTreeSet<SnapName>,
    /// Snapshots whose name a failed sync left visible.
    ///
    /// Invariant: empty unless the directory is poisoned.
    in_doubt: BTreeSet<SnapId>,
    /// Why nothing is written any more.
    poisoned: Option<Arc<str>>,
}

impl<V: Vfs> SnapDir<V> {
    /// Opens the snapshot directory `dir`, making it first if there is none; its parent must
    /// exist. Blocks for a sync of each of the two directories, so that what is seen is durable.
    /// Changes nothing else: see [`SnapDir::clean_up`].
    ///
    /// # Errors
    /// [`Error::Option`]; [`Error::Io`] and [`Error::NoSpace`] if the directory cannot be made,
    /// listed or synced.
    pub fn open(vfs: V, dir: impl AsRef<Path>, options: &Options) -> Result<Self> {
        options.check()?;
        let dir = dir.as_ref();
        if let Err(e) = vfs.list(dir) {
            if e.kind() != io::ErrorKind::NotFound {
                return Err(io_error("list", dir, None, e));
            }
            match vfs.create_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io_error("create", dir, None, e));
                }
                _ => {}
            }
        }
        // Also where they exist: who made them may have died before these syncs.
        for dir in [parent_of(dir), dir] {
            vfs.sync_dir(dir).map_err(|e| io_error("sync directory", dir, None, e))?;
        }
        Ok(Self::new(vfs, dir, Some(options.clone()), Some(options.identity)))
    }

    /// Opens the snapshot directory `dir` to look at it: takes nothing for granted, changes
    /// nothing, syncs nothing. Files of others than `identity` are refused, if it is given.
    /// Another process may be writing; what it removes is [`Error::NotFound`].
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed.
    pub fn open_read_only(
        vfs: V,
        dir: impl AsRef<Path>,
        identity: Option<Identity>,
    ) -> Result<Self> {
        let dir = dir.as_ref();
        vfs.list(dir).map_err(|e| io_error("list", dir, None, e))?;
        Ok(Self::new(vfs, dir, None, identity))
    }

    fn new(vfs: V, dir: &Path, options: Option<Options>, identity: Option<Identity>) -> Self {
        let (changes, state) = (Mutex::default(), Mutex::default());
        let dir = dir.to_owned();
        Self { shared: Arc::new(Shared { vfs, dir, options, identity, changes, state }) }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.shared.dir
    }

    /// The path of the file that the snapshot of this index and term has.
    pub fn path_of(&self, id: SnapId) -> PathBuf {
        self.shared.path(SnapName::Snapshot(id))
    }

    /// Why nothing can be written through this handle any more, if that is so.
    pub fn poisoned(&self) -> Option<Arc<str>> {
        self.shared.state().poisoned.clone()
    }
}

impl<V: Vfs> Shared<V> {
    pub(crate) fn path(&self, name: SnapName) -> PathBuf {
        self.dir.join(name.to_string())
    }

    /// A thread that panicked inside left nothing half-done: every change of the state is one call.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to change names. What a thread that panicked left is a crash state like any other.
    pub(crate) fn changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The options, if the directory may be written.
    pub(crate) fn writable(&self) -> Result<&Options> {
        if let Some(cause) = &self.state().poisoned {
            return Err(Error::Poisoned { cause: cause.clone() });
        }
        self.options.as_ref().ok_or_else(|| Error::ReadOnly { dir: self.dir.clone() })
    }

    /// How much may be written to a file before it is synced.
    pub(crate) fn sync_bytes(&self) -> u64 {
        self.options.as_ref().map_or(u64::MAX, |options| options.sync_bytes)
    }

    /// Makes the names durable. If that fails, nothing is known of them, and no later sync would
    /// prove anything: then the handle never writes again.
    #[track_caller]
    pub(crate) fn sync_names(&self, _changes: &MutexGuard<'_, ()>) -> Result<()> {
        self.vfs.sync_dir(&self.dir).map_err(|e| {
            if is_out_of_descriptors(&e) {
                // No sync began.
                return io_error("sync directory", &self.dir, None, e);
            }
            let cause: Arc<str> = format!("sync directory {}: {e}", self.dir.display()).into();
            self.state().poisoned.get_or_insert(cause.clone());
            Error::Poisoned { cause }
        })
    }

    /// A name that is not durable could not be taken back: nobody is to use it, and nobody to
    /// write another one on top.
    pub(crate) fn put_in_doubt(&self, id: SnapId, why: &io::Error) {
        let mut state = self.state();
        state.in_doubt.insert(id);
        let cause = || format!("{id} could not be removed after a failed sync: {why}").into();
        state.poisoned.get_or_insert_with(cause);
    }

    /// # Errors
    /// [`Error::Poisoned`] if a failed sync left the name of this snapshot visible.
    pub(crate) fn check_not_in_doubt(&self, id: SnapId) -> Result<()> {
        let state = self.state();
        match &state.poisoned {
            Some(cause) if state.in_doubt.contains(&id) => {
                Err(Error::Poisoned { cause: cause.clone() })
            }
            _ => Ok(()),
        }
    }
}

/// Keeps a snapshot from being removed by [`SnapDir::retain`] while it lives.
#[derive(Debug)]
pub struct Pin<V: Vfs> {
    shared: Arc<Shared<V>>,
    id: SnapId,
}

impl<V: Vfs> Pin<V> {
    /// # Errors
    /// [`Error::NotFound`] if the snapshot is being removed.
    pub(crate) fn new(shared: &Arc<Shared<V>>, id: SnapId) -> Result<Self> {
        let mut state = shared.state();
        if state.doomed.contains(&id) {
            return Err(Error::NotFound { path: shared.path(SnapName::Snapshot(id)) });
        }
        *state.pins.entry(id).or_default() += 1;
        drop(state);
        Ok(Self { shared: shared.clone(), id })
    }

    /// Which snapshot.
    pub fn id(&self) -> SnapId {
        self.id
    }
}

impl<V: Vfs> Drop for Pin<V> {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        let count = state.pins.remove(&self.id).unwrap_or_default();
        debug_assert!(count > 0, "a pin is counted until it is dropped");
        if count > 1 {
            state.pins.insert(self.id, count - 1);
        }
    }
}

/// The right to remove a snapshot: nobody has it pinned, and nobody can pin it meanwhile.
#[derive(Debug)]
pub(crate) struct Doom<'s, V: Vfs> {
    shared: &'s Shared<V>,
    id: SnapId,
}

impl<'s, V: Vfs> Doom<'s, V> {
    /// `None` if somebody has it pinned.
    pub(crate) fn new(shared: &'s Shared<V>, id: SnapId) -> Option<Self> {
        let mut state = shared.state();
        if state.pins.contains_key(&id) {
            return None;
        }
        state.doomed.insert(id);
        drop(state);
        Some(Self { shared, id })
    }
}

impl<V: Vfs> Drop for Doom<'_, V> {
    fn drop(&mut self) {
        self.shared.state().doomed.remove(&self.id);
    }
}

/// The right to write or remove a file under a name that is not a snapshot's.
#[derive(Debug)]
pub(crate) struct Claim<V: Vfs> {
    shared: Arc<Shared<V>>,
    name: SnapName,
}

impl<V: Vfs> Claim<V> {
    /// # Errors
    /// [`Error::Busy`] if somebody has it.
    pub(crate) fn new(shared: &Arc<Shared<V>>, name: SnapName) -> Result<Self> {
        if shared.state().claims.insert(name) {
            Ok(Self { shared: shared.clone(), name })
        } else {
            Err(Error::Busy { path: shared.path(name) })
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.shared.path(self.name)
    }
}

impl<V: Vfs> Drop for Claim<V> {
    fn drop(&mut self) {
        self.shared.state().claims.remove(&self.name);
    }
}

fn parent_of(dir: &Path) -> &Path {
    match dir.parent() {
        Some(p) if p.as_os_str().is_empty() => Path::new("."),
        Some(p) => p,
        None => dir,
    }
}

/// Whether a directory could not even be opened to be synced.
fn is_out_of_descriptors(e: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(e.raw_os_error(), Some(ENFILE | EMFILE))
}
