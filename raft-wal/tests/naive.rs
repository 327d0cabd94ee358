//! The format against its page: `tests/naive/decoder.py` was written from `docs/FORMAT.md` alone,
//! in another language, and must get the same frames, records, entries, state and verdict out of
//! the same files as this library.
//!
//! Without a `python3` these tests say so and pass. `RAFT_WAL_SEED=n` runs one seed only,
//! `RAFT_WAL_NAIVE_LOGS=n` the first `n` seeds of each kind.
#![allow(clippy::disallowed_methods, reason = "the decoder reads real files")]

#[path = "naive/lines.rs"]
mod lines;
#[path = "naive/python.rs"]
mod python;
#[path = "naive/reseal.rs"]
mod reseal;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_wal::format::{FIRST_FRAME, HeadSlot, IdentPage, Mark, PAGE};
use raft_wal::inspect::Segment;

use crate::support::history::{History, Plan};
use crate::support::lab::frames;
use crate::support::sim::{DIR, announce, path, segment_path, segments};
use crate::support::tally::Tally;

/// Logs to be compared, each with the words that find it again.
type Logs = Vec<(String, SimVfs)>;

/// What both readers agreed on.
#[derive(Default)]
struct Compared {
    logs: usize,
    frames: usize,
    records: usize,
    entries: usize,
    verdicts: BTreeMap<String, usize>,
}

impl Compared {
    fn count(&mut self, lines: &[String]) {
        let of = |what: &str| lines.iter().filter(|l| l.starts_with(what)).count();
        self.logs += 1;
        self.frames += of("{\"frame\"");
        self.records += of("{\"record\"");
        self.entries += of("{\"entry\"");
        let verdict = lines.last().and_then(|l| l.split('"').nth(3)).unwrap_or_default();
        *self.verdicts.entry(verdict.to_owned()).or_default() += 1;
    }

    fn announce(&self, what: &str) {
        let Self { logs, frames, records, entries, verdicts } = self;
        announce(&format!(
            "{what}: {logs} logs compared, {frames} frames, {records} records, {entries} entries; \
             {verdicts:?}"
        ));
        // A single log, of a seed that is replayed, may be refused whole.
        let none = [self.frames, self.records, self.entries].contains(&0);
        assert!(*logs > 0 && (*logs == 1 || !none), "{what}: nothing was compared");
    }

    fn verdict(&self, name: &str) -> usize {
        self.verdicts.get(name).copied().unwrap_or(0)
    }
}

/// Holds both readings of each log against each other. `None` without a Python.
fn compare(what: &str, mut logs: impl Iterator<Item = (String, SimVfs)>) -> Option<Compared> {
    /// Logs that one process of the decoder reads.
    const AT_ONCE: usize = 400;
    if !python::is_there() {
        return None;
    }
    let mut compared = Compared::default();
    loop {
        let some: Logs = logs.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            break;
        }
        compare_some(&some, &mut compared);
    }
    compared.announce(what);
    Some(compared)
}

fn compare_some(logs: &Logs, compared: &mut Compared) {
    let temp = tempfile::tempdir().unwrap();
    let dirs: Vec<PathBuf> = (0..logs.len()).map(|i| temp.path().join(i.to_string())).collect();
    for (dir, (_, disk)) in dirs.iter().zip(logs) {
        write_out(disk, dir);
    }
    for ((name, disk), by_page) in logs.iter().zip(python::decode(&dirs)) {
        let by_code = std::panic::catch_unwind(|| lines::of(disk));
        let by_code = by_code.unwrap_or_else(|_| panic!("{name}: see above"));
        for (n, (code, page)) in by_code.iter().zip(&by_page).enumerate() {
            assert_eq!(code, page, "{name}: line {n}; left by the code, right by the page");
        }
        assert_eq!(by_code.len(), by_page.len(), "{name}: one reader sees more");
        compared.count(&by_code);
    }
}

fn write_out(disk: &SimVfs, dir: &Path) {
    fs::create_dir_all(dir.join("wal")).unwrap();
    for name in disk.paths() {
        let to = dir.join(name.strip_prefix(DIR).unwrap());
        fs::write(to, disk.read_file(&name).unwrap()).unwrap();
    }
}

/// The logs kept in the repository.
fn kept(kind: &str) -> Logs {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind);
    let mut logs = Logs::new();
    for e in fs::read_dir(root).unwrap().map(Result::unwrap) {
        let disk = SimVfs::new(7);
        for sub in ["", "wal"] {
            let Ok(files) = fs::read_dir(e.path().join("log").join(sub)) else { continue };
            for f in files.map(Result::unwrap).filter(|f| f.file_type().unwrap().is_file()) {
                let to = Path::new(DIR).join(sub).join(f.file_name());
                disk.write_file(to, &fs::read(f.path()).unwrap());
            }
        }
        logs.push((format!("{kind}/{}", e.file_name().display()), disk));
    }
    logs.sort_by(|a, b| a.0.cmp(&b.0));
    logs
}

/// The seeds of a test, and whether they are enough to ask for a variety: one or another number of
/// them if the environment says so.
fn seeds(usual: u64) -> (Range<u64>, bool) {
    let number = |name| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    match (number("RAFT_WAL_SEED"), number("RAFT_WAL_NAIVE_LOGS")) {
        (Some(one), _) => (one..one + 1, false),
        (None, Some(many)) => (0..many, many >= usual),
        (None, None) => (0..usual, true),
    }
}

#[test]
fn kept_logs_are_the_same_to_a_reader_written_from_the_page_alone() {
    let (sound, damaged) = (kept("v1"), kept("v1-damaged"));
    if let Some(c) = compare("sound fixtures", sound.into_iter()) {
        assert_eq!(c.verdict("damage") + c.verdict("unsupported"), 0);
    }
    if let Some(c) = compare("damaged fixtures", damaged.into_iter()) {
        assert!(c.verdict("damage") >= 10 && c.verdict("unsupported") >= 2);
    }
}

/// The disk of a random history, as a crash after it leaves it.
fn after_history(seed: u64) -> SimVfs {
    let mut tally = Tally::default();
    let mut history = History::new(seed, Plan::of(seed), &mut tally, false);
    history.eras().unwrap_or_else(|why| panic!("{why}\n  replay: RAFT_WAL_SEED={seed}"));
    history.disk
}

#[test]
fn logs_of_random_batches_and_crashes_are_the_same_to_both_readers() {
    let (seeds, many) = seeds(120);
    let logs = seeds.map(|seed| (format!("RAFT_WAL_SEED={seed}"), after_history(seed)));
    if let Some(c) = compare("random logs", logs)
        && many
    {
        assert!(c.verdict("torn") >= 20 && c.verdict("closed") >= 5);
    }
}

/// The places of a log where its bytes say something.
fn counting(disk: &SimVfs) -> Vec<(PathBuf, Range<u64>)> {
    let page = |n: u64, len: usize| n * PAGE..n * PAGE + len as u64;
    let (identity, slot) = (IdentPage::LEN, HeadSlot::LEN);
    let ident = [page(0, identity), page(1, identity), page(2, slot), page(3, slot)];
    let mut out: Vec<_> = ident.map(|r| (path("IDENT"), r)).into();
    for seq in segments(disk) {
        let at = segment_path(seq);
        let head = [0, 1, 2].map(|n| page(n, Mark::LEN));
        out.extend(head.map(|r| (at.clone(), r)));
        if Segment::open(disk, &at).is_ok_and(|s| s.header().is_some()) {
            let end = frames(disk, seq).last().map_or(FIRST_FRAME, |f| f.end);
            // Twice, and a little more: this is where the log is.
            out.extend([(at.clone(), FIRST_FRAME..end + 64), (at, FIRST_FRAME..end + 64)]);
        }
    }
    out
}

/// Sound logs to be damaged.
fn many_sound() -> Logs {
    let random = (0..20).map(|seed| (format!("history {seed}"), after_history(seed)));
    kept("v1").into_iter().chain(random).collect()
}

/// A log with one or two bits flipped.
fn flipped(seed: u64, logs: &Logs) -> (String, SimVfs) {
    let mut rng = Rng::with_seed(seed);
    let (name, disk) = &logs[rng.usize(..logs.len())];
    let (disk, mut name) = (disk.fork(), format!("RAFT_WAL_SEED={seed}: {name}"));
    let places = counting(&disk);
    for _ in 0..rng.usize(1..3) {
        let (file, range) = &places[rng.usize(..places.len())];
        let (at, bit) = (rng.u64(range.clone()) as usize, rng.u8(..8));
        disk.mutate(file, |b| {
            if let Some(byte) = b.get_mut(at) {
                *byte ^= 1 << bit;
            }
        });
        let _ = write!(name, ", {}+{at} bit {bit}", file.display());
    }
    (name, disk)
}

#[test]
fn after_flipped_bits_both_readers_come_to_the_same_verdict() {
    let sound = many_sound();
    let (seeds, many) = seeds(400);
    let logs = seeds.map(|seed| flipped(seed, &sound));
    if let Some(c) = compare("flipped bits", logs)
        && many
    {
        assert!(c.verdict("damage") >= 50 && c.verdict("torn") >= 20 && c.verdict("closed") >= 20);
    }
}

/// A log in which one frame says something else, under checksums that are right.
fn resealed(seed: u64, logs: &Logs) -> (String, SimVfs) {
    let mut rng = Rng::with_seed(seed);
    loop {
        let (name, disk) = &logs[rng.usize(..logs.len())];
        let disk = disk.fork();
        if let Some(what) = reseal::change(&mut rng, &disk) {
            return (format!("RAFT_WAL_SEED={seed}: {name}, {what}"), disk);
        }
    }
}

#[test]
fn where_checksums_are_right_both_readers_keep_the_same_rules() {
    let sound = many_sound();
    let (seeds, many) = seeds(800);
    let logs = seeds.map(|seed| resealed(seed, &sound));
    if let Some(c) = compare("changed frames with right checksums", logs)
        && many
    {
        assert!(c.verdict("damage") >= 100 && c.verdict("unsupported") >= 3);
    }
}
