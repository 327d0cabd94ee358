//! Logs kept in the repository, sound and damaged, and what an open makes of each.
//!
//! `tests/fixtures/v1` and `tests/fixtures/v1-damaged` hold a directory a log: `log/` is the log,
//! `expected.txt` what an open must give. Both must stay readable by every later version, and
//! today's code must still write the same bytes.
#![allow(clippy::disallowed_methods, reason = "fixtures are real files")]

#[path = "golden/damage.rs"]
mod damage;
#[path = "golden/listing.rs"]
mod listing;
#[path = "golden/logs.rs"]
mod logs;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Once;

use raft_vfs::sim::SimVfs;
use raft_vfs::{OsVfs, Vfs};
use raft_wal::format::{FIRST_FRAME, HeadSlot, IdentPage, Mark, PAGE, SegmentHeader};
use raft_wal::{Error, Options, ReadMode, Status, Verify, Wal, verify};

use crate::damage::DAMAGED;
use crate::logs::{DIR, LOGS, frames, options};

/// The files of a log by relative path, without the lock file, which every open makes.
type Files = BTreeMap<String, Vec<u8>>;

/// One fixture: where it is kept, and a disk with what today's code makes of it.
struct Case {
    name: String,
    path: PathBuf,
    made: SimVfs,
    damaged: bool,
}

fn cases() -> Vec<Case> {
    static REWRITE: Once = Once::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let case = |kind: &str, name: &str, made| Case {
        name: format!("{kind}/{name}"),
        path: root.join(kind).join(name),
        made,
        damaged: kind != "v1",
    };
    let sound = LOGS.iter().map(|l| case("v1", l.name, l.make()));
    let damaged = DAMAGED.iter().map(|d| case("v1-damaged", d.name, d.make()));
    let cases: Vec<_> = sound.chain(damaged).collect();
    REWRITE.call_once(|| {
        if std::env::var_os("RAFT_WAL_REWRITE_FIXTURES").is_some() {
            for kind in ["v1", "v1-damaged"] {
                let _ = fs::remove_dir_all(root.join(kind));
            }
            cases.iter().for_each(rewrite);
        }
    });
    cases
}

fn rewrite(case: &Case) {
    let files = sim_files(&case.made);
    os_write(&case.path.join("log"), &files);
    fs::write(case.path.join("expected.txt"), outcome(&sim_disk(&files), DIR, &options())).unwrap();
}

fn sim_files(disk: &SimVfs) -> Files {
    let relative = |p: &PathBuf| p.strip_prefix(DIR).unwrap().display().to_string();
    let named = disk.paths().into_iter().map(|p| (relative(&p), disk.read_file(&p).unwrap()));
    named.filter(|(name, _)| name != "LOCK").collect()
}

fn sim_disk(files: &Files) -> SimVfs {
    let disk = SimVfs::new(7);
    for (name, bytes) in files {
        disk.write_file(format!("{DIR}/{name}"), bytes);
    }
    disk
}

fn os_files(dir: &Path) -> Files {
    let mut out = Files::new();
    for sub in ["", "wal"] {
        let Ok(entries) = fs::read_dir(dir.join(sub)) else { continue };
        for e in entries.map(Result::unwrap).filter(|e| e.file_type().unwrap().is_file()) {
            let name = Path::new(sub).join(e.file_name()).display().to_string();
            out.insert(name, fs::read(e.path()).unwrap());
        }
    }
    out
}

fn os_write(dir: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// What an open gives, as it stands in `expected.txt`.
fn outcome<V: Vfs>(vfs: &V, dir: impl AsRef<Path>, options: &Options) -> String {
    let dir = dir.as_ref();
    match Wal::open(vfs.clone(), dir, options) {
        Ok((wal, report)) => listing::contents(&wal) + &listing::report(dir, &report),
        Err(e) if matches!(e, Error::Corrupt(_)) => {
            let degraded = Wal::open_degraded(vfs.clone(), dir, options);
            let degraded = degraded.map_or(String::new(), |d| listing::degraded(&d));
            listing::error(dir, &e) + &degraded
        }
        Err(e) => listing::error(dir, &e),
    }
}

/// The part of an outcome that says what the log holds.
fn contents<V: Vfs>(vfs: &V, options: &Options) -> String {
    listing::contents(&Wal::open(vfs.clone(), DIR, options).unwrap().0)
}

fn expected(case: &Case) -> String {
    let text = fs::read_to_string(case.path.join("expected.txt"));
    text.unwrap_or_else(|e| panic!("{}/expected.txt: {e}", case.name))
}

#[test]
fn the_code_still_writes_the_kept_logs_byte_for_byte() {
    for case in cases() {
        let (kept, made) = (os_files(&case.path.join("log")), sim_files(&case.made));
        let (kept_names, names): (Vec<_>, Vec<_>) = (kept.keys().collect(), made.keys().collect());
        assert_eq!(kept_names, names, "{}", case.name);
        for (name, bytes) in &made {
            let differs = kept[name].iter().zip(bytes).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{}: {name}: first byte that differs", case.name);
            assert_eq!(kept[name].len(), bytes.len(), "{}: {name}", case.name);
        }
    }
}

#[test]
fn every_kept_directory_is_known_to_this_test() {
    let known: Vec<_> = cases().into_iter().map(|c| c.path).collect();
    for kind in ["v1", "v1-damaged"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind);
        for e in fs::read_dir(root).unwrap() {
            let path = e.unwrap().path();
            assert!(known.contains(&path), "{} is not made by anything", path.display());
        }
    }
}

#[test]
fn kept_logs_open_as_expected_on_the_simulated_disk() {
    for case in cases() {
        let disk = sim_disk(&os_files(&case.path.join("log")));
        assert_eq!(outcome(&disk, DIR, &options()), expected(&case), "{}", case.name);
    }
}

#[test]
fn kept_logs_open_as_expected_on_real_files() {
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let files = os_files(&case.path.join("log"));
        os_write(dir.path(), &files);
        assert_eq!(outcome(&OsVfs, dir.path(), &options()), expected(&case), "{}", case.name);
    }
}

#[test]
fn a_refused_log_is_left_as_it_was() {
    for case in cases() {
        let files = os_files(&case.path.join("log"));
        let disk = sim_disk(&files);
        if Wal::open(disk.clone(), DIR, &options()).is_err() {
            assert!(case.damaged, "{} is sound", case.name);
            assert_eq!(sim_files(&disk), files, "{}", case.name);
        }
    }
}

#[test]
fn every_way_of_reading_gives_the_same_log_again_and_again() {
    for case in cases() {
        let disk = sim_disk(&os_files(&case.path.join("log")));
        if Wal::open(disk.fork(), DIR, &options()).is_err() {
            continue;
        }
        let expected = contents(&disk.fork(), &options());
        for verify in [Verify::Tail, Verify::Full] {
            for mode in [ReadMode::Map, ReadMode::Pread] {
                let options = options().verify(verify).read_mode(mode);
                let disk = disk.fork();
                // The first open may write; the second stands on what it wrote.
                for round in ["first", "second"] {
                    let found = contents(&disk, &options);
                    assert_eq!(found, expected, "{} {verify:?} {mode:?} {round}", case.name);
                }
            }
        }
    }
}

#[test]
fn what_is_missing_of_a_damaged_log_is_said_to_be_lost_or_given_up() {
    for (d, case) in DAMAGED.iter().zip(cases().into_iter().filter(|c| c.damaged)) {
        let outcome = expected(&case);
        if outcome.starts_with("error") && !outcome.contains("\ndegraded") {
            // Without an identity, or with a newer version's files, nothing is read at all.
            continue;
        }
        let origin = contents(&logs::log(d.of).make(), &options());
        let origin: Vec<_> = origin.lines().filter(|l| l.starts_with("entry")).collect();
        // Where the newest segment is lost, so is the last compaction: older entries are back.
        let index = |l: &str| l.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok());
        let first = origin.first().and_then(|l| index(l));
        let sound = outcome.lines().filter(|l| l.starts_with("entry") && index(l) >= first);
        let sound: Vec<_> = sound.collect();
        assert!(sound.iter().all(|l| origin.contains(l)), "{}: other entries", case.name);
        let said = outcome.contains("lost indexes") || outcome.contains("gave up");
        assert!(said || sound == origin, "{}: entries went in silence", case.name);
    }
}

/// The places of a closed log whose bytes count: every documented block, not the zeros behind.
fn counting(disk: &SimVfs) -> Vec<(String, Range<u64>)> {
    let page = |n: u64, len: usize| n * PAGE..n * PAGE + len as u64;
    let (identity, slot) = (IdentPage::LEN, HeadSlot::LEN);
    let ident = [page(0, identity), page(1, identity), page(2, slot), page(3, slot)];
    let mut out: Vec<_> = ident.map(|r| (format!("{DIR}/IDENT"), r)).into();
    for path in disk.paths().iter().map(|p| p.display().to_string()) {
        if path.ends_with("seg") {
            let end = frames(disk, &path).last().map_or(FIRST_FRAME, |(_, end, _)| *end);
            let (header, mark) = (page(0, SegmentHeader::LEN), [1, 2].map(|n| page(n, Mark::LEN)));
            let parts = [header].into_iter().chain(mark).chain(std::iter::once(FIRST_FRAME..end));
            out.extend(parts.map(|r| (path.clone(), r)));
        }
    }
    out
}

#[test]
fn a_flip_in_any_byte_that_counts_is_noticed_and_costs_an_error_or_nothing() {
    for name in ["one-segment", "segments"] {
        let sound = logs::log(name).make();
        let expected = contents(&sound.fork(), &options());
        for (path, range) in counting(&sound) {
            for at in range {
                let disk = sound.fork();
                disk.mutate(&path, |b| b[at as usize] ^= 1 << (at % 8));
                let what = format!("{name}: {path}+{at}");
                match verify(disk.clone(), DIR, &options()) {
                    Ok(v) => {
                        let notes = v.report.map_or(0, |r| r.notes.len());
                        let noticed = v.status != Status::Intact || notes > 0;
                        assert!(noticed, "{what}: verification saw nothing");
                    }
                    Err(e) => assert!(!matches!(e, Error::Io { .. }), "{what}: {e}"),
                }
                if let Ok((wal, _)) = Wal::open(disk, DIR, &options()) {
                    assert_eq!(listing::contents(&wal), expected, "{what}: another log");
                }
            }
        }
    }
}

#[test]
fn an_open_by_tail_reads_the_newest_segment_and_trusts_index_files_for_the_rest() {
    let disk = logs::log("segments").make();
    let open = |verify| Wal::open(disk.fork(), DIR, &options().verify(verify)).unwrap().1;
    let (tail, full) = (open(Verify::Tail), open(Verify::Full));
    assert_eq!((tail.segments, tail.indexed), (2, 1));
    let used = |seq| frames(&disk, &logs::segment(seq)).last().unwrap().1;
    assert_eq!(tail.scanned_bytes, used(3));
    assert_eq!(full.scanned_bytes, used(2) + used(3));
}
