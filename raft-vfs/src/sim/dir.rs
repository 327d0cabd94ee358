//! A simulated directory: the names seen now, the names on the disk, and the changes between.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;

use super::crash::{Change, Fate, PendingUnit};

/// Number of a file, directory or special file.
pub(super) type Ino = u64;

#[derive(Clone, Debug)]
enum Step {
    Link { name: OsString, ino: Ino, is_dir: bool },
    Unlink { name: OsString },
    Rename { from: OsString, to: OsString, ino: Ino },
}

impl Step {
    fn apply(&self, names: &mut BTreeMap<OsString, Ino>) {
        match self {
            Self::Link { name, ino, .. } => {
                names.insert(name.clone(), *ino);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, ino } => {
                // The old name may have been lost, or given to another file, on its own.
                if names.get(from) == Some(ino) {
                    names.remove(from);
                }
                names.insert(to.clone(), *ino);
            }
        }
    }

    fn mentions(&self, wanted: &OsStr) -> bool {
        match self {
            Self::Link { name, .. } | Self::Unlink { name } => name == wanted,
            Self::Rename { from, to, .. } => from == wanted || to == wanted,
        }
    }
}

/// A directory.
#[derive(Clone, Debug)]
pub(super) struct DirNode {
    pub(super) path: Arc<Path>,
    live: BTreeMap<OsString, Ino>,
    durable: BTreeMap<OsString, Ino>,
    pending: Vec<(u64, Step)>,
}

impl DirNode {
    /// An empty directory.
    pub(super) fn new(path: Arc<Path>) -> Self {
        let (live, durable) = (BTreeMap::new(), BTreeMap::new());
        Self { path, live, durable, pending: Vec::new() }
    }

    pub(super) fn get(&self, name: &OsStr) -> Option<Ino> {
        self.live.get(name).copied()
    }

    pub(super) fn get_durable(&self, name: &OsStr) -> Option<Ino> {
        self.durable.get(name).copied()
    }

    /// Names seen now, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = (&OsString, Ino)> {
        self.live.iter().map(|(name, &ino)| (name, ino))
    }

    /// Everything that a name seen now, one on the disk or a pending one leads to.
    pub(super) fn references(&self) -> impl Iterator<Item = Ino> {
        let pending = self.pending.iter().filter_map(|(_, step)| match step {
            Step::Link { ino, .. } | Step::Rename { ino, .. } => Some(*ino),
            Step::Unlink { .. } => None,
        });
        self.live.values().chain(self.durable.values()).copied().chain(pending)
    }

    pub(super) fn link(&mut self, name: &OsStr, ino: Ino, is_dir: bool, seq: &mut u64) {
        self.push(seq, Step::Link { name: name.into(), ino, is_dir });
    }

    pub(super) fn unlink(&mut self, name: &OsStr, seq: &mut u64) {
        self.push(seq, Step::Unlink { name: name.into() });
    }

    pub(super) fn rename(&mut self, from: &OsStr, to: &OsStr, ino: Ino, seq: &mut u64) {
        self.push(seq, Step::Rename { from: from.into(), to: to.into(), ino });
    }

    fn push(&mut self, seq: &mut u64, step: Step) {
        *seq += 1;
        step.apply(&mut self.live);
        self.pending.push((*seq, step));
    }

    /// Sets or removes a name, durable at once, as a test does from outside.
    pub(super) fn plant(&mut self, name: &OsStr, ino: Option<Ino>) {
        self.pending.retain(|(_, step)| !step.mentions(name));
        for names in [&mut self.live, &mut self.durable] {
            match ino {
                Some(ino) => names.insert(name.into(), ino),
                None => names.remove(name),
            };
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.pending.is_empty() && self.live == self.durable
    }

    /// A sync that succeeds.
    pub(super) fn sync(&mut self) {
        for (_, step) in self.pending.drain(..) {
            step.apply(&mut self.durable);
        }
    }

    /// A sync that fails: some of the changes arrive. The others stay pending, as in a journal,
    /// or, if `lies`, are taken for durable from now on.
    pub(super) fn fail_sync(&mut self, lies: bool, rng: &mut Rng) {
        let durable = &mut self.durable;
        self.pending.retain(|(_, step)| {
            let arrives = rng.bool();
            if arrives {
                step.apply(durable);
            }
            !arrives && !lies
        });
    }

    /// Forgets what the disk does not have and no sync would bring there.
    pub(super) fn evict(&mut self) {
        if self.pending.is_empty() {
            self.live = self.durable.clone();
        }
    }

    /// Numbers of the pending changes, in order.
    pub(super) fn pending_seqs(&self) -> impl Iterator<Item = u64> {
        self.pending.iter().map(|(seq, _)| *seq)
    }

    /// The pending change at `index`, for a chooser.
    pub(super) fn unit(&self, index: usize) -> PendingUnit {
        let (name, change) = match &self.pending[index].1 {
            Step::Link { name, is_dir: true, .. } => (name, Change::CreateDir),
            Step::Link { name, .. } => (name, Change::Create),
            Step::Unlink { name } => (name, Change::Remove),
            Step::Rename { from, to, .. } => (to, Change::Rename { from: self.path.join(from) }),
        };
        PendingUnit { path: self.path.join(name).into(), change }
    }

    /// The directory after a power cut.
    pub(super) fn after_power_cut(&self, fates: &[Fate]) -> Self {
        let mut names = self.durable.clone();
        for ((_, step), fate) in self.pending.iter().zip(fates) {
            if *fate == Fate::Keep {
                step.apply(&mut names);
            }
        }
        let path = Arc::clone(&self.path);
        Self { path, live: names.clone(), durable: names, pending: Vec::new() }
    }
}
