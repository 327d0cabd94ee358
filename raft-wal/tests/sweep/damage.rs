//! Every damage that is tried, numbered: a log, a family and a number name one for ever.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use fastrand::Rng;

use crate::chart::segment_number;
use crate::harm::Harm;
use crate::logs::Log;

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    /// One bit of a byte is the other one.
    Bit,
    /// A byte is zero, all ones, or random.
    Byte,
    /// A file ends early, at every length.
    Cut,
    /// A sector of 512 or 4096 bytes is zero.
    SectorZero,
    /// ... is noise.
    SectorNoise,
    /// ... is what it was at an earlier time: a lost write.
    SectorStale,
    /// ... changed places with another one.
    SectorSwap,
    /// ... was written over another one: a misdirected write.
    SectorMisplaced,
    /// An aligned 32-bit number is an odd one.
    Word32,
    /// An aligned 64-bit number is an odd one.
    Word64,
    /// A file is gone, empty, older, or under another name.
    File,
    /// Two of the above, files under other names excepted.
    Pair,
}

impl Family {
    pub(crate) const ALL: [Self; 12] = [
        Self::Bit,
        Self::Byte,
        Self::Cut,
        Self::SectorZero,
        Self::SectorNoise,
        Self::SectorStale,
        Self::SectorSwap,
        Self::SectorMisplaced,
        Self::Word32,
        Self::Word64,
        Self::File,
        Self::Pair,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bit => "bit flipped",
            Self::Byte => "byte overwritten",
            Self::Cut => "file cut short",
            Self::SectorZero => "sector zeroed",
            Self::SectorNoise => "sector of noise",
            Self::SectorStale => "stale sector",
            Self::SectorSwap => "sectors swapped",
            Self::SectorMisplaced => "sector misplaced",
            Self::Word32 => "u32 replaced",
            Self::Word64 => "u64 replaced",
            Self::File => "file as a whole",
            Self::Pair => "two at once",
        }
    }
}

const ODD_32: [u32; 5] = [0, 1, u32::MAX, u32::MAX / 2, 1 << 31];
const ODD_64: [u64; 6] = [0, 1, u64::MAX, u64::MAX / 2, 1 << 31, 1 << 40];

/// A sector of a file.
#[derive(Clone, Copy, Debug)]
struct Sector {
    file: usize,
    at: usize,
    size: usize,
}

/// Damage to whole files.
#[derive(Clone, Debug)]
enum FileDamage {
    Gone(usize),
    Empty(usize),
    Older(usize, usize),
    Copied(usize, String),
    Renamed(usize, String),
    Swapped(usize, usize),
    /// The file of the same name of another log.
    Foreign(usize, Vec<u8>),
}

/// All damages of one log.
pub(crate) struct Catalogue<'l> {
    pub(crate) log: &'l Log,
    sectors: Vec<Sector>,
    /// With the number of an older content.
    stale: Vec<(Sector, usize)>,
    swaps: Vec<(Sector, Sector)>,
    misplaced: Vec<(Sector, Sector)>,
    files: Vec<FileDamage>,
    /// The bytes that are damaged one by one: a position counts through these. All of the log, but
    /// for files so large that most of them is as empty as the rest.
    domain: Vec<(usize, Range<usize>)>,
    /// Positions of bytes that somebody looks at.
    used: Vec<Range<usize>>,
}

/// Larger files are not damaged in every byte.
const WHOLE_MAX: usize = 64 << 10;

impl<'l> Catalogue<'l> {
    pub(crate) fn new(log: &'l Log, logs: &[Log]) -> Self {
        let domain = domain(log);
        let inside = |s: &Sector| {
            let touches = |r: &Range<usize>| r.start < s.at + s.size && s.at < r.end;
            domain.iter().any(|(file, r)| *file == s.file && touches(r))
        };
        let mut sectors = Vec::new();
        for size in [512, 4096] {
            for (file, f) in log.files.iter().enumerate() {
                let all = (0..f.bytes.len()).step_by(size).map(|at| Sector { file, at, size });
                sectors.extend(all.filter(inside));
            }
        }
        let now = |s: &Sector| bytes_of(&log.files[s.file].bytes, s);
        let mut stale = Vec::new();
        for &s in &sectors {
            let mut seen = vec![now(&s).to_vec()];
            for (n, old) in log.files[s.file].older.iter().enumerate() {
                let old = bytes_of(old, &s).to_vec();
                if old.len() == seen[0].len() && !seen.contains(&old) {
                    seen.push(old);
                    stale.push((s, n));
                }
            }
        }
        let (mut swaps, mut misplaced) = (Vec::new(), Vec::new());
        for (i, &a) in sectors.iter().enumerate() {
            for &b in &sectors[i + 1..] {
                if a.size == b.size && now(&a) != now(&b) {
                    swaps.push((a, b));
                    misplaced.extend([(a, b), (b, a)]);
                }
            }
        }
        let mut used = Vec::new();
        let mut start = 0;
        for (file, domain) in &domain {
            for r in &log.chart.used[*file] {
                let (from, to) = (r.start.max(domain.start), r.end.min(domain.end));
                if from < to {
                    used.push(start + from - domain.start..start + to - domain.start);
                }
            }
            start += domain.len();
        }
        let files = file_damages(log, logs);
        Self { log, sectors, stale, swaps, misplaced, files, domain, used }
    }

    /// How many damages of a family there are; pairs have no end.
    pub(crate) fn count(&self, family: Family) -> u64 {
        let bytes: usize = self.domain.iter().map(|(_, r)| r.len()).sum();
        let n = match family {
            Family::Bit => bytes * 8,
            Family::Byte => bytes * 3,
            Family::Cut => bytes,
            Family::SectorZero => self.sectors.len(),
            Family::SectorNoise => self.sectors.len() * 4,
            Family::SectorStale => self.stale.len(),
            Family::SectorSwap => self.swaps.len(),
            Family::SectorMisplaced => self.misplaced.len(),
            Family::Word32 => bytes / 4 * ODD_32.len(),
            Family::Word64 => bytes / 8 * ODD_64.len(),
            Family::File => self.files.len(),
            Family::Pair => return u64::MAX,
        };
        n as u64
    }

    /// A number of this family, most often one that hits a byte that is looked at.
    pub(crate) fn draw(&self, family: Family, rng: &mut Rng) -> u64 {
        let each = match family {
            Family::Bit => (1, 8),
            Family::Byte => (1, 3),
            Family::Cut => (1, 1),
            Family::Word32 => (4, ODD_32.len()),
            Family::Word64 => (8, ODD_64.len()),
            _ => return rng.u64(..self.count(family)),
        };
        let all: usize = self.used.iter().map(ExactSizeIterator::len).sum();
        if all == 0 || rng.u8(..4) == 0 {
            return rng.u64(..self.count(family));
        }
        let mut at = rng.usize(..all);
        for r in &self.used {
            if at < r.len() {
                at += r.start;
                break;
            }
            at -= r.len();
        }
        (at / each.0 * each.1 + rng.usize(..each.1)) as u64
    }

    /// The damage with this number.
    pub(crate) fn harm(&self, family: Family, number: u64) -> Harm {
        let mut harm = Harm::default();
        let mut hasher = DefaultHasher::new();
        (self.log.name, family.name(), number).hash(&mut hasher);
        let mut rng = Rng::with_seed(hasher.finish());
        if family == Family::Pair {
            for _ in 0..2 {
                let (family, number) = self.half(&mut rng);
                self.strike(family, number, &mut rng, &mut harm);
            }
        } else {
            self.strike(family, number, &mut rng, &mut harm);
        }
        harm
    }

    /// One of two damages.
    fn half(&self, rng: &mut Rng) -> (Family, u64) {
        loop {
            let family = Family::ALL[rng.usize(..Family::ALL.len() - 1)];
            if self.count(family) == 0 {
                continue;
            }
            let number = self.draw(family, rng);
            if family == Family::File && self.files[number as usize].mixes_names() {
                continue;
            }
            return (family, number);
        }
    }

    /// File and offset of a position.
    fn place(&self, mut position: usize) -> (usize, usize) {
        for (file, r) in &self.domain {
            if position < r.len() {
                return (*file, r.start + position);
            }
            position -= r.len();
        }
        unreachable!("a position of the domain")
    }

    /// The position of a byte that is in the domain.
    pub(crate) fn position(&self, file: usize, at: usize) -> usize {
        let mut start = 0;
        for (of, r) in &self.domain {
            if *of == file && r.contains(&at) {
                return start + at - r.start;
            }
            start += r.len();
        }
        unreachable!("a byte of the domain")
    }

    fn strike(&self, family: Family, number: u64, rng: &mut Rng, harm: &mut Harm) {
        let (log, n) = (self.log, number as usize);
        match family {
            Family::Bit => {
                let (file, at) = self.place(n / 8);
                harm.edit(log, file, at..at + 1, |b| flip(b, at, 1 << (n % 8)));
            }
            Family::Byte => {
                let (file, at) = self.place(n / 3);
                let byte = [0, 0xff, rng.u8(..)][n % 3];
                harm.write(log, file, at, &[byte]);
            }
            Family::Cut => {
                let (file, at) = self.place(n);
                let end = log.files[file].bytes.len();
                harm.edit(log, file, at..end, |b| b.truncate(at));
            }
            Family::SectorZero => self.overwrite(self.sectors[n], |s| vec![0; s.size], harm),
            Family::SectorNoise => {
                let noise = |s: Sector| (0..s.size).map(|_| rng.u8(..)).collect();
                self.overwrite(self.sectors[n / 4], noise, harm);
            }
            Family::SectorStale => {
                let (s, version) = self.stale[n];
                let old = bytes_of(&log.files[s.file].older[version], &s).to_vec();
                self.overwrite(s, |_| old, harm);
                harm.moved = true;
            }
            Family::SectorSwap => {
                let (a, b) = self.swaps[n];
                let [old_a, old_b] =
                    [a, b].map(|s| bytes_of(&log.files[s.file].bytes, &s).to_vec());
                self.overwrite(a, |_| old_b, harm);
                self.overwrite(b, |_| old_a, harm);
                harm.moved = true;
            }
            Family::SectorMisplaced => {
                let (a, b) = self.misplaced[n];
                let from = bytes_of(&log.files[a.file].bytes, &a).to_vec();
                self.overwrite(b, |_| from, harm);
                harm.moved = true;
            }
            Family::Word32 => {
                let (file, at) = self.place(n / ODD_32.len() * 4);
                harm.write(log, file, at, &ODD_32[n % ODD_32.len()].to_le_bytes());
            }
            Family::Word64 => {
                let (file, at) = self.place(n / ODD_64.len() * 8);
                harm.write(log, file, at, &ODD_64[n % ODD_64.len()].to_le_bytes());
            }
            Family::File => self.files[n].strike(log, harm),
            Family::Pair => unreachable!("a pair has no pairs in it"),
        }
    }

    fn overwrite(&self, s: Sector, with: impl FnOnce(Sector) -> Vec<u8>, harm: &mut Harm) {
        harm.write(self.log, s.file, s.at, &with(s));
    }
}

/// What is damaged byte by byte: of a large file the sectors in use, one in 64 KiB, and the last.
fn domain(log: &Log) -> Vec<(usize, Range<usize>)> {
    let mut domain = Vec::new();
    for (file, (f, used)) in log.files.iter().zip(&log.chart.used).enumerate() {
        let len = f.bytes.len();
        if len <= WHOLE_MAX {
            domain.push((file, 0..len));
            continue;
        }
        let looked_at = |at: usize| used.iter().any(|r| r.start < at + 512 && at < r.end);
        let sectors = (0..len).step_by(512);
        let sectors =
            sectors.filter(|&at| looked_at(at) || at + 512 >= len || at.is_multiple_of(WHOLE_MAX));
        domain.extend(sectors.map(|at| (file, at..at + 512)));
    }
    domain
}

fn flip(bytes: &mut [u8], at: usize, mask: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= mask;
    }
}

/// The part of a sector that a file has.
fn bytes_of<'a>(bytes: &'a [u8], s: &Sector) -> &'a [u8] {
    &bytes[s.at.min(bytes.len())..(s.at + s.size).min(bytes.len())]
}

/// Names that a file could have been given instead of its own.
fn other_names(log: &Log, name: &str) -> Vec<String> {
    let numbers = || log.files.iter().filter_map(|f| segment_number(&f.name));
    let highest = numbers().max().unwrap_or(0);
    let Some(stem) = name.strip_prefix("wal/") else {
        return if name == "IDENT" { vec!["IDENT.tmp".to_owned()] } else { Vec::new() };
    };
    let Some((number, ending)) = stem.split_once('.') else { return Vec::new() };
    let Ok(n) = number.parse::<u64>() else { return Vec::new() };
    let near = [n.saturating_sub(1), n + 1, highest + 1, highest + 7, u64::MAX, 0];
    let mut names: Vec<String> = near.iter().map(|n| format!("wal/{n:020}.{ending}")).collect();
    let kind = if ending == "seg" { "idx" } else { "seg" };
    names.extend([n, highest + 1].map(|n| format!("wal/{n:020}.{kind}")));
    names.extend([format!("wal/{n:020}.idx.tmp"), "wal/spare-9.tmp".to_owned()]);
    names.retain(|other| other != name);
    names.dedup();
    names
}

/// Every damage to whole files.
fn file_damages(log: &Log, logs: &[Log]) -> Vec<FileDamage> {
    let mut all = Vec::new();
    for (i, f) in log.files.iter().enumerate() {
        all.push(FileDamage::Gone(i));
        all.push(FileDamage::Empty(i));
        all.extend((0..f.older.len()).map(|n| FileDamage::Older(i, n)));
        for name in other_names(log, &f.name) {
            // To be copied over another file is to be in its place; that is `Swapped` and others.
            if log.file(&name).is_none() {
                all.push(FileDamage::Copied(i, name.clone()));
            }
            all.push(FileDamage::Renamed(i, name));
        }
        all.extend((i + 1..log.files.len()).map(|j| FileDamage::Swapped(i, j)));
        let others = logs.iter().filter(|other| other.name != log.name);
        let same = others.filter_map(|other| Some(&other.files[other.file(&f.name)?].bytes));
        all.extend(same.map(|bytes| FileDamage::Foreign(i, bytes.clone())));
    }
    all
}

impl FileDamage {
    /// Whether what the file says is right, but not under its name.
    fn mixes_names(&self) -> bool {
        !matches!(self, Self::Gone(_) | Self::Empty(_) | Self::Older(..))
    }

    fn strike(&self, log: &Log, harm: &mut Harm) {
        let bytes = |file: usize| Some(log.files[file].bytes.clone());
        harm.names |= self.mixes_names();
        match self {
            Self::Gone(file) => harm.replace(log, *file, None),
            Self::Empty(file) => harm.replace(log, *file, Some(Vec::new())),
            Self::Older(file, n) => {
                harm.replace(log, *file, Some(log.files[*file].older[*n].clone()));
                harm.moved = true;
            }
            Self::Copied(file, name) => {
                harm.added.push((name.clone(), log.files[*file].bytes.clone()));
            }
            Self::Renamed(file, name) => {
                harm.replace(log, *file, None);
                match log.file(name) {
                    Some(over) => harm.replace(log, over, bytes(*file)),
                    None => harm.added.push((name.clone(), log.files[*file].bytes.clone())),
                }
            }
            Self::Swapped(a, b) => {
                harm.replace(log, *a, bytes(*b));
                harm.replace(log, *b, bytes(*a));
            }
            Self::Foreign(file, other) => harm.replace(log, *file, Some(other.clone())),
        }
    }
}
