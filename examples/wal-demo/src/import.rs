//! The importer: the process that is killed. It appends one atomic batch per save of the source
//! and says on its standard output what it tries and what is durable.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd_reader::{EntryKind, RecordKind};
use raft_vfs::OsVfs;
use raft_wal::{Batch, Entry, HardState, Options, Reset, SnapshotMark, VoteRule, Wal};

use crate::Error;
use crate::model::conf_state_bytes;
use crate::source::{Save, Saves};

/// The key under which each batch leaves the number of its save. It is part of the batch, so that
/// log and position cannot disagree whatever moment a crash picks.
pub const POSITION: &[u8] = b"import/position";

/// How the native log is opened, by importer and checker alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Capacity of a segment in bytes.
    pub segment_bytes: u64,
    /// The source changes its vote inside a term, which the log would otherwise refuse.
    pub votes_unchecked: bool,
}

impl LogOptions {
    /// As the log's own options.
    pub fn options(&self) -> Options {
        let votes = if self.votes_unchecked { VoteRule::Unchecked } else { VoteRule::OncePerTerm };
        Options::new().segment_bytes(self.segment_bytes).vote_rule(votes)
    }
}

/// How fast the importer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Seed of the sizes of groups.
    pub seed: u64,
    /// At most so many saves are made durable by one sync.
    pub group_max: u64,
    /// The least time a group takes, so that there is time to be killed in.
    pub least: Duration,
}

/// What the importer says, one line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// So many saves were there after recovery.
    At(u64),
    /// Saves up to this number are about to be appended.
    Try(u64),
    /// Saves up to this number are durable.
    Ack(u64),
    /// The whole source is in, and the log closed.
    Done(u64),
}

impl Said {
    /// Reads a line.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, number) = line.split_once(' ')?;
        let number = number.parse().ok()?;
        Some(match word {
            "AT" => Self::At(number),
            "TRY" => Self::Try(number),
            "ACK" => Self::Ack(number),
            "DONE" => Self::Done(number),
            _ => return None,
        })
    }

    /// Writes the line and hands it over at once: what is in a buffer dies with the process.
    fn say(self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::At(n) => writeln!(out, "AT {n}"),
            Self::Try(n) => writeln!(out, "TRY {n}"),
            Self::Ack(n) => writeln!(out, "ACK {n}"),
            Self::Done(n) => writeln!(out, "DONE {n}"),
        }?;
        out.flush()
    }
}

/// How many saves of the source the log holds.
///
/// # Errors
/// [`Error::NotOurs`] if the log holds something, but no position.
pub fn position(wal: &Wal<OsVfs>) -> Result<u64, Error> {
    match wal.blob(POSITION) {
        None if wal.next_index() == 1 && wal.metadata().is_none() => Ok(0),
        None => Err(Error::NotOurs { found: "no position of an import".to_owned() }),
        Some(value) => {
            let number = value.as_ref().try_into().map(u64::from_le_bytes);
            number.map_err(|_| Error::NotOurs { found: format!("a position of {value:?}") })
        }
    }
}

/// Imports what is missing of the etcd log at `source` into the native log in `dir`.
///
/// # Errors
/// [`Error::Source`], [`Error::Log`], [`Error::Pipe`] if nobody listens to `out`.
pub fn import(
    source: &Path,
    dir: &Path,
    log: LogOptions,
    pace: Pace,
    out: &mut impl Write,
) -> Result<(), Error> {
    let (mut wal, _report) = Wal::open(OsVfs, dir, &log.options())?;
    let mut done = position(&wal)?;
    Said::At(done).say(out).map_err(Error::Pipe)?;
    let mut saves = Saves::open(source)?;
    for number in 1..=done {
        if saves.next_save()?.is_none() {
            let found = format!("{done} saves, where the source has {}", number - 1);
            return Err(Error::NotOurs { found });
        }
    }
    let mut rng = fastrand::Rng::with_seed(pace.seed ^ done);
    loop {
        let begun = Instant::now();
        let mut group = Vec::new();
        for _ in 0..rng.u64(1..=pace.group_max.max(1)) {
            group.extend(saves.next_save()?);
        }
        if group.is_empty() {
            break;
        }
        Said::Try(done + group.len() as u64).say(out).map_err(Error::Pipe)?;
        // The pauses lie where a slow disk would have them: a kill then finds batches that are
        // appended, or written, and not synced.
        let pause = pace.least.saturating_sub(begun.elapsed()) / (group.len() as u32 + 1);
        let mut ticket = None;
        for save in &group {
            ticket = Some(wal.append(&batch(save, done + 1, &wal))?);
            done += 1;
            if rng.bool() {
                wal.write_through()?;
            }
            std::thread::sleep(pause);
        }
        if let Some(ticket) = ticket {
            wal.wait(ticket)?;
        }
        Said::Ack(done).say(out).map_err(Error::Pipe)?;
        std::thread::sleep(pause);
    }
    wal.close()?;
    Said::Done(done).say(out).map_err(Error::Pipe)
}

/// The batch for save `number`.
fn batch(save: &Save, number: u64, wal: &Wal<OsVfs>) -> Batch {
    let mut batch = Batch {
        blobs: vec![(Bytes::from_static(POSITION), Bytes::copy_from_slice(&number.to_le_bytes()))],
        ..Batch::default()
    };
    for record in &save.records {
        match record {
            RecordKind::Crc(_) => {}
            RecordKind::Metadata(data) => batch.metadata = Some(data.clone()),
            RecordKind::Entry(e) => batch.entries.push(native_entry(e)),
            RecordKind::HardState(s) => batch.hard_state = Some(native_state(*s)),
            RecordKind::Snapshot(m) => {
                batch.snapshot = Some(SnapshotMark {
                    index: m.index,
                    term: m.term,
                    conf_state: conf_state_bytes(m.conf_state.as_ref()),
                    ..SnapshotMark::default()
                });
            }
        }
    }
    batch.reset = match (&batch.snapshot, batch.entries.first()) {
        (Some(mark), _) if save.resets => {
            let first_index = mark.index.saturating_add(1);
            Some(Reset { first_index, base_term: Some(mark.term) })
        }
        (_, Some(e)) if begins_anew(e.index, wal) => {
            Some(Reset { first_index: e.index, base_term: None })
        }
        _ => None,
    };
    batch
}

/// Whether the source's log begins with this entry: its first segments were removed, or a new
/// leader replaced all that was left behind the removed part.
fn begins_anew(index: u64, wal: &Wal<OsVfs>) -> bool {
    let (first, next) = (wal.first_index(), wal.next_index());
    index < first || (first == next && index > next)
}

/// An entry of the source in the native log's types; the payload is shared.
pub fn native_entry(e: &etcd_reader::Entry) -> Entry {
    let kind = match e.kind {
        EntryKind::Normal => raft_wal::EntryKind::Normal,
        EntryKind::ConfChange => raft_wal::EntryKind::ConfChange,
        EntryKind::ConfChangeV2 => raft_wal::EntryKind::ConfChangeV2,
    };
    Entry { index: e.index, term: e.term, kind, data: e.data.clone() }
}

/// A hard state of the source in the native log's type.
pub fn native_state(s: etcd_reader::HardState) -> HardState {
    HardState { term: s.term, vote: s.vote, commit: s.commit }
}
