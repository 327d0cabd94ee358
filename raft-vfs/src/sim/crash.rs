//! What a crash may do to what was not synced, and who decides.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fastrand::Rng;

/// One change that a power cut may keep, lose or damage independently of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingUnit {
    /// The file changed, by its newest name; for a change of names, the name.
    pub path: Arc<Path>,
    /// The change.
    pub change: Change,
}

/// What a [`PendingUnit`] changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The part of one write that lies in one 512-byte sector.
    Write {
        /// First byte, from the beginning of the file.
        offset: u64,
        /// Bytes; at most 512.
        len: u64,
    },
    /// The file's length: a truncation, or a write beyond the end.
    Size {
        /// Before.
        from: u64,
        /// After.
        to: u64,
    },
    /// A new file's name.
    Create,
    /// A new directory's name.
    CreateDir,
    /// A name removed.
    Remove,
    /// A file renamed within one directory: one atomic change. A rename between directories is a
    /// `Create` in one and a `Remove` in the other.
    Rename {
        /// The former name.
        from: PathBuf,
    },
}

impl fmt::Display for PendingUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.change {
            Change::Write { offset, len } => write!(f, "{path}: write {len} bytes at {offset}"),
            Change::Size { from, to } => write!(f, "{path}: size {from} to {to}"),
            Change::Create => write!(f, "{path}: create"),
            Change::CreateDir => write!(f, "{path}: create directory"),
            Change::Remove => write!(f, "{path}: remove"),
            Change::Rename { from } => write!(f, "{path}: rename from {}", from.display()),
        }
    }
}

/// What becomes of one [`PendingUnit`].
///
/// For a name, `Keep` keeps the change and everything else loses it. For a size, `Torn`, `Zero`,
/// `Garbage` and `Stale` keep it too, as told below. Units are resolved in the order in which the
/// changes were made, so the last kept write of a byte wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrived.
    Keep,
    /// It did not: the old bytes, size or name stay.
    Drop,
    /// The first so many bytes of the write arrived. A size went so far on its way.
    Torn(u64),
    /// The bytes are zero. For a size: the new space is zero, as with `Keep`.
    Zero,
    /// The bytes are noise drawn from this seed. For a size: the new space is noise, except where
    /// kept writes lie.
    Garbage(u64),
    /// The bytes are those that a file removed or cut earlier had at the same offset: the n-th
    /// youngest, counted around; zero if there is none. For a size: the new space is.
    Stale(u64),
}

/// Decides the fate of each pending unit at a power cut. Closures
/// `FnMut(usize, &PendingUnit) -> Fate` are choosers too.
pub trait CrashChoice {
    /// The fate of `unit`, which is number `index` of
    /// [`SimVfs::pending_units`](super::SimVfs::pending_units). Called once per unit, in order.
    fn fate(&mut self, index: usize, unit: &PendingUnit) -> Fate;
}

impl<F: FnMut(usize, &PendingUnit) -> Fate> CrashChoice for F {
    fn fate(&mut self, index: usize, unit: &PendingUnit) -> Fate {
        self(index, unit)
    }
}

/// Nothing un-synced survives.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepNothing;

impl CrashChoice for KeepNothing {
    fn fate(&mut self, _: usize, _: &PendingUnit) -> Fate {
        Fate::Drop
    }
}

/// Everything survives, as if it had been synced just in time.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepAll;

impl CrashChoice for KeepAll {
    fn fate(&mut self, _: usize, _: &PendingUnit) -> Fate {
        Fate::Keep
    }
}

/// Keeps the units whose bit is set. With `p` units, the values `0..1 << p` are all subsets.
#[derive(Clone, Copy, Debug)]
pub struct Subset {
    bits: u64,
    others: Fate,
}

impl Subset {
    /// Keeps unit `i` if bit `i` of `bits` is set; units from 64 on are lost like the others.
    pub fn new(bits: u64) -> Self {
        Self { bits, others: Fate::Drop }
    }

    /// What becomes of the units not kept, instead of [`Fate::Drop`].
    pub fn others(self, fate: Fate) -> Self {
        Self { others: fate, ..self }
    }
}

impl CrashChoice for Subset {
    fn fate(&mut self, index: usize, _: &PendingUnit) -> Fate {
        if index < 64 && self.bits >> index & 1 == 1 { Fate::Keep } else { self.others }
    }
}

/// Random fates from a seed. Each cut first draws a temper, so that the extremes come up too:
/// nothing kept, all kept, a prefix kept, and rare, frequent or no damage in between.
#[derive(Clone, Debug)]
pub struct RandomCrash {
    rng: Rng,
    temper: Temper,
}

#[derive(Clone, Copy, Debug)]
struct Temper {
    /// Units before this one are kept.
    prefix: usize,
    /// Chance in 16 that a later unit is kept.
    keep: u8,
    /// Chance in 16 that one not kept is damaged instead of absent.
    damage: u8,
}

impl RandomCrash {
    /// The same seed and the same pending units give the same crash.
    pub fn new(seed: u64) -> Self {
        let temper = Temper { prefix: 0, keep: 0, damage: 0 };
        Self { rng: Rng::with_seed(seed), temper }
    }

    fn temper(&mut self) -> Temper {
        let rng = &mut self.rng;
        Temper {
            prefix: if rng.u8(..4) == 0 { rng.usize(..24) } else { 0 },
            keep: [0, 2, 8, 8, 14, 16][rng.usize(..6)],
            damage: [0, 4, 8, 16][rng.usize(..4)],
        }
    }
}

impl CrashChoice for RandomCrash {
    fn fate(&mut self, index: usize, unit: &PendingUnit) -> Fate {
        if index == 0 {
            self.temper = self.temper();
        }
        let Temper { prefix, keep, damage } = self.temper;
        if index < prefix || self.rng.u8(..16) < keep {
            return Fate::Keep;
        }
        if self.rng.u8(..16) >= damage {
            return Fate::Drop;
        }
        match self.rng.u8(..4) {
            0 => Fate::Zero,
            1 => Fate::Garbage(self.rng.u64(..)),
            2 => Fate::Stale(self.rng.u64(..4)),
            _ => Fate::Torn(self.torn(&unit.change)),
        }
    }
}

impl RandomCrash {
    fn torn(&mut self, change: &Change) -> u64 {
        let len = match *change {
            Change::Write { len, .. } => len,
            Change::Size { from, to } => from.abs_diff(to),
            Change::Create | Change::CreateDir | Change::Remove | Change::Rename { .. } => 0,
        };
        self.rng.u64(..=len)
    }
}
