//! The ways in which a power cut may leave the pending changes of a disk.

use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_vfs::sim::{Change, CrashChoice, Fate, PendingUnit, RandomCrash};

/// With so many pending changes or fewer, every subset of them survives once, with every filling.
const EXHAUSTIVE: usize = 8;
/// Random crashes beside the regular ones, where there are more.
const RANDOM: u64 = 24;

/// What lies where a write did not arrive, and in the space that a file grew by.
const FILLS: [Fate; 4] = [Fate::Drop, Fate::Zero, Fate::Garbage(7), Fate::Stale(0)];

/// One power cut: which changes arrive, and what becomes of the others.
struct Cut {
    keep: Vec<bool>,
    fill: Fate,
    /// Of this write, half arrives.
    torn: Option<usize>,
}

impl CrashChoice for &Cut {
    fn fate(&mut self, index: usize, unit: &PendingUnit) -> Fate {
        let keep = self.keep.get(index).is_some_and(|&keep| keep);
        match unit.change {
            Change::Write { len, .. } if self.torn == Some(index) => Fate::Torn(len / 2),
            Change::Write { .. } if keep => Fate::Keep,
            Change::Write { .. } => self.fill,
            // The new space of a file is filled too.
            Change::Size { .. } if keep && self.fill != Fate::Drop => self.fill,
            _ if keep => Fate::Keep,
            _ => Fate::Drop,
        }
    }
}

/// Calls `visit` with the disks that a power cut may leave now.
pub(crate) fn for_each(
    disk: &SimVfs,
    seed: u64,
    mut visit: impl FnMut(SimVfs) -> Result<(), String>,
) -> Result<(), String> {
    let units = disk.pending_units();
    for keep in subsets(units.len(), seed) {
        for fill in FILLS {
            visit(disk.power_cut(&mut &Cut { keep: keep.clone(), fill, torn: None }))?;
        }
        let torn = keep.iter().rposition(|&keep| keep);
        let cut = Cut { keep, fill: Fate::Drop, torn };
        visit(disk.power_cut(&mut &cut))?;
    }
    if units.len() > EXHAUSTIVE {
        for n in 0..RANDOM {
            visit(disk.power_cut(&mut RandomCrash::new(seed ^ n << 32)))?;
        }
    }
    Ok(())
}

/// All subsets of few changes; of many: prefixes, suffixes, one lost, one kept, two lost.
fn subsets(count: usize, seed: u64) -> Vec<Vec<bool>> {
    if count <= EXHAUSTIVE {
        let subset = |bits: usize| (0..count).map(|i| bits >> i & 1 == 1).collect();
        return (0..1 << count).map(subset).collect();
    }
    let mut sets: Vec<Vec<bool>> = Vec::new();
    let mut add = |kept: &dyn Fn(usize) -> bool| sets.push((0..count).map(kept).collect());
    for border in 0..=count {
        add(&|i| i < border);
        add(&|i| i >= border);
        add(&|i| i != border);
        add(&|i| i == border);
    }
    let mut rng = Rng::with_seed(seed);
    for _ in 0..count {
        let (a, b) = (rng.usize(..count), rng.usize(..count));
        add(&|i| i != a && i != b);
    }
    sets
}
