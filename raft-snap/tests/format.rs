//! `docs/FORMAT.md`, section 14, and the code say the same: if either drifts, a test here fails.
//!
//! The section's tables are read as data, and what the code encodes must stand where they say; the
//! worked example must be the kept file, byte for byte; and `format/decoder.py`, written from the
//! page alone, must judge every file as the code does. (Without a `python3` that one says so and
//! passes.) `RAFT_SNAP_REWRITE_FIXTURES=1` writes the kept files and the example anew.
#![allow(clippy::disallowed_methods, reason = "the page and the fixtures are real files")]

#[path = "format/example.rs"]
mod example;
#[path = "../../raft-wal/tests/format/page.rs"]
#[allow(dead_code, reason = "the log's tests use the rest")]
mod page;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use fastrand::Rng;
use raft_snap::format::{
    self, CHUNK_MAX, FOOTER_MAGIC, Footer, Header, Layout, MAGIC, chunk_crc, header_len,
};
use raft_snap::{Announcement, Error, SnapDir, SnapInfo, SnapMeta};
use raft_vfs::SimVfs;

use crate::page::{Kind, Page, crc32};
use crate::support::{CHUNK, DIR, IDENTITY, announce, disk, open, read, seeds};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn path_of_page() -> PathBuf {
    root().join("../docs/FORMAT.md")
}

/// Section 14 alone.
fn the_page() -> Page {
    let text = fs::read_to_string(path_of_page()).unwrap();
    let (_, section) = text.split_once("\n## 14. Snapshot files\n").expect("the section is there");
    Page::parse(section.to_owned())
}

fn rewrites() -> bool {
    std::env::var_os("RAFT_SNAP_REWRITE_FIXTURES").is_some()
}

fn meta(index: u64, term: u64, conf_state: &'static [u8]) -> SnapMeta {
    SnapMeta { index, term, conf_state: Bytes::from_static(conf_state) }
}

/// The kept files, as this version writes them.
fn made() -> SimVfs {
    let disk = disk(14);
    disk.set_unix_millis(1_767_225_600_000);
    let snaps = open(&disk);
    let mut writer = snaps.writer(&meta(7, 2, b"voters: 1")).unwrap();
    let data = [&[0; CHUNK][..], b"hello"].concat();
    std::io::Write::write_all(&mut writer, &data).unwrap();
    writer.finish().unwrap();
    snaps.writer(&meta(8, 2, b"")).unwrap().finish().unwrap();
    let long: &[u8] = Box::leak(vec![0x5a; 1000].into_boxed_slice());
    let announced = Announcement {
        meta: meta(9, 3, long),
        data_len: 5,
        data_hash: <sha2::Sha256 as sha2::Digest>::digest(b"hello").into(),
        chunk_len: 4096,
    };
    let mut receiver = snaps.receiver(&announced).unwrap();
    receiver.put(0, b"hello").unwrap();
    receiver.finish().unwrap();
    disk
}

/// The kept files, as they are kept.
fn kept() -> SimVfs {
    let dir = root().join("tests/fixtures/v1");
    let disk = disk(1);
    if rewrites() {
        for path in made().paths() {
            fs::write(dir.join(path.file_name().unwrap()), made().read_file(path).unwrap())
                .unwrap();
        }
    }
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        disk.write_file(Path::new(DIR).join(path.file_name().unwrap()), &fs::read(&path).unwrap());
    }
    disk
}

#[test]
fn constants_and_magics_are_those_of_the_code() {
    let page = the_page();
    let code = [
        ("VERSION", u64::from(format::VERSION)),
        ("HEADER_UNIT", format::HEADER_UNIT as u64),
        ("HEADER_FIXED", format::HEADER_FIXED as u64),
        ("HEADER_MAX", format::HEADER_MAX as u64),
        ("CONF_STATE_MAX", format::CONF_STATE_MAX as u64),
        ("CHUNK_OVERHEAD", format::CHUNK_OVERHEAD),
        ("CHUNK_MIN", format::CHUNK_MIN.into()),
        ("CHUNK_MAX", CHUNK_MAX.into()),
        ("CHUNKS_MAX", format::CHUNKS_MAX.into()),
        ("FOOTER_LEN", format::FOOTER_LEN as u64),
        ("ANNOUNCED", format::ANNOUNCED.into()),
    ];
    let code: BTreeMap<String, u64> = code.iter().map(|(n, v)| ((*n).into(), *v)).collect();
    assert_eq!(page.constants, code);
    for magic in [MAGIC, FOOTER_MAGIC] {
        let hex: Vec<_> = magic.iter().map(|b| format!("{b:02x}")).collect();
        let row = format!("| 0 | 8 | bytes | magic | `{}`", hex.join(" "));
        assert!(page.text.contains(&row), "{row}");
    }
}

/// A header in which no two bytes of a field are alike.
fn a_header() -> Header {
    Header {
        chunk_len: 0x00a1_a2a3,
        salt: 0xb1b2_b3b4,
        index: 0x0102_0304_0506_0708,
        term: 0x1112_1314_1516_1718,
        cluster_id: 0x2122_2324_2526_2728_292a_2b2c_2d2e_2f20,
        node_id: 0x3132_3334_3536_3738,
        created_ms: 0x4142_4344_4546_4748,
        announced: Some((0x5152_5354_5556_5758, [0x61; 32])),
        conf_state: b"conf state".to_vec(),
    }
}

/// The fields of a block with their values as the code has them.
fn compare(table: &str, block: &[u8], values: &[(&str, Vec<u8>)]) {
    let page = the_page();
    let mut values: BTreeMap<_, _> = values.iter().cloned().collect();
    for f in page.table(table).decode(block) {
        let what = format!("{table}.{} at {}", f.row.name, f.at);
        match f.row.kind {
            Kind::Zero => assert!(f.bytes.iter().all(|&b| b == 0), "{what}"),
            Kind::Crc => assert_eq!(f.at + 4, block.len(), "{what}: a checksum is last"),
            _ => {
                let expected = values.remove(&*f.row.name);
                assert_eq!(f.bytes, expected.expect(&what), "{what}");
            }
        }
    }
    assert!(values.is_empty(), "not in the page: {values:?}");
}

#[test]
fn every_field_is_encoded_where_the_page_has_it() {
    let header = a_header();
    let raw = header.encode().unwrap();
    assert_eq!((raw.len(), header_len(header.conf_state.len())), (512, 512));
    let number = |n: u64| n.to_le_bytes().to_vec();
    let short = |n: u32| n.to_le_bytes().to_vec();
    let values = [
        ("magic", MAGIC.to_vec()),
        ("version", vec![1, 0]),
        ("compat", short(0)),
        ("incompat", short(0)),
        ("header_len", short(512)),
        ("chunk_len", short(header.chunk_len)),
        ("salt", short(header.salt)),
        ("index", number(header.index)),
        ("term", number(header.term)),
        ("cluster_id", header.cluster_id.to_le_bytes().to_vec()),
        ("node_id", number(header.node_id)),
        ("data_len", number(header.announced.unwrap().0)),
        ("data_hash", header.announced.unwrap().1.to_vec()),
        ("conf_len", short(10)),
        ("flags", short(1)),
        ("created_ms", number(header.created_ms)),
    ];
    compare("snapshot_header", &raw[..128], &values);
    assert_eq!(&raw[128..138], b"conf state");
    assert_eq!(raw[138..508], [0; 370]);
    assert_eq!(crc32(0, &raw[..508]).to_le_bytes(), raw[508..]);

    let footer = Footer::new(&raw, 0x7172_7374, 0x8182_8384_8586_8788, [0x91; 32]);
    let block = footer.encode(header.salt);
    let values = [
        ("magic", FOOTER_MAGIC.to_vec()),
        ("chunks", short(footer.chunks)),
        ("data_len", number(footer.data_len)),
        ("data_hash", footer.data_hash.to_vec()),
        ("file_hash", footer.file_hash.to_vec()),
    ];
    compare("snapshot_footer", &block, &values);
    assert_eq!(crc32(!header.salt, &block[..92]).to_le_bytes(), block[92..]);
    let hashed = [&raw[..], &block[..56]].concat();
    let hash: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(hashed).into();
    assert_eq!(footer.file_hash, hash);

    let chunk = [&5_u32.to_le_bytes()[..], b"hello"].concat();
    let sum = chunk_crc(header.salt, 3, b"hello");
    assert_eq!(sum, crc32(header.salt ^ 3, &chunk));
    let values = [("len", short(5)), ("data", b"hello".to_vec())];
    compare("snapshot_chunk", &[&chunk[..], &sum.to_le_bytes()].concat(), &values);
}

#[test]
fn every_field_counts_and_reserved_bytes_do_not() {
    let page = the_page();
    let header = a_header();
    let raw = header.encode().unwrap();
    assert_eq!(Header::decode(&raw).as_ref(), Ok(&header));
    let reserved = |at: usize| {
        let fields = page.table("snapshot_header").decode(&raw[..128]);
        let field = fields.iter().find(|f| (f.at..f.at + f.bytes.len()).contains(&at));
        match field {
            Some(f) => f.row.kind == Kind::Zero || f.row.name == "compat",
            None => (138..508).contains(&at),
        }
    };
    for at in 0..508 {
        let mut other = raw.clone();
        other[at] ^= 0x10;
        assert!(Header::decode(&other).is_err(), "byte {at} without a new checksum");
        let sum = crc32(0, &other[..508]).to_le_bytes();
        other[508..].copy_from_slice(&sum);
        assert_eq!(Header::decode(&other).as_ref() == Ok(&header), reserved(at), "byte {at}");
    }
}

#[test]
fn a_layout_is_where_the_page_says_and_never_overflows() {
    for (chunk_len, data_len) in [(512, 0), (512, 1), (512, 512), (512, 513), (CHUNK_MAX, 1 << 40)]
    {
        let layout = Layout::new(1024, chunk_len, data_len).unwrap();
        let chunks = data_len.div_ceil(chunk_len.into());
        assert_eq!(u64::from(layout.chunks), chunks);
        assert_eq!(layout.file_len(), 1024 + data_len + 8 * chunks + 96);
        for chunk in [0, 1, layout.chunks.saturating_sub(1)] {
            if chunk < layout.chunks {
                let at = 1024 + u64::from(chunk) * (u64::from(chunk_len) + 8);
                assert_eq!(layout.offset(chunk), at);
            }
        }
        assert_eq!((layout.data_of(layout.chunks), layout.data_of(u32::MAX)), (0, 0));
    }
    let most = u64::from(format::CHUNKS_MAX) * u64::from(CHUNK_MAX);
    let longest = Layout::new(format::HEADER_MAX, CHUNK_MAX, most).unwrap();
    assert!(longest.file_len() > most);
    assert_eq!(Layout::new(512, CHUNK_MAX, most + 1), None);
    assert_eq!(Layout::new(512, 512, u64::MAX), None);
    assert_eq!(Layout::new(512, 0, 1), None);
}

#[test]
fn this_version_writes_the_kept_files_and_reads_them() {
    let (made, kept) = (made(), kept());
    assert_eq!((made.paths(), made.paths().len()), (kept.paths(), 3));
    for path in made.paths() {
        assert!(made.read_file(&path) == kept.read_file(&path), "{}", path.display());
    }
    let snaps = open(&kept);
    let listing = snaps.list().unwrap();
    let metas: Vec<_> = listing.usable.iter().map(|i| (i.meta.index, i.meta.term)).collect();
    assert_eq!(metas, [(9, 3), (8, 2), (7, 2)]);
    let data: Vec<_> = listing.usable.iter().map(|info| read(&snaps, info).unwrap()).collect();
    assert_eq!(data, [b"hello".to_vec(), Vec::new(), [&[0; CHUNK][..], b"hello"].concat()]);
    assert!(listing.usable.iter().all(|info| info.identity == IDENTITY));
}

#[test]
fn the_worked_example_is_the_kept_file_byte_for_byte() {
    const BEGIN: &str = "<!-- snapshot example: begin -->\n";
    const END: &str = "\n<!-- snapshot example: end -->";
    let page = the_page();
    let file = Path::new(DIR).join("0000000000000002-0000000000000007.snap");
    let example = example::render(&page, &kept().read_file(file).unwrap());
    let text = fs::read_to_string(path_of_page()).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("where the example begins");
    let (found, after) = rest.split_once(END).expect("where the example ends");
    if rewrites() {
        fs::write(path_of_page(), format!("{before}{BEGIN}{example}{END}{after}")).unwrap();
        return;
    }
    for (n, (found, expected)) in found.lines().zip(example.lines()).enumerate() {
        assert_eq!(found, expected, "line {n} of the example");
    }
    assert_eq!(found, example);
}

/// What the code makes of the files of a directory, in the decoder's words.
fn by_code(disk: &SimVfs) -> Vec<String> {
    let snaps = SnapDir::open_read_only(disk.clone(), DIR, None).unwrap();
    let listing = snaps.list().unwrap();
    let mut lines = Vec::new();
    for info in &listing.usable {
        match read(&snaps, info) {
            Ok(data) => lines.push(sound(info, &data)),
            Err(error) => lines.push(refused(info.id(), &error)),
        }
    }
    for unusable in &listing.unusable {
        lines.push(refused(unusable.id, &unusable.error));
    }
    lines.sort();
    lines
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

fn sound(info: &SnapInfo, data: &[u8]) -> String {
    let (id, meta) = (info.id(), &info.meta);
    format!(
        "{id}.snap sound index {} term {} cluster {:x} node {} conf {} chunks {} data {} {} file {} {}",
        meta.index,
        meta.term,
        info.identity.cluster_id,
        info.identity.node_id,
        hex(&meta.conf_state),
        info.chunks,
        info.data_len,
        hex(data),
        info.file_len,
        hex(&info.file_hash),
    )
}

fn refused(id: raft_snap::SnapId, error: &Error) -> String {
    let why = if matches!(error, Error::Unsupported { .. }) { "unsupported" } else { "damaged" };
    format!("{id}.snap {why}")
}

#[test]
fn a_decoder_written_from_the_page_alone_judges_every_file_alike() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|o| o.status.success()) {
        announce("no python3 on this machine: the decoder did not run");
        return;
    }
    let kept = kept();
    let names: Vec<PathBuf> = kept.paths();
    let mut disks = vec![kept.fork()];
    for seed in seeds(400) {
        let mut rng = Rng::with_seed(seed);
        let disk = kept.fork();
        disk.mutate(&names[rng.usize(..names.len())], |bytes| harm(&mut rng, bytes));
        disks.push(disk);
    }
    let temp = tempfile::tempdir().unwrap();
    let dirs: Vec<_> = (0..disks.len()).map(|n| temp.path().join(n.to_string())).collect();
    for (dir, disk) in dirs.iter().zip(&disks) {
        fs::create_dir(dir).unwrap();
        for path in disk.paths() {
            fs::write(dir.join(path.file_name().unwrap()), disk.read_file(&path).unwrap()).unwrap();
        }
    }
    let script = root().join("tests/format/decoder.py");
    let ran = Command::new("python3").arg(script).args(&dirs).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let text = String::from_utf8(ran.stdout).unwrap();
    let by_page: Vec<Vec<&str>> =
        text.trim_end().split("\n\n").map(|d| d.lines().collect()).collect();
    assert_eq!(by_page.len(), disks.len());
    let mut verdicts = BTreeMap::<&str, u64>::new();
    for (n, (disk, page)) in disks.iter().zip(&by_page).enumerate() {
        assert_eq!(&by_code(disk), page, "directory {n}");
        for line in page {
            *verdicts.entry(line.split(' ').nth(1).unwrap()).or_default() += 1;
        }
    }
    announce(&format!("{} directories judged alike: {verdicts:?}", disks.len()));
    assert!(seeds(400).count() == 1 || verdicts.len() == 3, "{verdicts:?}");
}

/// Changes a file; now and then with a checksum that is right again.
fn harm(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let at = rng.usize(..bytes.len());
    match rng.u8(..6) {
        0 => bytes.truncate(at),
        1 => bytes.push(0),
        2 => bytes[at..].rotate_left(1),
        // A header that says something else, and means it.
        3 | 4 => {
            let len = Header::peek_len(bytes.first_chunk().unwrap()).unwrap();
            let field = [8, 12, 16, 24, 40, 112, 116, 10, 60, 200][rng.usize(..10)];
            bytes[field] ^= 1 << rng.u8(..8);
            let sum = crc32(0, &bytes[..len - 4]).to_le_bytes();
            bytes[len - 4..len].copy_from_slice(&sum);
            refoot(bytes, len);
        }
        _ => bytes[at] ^= 1 << rng.u8(..8),
    }
}

/// Gives a file the footer that fits its changed header.
fn refoot(bytes: &mut [u8], header: usize) {
    let at = bytes.len() - 96;
    let salt = u32::from_le_bytes(*bytes[28..].first_chunk().unwrap());
    let hashed = [&bytes[..header], &bytes[at..at + 56]].concat();
    let hash: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest(hashed).into();
    bytes[at + 56..at + 88].copy_from_slice(&hash);
    let sum = crc32(!salt, &bytes[at..at + 92]).to_le_bytes();
    bytes[at + 92..].copy_from_slice(&sum);
}
