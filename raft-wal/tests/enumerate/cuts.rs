//! The ways in which a power cut may leave the pending changes of a disk.

use fastrand::Rng;
use raft_vfs::sim::{Change, CrashChoice, Fate, PendingUnit};

/// How much of the space of crash states is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// With at most so many pending changes every subset of them is kept once.
    pub(crate) exhaustive: usize,
    /// Beyond: how many pairs are lost, at most.
    pub(crate) pairs: usize,
    /// Beyond: how many random subsets are kept.
    pub(crate) random: usize,
    /// Every subset with every fill, and that with every tear. Otherwise tears are made over old
    /// bytes alone, and of more than eight changes each subset gets one tear and, besides old
    /// bytes, one fill, in turns.
    pub(crate) full: bool,
    /// One in so many different states is crashed again at every point of its recovery.
    pub(crate) second: u64,
}

/// What is found where a write did not arrive, and in space that a file grew by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// What was there before; zeros in new space.
    Old,
    Zero,
    Garbage,
    /// Bytes of a file that was removed.
    Stale,
}

const FILLS: [Fill; 4] = [Fill::Old, Fill::Zero, Fill::Garbage, Fill::Stale];

/// One power cut.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// The changes that arrive.
    pub(crate) keep: Vec<bool>,
    pub(crate) fill: Fill,
    /// Of this write only so many bytes arrive.
    pub(crate) tear: Option<(usize, u64)>,
}

impl CrashChoice for &Cut {
    fn fate(&mut self, index: usize, unit: &PendingUnit) -> Fate {
        let keep = self.keep.get(index).is_some_and(|&keep| keep);
        if let Some((_, len)) = self.tear.filter(|&(torn, _)| torn == index) {
            return Fate::Torn(len);
        }
        let filled = match self.fill {
            Fill::Old if keep => Fate::Keep,
            Fill::Old => Fate::Drop,
            Fill::Zero => Fate::Zero,
            Fill::Garbage => Fate::Garbage(index as u64),
            Fill::Stale => Fate::Stale(0),
        };
        match unit.change {
            Change::Write { .. } if keep => Fate::Keep,
            Change::Size { .. } if keep => filled,
            Change::Write { .. } => filled,
            _ if keep => Fate::Keep,
            _ => Fate::Drop,
        }
    }
}

/// Calls `visit` with every cut of these pending changes that the budget has.
pub(crate) fn for_each(
    units: &[PendingUnit],
    budget: &Budget,
    seed: u64,
    mut visit: impl FnMut(&Cut) -> Result<(), String>,
) -> Result<(), String> {
    /// With so many changes a subset is worth everything.
    const FEW: usize = 8;
    let count = units.len();
    let turn = |turn: usize| (!budget.full && count > FEW).then_some(turn);
    if count <= budget.exhaustive {
        for bits in 0..1_usize << count {
            let keep = (0..count).map(|i| bits >> i & 1 == 1).collect();
            vary(units, budget, keep, turn(bits), &mut visit)?;
        }
        return Ok(());
    }
    for (n, keep) in samples(units, budget, seed).into_iter().enumerate() {
        vary(units, budget, keep, turn(n), &mut visit)?;
    }
    Ok(())
}

/// Of too many changes: prefixes, suffixes, single and double losses, single survivors, classes,
/// and random subsets.
fn samples(units: &[PendingUnit], budget: &Budget, seed: u64) -> Vec<Vec<bool>> {
    let count = units.len();
    let mut rng = Rng::with_seed(seed);
    let mut sets: Vec<Vec<bool>> = Vec::new();
    let mut add = |kept: &dyn Fn(usize) -> bool| sets.push((0..count).map(kept).collect());
    for border in 0..=count {
        add(&|i| i < border);
        add(&|i| i >= border);
    }
    for one in 0..count {
        add(&|i| i != one);
        add(&|i| i == one);
    }
    let all_pairs = count * (count - 1) / 2;
    let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
    for (a, b) in pairs {
        if all_pairs <= budget.pairs || rng.usize(..all_pairs) < budget.pairs {
            add(&|i| i != a && i != b);
        }
    }
    let is_size = |i: usize| matches!(units[i].change, Change::Size { .. });
    let is_write = |i: usize| matches!(units[i].change, Change::Write { .. });
    add(&is_size);
    add(&is_write);
    add(&|i| !is_size(i) && !is_write(i));
    for _ in 0..budget.random {
        let (seed, chance) = (rng.u64(..), [2, 8, 8, 14][rng.usize(..4)]);
        add(&|i| Rng::with_seed(seed ^ (i as u64) << 32).u8(..16) < chance);
    }
    sets
}

/// One set of survivors with everything that may lie where the others were to go, and with its
/// last write torn in every way; or, with a `turn`, with one of each.
fn vary(
    units: &[PendingUnit],
    budget: &Budget,
    keep: Vec<bool>,
    turn: Option<usize>,
    visit: &mut impl FnMut(&Cut) -> Result<(), String>,
) -> Result<(), String> {
    let write = |i: usize| match units[i].change {
        Change::Write { len, .. } => Some((i, len)),
        _ => None,
    };
    let kept = |i: &usize| keep[*i];
    let last = (0..units.len()).rev().filter(kept).find_map(write);
    // Without space to fill all fills are the same.
    let has_space = units.iter().zip(&keep).any(|(unit, &keep)| match unit.change {
        Change::Write { .. } => !keep,
        Change::Size { .. } => keep,
        _ => false,
    });
    let mut fills = FILLS.to_vec();
    if let Some(turn) = turn {
        fills = vec![Fill::Old, FILLS[1 + turn % 3]];
    }
    fills.truncate(if has_space { fills.len() } else { 1 });
    let mut cut = Cut { keep, fill: Fill::Old, tear: None };
    for fill in fills {
        cut.fill = fill;
        cut.tear = None;
        visit(&cut)?;
        let Some((index, len)) = last.filter(|_| fill == Fill::Old || budget.full) else {
            continue;
        };
        for at in tears(len, turn) {
            cut.tear = Some((index, at));
            visit(&cut)?;
        }
    }
    Ok(())
}

/// Where a write of `len` bytes is torn.
fn tears(len: u64, turn: Option<usize>) -> impl Iterator<Item = u64> {
    let mut tears = vec![1, 7, 8, len / 2, len - 1];
    tears.retain(|&at| 0 < at && at < len);
    tears.sort_unstable();
    tears.dedup();
    if let Some(turn) = turn.filter(|_| !tears.is_empty()) {
        tears = vec![tears[turn % tears.len()]];
    }
    tears.into_iter()
}
