//! Readers that open the log again and again while it is written, rotated, truncated, compacted
//! and its oldest segments removed. Every look is the log as it stood at some moment between the
//! look's beginning and its end, or an honest "it moved"; it is never damage.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use raft_wal::{Error, Options};

use crate::child::{self, Running};
use crate::support::model::Model;
use crate::workload::{announce, look, number_of, open, random_batch};

const WRITE_FOR: Duration = Duration::from_secs(4);
const SEED: u64 = 4_711;

fn options() -> Options {
    Options::new().segment_bytes(32 << 10)
}

/// The batch after state `n`: random, and stamped with its number.
fn stamped(rng: &mut Rng, log: &Model, n: u64) -> raft_wal::Batch {
    let mut batch = random_batch(rng, log);
    batch.metadata = Some(n.to_le_bytes().to_vec().into());
    batch
}

/// The stamp of a state; 0 before the first batch.
fn stamp(log: &Model) -> u64 {
    log.metadata.as_ref().map_or(0, |m| u64::from_le_bytes(m[..].try_into().expect("a stamp")))
}

/// One look: its stamp and digest, or nothing if the log moved too fast. Anything else panics.
fn one_look(dir: &Path) -> Option<(u64, u64)> {
    match look(dir, &options()) {
        Ok((log, _)) => Some((stamp(&log), number_of(&log))),
        Err(Error::Busy { .. }) => None,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => panic!("a reader of a sound log was told: {e}"),
    }
}

/// The child: looks until it is killed.
pub(crate) fn look_for_ever(dir: &Path) {
    loop {
        match one_look(dir) {
            Some((n, digest)) => child::say(&format!("SAW {n} {digest}")),
            None => child::say("MOVED"),
        }
    }
}

/// What one reader saw, in order.
#[derive(Default)]
struct Looks {
    seen: Vec<(u64, u64)>,
    moved: u64,
}

impl Looks {
    fn add(&mut self, look: Option<(u64, u64)>) {
        match look {
            Some((n, _)) if self.seen.last().is_some_and(|last| last.0 > n) => {
                panic!("state {n} was seen after state {:?}", self.seen.last())
            }
            Some(look) => self.seen.push(look),
            None => self.moved += 1,
        }
    }
}

/// What the writer did.
#[derive(Default)]
struct Written {
    batches: u64,
    segments: usize,
    removed: usize,
}

/// Writes for a while. `issued` and `durable` are the numbers of the last batch that was appended
/// and of the last that was acknowledged.
fn write(dir: &Path, issued: &AtomicU64, durable: &AtomicU64) -> Written {
    let (mut wal, _) = open(dir, &options()).expect("the log opens");
    let (mut rng, mut habits) = (Rng::with_seed(SEED), Rng::with_seed(!SEED));
    let (mut log, mut written) = (Model::new(1), Written::default());
    let begun = Instant::now();
    while begun.elapsed() < WRITE_FOR {
        let n = written.batches + 1;
        let batch = stamped(&mut rng, &log, n);
        issued.store(n, Ordering::SeqCst);
        wal.append(&batch).expect("the batch keeps the rules");
        log.apply(&batch);
        written.batches = n;
        match habits.u8(..16) {
            0..=5 => {
                wal.sync().expect("the disk works");
                durable.store(n, Ordering::SeqCst);
            }
            6..=8 => wal.write_through().expect("the disk works"),
            9 => drop(wal.step_publish().expect("there is room")),
            10 => drop(wal.step_index().expect("closed segments are readable")),
            11 => drop(wal.step_mark(begun.elapsed()).expect("the disk works")),
            12..=13 => written.removed += wal.step_gc().expect("the disk works"),
            _ => {}
        }
    }
    written.segments = written.removed + segments(dir);
    written
}

fn segments(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir.join("wal")).expect("a log directory");
    let paths = names.map(|e| e.expect("an entry").path());
    paths.filter(|p| p.extension().is_some_and(|ending| ending == "seg")).count()
}

#[test]
fn a_reader_of_a_log_in_use_sees_it_as_it_stood_or_is_told_that_it_moved() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    drop(open(&dir, &options()).unwrap());
    let (issued, durable) = (AtomicU64::new(0), AtomicU64::new(0));
    let other = Running::start(child::command("look", &dir, 0), temp.path().join("out"));
    let (written, near) = std::thread::scope(|s| {
        let writer = s.spawn(|| write(&dir, &issued, &durable));
        let mut looks = Looks::default();
        while !writer.is_finished() {
            let from = durable.load(Ordering::SeqCst);
            let look = one_look(&dir);
            let to = issued.load(Ordering::SeqCst);
            if let Some((n, _)) = look {
                assert!((from..=to).contains(&n), "state {n} was seen between {from} and {to}");
            }
            looks.add(look);
        }
        (writer.join().expect("the writer ends"), looks)
    });
    let mut far = Looks::default();
    for line in other.kill() {
        far.add(line.strip_prefix("SAW ").map(|l| {
            let (n, digest) = l.split_once(' ').expect("two numbers");
            (n.parse().expect("a number"), digest.parse().expect("a number"))
        }));
    }
    compare_with_history(&[&near, &far]);
    let tally = |l: &Looks| format!("{} looks and {} that it moved", l.seen.len(), l.moved);
    announce(&format!(
        "{} batches, {} segments, {} removed under the readers; this process: {}; another: {}",
        written.batches,
        written.segments,
        written.removed,
        tally(&near),
        tally(&far),
    ));
    assert!(written.removed > 3 && written.segments > 5, "too little happened under the readers");
    for looks in [near, far] {
        let mut numbers: Vec<_> = looks.seen.iter().map(|look| look.0).collect();
        numbers.dedup();
        assert!(numbers.len() > 5, "the reader saw the log in {} states only", numbers.len());
    }
}

/// Every look must be, byte for byte, the state whose stamp it bore.
fn compare_with_history(readers: &[&Looks]) {
    let looks = readers.iter().flat_map(|l| l.seen.iter().copied());
    let mut wanted: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (n, digest) in looks {
        wanted.entry(n).or_default().push(digest);
    }
    let (mut rng, mut log, mut at) = (Rng::with_seed(SEED), Model::new(1), 0);
    for (n, seen) in wanted {
        while at < n {
            at += 1;
            let batch = stamped(&mut rng, &log, at);
            log.apply(&batch);
        }
        let expected = number_of(&log);
        assert!(seen.iter().all(|&d| d == expected), "state {n} was seen changed: {log:?}");
    }
}
