//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Shows, verifies and measures Raft logs: those of raft-wal and those of etcd.
#[derive(Debug, Parser)]
#[command(name = "wal-dump", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 intact (for dump and stat a torn or live tail too), 1 usage or no log there,
2 torn tail (verify), 3 corrupt, 4 I/O error, 5 the log is locked or changes too fast.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print every record in the order it was written
    Dump(DumpArgs),
    /// Check the whole log and say what is wrong with it
    Verify(Log),
    /// Count what is in the log, by segment and kind
    Stat(Log),
}

#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    pub(crate) log: Log,
    /// Print the log after replay instead: what recovery would hand to Raft
    #[arg(long)]
    pub(crate) effective: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Log {
    /// A data directory, a wal directory, or one file
    pub(crate) path: PathBuf,
    /// For people, or JSON lines for programs
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// One JSON object a line
    Json,
}
