//! Shows both logs through `wal-dump`, and compares what it says of them.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::Path;

use serde_json::Value;

use crate::Error;

/// How many lines of a dump are shown.
const LINES: usize = 8;

/// Shows the statistics and the beginning of the effective log of both directories, and compares
/// the effective logs whole. Returns in words what they have in common.
///
/// # Errors
/// [`Error::Tool`] if the tool finds anything wrong, [`Error::Differs`] if it finds another log.
pub fn show(source: &Path, log: &Path, out: &mut impl Write) -> Result<String, Error> {
    for path in [source, log] {
        for (command, lines) in [(&["stat"][..], usize::MAX), (&["dump", "--effective"], LINES)] {
            let head = format!("\n$ wal-dump {} {}\n", command.join(" "), path.display());
            out.write_all(head.as_bytes()).map_err(Error::Pipe)?;
            let mut head = Head { out, left: lines, cut: false };
            wal_dump(command, path, &mut head)?;
            if head.cut {
                writeln!(out, "...").map_err(Error::Pipe)?;
            }
        }
    }
    let (source_value, log_value) = (summary(source)?, summary(log)?);
    if source_value != log_value {
        let what = "what wal-dump dump --effective prints".to_owned();
        return Err(Error::Differs { what, source_value, log_value });
    }
    Ok(source_value)
}

/// The effective log at `path` in a few words that depend on all of it.
fn summary(path: &Path) -> Result<String, Error> {
    let mut digest = Digest::default();
    wal_dump(&["dump", "--effective", "--format", "json"], path, &mut digest)?;
    let Digest { entries, others, hasher, .. } = digest;
    let hash = hasher.finish();
    Ok(format!("{entries} entries and {others} other records, digest {hash:016x}"))
}

/// Runs the tool's own entry point.
fn wal_dump(command: &[&str], path: &Path, out: &mut dyn Write) -> Result<(), Error> {
    let mut args: Vec<OsString> = vec!["wal-dump".into()];
    args.extend(command.iter().map(OsString::from));
    args.push(path.into());
    let mut messages = Vec::new();
    match wal_dump::run(args, out, &mut messages) {
        0 => Ok(()),
        code => {
            let messages = String::from_utf8_lossy(&messages);
            Err(Error::Tool { code, message: messages.trim_end().to_owned() })
        }
    }
}

/// Lets the first lines through.
struct Head<'a, W> {
    out: &'a mut W,
    left: usize,
    cut: bool,
}

impl<W: Write> Write for Head<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            if self.left == 0 {
                self.cut = true;
                break;
            }
            self.out.write_all(line)?;
            self.left -= usize::from(line.ends_with(b"\n"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What the JSON lines of an effective dump say, without where it stands.
#[derive(Default)]
struct Digest {
    entries: u64,
    others: u64,
    hasher: DefaultHasher,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl Digest {
    /// Counts a line if it is of a kind that both formats have.
    fn take_line(&mut self) -> io::Result<()> {
        let mut object: serde_json::Map<String, Value> = serde_json::from_slice(&self.line)?;
        self.line.clear();
        let zero = |name| object.get(name).and_then(Value::as_u64) == Some(0);
        match object.get("type").and_then(Value::as_str) {
            Some("entry") => self.entries += 1,
            // etcd marks the beginning of a log, and a log may say that it has no hard state.
            Some("snapshot") if zero("index") => return Ok(()),
            Some("hard_state") if zero("term") => return Ok(()),
            Some("hard_state" | "snapshot" | "metadata") => self.others += 1,
            _ => return Ok(()),
        }
        object.remove("segment");
        object.remove("offset");
        // Keys come out in their order: the text is the same for the same values.
        Value::Object(object).to_string().hash(&mut self.hasher);
        Ok(())
    }
}

impl Write for Digest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.take_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
