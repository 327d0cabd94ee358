//! Scripts: short sequences of what a node does with its log, over an alphabet of ten.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use raft_wal::{Batch, Entry, EntryKind, HardState, Options, Reset, SnapshotMark};

use crate::support::model::Model;

/// Largest payload: records cross sectors, and four fill a segment.
const LEN_MAX: usize = 3072;

/// Segments of 24 KiB: half is header and marks, half is room for frames.
pub(crate) const SEGMENT: u64 = 24 << 10;

pub(crate) fn options() -> Options {
    Options::new().segment_bytes(SEGMENT)
}

/// One letter of the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// One small entry.
    Append1,
    /// Three entries, which cross sectors.
    Append3,
    /// Two batches that together are larger than a segment.
    AppendBig,
    /// Entries of a new term over the second half of what is not committed.
    TruncateMid,
    /// Everything not committed goes, and nothing comes.
    TruncateAll,
    /// A new term, a vote, and everything but the last entry committed.
    HardState,
    /// A snapshot of a later index: marker, reset and hard state.
    Install,
    /// Everything committed is compacted away.
    Compact,
    /// Close and open.
    Reopen,
    /// A batch that fills its segment to the last byte.
    Boundary,
}

impl Op {
    pub(crate) const ALPHABET: [(Self, &'static str); 10] = [
        (Self::Append1, "append1"),
        (Self::Append3, "append3"),
        (Self::AppendBig, "big"),
        (Self::TruncateMid, "truncate-mid"),
        (Self::TruncateAll, "truncate-all"),
        (Self::HardState, "state"),
        (Self::Install, "install"),
        (Self::Compact, "compact"),
        (Self::Reopen, "reopen"),
        (Self::Boundary, "boundary"),
    ];
}

/// The log at the beginning of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// No directory at all.
    Fresh,
    /// Two segments, a marker, metadata and values; its process was killed.
    Used,
}

/// What happens after each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The batches are handed to the files and wait: unsynced changes pile up.
    Written,
    /// A sync.
    Synced,
    /// A sync, and every background duty, before and after the log has idled.
    Duties,
}

/// A script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) start: Start,
    pub(crate) pace: Pace,
    pub(crate) ops: Vec<Op>,
}

const STARTS: [(Start, &str); 2] = [(Start::Fresh, "fresh"), (Start::Used, "used")];
const PACES: [(Pace, &str); 3] =
    [(Pace::Written, "written"), (Pace::Synced, "synced"), (Pace::Duties, "duties")];

impl Script {
    /// All scripts of exactly `length` operations. Without any, there is no pace.
    pub(crate) fn all(length: u32) -> Vec<Self> {
        let letters = Op::ALPHABET.len();
        let mut all = Vec::new();
        for (start, _) in STARTS {
            for &(pace, _) in if length == 0 { &PACES[..1] } else { &PACES[..] } {
                all.extend((0..letters.pow(length)).map(|mut number| {
                    let ops = (0..length).map(|_| {
                        let op = Op::ALPHABET[number % letters].0;
                        number /= letters;
                        op
                    });
                    Self { start, pace, ops: ops.collect() }
                }));
            }
        }
        all
    }

    /// A random script.
    pub(crate) fn random(seed: u64, length: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            start: STARTS[rng.usize(..STARTS.len())].0,
            pace: PACES[rng.usize(..PACES.len())].0,
            ops: (0..length).map(|_| Op::ALPHABET[rng.usize(..10)].0).collect(),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", name_of(&STARTS, self.start), name_of(&PACES, self.pace))?;
        let ops: Vec<_> = self.ops.iter().map(|&op| name_of(&Op::ALPHABET, op)).collect();
        f.write_str(&ops.join(","))
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let mut parts = s.splitn(3, '/');
        let mut part = || parts.next().ok_or_else(|| format!("{s}: expected start/pace/op,op,..."));
        let (start, pace) = (of_name(&STARTS, part()?)?, of_name(&PACES, part()?)?);
        let ops = part()?.split(',').filter(|op| !op.is_empty());
        let ops = ops.map(|op| of_name(&Op::ALPHABET, op)).collect::<Result<_, _>>()?;
        Ok(Self { start, pace, ops })
    }
}

fn name_of<T: Copy + PartialEq>(names: &[(T, &'static str)], wanted: T) -> &'static str {
    names.iter().find(|(value, _)| *value == wanted).map_or("?", |(_, name)| name)
}

fn of_name<T: Copy>(names: &[(T, &'static str)], wanted: &str) -> Result<T, String> {
    let found = names.iter().find(|(_, name)| *name == wanted);
    found.map(|(value, _)| *value).ok_or_else(|| format!("no such word: {wanted}"))
}

/// Makes the batches of a script; no two payloads are alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batches {
    made: u64,
}

impl Batches {
    /// Entries of these lengths at the end of the log, of the current term.
    pub(crate) fn append(&mut self, log: &Model, lens: &[usize]) -> Batch {
        Batch::of_entries(self.entries(log.next(), term(log), lens))
    }

    /// Entries whose frame takes exactly `size` bytes, or `None` if there are none.
    pub(crate) fn filling(&mut self, log: &Model, size: u64) -> Option<Batch> {
        const FRAME: u64 = raft_wal::format::FRAME_HEADER_LEN;
        const RECORD: u64 = raft_wal::format::RECORD_OVERHEAD;
        let full = RECORD + LEN_MAX as u64;
        let mut rest = size.checked_sub(FRAME + RECORD)? + RECORD;
        let mut lens = Vec::new();
        while rest > full + RECORD {
            lens.push(LEN_MAX);
            rest -= full;
        }
        lens.push((rest - RECORD) as usize);
        Some(self.append(log, &lens))
    }

    /// The batch of an operation that is one batch; `None` if there is nothing to do.
    pub(crate) fn of(&mut self, op: Op, log: &Model) -> Option<Batch> {
        let floor = lowest_cut(log);
        Some(match op {
            Op::Append1 => self.append(log, &[200]),
            Op::Append3 => self.append(log, &[40, 600, 1500]),
            Op::TruncateMid => {
                let term = term(log) + 1;
                let from = floor + (log.next() - floor) / 2;
                let hard_state = HardState { term, vote: 0, commit: log.hard_state.commit };
                let entries = self.entries(from, term, &[200, 700]);
                Batch::of_entries(entries).with_hard_state(hard_state)
            }
            Op::TruncateAll if floor < log.next() => {
                Batch { truncate: Some(floor), ..Batch::default() }
            }
            Op::HardState => {
                let (term, old) = (term(log) + 1, log.hard_state.commit);
                let commit = old.max(log.next().saturating_sub(2));
                Batch::of_hard_state(HardState { term, vote: 1 + term % 3, commit })
            }
            Op::Install => install(log),
            Op::TruncateAll | Op::AppendBig | Op::Compact | Op::Reopen | Op::Boundary => {
                return None;
            }
        })
    }

    /// What no letter writes: metadata, keyed values, a marker in the middle of the log.
    pub(crate) fn extras(&mut self, log: &Model) -> Batch {
        let index = log.hard_state.commit;
        let blob = |key: &'static str, value| (Bytes::from_static(key.as_bytes()), value);
        Batch {
            metadata: Some(self.payload(100)),
            blobs: vec![blob("a", self.payload(30)), blob("b", self.payload(300))],
            snapshot: log.term(index).map(|term| mark(index, term)),
            ..Batch::default()
        }
    }

    fn entries(&mut self, first: u64, term: u64, lens: &[usize]) -> Vec<Entry> {
        let entry =
            |(index, &len)| Entry { index, term, kind: EntryKind::Normal, data: self.payload(len) };
        (first..).zip(lens).map(entry).collect()
    }

    fn payload(&mut self, len: usize) -> Bytes {
        self.made += 1;
        let mut data = vec![0; len];
        fastrand::Rng::with_seed(self.made).fill(&mut data);
        data.into()
    }
}

fn term(log: &Model) -> u64 {
    log.hard_state.term.max(log.last_term().unwrap_or(0))
}

/// The lowest index from which on entries may be cut.
fn lowest_cut(log: &Model) -> u64 {
    let marked = log.snapshot.as_ref().map_or(0, |s| s.index + 1);
    log.first.max(log.hard_state.commit + 1).max(marked)
}

/// Everything that a compaction may give up.
pub(crate) fn compaction(log: &Model) -> u64 {
    (log.hard_state.commit + 1).clamp(log.first, log.next())
}

fn mark(index: u64, term: u64) -> SnapshotMark {
    let conf_state = Bytes::from_static(b"1 2 3");
    SnapshotMark { index, term, file_len: 1000 + index, file_hash: [index as u8; 32], conf_state }
}

fn install(log: &Model) -> Batch {
    let (term, first_index) = (term(log), log.next() + 2);
    let commit = first_index - 1;
    Batch {
        reset: Some(Reset { first_index, base_term: Some(term) }),
        snapshot: Some(mark(commit, term)),
        hard_state: Some(HardState { term, commit, ..log.hard_state }),
        ..Batch::default()
    }
}
