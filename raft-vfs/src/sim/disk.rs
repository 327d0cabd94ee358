//! The whole simulated disk: nodes and paths. Cloning it copies pointers.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::hash::{Hash, Hasher};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;
use rustix::io::Errno;

use super::crash::{CrashChoice, Fate, PendingUnit};
use super::dir::{DirNode, Ino};
use super::file::{FileNode, FsyncFailure, Stale};
use super::image::Image;

const ROOT: Ino = 0;

/// Longest file. More would make the page table of a file with one byte at its end too large.
pub(super) const LEN_MAX: u64 = 1 << 32;

/// Removed and cut files whose bytes may come back as [`Fate::Stale`].
const STALE_MAX: usize = 4;

#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<FileNode>),
    Dir(Arc<DirNode>),
    /// A FIFO, link, socket or device: there to be refused.
    Special,
}

/// Which names a lookup follows.
#[derive(Clone, Copy)]
enum View {
    Live,
    Durable,
}

/// What does not belong to a process: it outlives a kill.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    nodes: BTreeMap<Ino, Node>,
    next_ino: Ino,
    /// Number of the newest change.
    seq: u64,
    stale: Vec<Image>,
    /// Chooses what a failed sync loses.
    noise: Rng,
    /// Gives [`Vfs::random`](crate::Vfs::random); apart, so that faults do not change salts.
    pub(super) salts: Rng,
    pub(super) unix_millis: u64,
    /// Bytes that all files together may have.
    pub(super) space: Option<u64>,
    pub(super) fsync_mode: FsyncFailure,
    pub(super) dir_sync_lies: bool,
    pub(super) powersafe_overwrite: bool,
}

/// The names on the way from the root; `.` and `..` are resolved by name, there being no links.
fn parts(path: &Path) -> Vec<&OsStr> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name),
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts
}

impl Disk {
    /// An empty disk with a root directory.
    pub(super) fn new(seed: u64) -> Self {
        let mut noise = Rng::with_seed(seed);
        let salts = noise.fork();
        let root = Node::Dir(Arc::new(DirNode::new(Path::new("/").into())));
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            next_ino: ROOT + 1,
            seq: 0,
            stale: Vec::new(),
            noise,
            salts,
            unix_millis: 1_700_000_000_000,
            space: None,
            fsync_mode: FsyncFailure::default(),
            dir_sync_lies: false,
            powersafe_overwrite: true,
        }
    }

    /// Starts chance anew.
    pub(super) fn reseed(&mut self, seed: u64) {
        self.noise = Rng::with_seed(seed);
        self.salts = self.noise.fork();
    }

    fn walk(&self, path: &Path, view: View) -> Result<Ino, Errno> {
        let mut at = ROOT;
        for name in parts(path) {
            let Some(Node::Dir(dir)) = self.nodes.get(&at) else { return Err(Errno::NOTDIR) };
            let found = match view {
                View::Live => dir.get(name),
                View::Durable => dir.get_durable(name),
            };
            at = found.ok_or(Errno::NOENT)?;
        }
        Ok(at)
    }

    /// What `path` names now.
    pub(super) fn lookup(&self, path: &Path) -> Result<(Ino, &Node), Errno> {
        let ino = self.walk(path, View::Live)?;
        Ok((ino, self.node(ino).ok_or(Errno::NOENT)?))
    }

    pub(super) fn node(&self, ino: Ino) -> Option<&Node> {
        self.nodes.get(&ino)
    }

    /// The bytes on the disk of the file that `path` names there.
    pub(super) fn durable_file(&self, path: &Path) -> Option<Vec<u8>> {
        let ino = self.walk(path, View::Durable).ok()?;
        Some(self.file(ino).ok()?.durable_bytes())
    }

    /// The directory that has the last name of `path`, and that name.
    fn parent<'p>(&self, path: &'p Path) -> Result<(Ino, &'p OsStr), Errno> {
        let parts = parts(path);
        let (name, dirs) = parts.split_last().ok_or(Errno::EXIST)?;
        let dir = self.walk(&dirs.iter().collect::<PathBuf>(), View::Live)?;
        self.dir(dir)?;
        Ok((dir, name))
    }

    pub(super) fn dir(&self, ino: Ino) -> Result<&DirNode, Errno> {
        match self.nodes.get(&ino) {
            Some(Node::Dir(dir)) => Ok(dir),
            _ => Err(Errno::NOTDIR),
        }
    }

    fn dir_mut(&mut self, ino: Ino) -> Result<(&mut DirNode, &mut u64), Errno> {
        match self.nodes.get_mut(&ino) {
            Some(Node::Dir(dir)) => Ok((Arc::make_mut(dir), &mut self.seq)),
            _ => Err(Errno::NOTDIR),
        }
    }

    /// An open file, or one just looked up.
    pub(super) fn file(&self, ino: Ino) -> Result<&FileNode, Errno> {
        match self.nodes.get(&ino) {
            Some(Node::File(file)) => Ok(file),
            _ => Err(Errno::BADF),
        }
    }

    fn file_mut(&mut self, ino: Ino) -> Result<(&mut FileNode, &mut u64), Errno> {
        match self.nodes.get_mut(&ino) {
            Some(Node::File(file)) => Ok((Arc::make_mut(file), &mut self.seq)),
            _ => Err(Errno::BADF),
        }
    }

    fn add(&mut self, node: Node) -> Ino {
        let ino = self.next_ino;
        self.next_ino += 1;
        self.nodes.insert(ino, node);
        ino
    }

    /// Creates an empty file or a directory under a new name.
    pub(super) fn create(&mut self, path: &Path, is_dir: bool) -> Result<Ino, Errno> {
        let (dir, name) = self.parent(path)?;
        if self.dir(dir)?.get(name).is_some() {
            return Err(Errno::EXIST);
        }
        let label = path.into();
        let ino = self.add(if is_dir {
            Node::Dir(Arc::new(DirNode::new(label)))
        } else {
            Node::File(Arc::new(FileNode::new(label, &[])))
        });
        let (dir, seq) = self.dir_mut(dir)?;
        dir.link(name, ino, is_dir, seq);
        Ok(ino)
    }

    pub(super) fn remove(&mut self, path: &Path) -> Result<(), Errno> {
        let (dir, name) = self.parent(path)?;
        let ino = self.dir(dir)?.get(name).ok_or(Errno::NOENT)?;
        if self.dir(ino).is_ok() {
            return Err(Errno::ISDIR);
        }
        self.remember(ino);
        let (dir, seq) = self.dir_mut(dir)?;
        dir.unlink(name, seq);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Result<(), Errno> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let ino = self.dir(from_dir)?.get(from_name).ok_or(Errno::NOENT)?;
        if let Some(replaced) = self.dir(to_dir)?.get(to_name) {
            if replaced == ino {
                return Ok(());
            }
            match (self.dir(ino).is_ok(), self.dir(replaced).is_ok()) {
                (false, false) => self.remember(replaced),
                (false, true) => return Err(Errno::ISDIR),
                (true, false) => return Err(Errno::NOTDIR),
                (true, true) => return Err(Errno::NOTEMPTY),
            }
        }
        let is_dir = self.dir(ino).is_ok();
        let (dir, seq) = self.dir_mut(to_dir)?;
        if from_dir == to_dir {
            dir.rename(from_name, to_name, ino, seq);
        } else {
            dir.link(to_name, ino, is_dir, seq);
            let (dir, seq) = self.dir_mut(from_dir)?;
            dir.unlink(from_name, seq);
        }
        if let Ok((file, _)) = self.file_mut(ino) {
            file.path = to.into();
        }
        Ok(())
    }

    /// Returns whether there was anything to bring to the disk.
    pub(super) fn sync_dir(&mut self, ino: Ino) -> Result<bool, Errno> {
        if self.dir(ino)?.is_clean() {
            return Ok(false);
        }
        self.dir_mut(ino)?.0.sync();
        Ok(true)
    }

    pub(super) fn fail_sync_dir(&mut self, ino: Ino) {
        let lies = self.dir_sync_lies;
        let mut noise = self.noise.fork();
        if let Ok((dir, _)) = self.dir_mut(ino) {
            dir.fail_sync(lies, &mut noise);
        }
    }

    /// Writes as much as there is room for; `open` files count although they have no name.
    pub(super) fn write(
        &mut self,
        ino: Ino,
        offset: u64,
        bytes: &[u8],
        open: impl Fn(Ino) -> bool,
    ) -> Result<usize, Errno> {
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= LEN_MAX);
        let end = end.ok_or(Errno::FBIG)?;
        let end = end.min(self.file(ino)?.len().saturating_add(self.room(open)));
        if end <= offset && !bytes.is_empty() {
            return Err(Errno::NOSPC);
        }
        let count = end.saturating_sub(offset) as usize;
        let (file, seq) = self.file_mut(ino)?;
        file.write(offset, &bytes[..count], seq);
        Ok(count)
    }

    pub(super) fn truncate(
        &mut self,
        ino: Ino,
        len: u64,
        open: impl Fn(Ino) -> bool,
    ) -> Result<(), Errno> {
        let old = self.file(ino)?.len();
        if len > LEN_MAX {
            return Err(Errno::FBIG);
        }
        if len.saturating_sub(old) > self.room(open) {
            return Err(Errno::NOSPC);
        }
        if len < old {
            self.remember(ino);
        }
        let (file, seq) = self.file_mut(ino)?;
        file.truncate(len, seq);
        Ok(())
    }

    /// Bytes that may still be added to files.
    fn room(&self, open: impl Fn(Ino) -> bool) -> u64 {
        let Some(space) = self.space else { return u64::MAX };
        let dirs = self.nodes.values().filter_map(|node| match node {
            Node::Dir(dir) => Some(dir),
            _ => None,
        });
        let named: BTreeSet<Ino> = dirs.flat_map(|dir| dir.names().map(|(_, ino)| ino)).collect();
        let counted = self.nodes.iter().filter(|(ino, _)| named.contains(ino) || open(**ino));
        let used = counted.map(|(_, node)| match node {
            Node::File(file) => file.len(),
            Node::Dir(_) | Node::Special => 0,
        });
        space.saturating_sub(used.sum())
    }

    /// Returns whether there was anything to bring to the disk.
    pub(super) fn sync_file(&mut self, ino: Ino) -> Result<bool, Errno> {
        if self.file(ino)?.is_clean() {
            return Ok(false);
        }
        self.file_mut(ino)?.0.sync();
        Ok(true)
    }

    pub(super) fn fail_sync_file(&mut self, ino: Ino) {
        let mode = self.fsync_mode;
        let mut noise = self.noise.fork();
        if let Ok((file, _)) = self.file_mut(ino) {
            file.fail_write_back(mode, &mut noise);
        }
    }

    /// Randomness for a write that a crash cuts short.
    pub(super) fn torn_count(&mut self, len: usize) -> usize {
        match self.noise.u8(..3) {
            0 => 0,
            1 => len,
            _ => self.noise.usize(..=len),
        }
    }

    /// Keeps the bytes of a file about to be removed or cut: its blocks are used again.
    fn remember(&mut self, ino: Ino) {
        let Ok(file) = self.file(ino) else { return };
        let image = file.live().clone();
        if self.stale.len() == STALE_MAX {
            self.stale.remove(0);
        }
        self.stale.push(image);
    }

    /// Frees what neither a name nor an `open` handle leads to.
    pub(super) fn collect(&mut self, open: impl Fn(Ino) -> bool) {
        let mut reached = BTreeSet::new();
        let mut todo = vec![ROOT];
        while let Some(ino) = todo.pop() {
            if reached.insert(ino)
                && let Ok(dir) = self.dir(ino)
            {
                todo.extend(dir.references());
            }
        }
        self.nodes.retain(|ino, _| reached.contains(ino) || open(*ino));
    }

    /// The pending changes of all nodes in the order in which they were made.
    fn pending(&self) -> Vec<(u64, Ino, usize)> {
        let mut all = Vec::new();
        for (&ino, node) in &self.nodes {
            match node {
                Node::File(file) => {
                    all.extend(file.pending_seqs().enumerate().map(|(i, seq)| (seq, ino, i)));
                }
                Node::Dir(dir) => {
                    all.extend(dir.pending_seqs().enumerate().map(|(i, seq)| (seq, ino, i)));
                }
                Node::Special => {}
            }
        }
        all.sort_unstable();
        all
    }

    fn unit(&self, ino: Ino, index: usize) -> Option<PendingUnit> {
        match self.nodes.get(&ino)? {
            Node::File(file) => Some(file.unit(index)),
            Node::Dir(dir) => Some(dir.unit(index)),
            Node::Special => None,
        }
    }

    pub(super) fn pending_units(&self) -> Vec<PendingUnit> {
        let pending = self.pending();
        pending.into_iter().filter_map(|(_, ino, index)| self.unit(ino, index)).collect()
    }

    /// The disk after a power cut.
    pub(super) fn after_power_cut(&self, choice: &mut impl CrashChoice) -> Self {
        let mut fates: BTreeMap<Ino, Vec<Fate>> = BTreeMap::new();
        for (number, (_, ino, index)) in self.pending().into_iter().enumerate() {
            if let Some(unit) = self.unit(ino, index) {
                fates.entry(ino).or_default().push(choice.fate(number, &unit));
            }
        }
        let mut disk = self.clone();
        let stale = Stale { images: &self.stale, powersafe_overwrite: self.powersafe_overwrite };
        for (ino, node) in &mut disk.nodes {
            let fates = fates.get(ino).map_or(&[][..], Vec::as_slice);
            match node {
                Node::File(file) if !file.is_clean() => {
                    *file = Arc::new(file.after_power_cut(fates, &stale));
                }
                Node::Dir(dir) if !dir.is_clean() => {
                    *dir = Arc::new(dir.after_power_cut(fates));
                }
                _ => {}
            }
        }
        disk.collect(|_| false);
        disk
    }

    /// The disk after the death of its process: the cache stays, but for what write-back and
    /// eviction did meanwhile.
    pub(super) fn after_kill(&self, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut disk = self.clone();
        for node in disk.nodes.values_mut() {
            match node {
                Node::File(file) if !file.is_clean() => {
                    let file = Arc::make_mut(file);
                    match rng.u8(..10) {
                        0..3 => file.fail_write_back(self.fsync_mode, &mut rng),
                        3..5 => file.sync(),
                        _ => {}
                    }
                    file.evict(|_| rng.u8(..10) < 3);
                }
                Node::Dir(dir) if !dir.is_clean() && rng.u8(..10) < 2 => Arc::make_mut(dir).sync(),
                _ => {}
            }
        }
        disk.collect(|_| false);
        disk
    }

    /// Reads every clean page from the disk again.
    pub(super) fn evict(&mut self) {
        for node in self.nodes.values_mut() {
            match node {
                Node::File(file) if !file.is_clean() => Arc::make_mut(file).evict(|_| true),
                Node::Dir(dir) if !dir.is_clean() => Arc::make_mut(dir).evict(),
                _ => {}
            }
        }
    }

    /// Puts a node, or nothing, under a name, durable at once, with its directories.
    pub(super) fn plant(&mut self, path: &Path, node: Option<Node>) {
        let mut names: Vec<OsString> = parts(path).into_iter().map(Into::into).collect();
        let Some(last) = names.pop() else { return };
        let (mut at, mut label) = (ROOT, PathBuf::from("/"));
        for name in names {
            label.push(&name);
            let found = self.dir(at).ok().and_then(|dir| dir.get(&name));
            if found.is_none() && node.is_none() {
                return;
            }
            let next = found.filter(|&ino| self.dir(ino).is_ok());
            let next = next.unwrap_or_else(|| {
                self.add(Node::Dir(Arc::new(DirNode::new(label.as_path().into()))))
            });
            if let Ok((dir, _)) = self.dir_mut(at) {
                dir.plant(&name, Some(next));
            }
            at = next;
        }
        let ino = node.map(|node| self.add(node));
        if let Ok((dir, _)) = self.dir_mut(at) {
            dir.plant(&last, ino);
        }
    }

    /// Replaces a file's bytes, durable at once, for handles already open too.
    pub(super) fn replace(&mut self, ino: Ino, bytes: &[u8]) {
        if let Ok((file, _)) = self.file_mut(ino) {
            *file = FileNode::new(Arc::clone(&file.path), bytes);
        }
    }

    /// Calls `visit` with every path seen now, a directory before what is in it, else sorted.
    fn visit(&self, visit: &mut impl FnMut(PathBuf, &Node)) {
        self.visit_dir(ROOT, Path::new("/"), visit);
    }

    fn visit_dir(&self, ino: Ino, path: &Path, visit: &mut impl FnMut(PathBuf, &Node)) {
        let Ok(dir) = self.dir(ino) else { return };
        for (name, ino) in dir.names() {
            let path = path.join(name);
            if let Some(node) = self.nodes.get(&ino) {
                visit(path.clone(), node);
                self.visit_dir(ino, &path, visit);
            }
        }
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        self.visit(&mut |path, node| {
            if !matches!(node, Node::Dir(_)) {
                paths.push(path);
            }
        });
        paths
    }

    /// Hashes what a process would see: names, lengths and bytes.
    pub(super) fn hash_live(&self, state: &mut impl Hasher) {
        self.visit(&mut |path, node| {
            path.hash(state);
            if let Node::File(file) = node {
                file.len().hash(state);
                file.live().hash(state);
            }
        });
    }
}
