//! `dump`: every item, then the verdict.

use std::io::Write;

use crate::cli::Format;
use crate::json;
use crate::source::{Item, Record, Source, Status, Stop};
use crate::table::Table;

/// Prints the whole log.
pub(crate) fn dump(
    source: &mut dyn Source,
    format: Format,
    out: &mut dyn Write,
) -> Result<Status, Stop> {
    let mut table = Table::default();
    let (mut lines, mut entries) = (0, 0);
    let verdict = source.read(&mut |item| {
        lines += 1;
        entries += u64::from(matches!(item, Item::Record(_, Record::Entry { .. })));
        match format {
            Format::Table => table.item(item, out),
            Format::Json => json::item(item, out),
        }
    })?;
    match format {
        Format::Table => table.end(&verdict, lines, entries, out)?,
        Format::Json => json::end(source.format(), &verdict, lines, entries, out)?,
    }
    Ok(verdict.status)
}
