//! What a repair does, in words and numbers.

use std::fmt;
use std::path::PathBuf;

use super::quarantine::SetAside;
use crate::error::{Acked, Corrupt, LostRange};
use crate::report::Note;
use crate::types::{HardState, SnapshotMark};

/// What a repair finds, does and costs; [`fmt::Display`] prints all of it.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Outline {
    /// Everything that is damaged; the first is why an open refuses the log.
    pub damage: Vec<Corrupt>,
    /// How much more damage there is: 1000 are kept.
    pub more_damage: u64,
    /// What is odd, or damaged where there is a second copy.
    pub notes: Vec<Note>,
    /// Files that are copied to `quarantine/` before anything is changed.
    pub copies: Vec<SetAside>,
    /// IDENT is replaced by a whole one, made of what is sound in it.
    pub mends_identity: bool,
    /// Where the log is cut, if it is.
    pub cut: Option<RepairCut>,
}

/// How a repair cuts a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RepairCut {
    /// The log afterwards.
    pub kept: Kept,
    /// What is not in it any more.
    pub given_up: GivenUp,
}

/// The log as it stands after a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// The segment of the last batch that is kept; 0 if none is.
    pub segment: u64,
    /// Where that batch ends; 0 if there is none.
    pub offset: u64,
    /// Its number; 0 if there is none.
    pub batch_seq: u64,
    /// First index.
    pub first_index: u64,
    /// One past the last index.
    pub next_index: u64,
    /// Term of the last entry, or of what stood before an empty log.
    pub last_term: Option<u64>,
    /// The hard state. Its term and vote are the newest that are readable anywhere, its commit
    /// index that of the last kept batch, or what the snapshot marker proves.
    pub hard_state: HardState,
    /// Whether no lost batch can have held a newer term or vote. If not, a vote may be forgotten,
    /// and [`super::RepairPolicy::AcceptLostVote`] is asked for.
    pub hard_state_is_certain: bool,
    /// The snapshot marker.
    pub snapshot: Option<SnapshotMark>,
}

/// What a repair gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenUp {
    /// The indexes that the log held, or may have held, and will not hold. Those that a snapshot
    /// marker covers are not counted.
    pub entries: Option<LostRange>,
    /// Whether they had been acknowledged.
    pub acked: Acked,
    /// Indexes that the log begins behind and did not before: the snapshot of the marker that is
    /// kept holds them, so its file must be there.
    pub covered: Option<LostRange>,
    /// Kept entries above the commit index that a given up batch replaced by others of another
    /// term, or may have replaced. Raft's log matching replaces them again.
    pub outdated: Vec<LostRange>,
    /// The newest snapshot marker, if it is given up.
    pub snapshot: Option<SnapshotMark>,
}

impl GivenUp {
    /// How many entries are given up; `None` if nobody knows.
    pub fn count(&self) -> Option<u64> {
        match self.entries {
            None => Some(0),
            Some(r) => r.last.map(|last| (last - r.first).saturating_add(1)),
        }
    }
}

impl Outline {
    /// Whether there is anything to do.
    pub(super) fn is_needed(&self) -> bool {
        self.mends_identity || self.cut.is_some()
    }

    /// The files that are copied, by their copies.
    pub fn quarantined(&self) -> impl Iterator<Item = &PathBuf> {
        self.copies.iter().map(|c| &c.to)
    }
}

impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_needed() {
            f.write_str("nothing to repair\n")?;
        }
        for c in &self.damage {
            writeln!(f, "damage: {c}")?;
        }
        if self.more_damage > 0 {
            writeln!(f, "damage: {} more", self.more_damage)?;
        }
        for n in &self.notes {
            writeln!(f, "note: {}: {}", n.path.display(), n.what)?;
        }
        for c in &self.copies {
            let what = if c.is_damaged { "damaged" } else { "given up" };
            let (from, to) = (c.from.display(), c.to.display());
            writeln!(f, "copy: {from} ({what}, {} bytes) to {to}", c.bytes)?;
        }
        if self.mends_identity {
            f.write_str("mend: IDENT is replaced by a whole one, made of its sound parts\n")?;
        }
        self.cut.as_ref().map_or(Ok(()), |cut| cut.fmt(f))
    }
}

impl fmt::Display for RepairCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kept, self.given_up)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.segment {
            0 => f.write_str("keep: no batch; ")?,
            n => {
                let (seq, offset) = (self.batch_seq, self.offset);
                write!(f, "keep: up to batch {seq} at segment {n}+{offset}; ")?;
            }
        }
        writeln!(f, "log [{}, {})", self.first_index, self.next_index)?;
        let HardState { term, vote, commit } = self.hard_state;
        writeln!(f, "keep: term {term} vote {vote} commit {commit}")?;
        if let Some(s) = &self.snapshot {
            writeln!(f, "keep: snapshot marker {} (term {})", s.index, s.term)?;
        }
        if self.hard_state_is_certain {
            return Ok(());
        }
        f.write_str(
            "WARNING: a lost batch may have held a newer term or a vote. If this node votes again \
             in a term in which it voted before, two leaders may be elected. Remove it from the \
             cluster and add it as a new member, or accept the loss of the vote explicitly\n",
        )
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(r) = &self.entries {
            let acked = match self.acked {
                Acked::Proven => "they had been acknowledged",
                Acked::Possible => "they may have been acknowledged",
            };
            match self.count() {
                Some(n) => writeln!(f, "give up: {n} entries: {r}; {acked}")?,
                None => writeln!(f, "give up: {r}, as far as there were any; {acked}")?,
            }
            f.write_str(
                "advice: open degraded and save what is sound first; until a leader has brought \
                 back what is given up, the node must neither vote nor campaign\n",
            )?;
        }
        if let Some(r) = &self.covered {
            writeln!(f, "give up: {r}, which the snapshot of the marker holds: make sure of it")?;
        }
        for r in &self.outdated {
            writeln!(f, "outdated: {r}: kept as they were before a batch that is given up")?;
        }
        match &self.snapshot {
            Some(s) => writeln!(f, "give up: snapshot marker {} (term {})", s.index, s.term),
            None => Ok(()),
        }
    }
}
