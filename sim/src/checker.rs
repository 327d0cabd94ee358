//! What must never be, whatever happens: the rules of Raft, checked over all nodes at once.
//!
//! Everything that nodes say and write passes through here, once, when it is said or written. So
//! each rule costs no more than looking at what is new.

use std::collections::HashMap;

use raft_core::{ConfState, Entry, Fetch, HardState, Storage};

use crate::machine::{Image, entry_hash};
use crate::queue::Time;
use crate::shadow::Shadow;

/// A rule that is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {detail}")]
pub struct Violation {
    /// Which rule.
    pub rule: &'static str,
    /// By whom, and how.
    pub detail: String,
}

/// The answer of every check.
pub type Checked<T = ()> = Result<T, Violation>;

/// Breaks a rule.
pub(crate) fn broken<T>(rule: &'static str, detail: impl Into<String>) -> Checked<T> {
    Err(Violation { rule, detail: detail.into() })
}

/// A committed entry.
#[derive(Clone, Copy, Debug)]
struct Committed {
    term: u64,
    /// The term of the leader that committed it.
    by: u64,
    at: Time,
}

/// An entry that some state machine has applied.
#[derive(Clone, Debug)]
struct Applied {
    chain: u64,
    conf_state: ConfState,
}

/// A read that was begun.
#[derive(Clone, Copy, Debug)]
struct Read {
    node: u64,
    /// What its answer must cover.
    at_least: u64,
    /// When it began.
    at: Time,
}

/// All that was ever said, as far as a rule depends on it.
#[derive(Debug, Default)]
pub struct Checker {
    leaders: HashMap<u64, u64>,
    /// By index and term: the entry's hash, and the term of the entry before it.
    entries: HashMap<(u64, u64), (u64, u64)>,
    votes: HashMap<(u64, u64), u64>,
    /// What is committed and applied is numbered from here on.
    base: u64,
    settled: u64,
    committed: Vec<Committed>,
    applied: Vec<Applied>,
    reads: HashMap<u64, Read>,
    /// Votes are not looked at: so that what comes of two is seen to be found.
    pub(crate) blind_to_votes: bool,
}

impl Checker {
    /// A cluster that begins with a state machine like this one on every member.
    ///
    /// Up to the index `settled` configurations may differ: bootstrapped nodes know all of it at
    /// once, others entry by entry.
    pub fn new(begin: &Image, term: u64, settled: u64) -> Self {
        let applied = Applied { chain: begin.chain, conf_state: begin.conf_state.clone() };
        Self {
            base: begin.applied,
            settled,
            committed: vec![Committed { term, by: term, at: 0 }],
            applied: vec![applied],
            ..Self::default()
        }
    }

    /// The last index that is known to be committed.
    pub fn last_committed(&self) -> u64 {
        self.base + self.committed.len() as u64 - 1
    }

    /// The last index that was known to be committed at a time.
    pub fn committed_at(&self, time: Time) -> u64 {
        self.base + self.committed.partition_point(|c| c.at <= time).max(1) as u64 - 1
    }

    /// The last index that some machine has applied.
    pub fn last_applied(&self) -> u64 {
        self.base + self.applied.len() as u64 - 1
    }

    /// The configuration of every machine as of the last index that one of them has applied.
    pub fn newest_conf_state(&self) -> &ConfState {
        &self.applied[self.applied.len() - 1].conf_state
    }

    /// Log matching: entries of one index and term are the same, and so are those before them.
    ///
    /// # Errors
    /// If not.
    pub fn entries(&mut self, before: u64, entries: &[Entry]) -> Checked {
        let mut before = before;
        for entry in entries {
            let found = (entry_hash(entry), before);
            let known = *self.entries.entry((entry.index, entry.term)).or_insert(found);
            if known != found {
                let detail = format!("entry {}/{} is two", entry.index, entry.term);
                return broken("log matching", detail);
            }
            before = entry.term;
        }
        Ok(())
    }

    /// Log matching, of what a node finds when it starts.
    ///
    /// # Errors
    /// If not, or if it cannot be read.
    pub fn stored(&mut self, storage: &impl Storage) -> Checked {
        let (first, last) = (storage.first_index(), storage.last_index());
        let (Ok(first), Ok(last)) = (first, last) else { return broken("storage", "no bounds") };
        if first > last {
            return Ok(());
        }
        let before = storage.term(first - 1);
        let entries = storage.entries(first, last + 1, u64::MAX, Fetch::Scan);
        let (Ok(before), Ok(entries)) = (before, entries) else {
            return broken("storage", "a log that cannot be read");
        };
        self.entries(before, &entries)
    }

    /// Election safety: a term has one leader. Leader completeness: it has every entry that was
    /// committed in an earlier one. To be called with its log when it begins.
    ///
    /// # Errors
    /// If not.
    pub fn leader(&mut self, id: u64, term: u64, log: &Shadow) -> Checked {
        let first = *self.leaders.entry(term).or_insert(id);
        if first != id {
            return broken("election safety", format!("{first} and {id} lead in term {term}"));
        }
        for (index, committed) in (self.base..).zip(&self.committed) {
            let found = log.term(index);
            let differs = found.is_some_and(|found| found != committed.term);
            if committed.by < term && (differs || index > log.last()) {
                let detail = format!(
                    "{id} leads in term {term} without entry {index}/{}, committed in term {}",
                    committed.term, committed.by
                );
                return broken("leader completeness", detail);
            }
        }
        Ok(())
    }

    /// Committed entries are the same everywhere. To be called when a node of that term first says
    /// that everything from one index to another is committed. Returns how many are news to all.
    ///
    /// # Errors
    /// If another entry is committed there already, or there is none.
    pub fn committed(
        &mut self,
        id: u64,
        (from, to): (u64, u64),
        (term, at): (u64, Time),
        log: &Shadow,
    ) -> Checked<u64> {
        let before = self.last_committed();
        if to > log.last() {
            let detail = format!("{id} commits {to}, its log ends at {}", log.last());
            return broken("commit within the log", detail);
        }
        for index in from.max(self.base) + 1..=to {
            let Some(found) = log.term(index) else { continue };
            match self.committed.get((index - self.base) as usize) {
                Some(known) if known.term != found => {
                    let detail =
                        format!("{id} commits {index}/{found}, not {index}/{}", known.term);
                    return broken("state machine safety", detail);
                }
                Some(_) => {}
                None if index == self.last_committed() + 1 => {
                    self.committed.push(Committed { term: found, by: term, at });
                }
                None => {
                    let detail = format!("{id} commits {index}, nobody committed what is before");
                    return broken("commit in order", detail);
                }
            }
        }
        Ok(self.last_committed() - before)
    }

    /// A node has one vote in a term, for ever. To be called when it is given, or durable.
    ///
    /// # Errors
    /// If the node has voted for another.
    pub fn vote(&mut self, id: u64, term: u64, to: u64) -> Checked {
        if to == 0 || self.blind_to_votes {
            return Ok(());
        }
        let first = *self.votes.entry((id, term)).or_insert(to);
        if first != to {
            let detail = format!("{id} votes for {first} and {to} in term {term}");
            return broken("one vote in a term", detail);
        }
        Ok(())
    }

    /// State machines at one index are equal, and so are their configurations.
    ///
    /// # Errors
    /// If not.
    pub fn applied(&mut self, id: u64, image: &Image) -> Checked {
        let index = image.applied;
        match self.applied.get((index.wrapping_sub(self.base)) as usize) {
            Some(known) if known.chain != image.chain => {
                broken("state machine safety", format!("{id} differs from others at {index}"))
            }
            Some(known)
                if index >= self.settled && !known.conf_state.equivalent(&image.conf_state) =>
            {
                let detail = format!(
                    "{id} has {:?} at {index}, others have {:?}",
                    image.conf_state, known.conf_state
                );
                broken("equal configurations", detail)
            }
            Some(_) => Ok(()),
            None if index > self.last_committed() => {
                broken("apply what is committed", format!("{id} applies {index}"))
            }
            None if index == self.last_applied() + 1 => {
                let conf_state = image.conf_state.clone();
                self.applied.push(Applied { chain: image.chain, conf_state });
                Ok(())
            }
            None => broken("apply in order", format!("{id} is at {index}, nobody before it")),
        }
    }

    /// A read begins, with a context of its own.
    pub fn read_begins(&mut self, context: u64, node: u64, at_least: u64, at: Time) {
        self.reads.insert(context, Read { node, at_least, at });
    }

    /// Linearizable reads: the answer covers what was committed when the read began, or `slack`
    /// before. Returns whether it does.
    ///
    /// # Errors
    /// If nobody asked.
    pub fn read_answered(&self, context: u64, node: u64, index: u64, slack: Time) -> Checked<bool> {
        match self.reads.get(&context) {
            Some(read) if read.node == node && slack == 0 => Ok(index >= read.at_least),
            Some(read) if read.node == node => {
                Ok(index >= self.committed_at(read.at.saturating_sub(slack)))
            }
            _ => broken("answers to what was asked", format!("{node} was told of read {context}")),
        }
    }

    /// What a restarted node remembers is what was durable.
    ///
    /// # Errors
    /// If not.
    pub fn remembers(&self, id: u64, before: HardState, now: HardState) -> Checked {
        let forgot = now.term < before.term
            || (now.term == before.term && before.vote != 0 && now.vote != before.vote);
        if forgot {
            let detail = format!("{id} had {before:?} and starts with {now:?}");
            return broken("durable state survives", detail);
        }
        Ok(())
    }
}
