//! Shows, verifies and measures Raft logs.
//!
//! Two kinds of log are told apart by what is in the directory: those of `raft-wal`, and those of
//! etcd. A [`source::Source`] turns either into a sequence of [`source::Item`]s and a verdict;
//! the commands (`dump`, `verify`, `stat`) know nothing of the difference. Everything streams: no
//! command holds more than one record, whatever the log's length.
//!
//! `docs/WAL-DUMP.md` describes the commands, the JSON lines and the exit codes.

#![forbid(unsafe_code)]

mod cli;
mod dump;
mod etcd;
mod json;
mod native;
mod open;
pub mod source;
mod stat;
mod table;
mod verify;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::Parser;
use raft_vfs::{OsVfs, Vfs};

use crate::cli::{Cli, Command};
use crate::source::{Failure, Status, Stop};

/// Exit codes.
mod exit {
    pub(crate) const OK: u8 = 0;
    pub(crate) const USAGE: u8 = 1;
    pub(crate) const TORN: u8 = 2;
    pub(crate) const CORRUPT: u8 = 3;
    pub(crate) const IO: u8 = 4;
    pub(crate) const BUSY: u8 = 5;
}

/// Runs the command line `args` (the program's name first) and returns the exit code.
///
/// The result goes to `out`, messages to `err`. A reader of `out` that goes away early is no
/// error: 0.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    run_on(&OsVfs, args, out, err)
}

/// [`run`] on another file system.
pub fn run_on<V: Vfs>(
    vfs: &V,
    args: impl IntoIterator<Item = OsString>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) => return usage(&e, out, err),
    };
    let done = command(vfs, &cli.command, out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    // If the messages cannot be written either, the exit code still says what happened.
    match done {
        Ok(code) => code,
        Err(Stop::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => exit::OK,
        Err(Stop::Output(e)) => {
            let _ = writeln!(err, "wal-dump: cannot write the output: {e}");
            exit::IO
        }
        Err(Stop::Source(failure)) => {
            let _ = out.flush();
            let _ = writeln!(err, "wal-dump: {failure}");
            match failure {
                Failure::NotALog(_) => exit::USAGE,
                Failure::Io(_) => exit::IO,
                Failure::Busy(_) => exit::BUSY,
            }
        }
    }
}

fn command<V: Vfs>(vfs: &V, command: &Command, out: &mut dyn Write) -> Result<u8, Stop> {
    match command {
        Command::Dump(args) => {
            let mut source = open::open(vfs, &args.log.path, args.effective)?;
            let status = dump::dump(&mut *source, args.log.format, out)?;
            Ok(if status == Status::Corrupt { exit::CORRUPT } else { exit::OK })
        }
        Command::Verify(log) => {
            let mut source = open::open(vfs, &log.path, false)?;
            let status = verify::verify(&mut *source, log.format, out)?;
            Ok(match status {
                Status::Corrupt => exit::CORRUPT,
                Status::TornTail => exit::TORN,
                Status::Intact | Status::LiveTail => exit::OK,
            })
        }
        Command::Stat(log) => {
            let mut source = open::open(vfs, &log.path, false)?;
            let status = stat::stat(&mut *source, log.format, out)?;
            Ok(if status == Status::Corrupt { exit::CORRUPT } else { exit::OK })
        }
    }
}

/// Prints what the command line parser has to say: help goes to `out`, complaints to `err`.
fn usage(e: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let text = e.render();
    // A help text nobody reads is no reason to fail.
    if e.use_stderr() {
        let _ = write!(err, "{text}");
        exit::USAGE
    } else {
        let _ = write!(out, "{text}");
        exit::OK
    }
}
