//! `stat`: counts what is in a log.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use serde::Serialize;

use crate::cli::Format;
use crate::json;
use crate::source::{Item, LogFile, Record, Source, Status, Stop, Verdict};
use crate::table::{self, Text};

/// What one segment holds.
#[derive(Clone, Debug, Default, Serialize)]
struct Segment {
    name: String,
    /// Length of the file.
    bytes: u64,
    /// Bytes of records, with framing.
    used: u64,
    records: u64,
    entries: u64,
    first_index: Option<u64>,
    last_index: Option<u64>,
    first_term: Option<u64>,
    last_term: Option<u64>,
}

/// What the log holds.
#[derive(Debug, Default)]
struct Stats {
    segments: Vec<Segment>,
    /// Place in `segments` by name.
    by_name: BTreeMap<Arc<str>, usize>,
    kinds: BTreeMap<&'static str, u64>,
    entry_kinds: BTreeMap<&'static str, u64>,
    /// Entries by the number of bits of their payload's length.
    sizes: BTreeMap<u32, u64>,
    payload: u64,
    largest: u64,
    overwritten: u64,
    term_changes: u64,
    last_term: u64,
    last_index: Option<u64>,
    snapshot_files: u64,
}

impl Stats {
    fn new(files: &[LogFile]) -> Self {
        let segments = files.iter().map(|f| Segment {
            name: f.name.clone(),
            bytes: f.bytes,
            ..Segment::default()
        });
        let names = files.iter().enumerate().map(|(n, f)| (Arc::from(f.name.as_str()), n));
        Self { segments: segments.collect(), by_name: names.collect(), ..Self::default() }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Record(place, record) => {
                *self.kinds.entry(record.kind()).or_default() += 1;
                let place = place.as_ref();
                let number = place.and_then(|p| self.by_name.get(&p.segment)).copied();
                let mut segment = number.map(|n| &mut self.segments[n]);
                if let Some(segment) = &mut segment {
                    segment.records += 1;
                    segment.used += place.map_or(0, |p| p.len);
                }
                if let &Record::Entry { term, index, kind, ref data } = record {
                    if let Some(segment) = segment {
                        segment.entry(term, index);
                    }
                    self.entry(term, index, kind, data.len() as u64);
                }
                if let &Record::Truncate { from } = record {
                    self.truncate(from);
                }
            }
            Item::SnapshotFile { .. } => self.snapshot_files += 1,
            Item::Problem(_) => {}
        }
    }

    fn entry(&mut self, term: u64, index: u64, kind: &'static str, len: u64) {
        *self.entry_kinds.entry(kind).or_default() += 1;
        *self.sizes.entry(u64::BITS - len.leading_zeros()).or_default() += 1;
        self.payload += len;
        self.largest = self.largest.max(len);
        self.term_changes += u64::from(term != self.last_term);
        self.last_term = term;
        self.truncate(index);
        self.last_index = Some(index);
    }

    /// Counts the entries at and behind `from` as overwritten.
    fn truncate(&mut self, from: u64) {
        if let Some(last) = self.last_index
            && from <= last
        {
            // A damaged log may go from end to end of the indexes again and again.
            self.overwritten = self.overwritten.saturating_add((last - from).saturating_add(1));
            self.last_index = from.checked_sub(1);
        }
    }
}

impl Segment {
    fn entry(&mut self, term: u64, index: u64) {
        self.entries += 1;
        self.first_index = Some(self.first_index.map_or(index, |first| first.min(index)));
        self.last_index = Some(index);
        self.first_term.get_or_insert(term);
        self.last_term = Some(term);
    }
}

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    r#type: &'static str,
    schema: u32,
    format: &'static str,
    status: Status,
    records: u64,
    entries: u64,
    first_index: Option<u64>,
    last_index: Option<u64>,
    term_changes: u64,
    overwritten: u64,
    payload_bytes: u64,
    largest_payload: u64,
    kinds: &'a BTreeMap<&'static str, u64>,
    entry_kinds: &'a BTreeMap<&'static str, u64>,
    payload_sizes: Vec<Size>,
    segments: &'a [Segment],
    snapshot_files: u64,
    problems: usize,
}

/// How many entries have a payload of at most `up_to` bytes and more than the size before.
#[derive(Serialize)]
struct Size {
    up_to: u64,
    entries: u64,
}

/// Counts the whole log and prints the numbers.
pub(crate) fn stat(
    source: &mut dyn Source,
    format: Format,
    out: &mut dyn Write,
) -> Result<Status, Stop> {
    let mut stats = Stats::new(source.files());
    let verdict = source.read(&mut |item| {
        stats.item(item);
        Ok(())
    })?;
    let sizes = stats.sizes.iter().map(|(&bits, &entries)| {
        let up_to = u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0);
        Size { up_to, entries }
    });
    let report = Report {
        r#type: "stat",
        schema: 1,
        format: source.format(),
        status: verdict.status,
        records: stats.kinds.values().sum(),
        entries: stats.entry_kinds.values().sum(),
        first_index: verdict.range.map(|r| r.0),
        last_index: verdict.range.map(|r| r.1),
        term_changes: stats.term_changes,
        overwritten: stats.overwritten,
        payload_bytes: stats.payload,
        largest_payload: stats.largest,
        kinds: &stats.kinds,
        entry_kinds: &stats.entry_kinds,
        payload_sizes: sizes.collect(),
        segments: &stats.segments,
        snapshot_files: stats.snapshot_files,
        problems: verdict.problems.len(),
    };
    match format {
        Format::Json => json::object(&report, out)?,
        Format::Table => print(&report, &verdict, out)?,
    }
    Ok(verdict.status)
}

fn print(report: &Report<'_>, verdict: &Verdict, out: &mut dyn Write) -> Result<(), Stop> {
    let optional = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let width = report.segments.iter().map(|s| s.name.len()).max().unwrap_or(0).max(7);
    writeln!(
        out,
        "{:<width$} {:>10} {:>10} {:>8} {:>8} {:>10} {:>10} {:>6} {:>6}",
        "SEGMENT", "BYTES", "USED", "RECORDS", "ENTRIES", "FIRST", "LAST", "TERM", "TO",
    )?;
    for s in report.segments {
        let [first, last, term, to] =
            [s.first_index, s.last_index, s.first_term, s.last_term].map(optional);
        let name = Text(&s.name).to_string();
        writeln!(
            out,
            "{name:<width$} {:>10} {:>10} {:>8} {:>8} {first:>10} {last:>10} {term:>6} {to:>6}",
            s.bytes, s.used, s.records, s.entries,
        )?;
    }
    writeln!(out)?;
    for (title, counts) in [("records", report.kinds), ("entries", report.entry_kinds)] {
        writeln!(out, "{title}")?;
        for (kind, n) in counts {
            writeln!(out, "  {kind:<16} {n:>10}")?;
        }
    }
    writeln!(out, "payloads, {} bytes in all", report.payload_bytes)?;
    for Size { up_to, entries } in &report.payload_sizes {
        writeln!(out, "  to {up_to:>10} B  {entries:>10}")?;
    }
    writeln!(
        out,
        "term changes {}, overwritten entries {}, snapshot files {}\n",
        report.term_changes, report.overwritten, report.snapshot_files
    )?;
    table::summary(verdict, report.records, report.entries, out)?;
    Ok(())
}
