//! The demonstration: a real etcd log goes into a native one while the process that imports it is
//! killed again and again, and every recovery is compared with the source.
//!
//! - [`source`] reads the etcd log save by save; [`model`] applies the saves in memory and is the
//!   oracle; [`import`] is the process that is killed; [`rounds`] starts and kills it;
//!   [`compare`] holds a recovered log against the model; [`demo`] is the whole; [`show`] lets
//!   `wal-dump` have the last word.

#![forbid(unsafe_code)]

pub mod compare;
pub mod demo;
pub mod import;
pub mod model;
pub mod rounds;
pub mod show;
pub mod source;

use std::io;

/// The project's README, whose examples are run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The etcd log cannot be read, or is damaged.
    #[error("source: {0}")]
    Source(#[from] etcd_reader::Error),
    /// The native log failed.
    #[error("native log: {0}")]
    Log(#[from] raft_wal::Error),
    /// Entries are missing in the source.
    #[error("source: entry {found} where at most {expected} was expected: entries are missing")]
    Gap {
        /// The highest index that would have been right.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// The native log is not what the source says. This is what the demonstration looks for.
    #[error("DIFFERENT: {what}: the source has {source_value}, the log has {log_value}")]
    Differs {
        /// What differs.
        what: String,
        /// What the source has.
        source_value: String,
        /// What the log has.
        log_value: String,
    },
    /// The log holds fewer saves than were acknowledged, or more than were ever tried.
    #[error(
        "LOST OR INVENTED: {acked} saves were acknowledged and {tried} tried, but the recovered log holds {found}"
    )]
    Position {
        /// Acknowledged before the kill.
        acked: u64,
        /// Begun before the kill.
        tried: u64,
        /// In the recovered log.
        found: u64,
    },
    /// The directory holds a log of something else.
    #[error("the log is not an import of this source: found {found}; name another directory")]
    NotOurs {
        /// What was found.
        found: String,
    },
    /// The importer failed by itself.
    #[error("the importer failed: {0}")]
    Importer(String),
    /// The importer could not be started or killed.
    #[error("cannot run the importer: {0}")]
    Spawn(#[source] io::Error),
    /// `wal-dump` found something wrong.
    #[error("wal-dump ends with exit code {code}: {message}")]
    Tool {
        /// Its exit code.
        code: u8,
        /// What it said.
        message: String,
    },
    /// Nobody listens to the importer any more.
    #[error("cannot write to standard output: {0}")]
    Pipe(#[source] io::Error),
    /// No place for the native log.
    #[error("cannot make a temporary directory: {0}")]
    TempDir(#[source] io::Error),
}
