//! A simulated disk: every file and directory has a live image, which calls see, and a durable
//! one, which a power cut leaves.
//!
//! # What it may lose
//!
//! Between the two lie *pending units*, each of which survives a power cut or not independently
//! of all others ([`SimVfs::power_cut`]):
//!
//! - a write, cut where 512-byte sectors begin. It may also arrive in part (any prefix), or leave
//!   zeros, noise or the bytes of a file removed earlier. Bytes of the sector that were not
//!   written are safe ([`SimVfs::set_powersafe_overwrite`]);
//! - a change of a file's length, by a truncation or a write beyond the end. Sizes and data are
//!   independent: space may be there whose data are not (and then is zero, noise or old bytes),
//!   and data that arrived beyond the length that survived are gone;
//! - a name created, removed or renamed. A file whose name is lost is lost, synced or not.
//!
//! A *failed* `sync_data` is worse than none ([`FsyncFailure`]): sectors that did not arrive count
//! as clean, so that no later sync brings them. The same happens unseen when a process dies and
//! the write-back of what it wrote fails ([`SimVfs::kill`]).
//!
//! [`sync_data`](crate::VfsFile::sync_data) makes a file's writes and lengths durable,
//! [`sync_dir`](crate::Vfs::sync_dir) a directory's names, and nothing else does, except that
//! write-back may at any time bring part of it to the disk unasked: that is what the choice at
//! the power cut stands for.
//!
//! # Forks
//!
//! [`SimVfs::fork`], [`SimVfs::power_cut`] and [`SimVfs::kill`] leave the disk as it is and return
//! a new one that shares all unchanged pages, so that one history can be crashed in thousands of
//! ways. On the new disk no file is open, no lock is held, no fault is planned, and calls count
//! from 0. Files of the old disk go on working on the old one.
//!
//! [`SimVfs::set_moments`] keeps such a fork after every call that changes the disk, with the line
//! of the program that made the call: all the places at which a program can crash. [`skipping`]
//! leaves out what such a line calls: all the calls that a program can forget.
//!
//! # Determinism
//!
//! Everything comes from the calls made and the seeds given. One disk may be used by several
//! threads; then their order is the caller's affair.
//!
//! ```
//! use raft_vfs::sim::{KeepAll, KeepNothing, SimVfs};
//! use raft_vfs::{Vfs, VfsFileExt};
//! use std::path::Path;
//!
//! let disk = SimVfs::new(1);
//! let path = Path::new("/a");
//! let file = disk.create_excl(path)?;
//! file.write_all_at(b"hello", 0)?;
//! assert_eq!(disk.power_cut(&mut KeepNothing).read_file(path), None);
//! assert_eq!(disk.power_cut(&mut KeepAll).read_file(path), Some(b"hello".to_vec()));
//! # Ok::<(), std::io::Error>(())
//! ```

mod crash;
mod dir;
mod disk;
mod fault;
mod file;
mod image;
mod moment;
mod skip;
mod vfs;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::crash::{
    Change, CrashChoice, Fate, KeepAll, KeepNothing, PendingUnit, RandomCrash, Subset,
};
pub use self::fault::{Call, Fault, Op, Persistence, is_crashed};
pub use self::file::FsyncFailure;
pub use self::moment::Moment;
pub use self::skip::{Skip, skipping};
pub use self::vfs::{SimFile, SimLock, SimMap};

use self::dir::Ino;
use self::disk::{Disk, Node};
use self::fault::Schedule;
use self::file::FileNode;

/// A simulated disk with a process using it. Clones are handles of the same disk. See the
/// [module](self).
#[derive(Clone)]
pub struct SimVfs {
    world: Arc<Mutex<World>>,
}

/// A disk and the process that uses it.
#[derive(Debug)]
struct World {
    disk: Disk,
    /// Open handles per file.
    open: BTreeMap<Ino, usize>,
    locked: BTreeSet<Ino>,
    schedule: Schedule,
    /// The disk after each changing call, if they are kept.
    moments: Option<Vec<Moment>>,
}

impl World {
    /// Frees what neither a name nor a handle leads to.
    fn collect(&mut self) {
        let open = &self.open;
        self.disk.collect(|ino| open.contains_key(&ino));
    }
}

impl SimVfs {
    /// An empty disk, with a root directory. Relative paths start there too.
    pub fn new(seed: u64) -> Self {
        Self::with_disk(Disk::new(seed))
    }

    fn with_disk(disk: Disk) -> Self {
        let (open, locked) = (BTreeMap::new(), BTreeSet::new());
        let world = World { disk, open, locked, schedule: Schedule::default(), moments: None };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// A thread that panicked inside can only have been stopped between two changes.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // Crashes.

    /// A copy of the disk, pending changes included, with settings but without faults.
    pub fn fork(&self) -> Self {
        Self::with_disk(self.world().disk.clone())
    }

    /// The disk after the power went off now, with `choice` deciding what survived of the pending
    /// units. What was synced is there, whatever `choice` says.
    pub fn power_cut(&self, choice: &mut impl CrashChoice) -> Self {
        let disk = self.world().disk.after_power_cut(choice);
        Self::with_disk(disk)
    }

    /// The disk after the process was killed now. What it wrote is still seen and still pending;
    /// but with some probability, drawn from `seed`, write-back has brought a file's changes to
    /// the disk, or failed to in part with nobody left to be told, and pages so lost were evicted,
    /// which brings the old bytes back.
    pub fn kill(&self, seed: u64) -> Self {
        let disk = self.world().disk.after_kill(seed);
        Self::with_disk(disk)
    }

    /// What a power cut now would decide about, in the order in which the changes were made.
    pub fn pending_units(&self) -> Vec<PendingUnit> {
        self.world().disk.pending_units()
    }

    /// Evicts the page cache: bytes that a failed sync or write-back has lost, and that were still
    /// to be read, become those of the disk.
    pub fn drop_caches(&self) {
        self.world().disk.evict();
    }

    /// A hash of what a process sees: names, lengths and bytes. Equal for equal disks, across
    /// forks; for recognising crash states already tried.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.world().disk.hash_live(&mut hasher);
        hasher.finish()
    }

    /// Starts chance anew: what [`Vfs::random`](crate::Vfs::random) gives and what failed syncs
    /// lose. Two disks with equal contents and seeds then behave alike, whatever led to them.
    pub fn reseed(&self, seed: u64) {
        self.world().disk.reseed(seed);
    }

    // Faults.

    /// Makes the `n`-th call from now fail, of whatever kind; `n` counts from 1.
    pub fn fail_call(&self, n: u64, fault: Fault, persistence: Persistence) {
        self.world().schedule.plan(None, n, fault, persistence);
    }

    /// Makes the `n`-th call of one kind from now fail; `n` counts from 1.
    pub fn fail_op(&self, op: Op, n: u64, fault: Fault, persistence: Persistence) {
        self.world().schedule.plan(Some(op), n, fault, persistence);
    }

    /// Makes the next call of one kind fail, once.
    pub fn fail_next(&self, op: Op, fault: Fault) {
        self.fail_op(op, 1, fault, Persistence::Once);
    }

    /// The process dies in the `n`-th call from now: see [`Fault::Crash`].
    pub fn crash_at_call(&self, n: u64) {
        self.fail_call(n, Fault::Crash, Persistence::Once);
    }

    /// Whether the process has died of [`Fault::Crash`].
    pub fn crashed(&self) -> bool {
        self.world().schedule.dead()
    }

    /// Takes back all planned faults.
    pub fn clear_faults(&self) {
        self.world().schedule.clear();
    }

    /// Calls made so far, failed ones included; those made after the process died do not count.
    pub fn calls(&self) -> u64 {
        self.world().schedule.calls()
    }

    /// Starts or stops the log of calls. Off at first.
    pub fn set_trace(&self, on: bool) {
        self.world().schedule.set_trace(on);
    }

    /// The calls since the log was started or last taken.
    pub fn take_trace(&self) -> Vec<Call> {
        self.world().schedule.take_trace()
    }

    /// What a failed `sync_data` leaves in the page cache.
    pub fn set_fsync_mode(&self, mode: FsyncFailure) {
        self.world().disk.fsync_mode = mode;
    }

    /// Whether a name that a failed `sync_dir` did not bring to the disk is taken for durable
    /// afterwards, so that calling again does not save it. By default it stays pending.
    pub fn set_dir_sync_lies(&self, lies: bool) {
        self.world().disk.dir_sync_lies = lies;
    }

    /// Whether damage to an un-synced write stays within the bytes written (the default) or takes
    /// whole sectors, synced neighbours included.
    pub fn set_powersafe_overwrite(&self, safe: bool) {
        self.world().disk.powersafe_overwrite = safe;
    }

    /// Limits the sum of all file lengths. Who goes beyond gets a short write, then `ENOSPC`.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.world().disk.space = bytes;
    }

    /// Sets the wall clock. It stands still otherwise.
    pub fn set_unix_millis(&self, millis: u64) {
        self.world().disk.unix_millis = millis;
    }

    // A test's own hands: no faults, no counting, also after a crash.

    /// The bytes of a file as a process sees them; `None` if there is no such file.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        match self.world().disk.lookup(path.as_ref()) {
            Ok((_, Node::File(file))) => Some(file.live_bytes()),
            _ => None,
        }
    }

    /// The bytes of a file as a power cut that keeps nothing would leave them.
    pub fn durable_file(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.world().disk.durable_file(path.as_ref())
    }

    /// Creates or replaces a file, durable at once; missing directories too. Handles of a replaced
    /// file keep the old one.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) {
        let path = path.as_ref();
        let file = Node::File(Arc::new(FileNode::new(path.into(), bytes)));
        self.world().disk.plant(path, Some(file));
    }

    /// Damages a file in place: changes its bytes as seen, durable at once, for open handles too.
    /// Whatever of it was pending has then arrived. Returns false if there is no such file.
    pub fn mutate(&self, path: impl AsRef<Path>, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut world = self.world();
        let Ok((ino, Node::File(file))) = world.disk.lookup(path.as_ref()) else { return false };
        let mut bytes = file.live_bytes();
        change(&mut bytes);
        world.disk.replace(ino, &bytes);
        true
    }

    /// Removes a name, durable at once; of a directory with all that is in it.
    pub fn delete(&self, path: impl AsRef<Path>) {
        let mut world = self.world();
        world.disk.plant(path.as_ref(), None);
        world.collect();
    }

    /// Puts something there that is neither file nor directory, durable at once.
    pub fn plant_special(&self, path: impl AsRef<Path>) {
        self.world().disk.plant(path.as_ref(), Some(Node::Special));
    }

    /// All paths but directories, as seen now, sorted.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.world().disk.paths()
    }
}

impl fmt::Debug for SimVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = self.world();
        f.debug_struct("SimVfs")
            .field("calls", &world.schedule.calls())
            .field("paths", &world.disk.paths())
            .finish_non_exhaustive()
    }
}
