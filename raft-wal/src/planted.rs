//! Wrong decisions that tests plant in the log, to see that the suites catch them.
//!
//! For the log's own tests alone. Without the feature `planted-bugs` nothing here is compiled but
//! the names: `planted` is `false`, and a place that asks it is what it was.
//!
//! `tests/planted.rs` plants them one at a time. A whole suite is run with one of them by the
//! variable `RAFT_WAL_PLANTED`, as in `RAFT_WAL_PLANTED=AckBeforeSync cargo test -p raft-wal`.

#![cfg_attr(
    not(feature = "planted-bugs"),
    allow(unreachable_pub, dead_code, reason = "public and used with the feature")
)]

/// Names the bugs, once.
macro_rules! bugs {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Bug {
            $($(#[$doc])* $name,)*
        }

        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

bugs! {
    /// A batch counts as durable when it was queued.
    AckBeforeSync,
    /// A failed sync counts as one that succeeded.
    FailedSyncForgiven,
    /// A poisoned log goes on.
    PoisonIgnored,
    /// After a failure entries are read that may not be durable.
    DoubtReadable,
    /// Entries over others do not truncate.
    OverwriteKeepsOld,
    /// What was readable and not proven is not written again by the next process.
    CarryDropped,
    /// A vote that only a mark had saved is not written again.
    RaisedVoteDropped,
    /// What was written again is synced, but not promised.
    CarryNotPromised,
    /// What was written again forgets that it truncates.
    CarryKeepsOld,
    /// The next segment is begun before the old one is synced.
    SealNotSynced,
    /// A full segment does not say that there is a next one.
    NoSeal,
    /// The next segment does not repeat the keyed values.
    ValuesNotRepeated,
    /// The next segment does not repeat the hard state.
    StateNotRepeated,
    /// HEAD is written over the slot in force.
    HeadOverwritten,
    /// A segment is recycled under the salt of its earlier life.
    SaltKept,
    /// Segments go before what replaces them is promised.
    RemovedBeforePromise,
    /// A compaction gives up one segment too many.
    FloorTooHigh,
    /// Segments go that a reader holds.
    PinsIgnored,
    /// A file that a reader holds is written again.
    UsedFileRecycled,
    /// A dead tail is cut off where the live part has its end.
    TailCutTooShort,
    /// A frame promises what is not synced.
    PromiseTooHigh,
    /// A mark promises what is not synced.
    MarkTooHigh,
    /// A mark is written over the durable one.
    MarkOverwritten,
    /// A vote is not repeated in a mark.
    VoteNotMarked,
    /// A durable sector is written again.
    PaddingSkipped,
    /// The checksum of a frame's header is not looked at.
    HeaderUnchecked,
    /// The checksum of a record is not looked at.
    RecordUnchecked,
    /// A record may be longer than its frame.
    RecordUnbounded,
    /// A frame need not follow the one before it.
    SequenceUnchecked,
    /// Behind a bad frame no promise is found.
    LookAheadBlind,
    /// A frame behind a bad one proves that one, whatever it promises.
    LaterFrameProves,
    /// The log ends at its first bad frame, whatever is promised.
    PromisesIgnored,
    /// Marks promise nothing.
    MarksIgnored,
    /// A closing mark counts wherever it points.
    CleanAnywhere,
    /// A segment whose first frame is bad was never begun.
    BadStartIsBlank,
    /// IDENT proves no segment.
    HeadIgnored,
    /// A full segment proves no next one.
    SealIgnored,
    /// A segment may be shorter than it was made.
    ShortIsWhole,
    /// The first copy of a segment's header wins.
    FirstCopyWins,
    /// A segment may have another one's name.
    NameUnchecked,
    /// The copy of a vote in a mark is not looked at.
    VoteCopyIgnored,
    /// A mark may know a hard state that the log has lost.
    LostStateAccepted,
    /// An open asks for segments that were given up.
    FloorIgnored,
    /// An older segment shows what a younger one truncated.
    TruncationForgotten,
    /// Any index file fits any segment.
    IndexUnmatched,
    /// An entry is read without its checksum.
    ReadUnchecked,
    /// The commit may fall.
    CommitFalls,
    /// What is committed may be truncated.
    CommittedTruncated,
}

/// Whether this bug is planted here and now.
#[inline]
#[cfg(not(feature = "planted-bugs"))]
pub(crate) const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
mod plant {
    use std::cell::Cell;
    use std::sync::LazyLock;

    use super::Bug;

    thread_local! {
        /// What is planted, and how often it was met.
        static PLANTED: Cell<(Option<Bug>, u64)> = const { Cell::new((None, 0)) };
    }

    /// What is planted in every thread of this process.
    static EVERYWHERE: LazyLock<Option<Bug>> = LazyLock::new(|| {
        let name = std::env::var("RAFT_WAL_PLANTED").ok()?;
        let bug = Bug::ALL.iter().copied().find(|bug| format!("{bug:?}") == name);
        Some(bug.unwrap_or_else(|| panic!("RAFT_WAL_PLANTED: there is no bug {name}")))
    });

    /// Whether this bug is planted here and now.
    pub(crate) fn planted(bug: Bug) -> bool {
        let (here, met) = PLANTED.get();
        if here == Some(bug) {
            PLANTED.set((here, met + 1));
        }
        here == Some(bug) || *EVERYWHERE == Some(bug)
    }

    /// Runs `run` with a bug planted in this thread; returns how often it was met, too.
    pub fn with<R>(bug: Bug, run: impl FnOnce() -> R) -> (R, u64) {
        /// Takes the bug out again, after a panic too.
        struct Restore((Option<Bug>, u64));
        impl Drop for Restore {
            fn drop(&mut self) {
                PLANTED.set(self.0);
            }
        }
        let _restore = Restore(PLANTED.replace((Some(bug), 0)));
        let result = run();
        (result, PLANTED.get().1)
    }
}

#[cfg(feature = "planted-bugs")]
pub(crate) use plant::planted;
#[cfg(feature = "planted-bugs")]
pub use plant::with;
