//! A simulated disk on which something else happens between two chosen calls: how another process
//! gets in between, one place at a time.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Mutex};

use raft_vfs::sim::{SimFile, SimLock, SimMap};
use raft_vfs::{Access, DirEntry, FileId, LockError, SimVfs, Vfs, VfsFile};

type Action = Box<dyn FnMut() + Send>;

/// What is to happen, and before how many more calls.
struct Hook {
    calls: u64,
    at: u64,
    /// How many calls lie between two runs; `None` if there is one.
    every: Option<u64>,
    action: Option<Action>,
    runs: u64,
}

/// A disk that runs an action before one of its calls.
#[derive(Clone)]
pub(crate) struct Hooked {
    disk: SimVfs,
    hook: Arc<Mutex<Hook>>,
}

/// An open file of a [`Hooked`].
pub(crate) struct HookedFile {
    file: SimFile,
    hook: Arc<Mutex<Hook>>,
}

impl Hooked {
    /// Runs `action` before call number `at`, counted from 0.
    pub(crate) fn new(disk: &SimVfs, at: u64, action: impl FnOnce() + Send + 'static) -> Self {
        let mut action = Some(action);
        let once = move || action.take().expect("it runs once")();
        Self::with(disk, at, None, Box::new(once))
    }

    /// Runs `action` before call number `at`, counted from 0, and before every `every`-th after it.
    pub(crate) fn repeating(
        disk: &SimVfs,
        at: u64,
        every: u64,
        action: impl FnMut() + Send + 'static,
    ) -> Self {
        Self::with(disk, at, Some(every), Box::new(action))
    }

    fn with(disk: &SimVfs, at: u64, every: Option<u64>, action: Action) -> Self {
        let hook = Hook { calls: 0, at, every, action: Some(action), runs: 0 };
        Self { disk: disk.clone(), hook: Arc::new(Mutex::new(hook)) }
    }

    /// Whether the action has run.
    pub(crate) fn has_run(&self) -> bool {
        self.hook.lock().unwrap().runs > 0
    }

    fn tick(&self) {
        tick(&self.hook);
    }
}

/// Counts a call. The action may use the disk, but not through this hook.
fn tick(hook: &Mutex<Hook>) {
    let action = {
        let mut hook = hook.lock().unwrap();
        hook.calls += 1;
        if hook.calls > hook.at { hook.action.take() } else { None }
    };
    let Some(mut action) = action else { return };
    action();
    let mut hook = hook.lock().unwrap();
    hook.runs += 1;
    if let Some(every) = hook.every {
        (hook.at, hook.action) = (hook.at + every, Some(action));
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

impl fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl Vfs for Hooked {
    type File = HookedFile;
    type Map = SimMap;
    type Lock = SimLock;

    fn open(&self, path: &Path, access: Access) -> io::Result<HookedFile> {
        self.tick();
        Ok(HookedFile { file: self.disk.open(path, access)?, hook: self.hook.clone() })
    }

    fn create_excl(&self, path: &Path) -> io::Result<HookedFile> {
        self.tick();
        Ok(HookedFile { file: self.disk.create_excl(path)?, hook: self.hook.clone() })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.tick();
        self.disk.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tick();
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.tick();
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.tick();
        self.disk.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.tick();
        self.disk.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> Result<SimLock, LockError> {
        self.tick();
        self.disk.lock(path)
    }

    fn unix_millis(&self) -> u64 {
        self.disk.unix_millis()
    }

    fn random(&self) -> io::Result<u64> {
        self.tick();
        self.disk.random()
    }
}

impl VfsFile for HookedFile {
    type Map = SimMap;

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        tick(&self.hook);
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        tick(&self.hook);
        self.file.write_at(buf, offset)
    }

    fn write_vectored_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        tick(&self.hook);
        self.file.write_vectored_at(bufs, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        tick(&self.hook);
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        tick(&self.hook);
        self.file.len()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        tick(&self.hook);
        self.file.truncate(len)
    }

    fn id(&self) -> io::Result<FileId> {
        tick(&self.hook);
        self.file.id()
    }

    fn map(&self, len: u64) -> io::Result<SimMap> {
        tick(&self.hook);
        self.file.map(len)
    }
}
