//! Compares the native log with the model, value by value.

use std::fmt;

use bytes::Bytes;
use raft_vfs::OsVfs;
use raft_wal::{HardState, Wal};

use crate::Error;
use crate::import::{native_entry, native_state};
use crate::model::{Model, conf_state_bytes};

/// How much of the log is read at once, in bytes of payload.
const READ_BYTES: u64 = 4 << 20;

/// What was found equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Equal {
    /// First index of the log.
    pub first_index: u64,
    /// One past the last index.
    pub next_index: u64,
    /// The hard state.
    pub hard_state: HardState,
    /// Index and term of the newest snapshot marker.
    pub marker: Option<(u64, u64)>,
}

impl fmt::Display for Equal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.next_index - self.first_index {
            0 => f.write_str("no entries")?,
            n => write!(f, "{n} entries {}..={}", self.first_index, self.next_index - 1)?,
        }
        let HardState { term, vote, commit } = self.hard_state;
        write!(f, ", hard state term {term} vote {vote:x} commit {commit}")?;
        match self.marker {
            None => f.write_str(", no marker"),
            Some((index, term)) => write!(f, ", marker {index} (term {term})"),
        }
    }
}

/// Fails unless both values are the same.
fn same<T: PartialEq + fmt::Debug>(what: &str, source: &T, log: &T) -> Result<(), Error> {
    if source == log {
        return Ok(());
    }
    let (source_value, log_value) = (format!("{source:?}"), format!("{log:?}"));
    Err(Error::Differs { what: what.to_owned(), source_value, log_value })
}

/// Compares everything the log holds: bounds, entries with term, kind and payload, the term
/// before the first entry, hard state, marker with its conf state, and metadata.
///
/// # Errors
/// [`Error::Differs`] at the first difference, [`Error::Log`] if the log cannot be read.
pub fn compare(wal: &Wal<OsVfs>, model: &Model) -> Result<Equal, Error> {
    same("the first index", &model.first_index(), &wal.first_index())?;
    same("the last index and one", &model.next_index(), &wal.next_index())?;
    if let Some(before) = model.first_index().checked_sub(1) {
        same("the term before the first entry", &model.term(before), &wal.term(before)?)?;
    }
    entries(wal, model)?;
    let hard_state = native_state(model.hard_state());
    same("the hard state", &hard_state, &wal.hard_state())?;
    same("the metadata", &model.metadata(), &wal.metadata())?;
    let mark = |index, term, conf_state: Bytes| (index, term, conf_state);
    let ours = model.snapshot();
    let ours = ours.map(|m| mark(m.index, m.term, conf_state_bytes(m.conf_state.as_ref())));
    let logs = wal.snapshot().map(|m| mark(m.index, m.term, m.conf_state.clone()));
    same("the snapshot marker", &ours, &logs)?;
    Ok(Equal {
        first_index: wal.first_index(),
        next_index: wal.next_index(),
        hard_state,
        marker: logs.map(|m| (m.0, m.1)),
    })
}

fn entries(wal: &Wal<OsVfs>, model: &Model) -> Result<(), Error> {
    let mut at = wal.first_index();
    while at < wal.next_index() {
        for entry in wal.entries(at, wal.next_index(), READ_BYTES)? {
            let expected = model.entry_at(at).map(native_entry);
            let what = format!("entry {at}");
            same(&what, &expected.as_ref(), &Some(&entry))?;
            same(&format!("the term of {what}"), &model.term(at), &wal.term(at)?)?;
            at += 1;
        }
    }
    Ok(())
}
