//! The log as the state machine sees it: the storage's, and in front of it what is unstable.

use prost::Message as _;

use crate::error::{Error, Result};
use crate::message::{Entry, Snapshot};
use crate::storage::{Fetch, Storage, StorageError};
use crate::unstable::Unstable;

/// The last index that an entry can have: the one behind it, and the end of the log behind that,
/// are still numbers.
pub(crate) const MAX_INDEX: u64 = u64::MAX - 2;

/// Encoded bytes of entries, as limits count them.
pub(crate) fn encoded_size(entries: &[Entry]) -> u64 {
    entries.iter().map(|e| e.encoded_len() as u64).sum()
}

/// Payload bytes of entries.
pub(crate) fn payload_size(entries: &[Entry]) -> u64 {
    entries.iter().map(|e| e.data.len() as u64).sum()
}

/// What an append message would do to the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AppendPlan {
    /// The entry before the first is committed here already.
    Stale,
    /// The entry before the first is not here; the logs may agree up to the hint.
    Mismatch { hint: u64, hint_term: u64 },
    /// Entries from the `skip`th on are new, or replace others.
    Match { skip: usize, last: u64 },
}

/// Invariants: `applied <= applying <= committed <= last_index`; none of them ever falls.
#[derive(Debug)]
pub(crate) struct Log<S> {
    storage: S,
    pub(crate) unstable: Unstable,
    committed: u64,
    /// The last index handed out for application.
    applying: u64,
    applied: u64,
    /// The term of the entry before `unstable.base()`, while it is known.
    base_term: Option<u64>,
    /// Encoded bytes that may be handed out and not applied; at least 1.
    max_applying_bytes: u64,
    applying_bytes: u64,
    /// Nothing is handed out until something is applied.
    applying_paused: bool,
    /// What is to be handed out next is being read in the background.
    apply_away: bool,
    /// Nothing from here on is handed out: the log has a hole.
    hole: Option<u64>,
}

impl<S: Storage> Log<S> {
    /// Everything up to the beginning of the log is committed and applied. If its last entry may be
    /// damaged, its term need not be readable.
    pub(crate) fn new(storage: S, max_applying_bytes: u64, damaged: bool) -> Result<Self> {
        let first = storage.first_index()?;
        let last = storage.last_index()?;
        if first == 0 || last > MAX_INDEX || last + 1 < first {
            let (low, high) = (1, last.saturating_add(1));
            return Err(Error::StoredState { what: "first index", value: first, low, high });
        }
        let base_term = match storage.term(last) {
            Err(_) if damaged => None,
            term => Some(term?),
        };
        Ok(Self {
            storage,
            unstable: Unstable::new(last + 1),
            committed: first - 1,
            applying: first - 1,
            applied: first - 1,
            base_term,
            max_applying_bytes: max_applying_bytes.max(1),
            applying_bytes: 0,
            applying_paused: false,
            apply_away: false,
            hole: None,
        })
    }

    pub(crate) fn storage(&self) -> &S {
        &self.storage
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    pub(crate) fn applying(&self) -> u64 {
        self.applying
    }

    pub(crate) fn applied(&self) -> u64 {
        self.applied
    }

    pub(crate) fn max_applying_bytes(&self) -> u64 {
        self.max_applying_bytes
    }

    pub(crate) fn last_index(&self) -> u64 {
        self.unstable.end() - 1
    }

    /// The first index that can be read.
    pub(crate) fn first_index(&self) -> Result<u64, StorageError> {
        match self.unstable.snapshot() {
            Some(snapshot) => Ok(snapshot.index() + 1),
            None => self.storage.first_index(),
        }
    }

    /// The term of the last entry. Known without the storage but for a log that was never written.
    pub(crate) fn last_term(&self) -> u64 {
        match self.unstable.last() {
            Some(entry) => entry.term,
            None => self.base_term.unwrap_or(0),
        }
    }

    /// The term at `index`, from the one before the first index to the last.
    pub(crate) fn term(&self, index: u64) -> Result<u64, StorageError> {
        if let Some(entry) = self.unstable.get(index) {
            return Ok(entry.term);
        }
        if index >= self.unstable.end() {
            return Err(StorageError::Unavailable);
        }
        if index + 1 == self.unstable.base()
            && let Some(term) = self.base_term
        {
            return Ok(term);
        }
        if self.unstable.snapshot().is_some() {
            return Err(StorageError::Compacted);
        }
        self.storage.term(index)
    }

    /// Whether the log has an entry of this index and term. Compacted and missing ones do not
    /// match; other errors of the storage are errors.
    pub(crate) fn matches(&self, index: u64, term: u64) -> Result<bool, StorageError> {
        match self.term(index) {
            Ok(found) => Ok(found == term),
            Err(StorageError::Compacted | StorageError::Unavailable) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether a log that ends so is at least as up to date as this one (paper, section 5.4.1).
    pub(crate) fn is_up_to_date(&self, last_index: u64, last_term: u64) -> bool {
        let own = self.last_term();
        last_term > own || (last_term == own && last_index >= self.last_index())
    }

    /// The highest index at most `index` at which the term is at most `term`, and its term: below
    /// it the logs may agree. Where the log does not reach, the index and term 0.
    pub(crate) fn find_conflict_by_term(
        &self,
        mut index: u64,
        term: u64,
    ) -> Result<(u64, u64), StorageError> {
        while index > 0 {
            match self.term(index) {
                Ok(own) if own <= term => return Ok((index, own)),
                Ok(_) => index -= 1,
                Err(StorageError::Compacted | StorageError::Unavailable) => return Ok((index, 0)),
                Err(e) => return Err(e),
            }
        }
        Ok((0, 0))
    }

    /// What an append of `entries` behind `(index, term)` would do. Reads, and changes nothing.
    pub(crate) fn plan_append(
        &self,
        from: u64,
        (index, term): (u64, u64),
        entries: &[Entry],
    ) -> Result<AppendPlan> {
        if index < self.committed {
            return Ok(AppendPlan::Stale);
        }
        if !self.matches(index, term)? {
            if index == self.committed {
                return Err(Error::CommittedConflict { from, index, committed: index });
            }
            let (hint, hint_term) =
                self.find_conflict_by_term(index.min(self.last_index()), term)?;
            return Ok(AppendPlan::Mismatch { hint, hint_term });
        }
        let mut skip = entries.len();
        for (i, entry) in entries.iter().enumerate() {
            if !self.matches(entry.index, entry.term)? {
                skip = i;
                break;
            }
        }
        Ok(AppendPlan::Match { skip, last: index + entries.len() as u64 })
    }

    /// Appends contiguous entries of which the first is at most one past the last; none of those
    /// they replace is committed. `before` is the term of the entry before the first.
    pub(crate) fn append(&mut self, entries: impl IntoIterator<Item = Entry>, before: Option<u64>) {
        let (base, offset) = (self.unstable.base(), self.unstable.offset());
        self.unstable.truncate_and_append(entries);
        debug_assert!(self.unstable.offset() > self.committed || self.unstable.offset() == offset);
        if self.unstable.base() != base {
            self.base_term = before;
        }
    }

    /// Raises the commit index; it never falls, nor passes the end of the log.
    pub(crate) fn commit_to(&mut self, index: u64) {
        debug_assert!(index <= self.last_index(), "nothing is committed that is not there");
        self.committed = self.committed.max(index.min(self.last_index()));
    }

    /// Entries up to `index` are applied, `bytes` of what was handed out among them. The caller
    /// has checked that they are committed.
    pub(crate) fn applied_to(&mut self, index: u64, bytes: u64) {
        debug_assert!(index <= self.committed, "nothing is applied that is not committed");
        self.applied = self.applied.max(index);
        self.applying = self.applying.max(index);
        self.applying_bytes = self.applying_bytes.saturating_sub(bytes);
        self.applying_paused = self.applying_bytes >= self.max_applying_bytes;
        self.forget();
    }

    /// Forgets what need not be at hand: entries that are applied, and more that wait for that than
    /// are handed out at a time.
    fn forget(&mut self) {
        if let Some(term) = self.unstable.forget(self.applied, self.max_applying_bytes) {
            self.base_term = Some(term);
        }
    }

    /// Entries up to `last`, of `bytes` encoded bytes, were handed out for application.
    pub(crate) fn accept_applying(&mut self, last: u64, bytes: u64, allow_unstable: bool) {
        self.applying = last;
        self.applying_bytes = self.applying_bytes.saturating_add(bytes);
        // A batch that was cut short had no room for more: the next waits until this is applied.
        self.applying_paused = self.applying_bytes >= self.max_applying_bytes
            || last < self.max_appliable(allow_unstable);
    }

    /// The last index that may be handed out.
    fn max_appliable(&self, allow_unstable: bool) -> u64 {
        let stable = if allow_unstable { u64::MAX } else { self.unstable.offset() - 1 };
        self.committed.min(stable).min(self.hole.map_or(u64::MAX, |low| low - 1))
    }

    /// What was lost is in the storage again, which may reach further now: looks at its end anew.
    /// Nothing may be unstable.
    pub(crate) fn refilled(&mut self, commit: u64) -> Result<()> {
        if self.unstable.has_entries() || self.unstable.snapshot().is_some() {
            return Err(Error::Refused("something is still to be written"));
        }
        let last = self.storage.last_index()?;
        if last < self.last_index() || last > MAX_INDEX {
            let what = "a log that was refilled ends earlier than before";
            return Err(StorageError::Contract { what, index: last }.into());
        }
        self.base_term = Some(self.storage.term(last)?);
        self.unstable = Unstable::new(last + 1);
        self.hole = None;
        self.commit_to(commit.min(last));
        Ok(())
    }

    /// Whether what is to be handed out next has to be waited for.
    pub(crate) fn set_apply_away(&mut self, away: bool) {
        self.apply_away = away;
    }

    /// Entries from `low` on are missing.
    pub(crate) fn set_hole(&mut self, low: u64) {
        self.hole = Some(low);
    }

    /// Whether there is something to hand out for application. A snapshot comes before entries.
    pub(crate) fn has_next_committed(&self, allow_unstable: bool) -> bool {
        !self.applying_paused
            && !self.apply_away
            && self.unstable.snapshot().is_none()
            && self.applying < self.max_appliable(allow_unstable)
    }

    /// What to hand out for application next, into an empty vector. Returns the encoded bytes.
    pub(crate) fn next_committed(
        &self,
        out: &mut Vec<Entry>,
        allow_unstable: bool,
    ) -> Result<u64, StorageError> {
        if !self.has_next_committed(allow_unstable) {
            return Ok(0);
        }
        let room = (self.max_applying_bytes - self.applying_bytes).max(1);
        let high = self.max_appliable(allow_unstable) + 1;
        self.slice_into(out, self.applying + 1, high, room, Fetch::Apply)
    }

    /// Entries up to and including `index` of which the last has `term` are on disk.
    pub(crate) fn stable_to(&mut self, index: u64, term: u64) {
        self.unstable.stable_to(index, term);
        self.forget();
    }

    /// The newest snapshot, for `to`, of at least `at_least`.
    pub(crate) fn snapshot(&self, at_least: u64, to: u64) -> Result<Snapshot, StorageError> {
        let snapshot = match self.unstable.snapshot() {
            Some(snapshot) => snapshot.clone(),
            None => self.storage.snapshot(at_least, to)?,
        };
        if snapshot.index() < at_least {
            return Err(StorageError::SnapshotTemporarilyUnavailable);
        }
        if snapshot.is_empty() || snapshot.index() > self.committed {
            let what = "a snapshot of nothing, or of more than is committed";
            return Err(StorageError::Contract { what, index: snapshot.index() });
        }
        Ok(snapshot)
    }

    /// Replaces everything by a snapshot.
    pub(crate) fn restore(&mut self, snapshot: Snapshot) {
        self.committed = snapshot.index();
        self.base_term = Some(snapshot.term());
        self.hole = None;
        self.unstable.restore(snapshot);
    }

    /// Puts entries from `low` to the end into an empty vector, at least one if there is any, no
    /// more than `max_bytes` of encoded bytes else. Returns their encoded bytes.
    pub(crate) fn entries(
        &self,
        out: &mut Vec<Entry>,
        low: u64,
        max_bytes: u64,
        purpose: Fetch,
    ) -> Result<u64, StorageError> {
        if low > self.last_index() {
            return Ok(0);
        }
        self.slice_into(out, low, self.unstable.end(), max_bytes, purpose)
    }

    /// Entries `[low, high)`, limited as [`Log::entries`]. The caller keeps `low < high <= end`.
    pub(crate) fn slice(
        &self,
        low: u64,
        high: u64,
        max_bytes: u64,
        purpose: Fetch,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut out = Vec::new();
        self.slice_into(&mut out, low, high, max_bytes, purpose)?;
        Ok(out)
    }

    /// [`Log::slice`] into an empty vector. Returns the encoded bytes.
    fn slice_into(
        &self,
        out: &mut Vec<Entry>,
        low: u64,
        high: u64,
        max_bytes: u64,
        purpose: Fetch,
    ) -> Result<u64, StorageError> {
        let base = self.unstable.base();
        let mut bytes = 0;
        if low < base {
            if self.unstable.snapshot().is_some() {
                return Err(StorageError::Compacted);
            }
            let cut = high.min(base);
            *out = self.storage.entries(low, cut, max_bytes, purpose)?;
            check_answer(out, low, cut)?;
            bytes = encoded_size(out);
            if out.len() as u64 != cut - low || cut == high || bytes >= max_bytes {
                return Ok(bytes);
            }
        }
        let range = self.unstable.range(low.max(base), high);
        for part in range {
            let mut fit = 0;
            for entry in part {
                let with = bytes.saturating_add(entry.encoded_len() as u64);
                if with > max_bytes && (fit > 0 || !out.is_empty()) {
                    break;
                }
                bytes = with;
                fit += 1;
            }
            // Most are messages with an entry or two: room for more would be wasted.
            out.reserve_exact(fit);
            out.extend_from_slice(&part[..fit]);
            if fit < part.len() {
                break;
            }
        }
        Ok(bytes)
    }

    /// What must hold between two calls.
    pub(crate) fn check_invariants(&self) -> Result<()> {
        let Self { committed, applying, applied, .. } = *self;
        let (base, offset) = (self.unstable.base(), self.unstable.offset());
        let rules = [
            (applied <= applying, "applied is above applying"),
            (applying <= committed, "applying is above committed"),
            (committed <= self.last_index(), "committed is above the last index"),
            (base <= offset, "what is stable begins above its end"),
            (offset <= self.unstable.offset_in_progress(), "in progress is below the offset"),
            (self.unstable.offset_in_progress() <= self.unstable.end(), "in progress is too high"),
            (
                self.unstable.snapshot().is_none_or(|s| s.index() < base),
                "unstable entries are below the unstable snapshot",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(Error::Invariant(rule)),
            None => self.check_entries(),
        }
    }

    fn check_entries(&self) -> Result<()> {
        let (mut index, mut term) = (self.unstable.base(), self.base_term.unwrap_or(0));
        for entry in self.unstable.range(index, self.unstable.end()).into_iter().flatten() {
            if entry.index != index {
                return Err(Error::Invariant("unstable entries are not contiguous"));
            }
            if entry.term < term {
                return Err(Error::Invariant("terms fall along the log"));
            }
            (index, term) = (entry.index + 1, entry.term);
        }
        Ok(())
    }
}

/// What the storage gave is what was asked for.
fn check_answer(entries: &[Entry], low: u64, high: u64) -> Result<(), StorageError> {
    let contract = |what, index| Err(StorageError::Contract { what, index });
    if entries.is_empty() {
        return contract("no entries where at least one was asked for", low);
    }
    if entries.len() as u64 > high - low {
        return contract("more entries than asked for", high);
    }
    match entries.iter().zip(low..).find(|(entry, index)| entry.index != *index) {
        Some((_, index)) => contract("an entry of another index", index),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStorage;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { term, index, ..Entry::default() }
    }

    /// Two stable entries of term 1, two unstable ones of term 2, the first two committed.
    fn log() -> Log<MemoryStorage> {
        let storage = MemoryStorage::new();
        storage.append(&[entry(1, 1), entry(2, 1)]).expect("no gap");
        let mut log = Log::new(storage, 100, false).expect("a sound storage");
        log.append([entry(3, 2), entry(4, 2)], Some(1));
        log.commit_to(2);
        log
    }

    #[test]
    fn the_checker_sees_each_of_its_rules_broken() {
        assert!(log().check_invariants().is_ok());
        let breakages: [fn(&mut Log<MemoryStorage>); 6] = [
            |log| log.applied = 1,
            |log| log.applying = 3,
            |log| log.committed = 5,
            |log| log.base_term = Some(3),
            |log| log.unstable.truncate_and_append([entry(4, 1)]),
            |log| log.unstable.truncate_and_append([entry(4, 2), entry(6, 2)]),
        ];
        for (at, broken) in breakages.into_iter().enumerate() {
            let mut log = log();
            broken(&mut log);
            assert!(matches!(log.check_invariants(), Err(Error::Invariant(_))), "rule {at}");
        }
    }

    #[test]
    fn what_is_being_read_is_told_from_what_is_wrong() {
        let two = [entry(1, 1), entry(2, 1)];
        assert!(check_answer(&two, 1, 3).is_ok());
        assert!(check_answer(&two[..1], 1, 3).is_ok(), "fewer is a size limit");
        for (answer, low, high) in [(&two[..], 1, 2), (&two[..], 2, 4), (&[][..], 1, 3)] {
            let wrong = check_answer(answer, low, high);
            assert!(matches!(wrong, Err(StorageError::Contract { .. })), "{low} {high}");
        }
    }
}
