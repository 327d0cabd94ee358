//! Every byte of a log damaged, every length cut: no panic, and nothing different in silence.

#![allow(clippy::disallowed_methods, reason = "tests damage real files")]

mod common;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{Everything, copy_dir, read, segments, small};
use etcd_reader::{Record, RecordKind, Status};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// What a reader takes from a log.
fn contents(all: &Everything) -> (Vec<RecordKind>, Vec<etcd_reader::SnapFile>) {
    (all.records.iter().map(|r| r.kind.clone()).collect(), all.snaps.clone())
}

fn copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_dir(&small(), copy.path());
    copy
}

/// Puts other bytes into a file while `read` reads it.
fn with_bytes<T>(path: &Path, at: u64, other: &[u8], read: impl FnOnce() -> T) -> T {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut before = vec![0; other.len()];
    file.read_exact_at(&mut before, at).unwrap();
    file.write_all_at(other, at).unwrap();
    let result = read();
    file.write_all_at(&before, at).unwrap();
    result
}

/// One bit of every byte of every file. etcd's checksum covers the data of records only; lengths,
/// types and padding are caught by what they contradict.
#[test]
fn a_flipped_bit_is_named_wherever_it_is() {
    let copy = copy();
    let before = read(copy.path());
    let wal = copy.path().join("member/wal");
    let mut silent = Vec::new();
    for path in segments(&wal) {
        for (at, byte) in fs::read(&path).unwrap().into_iter().enumerate() {
            let flipped = [byte ^ (1 << (at % 8))];
            let after = with_bytes(&path, at as u64, &flipped, || read(&wal));
            assert!(is_part(&after, &before) || after.status() == Status::Corrupt);
            if after.status() == Status::Intact {
                silent.push((path.clone(), at));
            }
        }
    }
    assert!(silent.is_empty(), "{silent:?}");
}

/// Every record read as one of every other type: the checksum holds all the same.
#[test]
fn a_record_of_another_type_is_named() {
    let copy = copy();
    let wal = copy.path().join("member/wal");
    let before = read(&wal);
    let mut silent = Vec::new();
    for record in &before.records {
        let path = wal.join(&*record.segment);
        for kind in 1..=5 {
            let at = record.offset + 9;
            let after = with_bytes(&path, at, &[kind], || read(&wal));
            if after.status() == Status::Intact && contents(&after) != contents(&before) {
                silent.push((record.clone(), kind));
            }
        }
    }
    assert!(silent.is_empty(), "{silent:#?}");
}

/// A segment's end cut off at every eighth byte. The last segment cut between two records is a
/// shorter log that nothing in the format tells from one that ended there.
#[test]
fn a_cut_is_named_unless_it_is_between_the_last_records() {
    let copy = copy();
    let before = read(copy.path());
    let paths = segments(&copy.path().join("member/wal"));
    for (number, path) in paths.iter().enumerate() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let here = |r: &&Record| &*r.segment == name;
        let ends: Vec<u64> =
            before.records.iter().filter(here).map(|r| r.offset + r.frame_len).collect();
        let whole = fs::read(path).unwrap();
        for cut in (0..whole.len()).step_by(8) {
            fs::write(path, &whole[..cut]).unwrap();
            let all = read(copy.path());
            let expected = match (number + 1 == paths.len(), ends.contains(&(cut as u64))) {
                (false, _) => Status::Corrupt,
                (true, _) if (cut as u64) < ends[1] => Status::Corrupt,
                (true, true) => Status::Intact,
                (true, false) => Status::TornTail,
            };
            assert_eq!(all.status(), expected, "{name} cut at {cut}: {:#?}", all.findings);
            assert!(is_part(&all, &before), "{name} cut at {cut}");
        }
        fs::write(path, &whole).unwrap();
    }
}

/// Whether the records of `part` are records of `whole` in the same order. A checksum record that
/// breaks the chain is shown as it stands; that it does is a problem of its own.
fn is_part(part: &Everything, whole: &Everything) -> bool {
    let counts = |r: &&Record| !matches!(r.kind, RecordKind::Crc(_));
    let mut rest = whole.records.iter().filter(counts);
    let mut part = part.records.iter().filter(counts);
    part.all(|r| rest.any(|w| w.kind == r.kind && w.offset == r.offset))
}

/// Damages `path` as the numbers say.
fn damage(path: &Path, kind: u8, at: usize, len: usize, byte: u8) {
    common::edit(path, |bytes| {
        let at = at % bytes.len();
        let end = (at + len).min(bytes.len());
        match kind {
            0 => bytes[at..end].fill(byte),
            1 => bytes[at..end].iter_mut().for_each(|b| *b ^= byte),
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..at, std::iter::repeat_n(byte, len))),
            // What a misdirected write leaves: a part of the file in another place.
            _ => {
                let from = (at / 2) & !7;
                let part = bytes[from..(from + len).min(bytes.len())].to_vec();
                let to = at & !7;
                let n = part.len().min(bytes.len() - to);
                bytes[to..to + n].copy_from_slice(&part[..n]);
            }
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_261_122),
        ..Default::default()
    })]

    /// A run of damage of any kind: what is read is part of what was there, and if anything is
    /// missing there is a problem that says so.
    #[test]
    fn a_damaged_run_is_named_and_invents_nothing(
        segment in 0..4_usize, kind in 0..5_u8, at in 0..20_000_usize, len in 1..2_000_usize,
        byte in any::<u8>(),
    ) {
        let copy = copy();
        let before = read(copy.path());
        damage(&segments(&copy.path().join("member/wal"))[segment], kind, at, len, byte);
        let after = read(copy.path());
        if after.status() == Status::Intact {
            let (after, before) = (contents(&after), contents(&before));
            // The one silent change: the last segment's end cut off, or zeroed, between records.
            let cut = segment == 3 && before.0.starts_with(&after.0);
            prop_assert!(cut || after == before);
        }
        if kind < 2 {
            prop_assert!(is_part(&after, &before));
        }
    }
}
