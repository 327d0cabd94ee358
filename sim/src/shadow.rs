//! A node's log as its driver was told of it: terms by index.

use raft_core::{Entry, Storage, StorageError};

/// Terms of a contiguous log behind a base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    base: u64,
    base_term: u64,
    terms: Vec<u64>,
}

impl Shadow {
    /// What a storage has. Terms that cannot be read are 0.
    ///
    /// # Errors
    /// If it does not say how far it reaches.
    pub fn of(storage: &impl Storage) -> Result<Self, StorageError> {
        let (first, last) = (storage.first_index()?, storage.last_index()?);
        let term = |index| storage.term(index).unwrap_or(0);
        let terms = (first..=last).map(term).collect();
        Ok(Self { base: first - 1, base_term: term(first - 1), terms })
    }

    /// The last index.
    pub fn last(&self) -> u64 {
        self.base + self.terms.len() as u64
    }

    /// The term at an index; `None` where it is not known.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.base {
            return Some(self.base_term);
        }
        let at = index.checked_sub(self.base + 1)?;
        self.terms.get(at as usize).copied().filter(|term| *term != 0)
    }

    /// Reads again what could not be read.
    pub fn refill(&mut self, storage: &impl Storage) {
        for (index, term) in (self.base + 1..).zip(&mut self.terms) {
            if *term == 0 {
                *term = storage.term(index).unwrap_or(0);
            }
        }
    }

    /// Replaces everything by a snapshot.
    pub fn restore(&mut self, index: u64, term: u64) {
        *self = Self { base: index, base_term: term, terms: Vec::new() };
    }

    /// Appends entries in place of whatever is at their indexes and behind. Returns whether they
    /// leave no gap.
    pub fn append(&mut self, entries: &[Entry]) -> bool {
        let Some(first) = entries.first() else { return true };
        if first.index <= self.base || first.index > self.last() + 1 {
            return false;
        }
        self.terms.truncate((first.index - self.base - 1) as usize);
        self.terms.extend(entries.iter().map(|e| e.term));
        true
    }
}
