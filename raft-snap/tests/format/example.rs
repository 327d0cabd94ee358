//! The worked example of `docs/FORMAT.md`, section 14: a kept file, field by field.

use std::fmt::Write as _;

use crate::page::{Field, Kind, Page};

/// The example as it must stand between the page's two comments.
pub(crate) fn render(page: &Page, file: &[u8]) -> String {
    let header = page.table("snapshot_header");
    let number = |name| header.number(&file[..128], name) as usize;
    let (header_len, conf_len) = (number("header_len"), number("conf_len"));
    let mut out = String::from("\nThe header.\n\n```text\n");
    for f in header.decode(&file[..128]) {
        field(&mut out, 0, &f);
    }
    let conf = &file[128..128 + conf_len];
    let text = format!("conf state = {:?}", String::from_utf8_lossy(conf));
    line(&mut out, 128, conf, &text);
    line(&mut out, 128 + conf_len, &file[128 + conf_len..header_len - 4], "zero");
    line(&mut out, header_len - 4, &file[header_len - 4..header_len], "crc");
    out.push_str("```\n");

    let (chunk, footer_at) = (page.table("snapshot_chunk"), file.len() - 96);
    let mut at = header_len;
    for n in 0.. {
        if at == footer_at {
            break;
        }
        let len = u32::from_le_bytes(*file[at..].first_chunk().unwrap()) as usize + 8;
        let _ = write!(out, "\nChunk {n}.\n\n```text\n");
        for f in chunk.decode(&file[at..at + len]) {
            field(&mut out, at, &f);
        }
        out.push_str("```\n");
        at += len;
    }
    out.push_str("\nThe footer, to the end of the file.\n\n```text\n");
    for f in page.table("snapshot_footer").decode(&file[footer_at..]) {
        field(&mut out, footer_at, &f);
    }
    out.push_str("```\n");
    out
}

fn field(out: &mut String, base: usize, f: &Field<'_>) {
    let name = &f.row.name;
    let width = f.bytes.len() * 2;
    let what = match f.row.kind {
        Kind::Number => format!("{name} = {}", f.number()),
        Kind::Pattern if f.number() < 64 => format!("{name} = {}", f.number()),
        Kind::Pattern => format!("{name} = 0x{:0width$x}", f.number()),
        Kind::Zero => "zero".into(),
        Kind::Bytes | Kind::Crc => name.clone(),
    };
    line(out, base + f.at, f.bytes, &what);
}

/// Bytes, at most 16 a line, and what they are. A longer run of zeros is counted.
fn line(out: &mut String, at: usize, bytes: &[u8], what: &str) {
    if bytes.len() > 16 && bytes.iter().all(|&b| b == 0) {
        let _ = writeln!(out, "{at:06x}  {:<47}  {what}", format!("00 * {}", bytes.len()));
        return;
    }
    let mut what = what;
    for (i, part) in bytes.chunks(16).enumerate() {
        let hex: Vec<_> = part.iter().map(|b| format!("{b:02x}")).collect();
        let line = format!("{:06x}  {:<47}  {what}", at + i * 16, hex.join(" "));
        let _ = writeln!(out, "{}", line.trim_end());
        what = "";
    }
}
