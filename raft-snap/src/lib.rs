//! Snapshot files for Raft: a directory of them, of which every one that is visible is whole.
//!
//! A snapshot is a stream of bytes (the state machine's business), an index, a term and a conf
//! state. It is written and read in chunks, each with a checksum that knows its file and its place,
//! and never has to fit into memory. It gets its name only after every byte of it is durable, so a
//! crash leaves a snapshot or none. This crate knows nothing of any particular Raft or log.
//!
//! # Use
//!
//! ```
//! use std::io::{Read as _, Write as _};
//! use raft_snap::{Identity, Options, SnapDir, SnapMeta};
//! use raft_vfs::OsVfs;
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path().join("snap");
//! let snaps = SnapDir::open(OsVfs, &dir, &Options::new(Identity { cluster_id: 7, node_id: 1 }))?;
//! snaps.clean_up()?; // once whatever the snapshots belong to was opened, too
//!
//! let meta = SnapMeta { index: 1000, term: 3, conf_state: "voters: 1, 2, 3".into() };
//! let mut writer = snaps.writer(&meta)?;
//! writer.write_all(b"the state of the state machine")?;
//! let info = writer.finish()?; // durable: now the log may say so, and be compacted
//!
//! let newest = snaps.newest_usable()?.expect("it was just written");
//! let mut state = String::new();
//! snaps.reader(&newest)?.read_to_string(&mut state)?;
//! assert_eq!((newest, state.len()), (info, 30));
//! snaps.retain(u64::MAX)?; // all but the newest two
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From node to node
//!
//! The sender announces a snapshot ([`Announcement`]) and sends what [`SnapReader::chunk`] gives;
//! the other side puts it into a [`Receiver`], whose [`next_chunk`](Receiver::next_chunk) says
//! where to go on after a lost connection, or a crash. Its file is the receiver's own: with its
//! identity and its checksums, of the sender's data and hash.
//!
//! # What to do with an error
//!
//! [`Error::Corrupt`]: the file is damaged; [`SnapDir::quarantine`] it, use an older one
//! ([`SnapDir::list`]) or fetch one. [`Error::NoSpace`]: nothing became visible; free space, begin
//! again. [`Error::Poisoned`]: a sync of the directory failed; open it anew. The rest says in its
//! one line what to do.
//!
//! # The way through the code
//!
//! `format` (every byte), `file` (the one decoder), `building` and `publish` (from bytes to a
//! visible file), `writer`, `receiver`, `reader`, `list` and `keep` (what can be done with a
//! directory), `dir` (what they share). The bytes are drawn in `docs/FORMAT.md`, section 14; why a
//! crash at any step loses nothing is in `docs/DURABILITY.md`, section 13.

#![forbid(unsafe_code)]

mod building;
mod dir;
pub mod error;
mod file;
pub mod format;
mod keep;
mod list;
mod names;
mod publish;
mod reader;
mod receiver;
mod writer;

pub use dir::{Identity, Options, Pin, SnapDir};
pub use error::{Error, Result};
pub use file::{SnapInfo, SnapMeta};
pub use keep::Retained;
pub use list::{Listing, Unusable};
pub use names::{SnapId, SnapName};
pub use reader::SnapReader;
pub use receiver::{Announcement, Receiver};
pub use writer::SnapWriter;
