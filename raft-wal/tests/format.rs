//! `docs/FORMAT.md` and the code say the same: if either drifts, a test here fails.
//!
//! The page's tables are read as data. What the code encodes must stand at the offsets they give;
//! a reader that knows only the page must get out of the kept logs what an open gets out of them;
//! and the worked example must be the kept log, byte for byte.
#![allow(clippy::disallowed_methods, reason = "the page and the fixtures are real files")]

#[path = "format/example.rs"]
mod example;
#[path = "format/page.rs"]
mod page;
#[path = "format/reader.rs"]
mod reader;
#[path = "format/samples.rs"]
mod samples;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use raft_wal::EntryKind;
use raft_wal::format::{
    self, Control, FrameHeader, IdentPage, IndexHead, RecordHead, RecordKind, SegmentHeader,
    control_seed, entry_seed, flags,
};

use crate::page::{Kind, Page, Size, crc32, seal};
use crate::reader::{Files, Log, Reader};
use crate::samples::{SALT, Value, control_samples, distinct, samples};

fn path_of_page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/FORMAT.md")
}

fn the_page() -> Page {
    Page::parse(fs::read_to_string(path_of_page()).unwrap())
}

#[test]
fn constants_kinds_and_flags_are_those_of_the_code() {
    let page = the_page();
    let same = |found: &BTreeMap<String, u64>, code: &[(&str, u64)]| {
        let code: BTreeMap<String, u64> = code.iter().map(|(n, v)| ((*n).into(), *v)).collect();
        assert_eq!(found, &code);
    };
    let constants = [
        ("VERSION", format::VERSION.into()),
        ("PAGE", format::PAGE),
        ("FIRST_FRAME", format::FIRST_FRAME),
        ("FRAME_HEADER_LEN", format::FRAME_HEADER_LEN),
        ("RECORD_OVERHEAD", format::RECORD_OVERHEAD),
        ("SEAL_FRAME_LEN", format::SEAL_FRAME_LEN),
        ("IDENT_LEN", IdentPage::FILE_LEN),
        ("SMALL_MAX", format::SMALL_MAX),
        ("BLOBS_MAX", format::BLOBS_MAX as u64),
        ("DISCARD_CRC_MAX", format::DISCARD_CRC_MAX),
        ("CAPACITY_MAX", SegmentHeader::CAPACITY_MAX),
        ("BATCH_SEQ_MAX", FrameHeader::BATCH_SEQ_MAX),
    ];
    same(&page.constants, &constants);
    let name = |n| match RecordKind::from_low_bits(n) {
        RecordKind::Entry(kind) => format!("{kind:?}"),
        kind => format!("{kind:?}"),
    };
    let kinds: Vec<_> = (0..16).map(|n| (name(n), u64::from(n))).collect();
    let kinds: Vec<_> = kinds.iter().map(|(k, n)| (k.as_str(), *n)).collect();
    same(&page.kinds, &kinds);
    let bits = [
        ("SEG_START", flags::SEG_START.into()),
        ("TRUNC", flags::TRUNC.into()),
        ("RESET", flags::RESET.into()),
        ("SEAL", flags::SEAL.into()),
        ("PAD", flags::PAD.into()),
        ("CARRY", flags::CARRY.into()),
    ];
    same(&page.flags, &bits);
    assert_eq!(page.flags.values().sum::<u64>(), u64::from(flags::ALL));
}

#[test]
fn the_magics_stand_in_the_tables() {
    let page = the_page();
    for magic in [SegmentHeader::MAGIC, IdentPage::MAGIC, IndexHead::MAGIC] {
        let hex: Vec<_> = magic.iter().map(|b| format!("{b:02x}")).collect();
        let row = format!("| 0 | 8 | bytes | magic | `{}`", hex.join(" "));
        assert!(page.text.contains(&row), "{row}");
    }
}

#[test]
fn fixed_tables_add_up_to_their_size() {
    for table in the_page().tables.values() {
        let fixed = |s: &Size| if let Size::Fixed(n) = s { Some(*n) } else { None };
        let sum: Option<usize> = table.rows.iter().map(|r| fixed(&r.size)).sum();
        if let (Some(sum), Some(len)) = (sum, table.len) {
            assert_eq!(sum, len, "{}", table.name);
            table.decode(&vec![0; len]);
        }
    }
}

#[test]
fn every_field_is_encoded_where_the_page_has_it() {
    let page = the_page();
    for s in samples() {
        let mut values: BTreeMap<_, _> = s.values.into_iter().collect();
        for f in page.table(s.table).decode(&s.block) {
            let what = format!("{}.{} at {}", s.table, f.row.name, f.at);
            match (f.row.kind, values.remove(&*f.row.name)) {
                (Kind::Zero, None) => assert!(f.bytes.iter().all(|&b| b == 0), "{what}"),
                (Kind::Crc, None) => {
                    assert_eq!(f.at + 4, s.block.len(), "{what}: a checksum is last");
                    assert_eq!(f.number(), crc32(s.seed, &s.block[..f.at]).into(), "{what}");
                }
                (_, Some(Value::Number(n))) => assert_eq!(f.number(), n, "{what}"),
                (Kind::Bytes, Some(Value::Bytes(b))) => assert_eq!(f.bytes, b, "{what}"),
                (_, None) => panic!("{what}: the code encodes no such field"),
                (_, Some(Value::Bytes(_))) => panic!("{what}: not bytes in the page"),
            }
        }
        assert!(values.is_empty(), "{}: not in the page: {:?}", s.table, values.keys());
    }
}

#[test]
fn a_change_of_any_bit_is_seen() {
    for s in samples() {
        assert!((s.decode)(&s.block).is_some(), "{}", s.table);
        for at in 0..s.block.len() {
            for bit in 0..8 {
                let mut block = s.block.clone();
                block[at] ^= 1 << bit;
                assert_eq!((s.decode)(&block), None, "{} at {at}", s.table);
            }
        }
    }
}

/// Whether a reader looks at the byte at `at`, checksums aside.
fn is_looked_at(page: &Page, table: &str, block: &[u8], at: usize) -> bool {
    let fields = page.table(table).decode(block);
    let f = fields.iter().find(|f| (f.at..f.at + f.bytes.len()).contains(&at)).unwrap();
    match (f.row.kind, &*f.row.name) {
        // Of the features that may be ignored, one is known, in one table.
        (_, "compat") => table == "segment_header" && at == f.at,
        (Kind::Zero | Kind::Crc, _) => false,
        (Kind::Bytes, "header") => is_looked_at(page, "segment_header", f.bytes, at - f.at),
        _ => true,
    }
}

#[test]
fn every_field_counts_and_reserved_bytes_do_not() {
    let page = the_page();
    for s in samples() {
        let sound = (s.decode)(&s.block);
        for at in 0..s.block.len() {
            let mut block = s.block.clone();
            block[at] ^= 1;
            if s.table == "mark" {
                seal(0, &mut block[..SegmentHeader::LEN]);
            }
            seal(s.seed, &mut block);
            let same = (s.decode)(&block) == sound;
            assert_eq!(same, !is_looked_at(&page, s.table, &block, at), "{} at {at}", s.table);
        }
    }
}

/// Data of a control record, put together from the page's table.
fn data_from_page(page: &Page, table: &str, values: &[(&str, Value)]) -> Vec<u8> {
    let mut data = Vec::new();
    for row in &page.table(table).rows {
        match (values.iter().find(|(n, _)| *n == row.name), &row.size) {
            (Some((_, Value::Bytes(b))), _) => data.extend_from_slice(b),
            (Some((_, Value::Number(n))), Size::Fixed(len)) => {
                data.extend_from_slice(&n.to_le_bytes()[..*len]);
            }
            (None, Size::Fixed(len)) if row.kind == Kind::Zero => data.resize(data.len() + len, 0),
            _ => panic!("{table}.{}: no value", row.name),
        }
    }
    data
}

#[test]
fn control_records_are_read_from_where_the_page_has_their_fields() {
    let page = the_page();
    for (name, control, values) in control_samples() {
        let data = data_from_page(&page, name, &values);
        let kind = RecordKind::from_low_bits(page.kinds[name] as u32);
        assert_eq!(Control::decode(kind, &data).as_ref(), Some(&control), "{name}");
        assert_eq!(values.len(), page.table(name).decode(&data).len() - reserved(&page, name));
        for f in page.table(name).decode(&data) {
            for at in f.at..f.at + f.bytes.len() {
                let mut other = data.clone();
                other[at] ^= 1;
                let same = Control::decode(kind, &other).as_ref() == Some(&control);
                assert_eq!(same, f.row.kind == Kind::Zero, "{name}.{} at {at}", f.row.name);
            }
        }
        let exact = !["Metadata", "Blob"].contains(&name);
        let longer = [&data[..], &[0]].concat();
        assert_eq!(Control::decode(kind, &longer).is_none(), exact, "{name}: too long");
        let shorter = &data[..data.len() - 1];
        assert_eq!(Control::decode(kind, shorter).is_none(), exact, "{name}: too short");
    }
}

fn reserved(page: &Page, table: &str) -> usize {
    page.table(table).rows.iter().filter(|r| r.kind == Kind::Zero).count()
}

#[test]
fn record_heads_and_seeds_are_as_the_page_says() {
    let mut raw = [0; RecordHead::LEN];
    raw[..8].copy_from_slice(&distinct(1).to_le_bytes());
    raw[8..].copy_from_slice(&(0x0123_4567_u32 << 4 | 2).to_le_bytes());
    let head = RecordHead::parse(&raw);
    assert_eq!((head.term, head.len), (distinct(1), 0x0123_4567));
    assert_eq!(head.kind, RecordKind::Entry(EntryKind::ConfChangeV2));
    assert_eq!(head.record_len(), (16 + 0x0123_4567_u64).next_multiple_of(8));
    let index = 0x0102_0304_1112_1314_u64;
    assert_eq!(entry_seed(SALT, index), SALT ^ 0x1112_1314 ^ 0x0102_0304);
    assert_eq!(control_seed(SALT, 5), SALT ^ !5);
}

/// The kept logs, by name.
fn kept() -> Vec<(String, Files, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let read = |dir: PathBuf| {
        let mut files = Files::new();
        for sub in ["", "wal"] {
            let Ok(entries) = fs::read_dir(dir.join("log").join(sub)) else { continue };
            for e in entries.map(Result::unwrap).filter(|e| e.file_type().unwrap().is_file()) {
                let name = Path::new(sub).join(e.file_name()).display().to_string();
                files.insert(name, fs::read(e.path()).unwrap());
            }
        }
        (files, fs::read_to_string(dir.join("expected.txt")).unwrap())
    };
    let dirs = fs::read_dir(root).unwrap().map(|e| e.unwrap());
    let kept = dirs.map(|e| (e.file_name().display().to_string(), read(e.path())));
    kept.map(|(name, (files, expected))| (name, files, expected)).collect()
}

/// What the page's reader found, in the words of `expected.txt`.
fn listing(page: &Page, log: &Log) -> String {
    let mut out = String::new();
    let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat();
    let _ = writeln!(out, "log [{}, {})", log.first, log.next);
    if log.first > 0 {
        let term = log.base_term.map_or("-".into(), |t| t.to_string());
        let _ = writeln!(out, "base term {term}");
    }
    let (term, vote, commit) = log.state;
    let _ = writeln!(out, "hard state term {term} vote {vote} commit {commit}");
    if let Some(s) = &log.snapshot {
        let (t, mut line) = (page.table("Snap"), String::from("snapshot"));
        for name in ["index", "term", "file_len"] {
            let _ = write!(line, " {name} {}", t.number(s, name));
        }
        let [hash, conf] = ["file_hash", "conf_state"].map(|n| hex(t.field(s, n).bytes));
        let _ = writeln!(out, "{line} file_hash {hash} conf_state {conf}");
    }
    if let Some(m) = &log.metadata {
        let _ = writeln!(out, "metadata {}", hex(m));
    }
    for (key, value) in &log.blobs {
        let _ = writeln!(out, "blob {} = {}", hex(key), hex(value));
    }
    for (index, (kind, term, data)) in &log.entries {
        let kind = page.kinds.iter().find(|(_, k)| *k == kind).unwrap().0;
        let (len, sum) = (data.len(), crc32(0, data));
        let _ = writeln!(out, "entry {index} term {term} {kind} len {len} crc {sum:08x}");
    }
    out
}

#[test]
fn a_reader_written_from_the_page_alone_reads_the_kept_logs() {
    let page = the_page();
    for (name, files, expected) in kept() {
        let initial = u64::from(name != "from-index-zero");
        let log = Reader { page: &page }.log(&files, initial);
        let found = listing(&page, &log);
        let expected_log: Vec<_> = expected
            .lines()
            .filter(|l| !l.starts_with("uuid") && !l.starts_with("cluster"))
            .take_while(|l| !l.starts_with("era"))
            .collect();
        assert_eq!(found.lines().collect::<Vec<_>>(), expected_log, "{name}");
        assert_eq!(log.clean, expected.contains("certain true"), "{name}");
    }
}

#[test]
fn the_worked_example_is_the_kept_log_byte_for_byte() {
    const BEGIN: &str = "<!-- worked example: begin -->\n";
    const END: &str = "\n<!-- worked example: end -->";
    let page = the_page();
    let (_, files, _) = kept().into_iter().find(|(name, ..)| name == "one-segment").unwrap();
    let example = example::render(&page, &files);
    let (before, rest) = page.text.split_once(BEGIN).expect("where the example begins");
    let (found, after) = rest.split_once(END).expect("where the example ends");
    if std::env::var_os("RAFT_WAL_REWRITE_FIXTURES").is_some() {
        fs::write(path_of_page(), format!("{before}{BEGIN}{example}{END}{after}")).unwrap();
        return;
    }
    for (n, (found, expected)) in found.lines().zip(example.lines()).enumerate() {
        assert_eq!(found, expected, "line {n} of the worked example");
    }
    assert_eq!(found, example);
}

/// The code of a file below `src`, or of a test target and its modules.
fn source_of(place: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(target) = place.strip_prefix("tests/") else {
        return fs::read_to_string(root.join("src").join(place)).unwrap_or_default();
    };
    let tests = root.join("tests");
    let main = fs::read_to_string(tests.join(format!("{target}.rs"))).unwrap_or_default();
    let modules = fs::read_dir(tests.join(target)).into_iter().flatten();
    let modules = modules.map(|e| fs::read_to_string(e.unwrap().path()).unwrap());
    std::iter::once(main).chain(modules).collect()
}

#[test]
fn the_code_and_the_tests_that_durability_names_exist() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/DURABILITY.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, page) = page.split_once("\n## 1. Words").expect("the first section");
    let quoted = page.split('`').skip(1).step_by(2);
    let named: Vec<_> = quoted.filter_map(|q| q.split_once("::")).collect();
    let named: Vec<_> = named.into_iter().filter(|(at, _)| at.contains(['/', '.'])).collect();
    assert!(named.len() > 60, "only {} names found", named.len());
    for (place, name) in named {
        let source = source_of(place);
        let found = ["(", "<"].iter().any(|end| source.contains(&format!("fn {name}{end}")));
        assert!(found, "{place} has no fn {name}");
    }
}
