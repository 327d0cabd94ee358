//! The worked example of `docs/FORMAT.md`: the fixture `one-segment`, field by field.

use std::fmt::Write as _;

use crate::page::{Field, Kind, Page, Table};
use crate::reader::{Files, Reader, Record};

const SEGMENT: &str = "wal/00000000000000000001.seg";

/// The example as it must stand between the page's two comments.
pub(crate) fn render(page: &Page, files: &Files) -> String {
    let mut out = Out { page, text: String::new() };
    let (ident, segment) = (&files["IDENT"], &files[SEGMENT]);
    out.heading("IDENT, page 0: the identity. Page 1 is the same. The rest of the pages is zero.");
    out.block("identity", ident, 0);
    out.heading("IDENT, page 2: the HEAD slot of the first era. Page 3 is zero.");
    out.block("head_slot", ident, 8192);
    out.heading("Segment 1, page 0: the header.");
    out.block("segment_header", segment, 0);
    out.heading(
        "Segment 1, page 2: the mark of the close. (Page 1 holds mark 1, of the first sync.)",
    );
    assert_eq!(segment[8192..8192 + 128], segment[..128], "the mark's header is the segment's");
    out.block("mark", segment, 8192);
    let reader = Reader { page };
    let frames = reader.segment(segment).frames;
    let what = [
        "Segment 1, offset 12288: the first frame. It starts the segment and brings the hard state.",
        "Segment 1: the second frame, hard state and entry. The promise is about the first.",
    ];
    assert_eq!(frames.len(), what.len(), "the example has two frames");
    for (frame, what) in frames.iter().zip(what) {
        out.heading(what);
        out.block("frame_header", segment, frame.at);
        for r in &frame.records {
            out.record(segment, r);
        }
    }
    out.text.push_str("```\n");
    let end = frames.last().unwrap().end;
    let left = &segment[end..];
    assert!(left.iter().all(|&b| b == 0), "nothing follows");
    let _ = writeln!(out.text, "\nFrom {end} to the end of the file, {}: zeros.", segment.len());
    out.text
}

struct Out<'p> {
    page: &'p Page,
    text: String,
}

impl Out<'_> {
    fn heading(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push_str("```\n");
        }
        let _ = write!(self.text, "\n{text}\n\n```text\n");
    }

    /// A block of fixed size.
    fn block(&mut self, table: &str, file: &[u8], at: usize) {
        let table = self.page.table(table);
        self.fields(table, &file[at..at + table.len.unwrap()], at);
    }

    fn fields(&mut self, table: &Table, block: &[u8], at: usize) {
        for f in table.decode(block) {
            let value = value(&f);
            self.line(at + f.at, f.bytes, &format!("{}{value}", f.row.name), f.row.kind);
        }
    }

    /// A record: its head, its data by the table of its kind, padding, checksum.
    fn record(&mut self, file: &[u8], r: &Record) {
        let bytes = &file[r.at..r.at + r.size];
        let kind = self.page.kinds.iter().find(|(_, k)| **k == r.kind).unwrap().0;
        let (len, data) = (r.data.len(), 12 + r.data.len());
        self.text.push('\n');
        let number = Kind::Number;
        self.line(r.at, &bytes[..8], &format!("record: term = {}", r.term), number);
        let what = format!("len_kind: len {len}, kind {} {kind}", r.kind);
        self.line(r.at + 8, &bytes[8..12], &what, number);
        if let Some(table) = self.page.tables.get(kind) {
            self.fields(table, &r.data, r.at + 12);
        } else {
            let text = String::from_utf8_lossy(&r.data);
            self.line(r.at + 12, &r.data, &format!("data = {text:?}"), Kind::Bytes);
        }
        self.line(r.at + data, &bytes[data..r.size - 4], "padding", Kind::Zero);
        self.line(r.at + r.size - 4, &bytes[r.size - 4..], "crc", Kind::Crc);
    }

    /// Bytes, at most 16 a line, and what they are. A longer run of zeros is counted.
    fn line(&mut self, at: usize, bytes: &[u8], what: &str, kind: Kind) {
        if bytes.is_empty() {
            return;
        }
        let zeros = bytes.iter().all(|&b| b == 0);
        if zeros && bytes.len() > 8 {
            let what = if kind == Kind::Zero { "zero" } else { what };
            let _ =
                writeln!(self.text, "{at:06x}  {:<47}  {what}", format!("00 * {}", bytes.len()));
            return;
        }
        if kind == Kind::Zero {
            assert!(zeros, "reserved bytes are zero at {at}");
        }
        let mut what = if kind == Kind::Zero && what.is_empty() { "zero" } else { what };
        for (i, part) in bytes.chunks(16).enumerate() {
            let hex: Vec<_> = part.iter().map(|b| format!("{b:02x}")).collect();
            let line = format!("{:06x}  {:<47}  {what}", at + i * 16, hex.join(" "));
            let _ = writeln!(self.text, "{}", line.trim_end());
            what = "";
        }
    }
}

fn value(f: &Field<'_>) -> String {
    let width = f.bytes.len() * 2;
    match f.row.kind {
        Kind::Number => format!(" = {}", f.number()),
        Kind::Pattern if f.number() < 64 => format!(" = {}", f.number()),
        Kind::Pattern => format!(" = 0x{:0width$x}", f.number()),
        Kind::Bytes if f.row.name == "header" => ": the 128 bytes of page 0".into(),
        Kind::Bytes | Kind::Zero => String::new(),
        Kind::Crc => format!(" = 0x{:08x}", f.number()),
    }
}
