//! A segmented write-ahead log for Raft, of which recovery is the product.
//!
//! What was acknowledged is there after any crash; what a disk damaged is named, never guessed.
//! The log knows index, term, kind and bytes of an entry, the hard state, and snapshot markers; it
//! knows nothing of any particular Raft.
//!
//! # Use
//!
//! A [`Batch`] is one Raft `Ready`: entries, hard state and marker, all or nothing. It is readable
//! when [`Wal::append`] returns and acknowledged when [`Wal::wait`] has returned `Ok`.
//!
//! ```
//! use raft_vfs::OsVfs;
//! use raft_wal::{Batch, Entry, EntryKind, HardState, Options, Wal};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("log");
//! let (mut wal, report) = Wal::open(OsVfs, &dir, &Options::new())?;
//! println!("{report}");
//!
//! let entry = Entry { index: 1, term: 1, kind: EntryKind::Normal, data: "x = 1".into() };
//! let hard_state = HardState { term: 1, vote: 3, commit: 0 };
//! let ticket = wal.append(&Batch::of_entries(vec![entry.clone()]).with_hard_state(hard_state))?;
//! wal.wait(ticket)?; // one write, one sync: now it may be acknowledged
//! wal.close()?;
//!
//! let (wal, report) = Wal::open(OsVfs, &dir, &Options::new())?;
//! assert!(report.certain);
//! assert_eq!(wal.entries(1, 2, u64::MAX)?, [entry]);
//! assert_eq!(wal.hard_state(), hard_state);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What to do with an error
//!
//! [`Error::Rejected`], [`Error::TooLarge`], [`Error::NoSpace`]: nothing happened; mend and try
//! again. [`Error::Poisoned`]: a write or sync failed; what was not acknowledged is in doubt, the
//! handle reads on but never writes again; step down and reopen. [`Error::Corrupt`]: proven damage
//! that an open refuses to guess about; [`Wal::open_degraded`] names what is lost and reads the
//! rest, [`verify`] finds everything that is wrong, and [`plan_repair`] says what can be kept.
//!
//! # Threads and time
//!
//! [`Wal`] starts no thread and looks at no clock to decide anything. Background duties are its
//! `step_` methods; without them the log is as safe, and some appends do their work. Reading needs
//! only `&Wal`.
//!
//! [`SharedWal`] is the same log for many threads: batches appended while a sync runs share
//! the next one, and two threads of its own serve callbacks and do the duties.
//!
//! # The way through the code
//!
//! `format` (every byte), `scan` (the one decoder), `recover` (from files to state), `rules` and
//! `state` (what a batch may do and does), `append`, `era`, `writer` (from batches to files), `gc`
//! and `steps` (what can wait), `shared`, `group` and `duties` (many threads). The bytes are drawn
//! in `docs/FORMAT.md`; what is promised, and why a crash at any step keeps it, is in
//! `docs/DURABILITY.md`.

#![forbid(unsafe_code)]

mod append;
mod backup;
mod cache;
mod degraded;
mod dir;
mod duties;
mod encode;
mod era;
pub mod error;
pub mod format;
mod gc;
mod group;
mod index;
pub mod inspect;
mod options;
mod paths;
mod pins;
#[cfg(not(feature = "planted-bugs"))]
mod planted;
#[cfg(feature = "planted-bugs")]
#[doc(hidden)]
pub mod planted;
mod publish;
mod read;
mod read_only;
mod recover;
pub mod repair;
mod report;
mod rules;
pub mod scan;
mod scrub;
mod segment;
mod shared;
mod state;
mod steps;
mod survey;
mod sync;
mod types;
mod verify;
mod view;
mod wal;
mod window;
mod writer;

pub use backup::{Backup, BackupReport};
pub use degraded::Degraded;
pub use error::{Error, Result};
pub use options::{Identity, Options, ReadMode, TailPolicy, Verify, VoteRule};
pub use paths::WalName;
pub use read_only::ReadOnly;
pub use repair::{RepairPlan, RepairPolicy, RepairReport, plan_repair};
pub use report::{Discarded, Note, RecoveryReport, Tail};
pub use scrub::{Finding, ScrubStatus, ScrubStep};
pub use shared::SharedWal;
pub use steps::MARK_IDLE;
pub use types::{Batch, Durable, Entry, EntryKind, HardState, Reset, SnapshotMark, Ticket};
pub use verify::{Status, Verification, verify};
pub use wal::Wal;
