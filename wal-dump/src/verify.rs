//! `verify`: reads everything, prints what is wrong.

use std::collections::BTreeMap;
use std::io::Write;

use crate::cli::Format;
use crate::json;
use crate::source::{Item, Note, Record, Source, Status, Stop};
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
            notes(&verdict.notes, out)?;
            table::summary(&verdict, records, entries, out)?;
        }
    }
    Ok(verdict.status)
}

/// How many notes of one kind are printed for people; JSON has them all.
const NOTES_OF_A_KIND: u64 = 5;

/// Prints the notes. Some logs repeat one kind of oddity hundreds of times; what a note begins
/// with, up to its first colon, is its kind.
fn notes(notes: &[Note], out: &mut dyn Write) -> Result<(), Stop> {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for note in notes {
        let kind = note.message.split(':').next().unwrap_or_default();
        let count = seen.entry(kind).or_default();
        *count += 1;
        if *count <= NOTES_OF_A_KIND {
            writeln!(out, "note: {}: {}", Text(&note.segment), Text(&note.message))?;
        }
    }
    for (kind, count) in seen {
        if let Some(more) = count.checked_sub(NOTES_OF_A_KIND).filter(|&more| more > 0) {
            writeln!(out, "note: {more} more like it: {}", Text(kind))?;
        }
    }
    Ok(())
}
