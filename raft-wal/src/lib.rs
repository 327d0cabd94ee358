//! A segmented write-ahead log for Raft, of which recovery is the product.

#![forbid(unsafe_code)]

mod append;
mod cache;
mod degraded;
mod dir;
mod encode;
mod era;
pub mod error;
pub mod format;
mod gc;
mod index;
pub mod inspect;
mod options;
mod paths;
mod publish;
mod read;
mod read_only;
mod recover;
mod report;
mod rules;
pub mod scan;
mod segment;
mod state;
mod steps;
mod survey;
mod types;
mod verify;
mod view;
mod wal;
mod window;
mod writer;

pub use degraded::Degraded;
pub use error::{Error, Result};
pub use options::{Identity, Options, ReadMode, TailPolicy, Verify, VoteRule};
pub use paths::WalName;
pub use read_only::ReadOnly;
pub use report::{Discarded, Note, RecoveryReport, Tail};
pub use steps::MARK_IDLE;
pub use types::{Batch, Durable, Entry, EntryKind, HardState, Reset, SnapshotMark, Ticket};
pub use verify::{Status, Verification, verify};
pub use wal::Wal;
