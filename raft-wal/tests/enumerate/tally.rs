//! What an enumeration went through, counted, so that a run which tested nothing fails.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A line of a source file.
pub(crate) type Site = (&'static str, u32);

/// Counts of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) scripts: u64,
    /// Crash points at which every pending subset was tried, and at which samples were.
    pub(crate) exhaustive: u64,
    pub(crate) sampled: u64,
    /// Crash points inside the recovery of a crash state.
    pub(crate) inner: u64,
    /// Cuts made; many leave the same disk.
    pub(crate) cuts: u64,
    /// Of these, after a second crash.
    pub(crate) second: u64,
    /// Different pairs of a disk and what may be on it: each recovered and judged.
    pub(crate) judged: u64,
    /// Different disks.
    pub(crate) distinct: u64,
    /// Recoveries that wrote again what was not proven.
    pub(crate) carries: u64,
    /// Runs with a failing call, the errors that they met, and restarts after them.
    pub(crate) faults: u64,
    pub(crate) errors: u64,
    pub(crate) restarts: u64,
    /// Crash points by the line that made the call before.
    pub(crate) sites: BTreeMap<Site, u64>,
    pub(crate) failures: Vec<String>,
    pub(crate) time: Duration,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.scripts += other.scripts;
        self.exhaustive += other.exhaustive;
        self.sampled += other.sampled;
        self.inner += other.inner;
        self.cuts += other.cuts;
        self.second += other.second;
        self.judged += other.judged;
        self.distinct += other.distinct;
        self.carries += other.carries;
        self.faults += other.faults;
        self.errors += other.errors;
        self.restarts += other.restarts;
        self.time += other.time;
        for (site, n) in other.sites {
            *self.sites.entry(site).or_default() += n;
        }
        self.failures.extend(other.failures);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |kind: &str| self.failures.iter().filter(|f| f.starts_with(kind)).count();
        let millis = self.time.as_millis().max(1) as u64;
        write!(
            f,
            "scripts: {}, failing calls: {} ({} errors, {} restarts), crash points: {} ({} with \
             every subset, {} sampled, {} inside a recovery), crash states: {} ({} after a second \
             crash), judged: {}, distinct disks: {}, carries: {}, {} s, {} states/s, {} \
             illegal, {} refused, {} panics",
            self.scripts,
            self.faults,
            self.errors,
            self.restarts,
            self.exhaustive + self.sampled + self.inner,
            self.exhaustive,
            self.sampled,
            self.inner,
            self.cuts,
            self.second,
            self.judged,
            self.distinct,
            self.carries,
            millis / 1000,
            self.judged * 1000 / millis,
            of("ILLEGAL"),
            of("REFUSED"),
            of("PANIC"),
        )
    }
}

/// Hashes what is a hash already.
#[derive(Debug, Default)]
pub(crate) struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed");
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

/// What has been seen, by all threads together: so the counts do not depend on who came first.
#[derive(Debug)]
pub(crate) struct Seen {
    shards: Vec<Mutex<HashSet<u64, BuildHasherDefault<Same>>>>,
}

impl Seen {
    pub(crate) fn new() -> Self {
        Self { shards: (0..64).map(|_| Mutex::default()).collect() }
    }

    /// Returns whether it is new.
    pub(crate) fn insert(&self, key: u64) -> bool {
        let shard = &self.shards[key as usize % self.shards.len()];
        // The low bits chose the shard; those above choose the place in it.
        shard.lock().unwrap_or_else(PoisonError::into_inner).insert(key.rotate_right(6))
    }
}
