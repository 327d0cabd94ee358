//! Reads etcd's write-ahead log and snapshot files.
//!
//! All versions of etcd from 3.0 on write the same log: files `SEQ-INDEX.wal` that hold frames,
//! each a length word, one protobuf record and padding to eight bytes, with a CRC-32C that rolls
//! over the data of all records of a file and is carried into the next one. This crate reads such
//! a log record by record, in physical order and in bounded memory, from any [`raft_vfs::Vfs`].
//!
//! It is stricter than etcd. etcd's checksum covers the records' data only, not their lengths,
//! types or padding, and its replay passes over several kinds of damage in silence: a length that
//! turned to zero ends the log, a missing second segment goes unnoticed, an overwritten tail can
//! come back. Here each of these is a [`Problem`] that names segment, offset, what was expected
//! and what was found; reading goes on behind the damage where that is possible, so that one pass
//! names all of it. `docs/ETCD.md` of the project lists what is checked and what the format gives
//! no means to detect.
//!
//! ```no_run
//! use etcd_reader::{ReadOptions, Reader, RecordKind};
//! use raft_vfs::OsVfs;
//!
//! let mut reader = Reader::open(OsVfs, "/var/lib/etcd".as_ref(), ReadOptions::default())?;
//! for record in reader.records() {
//!     if let RecordKind::Entry(entry) = record?.kind {
//!         println!("{}/{}: {} bytes", entry.term, entry.index, entry.data.len());
//!     }
//! }
//! println!("{}", reader.status());
//! # Ok::<(), etcd_reader::Error>(())
//! ```
//!
//! - [`Reader`] walks the records; [`Reader::records`] is the strict iterator for importers, which
//!   stops at the first problem, and [`Reader::step`] the lenient one for tools.
//! - [`Replay`] is the log after replay: overwritten suffixes gone, last hard state, last marker.
//! - [`writer`] writes the same framing, for tests and tools.

#![forbid(unsafe_code)]

mod check;
mod error;
mod frame;
mod layout;
mod problem;
mod proto;
mod reader;
mod record;
mod replay;
mod scan;
mod snap;
mod terms;
mod types;
mod wire;
pub mod writer;

pub use check::Effect;
pub use error::Error;
pub use layout::{Layout, SegmentName, SnapName};
pub use problem::{Findings, Note, NoteKind, Problem, ProblemKind, Status};
pub use reader::{ReadOptions, Reader, Records, Step};
pub use replay::{EntryRef, Replay};
pub use snap::SnapFile;
pub use types::{ConfState, Entry, EntryKind, HardState, Marker, Record, RecordKind};
