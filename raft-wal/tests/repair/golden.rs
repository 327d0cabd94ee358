//! The damaged logs that are kept in the repository.

use std::fs;
use std::path::{Path, PathBuf};

use raft_vfs::SimVfs;
use raft_wal::{Error, Options, RepairPlan, plan_repair};

use crate::judge::{crash_everywhere, execute, fail_everywhere, is_planned, plan, read};
use crate::support::sim::{DIR, announce, open};

/// What becomes of a kept log.
enum Fate {
    /// It opens, and there is nothing to repair.
    Sound,
    /// It opens, and IDENT is made whole.
    Mended,
    /// It is cut; whether its vote is certain, and the bounds of the log afterwards.
    Cut(bool, u64, u64),
    /// No repair can help.
    Refused,
}

use Fate::{Cut, Mended, Refused, Sound};

const FATES: [(&str, Fate); 26] = [
    ("batch-bit-flip", Cut(true, 1, 4)),
    ("batch-header-bit-flip", Cut(true, 1, 4)),
    ("batch-zeroed", Cut(true, 1, 1)),
    ("closed-segment-bit-flip", Cut(true, 17, 17)),
    ("closed-segment-cut-short", Cut(true, 17, 21)),
    ("first-batch-bit-flip", Cut(true, 1, 1)),
    ("head-slot-damaged", Mended),
    ("header-page-damaged", Sound),
    ("headers-all-damaged", Cut(false, 1, 1)),
    ("ident-both-copies-damaged", Refused),
    ("ident-missing", Refused),
    ("ident-one-copy-damaged", Mended),
    ("index-file-damaged", Sound),
    ("newest-segment-cut-short", Cut(true, 1, 1)),
    ("older-segment-missing", Cut(true, 17, 17)),
    ("only-segment-missing", Cut(false, 1, 1)),
    ("promise-zeroed", Sound),
    ("record-kind-unknown", Refused),
    ("records-swapped", Cut(true, 1, 4)),
    ("sealed-successor-missing", Cut(false, 17, 25)),
    ("segment-foreign", Refused),
    ("segments-swapped", Refused),
    ("started-segment-missing", Cut(false, 1, 8)),
    ("tail-torn", Sound),
    ("version-unknown", Refused),
    ("vote-torn", Sound),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1-damaged")
}

/// A disk that holds the kept log.
fn disk(name: &str) -> SimVfs {
    let disk = SimVfs::new(7);
    for sub in ["", "wal"] {
        let Ok(entries) = fs::read_dir(root().join(name).join("log").join(sub)) else { continue };
        for e in entries.map(Result::unwrap).filter(|e| e.file_type().unwrap().is_file()) {
            let to = Path::new(DIR).join(sub).join(e.file_name());
            disk.write_file(to, &fs::read(e.path()).unwrap());
        }
    }
    disk
}

fn options() -> Options {
    Options::new().segment_bytes(16 << 10)
}

#[test]
fn every_kept_damaged_log_is_planned_and_repaired_or_refused_for_a_reason() {
    let known: Vec<_> = FATES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut there: Vec<_> = fs::read_dir(root()).unwrap().map(|e| e.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(known, there.iter().map(|n| n.display().to_string()).collect::<Vec<_>>());
    let (mut cut, mut wrong) = (0, Vec::new());
    for (name, fate) in &FATES {
        let disk = disk(name);
        let planned = plan(&disk, &options());
        match fate {
            Sound => {
                let planned = planned.unwrap();
                assert!(!planned.is_needed(), "{name}: {planned}");
                let before = crate::log::bytes(&disk);
                execute(planned).unwrap();
                assert_eq!(crate::log::bytes(&disk), before, "{name}: changed");
            }
            Mended => mend(name, &disk, planned.unwrap()),
            Refused => {
                let error = planned.unwrap_err();
                let opened = open(&disk.fork(), &options()).unwrap_err();
                let kind = std::mem::discriminant::<Error>;
                assert_eq!(kind(&error), kind(&opened), "{name}: {error}");
            }
            Cut(certain, first, next) => {
                cut += 1;
                let planned = planned.unwrap();
                let it = planned.outline().cut.clone().unwrap().kept;
                let found = (it.hard_state_is_certain, it.first_index, it.next_index);
                if found != (*certain, *first, *next) {
                    wrong.push(format!("{name}: {found:?}\n{planned}"));
                }
                execute(planned).unwrap();
                let got = read(&disk, &options()).unwrap();
                assert!(is_planned(&it, &got), "{name}: {got:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    announce(&format!("repair: {} kept logs, {cut} of them cut", FATES.len()));
}

/// IDENT is whole again, and the log is what it was.
fn mend(name: &str, disk: &SimVfs, planned: RepairPlan<SimVfs>) {
    let before = read(disk, &options()).unwrap();
    assert!(planned.outline().mends_identity && planned.outline().cut.is_none(), "{name}");
    let report = planned.execute().unwrap();
    assert_eq!(report.outline.quarantined().count(), 1, "{name}");
    let (wal, report) = open(&disk.fork(), &options()).unwrap();
    assert!(report.notes.iter().all(|n| !n.path.ends_with("IDENT")), "{name}: {report:?}");
    drop(wal);
    assert_eq!(before.difference(&read(disk, &options()).unwrap()), None, "{name}");
    assert!(!plan(disk, &options()).unwrap().is_needed(), "{name}");
}

#[test]
fn a_crash_at_every_call_of_a_repair_leaves_the_damage_as_it_was_or_the_repaired_log() {
    let mut states = 0;
    for (name, fate) in &FATES {
        if matches!(fate, Cut(..) | Mended) {
            let crashed = crash_everywhere(&disk(name), &options(), 6);
            states += crashed.unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }
    announce(&format!("repair: {states} disks left by crashes"));
    assert!(states > 1000);
}

#[test]
fn a_failure_of_every_call_of_a_repair_leaves_the_damage_as_it_was_or_the_repaired_log() {
    let mut calls = 0;
    for (name, fate) in &FATES {
        if matches!(fate, Cut(..) | Mended) {
            let failed = fail_everywhere(&disk(name), &options());
            calls += failed.unwrap_or_else(|why| panic!("{name}: {why}"));
        }
    }
    announce(&format!("repair: {calls} calls failed"));
    assert!(calls > 200);
}

#[test]
fn an_empty_directory_and_a_sound_log_need_no_repair() {
    assert!(matches!(plan_repair(SimVfs::new(1), DIR, &options()), Err(Error::NoLog { .. })));
    let disk = SimVfs::new(1);
    drop(open(&disk, &options()).unwrap());
    assert!(!plan(&disk, &options()).unwrap().is_needed());
}
