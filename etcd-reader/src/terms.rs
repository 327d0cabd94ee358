//! Which terms the replayed log holds, in runs.
//!
//! The checks need the term at any index, but not the entries. Terms change rarely, so the log is
//! kept as runs of equal term: a few numbers per election instead of some per entry.

/// Consecutive entries of one term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u64,
    last: u64,
    term: u64,
}

/// The terms of the replayed log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// Index and term of the entry before the first one, where known: (0, 0) in a new log, the
    /// marker after a reset.
    base: Option<(u64, u64)>,
    /// Invariant: ascending, disjoint, none empty. Gaps are damage that has been reported.
    runs: Vec<Run>,
}

impl Terms {
    /// A log that is empty behind `base`; an unknown base is `None`.
    pub(crate) fn new(base: Option<(u64, u64)>) -> Self {
        Self { base, runs: Vec::new() }
    }

    /// The last index, if anything is known of the log.
    pub(crate) fn last(&self) -> Option<u64> {
        self.runs.last().map(|r| r.last).or(self.base.map(|b| b.0))
    }

    /// The last index and its term, if anything is known of the log.
    pub(crate) fn last_term(&self) -> Option<(u64, u64)> {
        self.runs.last().map(|r| (r.last, r.term)).or(self.base)
    }

    /// The first entry's index.
    pub(crate) fn first(&self) -> Option<u64> {
        self.runs.first().map(|r| r.first)
    }

    /// The term at `index`, if the log holds it or it is the base.
    pub(crate) fn term(&self, index: u64) -> Option<u64> {
        let at = self.runs.partition_point(|r| r.last < index);
        match self.runs.get(at) {
            Some(run) if run.first <= index => Some(run.term),
            _ => self.base.filter(|b| b.0 == index).map(|b| b.1),
        }
    }

    /// Drops every entry at or behind `index`.
    pub(crate) fn truncate(&mut self, index: u64) {
        while let Some(run) = self.runs.last_mut() {
            if run.first >= index {
                self.runs.pop();
            } else {
                run.last = run.last.min(index - 1);
                break;
            }
        }
    }

    /// Adds an entry behind the last one; the caller has truncated.
    pub(crate) fn push(&mut self, index: u64, term: u64) {
        match self.runs.last_mut() {
            Some(run) if run.term == term && run.last.checked_add(1) == Some(index) => {
                run.last = index;
            }
            _ => self.runs.push(Run { first: index, last: index, term }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn runs_answer_like_a_map_of_all_entries() {
        let mut terms = Terms::new(Some((0, 0)));
        let mut map = BTreeMap::from([(0, 0)]);
        for (index, term) in
            [(1, 1), (2, 1), (3, 1), (2, 2), (3, 3), (4, 3), (9, 3), (10, 4), (3, 5), (1, 6)]
        {
            terms.truncate(index);
            map.retain(|&i, _| i < index);
            terms.push(index, term);
            map.insert(index, term);
            for i in 0..12 {
                assert_eq!(terms.term(i), map.get(&i).copied(), "{i} after {index}/{term}");
            }
            assert_eq!(terms.last_term(), map.last_key_value().map(|(&i, &t)| (i, t)));
        }
    }

    #[test]
    fn nothing_is_known_of_a_log_without_a_base() {
        let mut terms = Terms::new(None);
        assert_eq!((terms.last(), terms.first(), terms.term(0)), (None, None, None));
        terms.push(u64::MAX, 3);
        assert_eq!((terms.last(), terms.term(u64::MAX)), (Some(u64::MAX), Some(3)));
        terms.truncate(u64::MAX);
        assert_eq!(terms.last(), None);
    }
}
