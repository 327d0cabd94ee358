//! What a majority is, of one configuration and of the two halves of a joint one.
//!
//! Both questions are answered from what is known of each voter: which index is committed, and
//! whether an election is decided. Of a joint configuration both halves must agree.

use crate::ids::IdSet;
use std::fmt::Write as _;

/// Voters up to this many are counted without an allocation.
const ON_STACK: usize = 16;

/// How an election stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VoteResult {
    /// Votes that are still out decide it.
    Pending,
    /// Whatever is still out, no majority can be had.
    Lost,
    /// A majority said yes.
    Won,
}

/// Voters of whom a majority decides.
///
/// Without any voter it agrees to everything, so that a [`JointConfig`] whose outgoing half is
/// empty is as its incoming half.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MajorityConfig(IdSet);

impl MajorityConfig {
    /// No voter.
    pub const fn new() -> Self {
        Self(IdSet::new())
    }

    /// Whether `id` is a voter.
    pub fn contains(&self, id: u64) -> bool {
        self.0.contains(id)
    }

    /// Makes `id` a voter; false if it was one.
    pub fn insert(&mut self, id: u64) -> bool {
        self.0.insert(id)
    }

    /// Makes `id` no voter; false if it was none.
    pub fn remove(&mut self, id: u64) -> bool {
        self.0.remove(id)
    }

    /// The voters, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = u64> + Clone {
        self.0.iter()
    }

    /// The voters, ascending.
    pub fn as_slice(&self) -> &[u64] {
        self.0.as_slice()
    }

    /// How many voters there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no voter.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many voters are a majority.
    fn majority(&self) -> usize {
        self.len() / 2 + 1
    }

    /// The highest index that a majority has, by what `acked` says that each voter has; `None`
    /// counts as 0. Without voters `u64::MAX`.
    pub fn committed_index(&self, acked: impl Fn(u64) -> Option<u64>) -> u64 {
        if self.is_empty() {
            return u64::MAX;
        }
        let mut few = [0; ON_STACK];
        let mut many = Vec::new();
        let indexes = if self.len() <= ON_STACK {
            &mut few[..self.len()]
        } else {
            many.resize(self.len(), 0);
            &mut many[..]
        };
        for (index, voter) in indexes.iter_mut().zip(self.iter()) {
            *index = acked(voter).unwrap_or(0);
        }
        // Ascending, a majority is at this place and behind it.
        let place = self.len() - self.majority();
        indexes.sort_unstable();
        indexes[place]
    }

    /// How an election stands, by what `votes` says of each voter: yes, no, or nothing yet. Without
    /// voters it is won.
    pub fn vote_result(&self, votes: impl Fn(u64) -> Option<bool>) -> VoteResult {
        let (mut yes, mut open) = (0, 0);
        for voter in self.iter() {
            match votes(voter) {
                Some(true) => yes += 1,
                Some(false) => {}
                None => open += 1,
            }
        }
        if self.is_empty() || yes >= self.majority() {
            VoteResult::Won
        } else if yes + open >= self.majority() {
            VoteResult::Pending
        } else {
            VoteResult::Lost
        }
    }

    /// A table for people: a row for each voter with its index, and a bar as long as there are
    /// voters with less.
    pub fn describe(&self, acked: impl Fn(u64) -> Option<u64>) -> String {
        if self.is_empty() {
            return "<empty majority quorum>".to_owned();
        }
        let width = self.len();
        let mut order: Vec<(u64, u64)> =
            self.iter().map(|voter| (acked(voter).unwrap_or(0), voter)).collect();
        order.sort_unstable();
        let bar = |index: u64| order.partition_point(|(other, _)| *other < index);

        let mut table = " ".repeat(width) + "    idx\n";
        for voter in self.iter() {
            let index = acked(voter);
            let mark = match index {
                Some(index) => {
                    let bar = bar(index);
                    "x".repeat(bar) + ">" + &" ".repeat(width - bar)
                }
                None => "?".to_owned() + &" ".repeat(width),
            };
            let index = index.unwrap_or(0);
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{mark} {index:>5}    (id={voter:x})");
        }
        table
    }
}

impl FromIterator<u64> for MajorityConfig {
    fn from_iter<I: IntoIterator<Item = u64>>(voters: I) -> Self {
        Self(voters.into_iter().collect())
    }
}

/// Two groups of voters that must agree: those of the configuration to come, and, while that is on
/// its way, those of the one that is left (thesis, section 4.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct JointConfig {
    /// The voters to come; when not joint, all.
    pub incoming: MajorityConfig,
    /// The voters of the configuration that is left; when not joint, none.
    pub outgoing: MajorityConfig,
}

impl JointConfig {
    /// The voters of either half, ascending, each once.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        let mut incoming = self.incoming.iter().peekable();
        let mut outgoing = self.outgoing.iter().peekable();
        std::iter::from_fn(move || match (incoming.peek(), outgoing.peek()) {
            (Some(a), Some(b)) if a == b => {
                outgoing.next();
                incoming.next()
            }
            (Some(a), Some(b)) if b < a => outgoing.next(),
            (None, _) => outgoing.next(),
            _ => incoming.next(),
        })
    }

    /// Whether `id` is a voter of either half.
    pub fn contains(&self, id: u64) -> bool {
        self.incoming.contains(id) || self.outgoing.contains(id)
    }

    /// Whether it is joint: there is an outgoing half.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether one voter decides alone.
    pub fn is_singleton(&self) -> bool {
        self.incoming.len() == 1 && self.outgoing.is_empty()
    }

    /// The highest index that a majority of each half has.
    pub fn committed_index(&self, acked: impl Fn(u64) -> Option<u64>) -> u64 {
        self.incoming.committed_index(&acked).min(self.outgoing.committed_index(&acked))
    }

    /// How an election stands: won in both halves, lost as soon as one is.
    pub fn vote_result(&self, votes: impl Fn(u64) -> Option<bool>) -> VoteResult {
        match (self.incoming.vote_result(&votes), self.outgoing.vote_result(&votes)) {
            (a, b) if a == b => a,
            (VoteResult::Lost, _) | (_, VoteResult::Lost) => VoteResult::Lost,
            _ => VoteResult::Pending,
        }
    }

    /// [`MajorityConfig::describe`] of all voters.
    pub fn describe(&self, acked: impl Fn(u64) -> Option<u64>) -> String {
        self.ids().collect::<MajorityConfig>().describe(acked)
    }
}
