//! Tables for people. Nothing a log holds reaches the terminal unescaped.

use std::fmt;
use std::io::{self, Write};

use crate::source::{ConfState, Item, Place, Problem, Record, Status, Verdict};

/// How many bytes of a payload are shown.
const PREVIEW: usize = 32;

/// Text from a file, with control characters escaped.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => write!(f, "{c}"),
        })
    }
}

/// The beginning of a payload: printable ASCII as it is, all else escaped.
struct Preview<'a>(&'a [u8]);

impl fmt::Display for Preview<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(PREVIEW)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() { f.write_str("...") } else { Ok(()) }
    }
}

/// A number that may not be there.
struct Maybe(Option<u64>);

impl fmt::Display for Maybe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(n) => f.pad(&n.to_string()),
            None => f.pad("-"),
        }
    }
}

/// Members, in Raft's words; lists that are empty are left out.
struct Conf<'a>(Option<&'a ConfState>);

impl fmt::Display for Conf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(conf) = self.0 else { return f.write_str("no conf state") };
        write!(f, "voters {:x?}", conf.voters)?;
        for (name, list) in [
            ("learners", &conf.learners),
            ("outgoing", &conf.voters_outgoing),
            ("learners next", &conf.learners_next),
        ] {
            if !list.is_empty() {
                write!(f, ", {name} {list:x?}")?;
            }
        }
        if conf.auto_leave { f.write_str(", auto leave") } else { Ok(()) }
    }
}

/// Prints items as they come, in columns of fixed width; each segment has a heading.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// What the last heading was for.
    segment: Option<String>,
    /// How many problems were shown in their place.
    problems: usize,
}

impl Table {
    /// Prints one item.
    pub(crate) fn item(&mut self, item: &Item, out: &mut dyn Write) -> io::Result<()> {
        match item {
            Item::Record(place, record) => {
                self.heading(place.as_ref(), out)?;
                record_row(place.as_ref(), record, out)
            }
            Item::SnapshotFile { name, term, index, conf_state, data } => {
                if self.segment.replace(String::new()).is_none_or(|s| !s.is_empty()) {
                    writeln!(out, "snapshot files")?;
                }
                let detail = format_args!(
                    "{}  {} bytes, {}",
                    Text(name),
                    data.len(),
                    Conf(conf_state.as_ref())
                );
                row(out, None, "snapshot_file", (Some(*term), Some(*index)), detail)
            }
            Item::Problem(p) => {
                self.problems += 1;
                problem(p, out)
            }
        }
    }

    /// Prints what is to be said of the whole log.
    pub(crate) fn end(
        &self,
        verdict: &Verdict,
        lines: u64,
        entries: u64,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        writeln!(out)?;
        let rest = verdict.problems.get(self.problems..).unwrap_or_default();
        rest.iter().try_for_each(|p| problem(p, out))?;
        summary(verdict, lines, entries, out)
    }

    fn heading(&mut self, place: Option<&Place>, out: &mut dyn Write) -> io::Result<()> {
        let Some(place) = place else { return Ok(()) };
        if self.segment.as_deref() == Some(&*place.segment) {
            return Ok(());
        }
        self.segment = Some(place.segment.to_string());
        writeln!(out, "{}", Text(&place.segment))?;
        let (offset, kind, term, index) = ("OFFSET", "TYPE", "TERM", "INDEX");
        writeln!(out, "{offset:>12}  {kind:<13} {term:>8} {index:>10}  DETAIL")
    }
}

/// Prints one record as a row.
fn record_row(place: Option<&Place>, record: &Record, out: &mut dyn Write) -> io::Result<()> {
    let offset = place.map(|p| p.offset);
    let kind = record.kind();
    let mut row =
        |term, index, detail: fmt::Arguments<'_>| row(out, offset, kind, (term, index), detail);
    match record {
        Record::Metadata(data) => {
            row(None, None, format_args!("{} bytes  {}", data.len(), Preview(data)))
        }
        Record::Entry { term, index, kind, data } => {
            let (len, data) = (data.len(), Preview(data));
            row(Some(*term), Some(*index), format_args!("{kind}  {len} bytes  {data}"))
        }
        Record::HardState { term, vote, commit } => {
            row(Some(*term), None, format_args!("vote {vote:x}, commit {commit}"))
        }
        Record::Snapshot { term, index, opaque: Some(raw), .. } => {
            let (len, raw) = (raw.len(), Preview(raw));
            row(Some(*term), Some(*index), format_args!("conf state of {len} bytes  {raw}"))
        }
        Record::Snapshot { term, index, conf_state, opaque: None } => {
            row(Some(*term), Some(*index), format_args!("{}", Conf(conf_state.as_ref())))
        }
        Record::Crc(crc) => row(None, None, format_args!("{crc:#010x}")),
        Record::Segment { seq, first_index, era, capacity } => {
            row(None, *first_index, format_args!("number {seq}, era {era}, {capacity} bytes"))
        }
        Record::Base { prev_segment, prev_end, first_index, next_index, reason } => row(
            None,
            Some(*next_index),
            format_args!("after {prev_segment}+{prev_end} ({reason}), log from {first_index}"),
        ),
        Record::Blob { key, value } => {
            row(None, None, format_args!("{} = {}", Preview(key), Preview(value)))
        }
        Record::Truncate { from } => row(None, Some(*from), format_args!("and all behind it")),
        Record::Reset { index, term } => {
            row(*term, *index, format_args!("the log begins anew behind it"))
        }
        Record::Compact { index, term } => {
            row(*term, *index, format_args!("and all before it may go"))
        }
        Record::Seal { next_segment } => {
            row(None, None, format_args!("goes on in segment {next_segment}"))
        }
        Record::Dead { by: Some(by) } => {
            row(None, None, format_args!("not part of the log from here on: segment {by} is"))
        }
        Record::Dead { by: None } => {
            row(None, None, format_args!("not part of the log from here on: a batch is missing"))
        }
    }
}

fn row(
    out: &mut dyn Write,
    offset: Option<u64>,
    kind: &str,
    (term, index): (Option<u64>, Option<u64>),
    detail: fmt::Arguments<'_>,
) -> io::Result<()> {
    let (offset, term, index) = (Maybe(offset), Maybe(term), Maybe(index));
    writeln!(out, "{offset:>12}  {kind:<13} {term:>8} {index:>10}  {detail}")
}

/// Prints one problem.
fn problem(p: &Problem, out: &mut dyn Write) -> io::Result<()> {
    let Problem { segment, offset, kind, expected, found, message } = p;
    let (segment, message) = (Text(segment), Text(message));
    writeln!(out, "PROBLEM {kind} in {segment} at {offset}: {message}")?;
    writeln!(out, "        expected {}", Text(expected))?;
    writeln!(out, "        found    {}", Text(found))
}

/// Prints all problems.
pub(crate) fn problems(verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    verdict.problems.iter().try_for_each(|p| problem(p, out))
}

/// Prints the verdict in one line.
pub(crate) fn summary(
    verdict: &Verdict,
    records: u64,
    entries: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    write!(out, "{}: {records} records, {entries} entries", verdict.status)?;
    match verdict.range {
        Some((first, last)) if first <= last => write!(out, ", log {first} to {last}")?,
        // Of a damaged log it may not be known what it is.
        _ if verdict.status == Status::Corrupt => {}
        _ => write!(out, ", empty log")?,
    }
    if let Some((term, vote, commit)) = verdict.hard_state {
        write!(out, ", term {term}, vote {vote:x}, commit {commit}")?;
    }
    match verdict.problems.len() {
        0 => writeln!(out),
        1 => writeln!(out, ", 1 problem"),
        n => writeln!(out, ", {n} problems"),
    }
}
