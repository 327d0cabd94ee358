//! `verify`: reads everything, prints what is wrong.

use std::io::Write;

use crate::cli::Format;
use crate::json;
use crate::source::{Item, Record, Source, Status, Stop};
use crate::table::{self, Text};

/// Checks the whole log and prints the verdict.
pub(crate) fn verify(
    source: &mut dyn Source,
    format: Format,
    out: &mut dyn Write,
) -> Result<Status, Stop> {
    let (mut records, mut entries) = (0, 0);
    let verdict = source.read(&mut |item| {
        records += u64::from(!matches!(item, Item::Problem(_)));
        entries += u64::from(matches!(item, Item::Record(_, Record::Entry { .. })));
        Ok(())
    })?;
    match format {
        Format::Json => json::end(source.format(), &verdict, records, entries, out)?,
        Format::Table => {
            table::problems(&verdict, out)?;
            for note in &verdict.notes {
                writeln!(out, "note: {}: {}", Text(&note.segment), Text(&note.message))?;
            }
            table::summary(&verdict, records, entries, out)?;
        }
    }
    Ok(verdict.status)
}
