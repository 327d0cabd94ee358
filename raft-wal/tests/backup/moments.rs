//! What is in a copy, and what keeps it from being made.

use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_wal::error::CorruptKind;
use raft_wal::{Backup, Error, Options, RecoveryReport, Status, Tail, Ticket, Wal, verify};

use crate::support::batches::Batches;
use crate::support::lab::{Lab, compact, flip, frames, small, state};
use crate::support::model::Model;
use crate::support::sim::{DIR, announce, path, read_all, segment_path, segments};

/// Where copies go.
pub(crate) const TO: &str = "/backup/monday/log";

fn existing() -> Options {
    small().create(false)
}

/// Opens the log in [`TO`] and reads all of it.
pub(crate) fn restored(disk: &SimVfs) -> (Model, RecoveryReport) {
    let seen = verify(disk.clone(), TO, &existing()).unwrap();
    assert_eq!((seen.status, seen.report.unwrap().notes.len()), (Status::Intact, 0));
    let (wal, report) = Wal::open(disk.clone(), TO, &existing()).unwrap();
    (read_all(&wal).unwrap(), report)
}

fn copy(backup: &Backup<SimVfs>) -> SimVfs {
    let disk = SimVfs::new(5);
    backup.copy_to(&disk, TO).unwrap();
    disk
}

#[test]
fn a_copy_is_the_log_as_it_was_durable_at_any_moment() {
    let (mut copies, mut behind, mut sealed) = (0, 0, 0);
    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        let mut batches = Batches::new();
        let mut lab = Lab::new(small());
        let mut tickets: Vec<Ticket> = Vec::new();
        let mut held = Vec::new();
        for _ in 0..rng.usize(10..80) {
            let batch = batches.random(&mut rng, lab.log());
            tickets.push(lab.put(&batch));
            match rng.u8(..40) {
                0..6 => lab.sync(),
                6 => {
                    held.clear();
                    lab = lab.restart();
                    tickets.clear();
                }
                7 => lab.wal.step_index().map(drop).unwrap(),
                8 => lab.wal.step_gc().map(drop).unwrap(),
                9 => lab.wal.step_publish().map(drop).unwrap(),
                10 => lab.wal.write_through().unwrap(),
                _ => {}
            }
            if rng.u8(..10) == 0 {
                let durable = tickets.iter().filter(|&&t| lab.wal.is_durable(t)).count();
                behind += u64::from(durable < tickets.len());
                held.push((lab.wal.backup().unwrap(), lab.issued.states[durable].clone()));
            }
            if rng.u8(..10) == 0 && !held.is_empty() {
                let (backup, model) = held.swap_remove(rng.usize(..held.len()));
                let disk = copy(&backup);
                let (got, report) = restored(&disk);
                assert_eq!(model.difference(&got), None, "seed {seed}");
                assert_eq!((report.carried, report.notes.len()), (0, 0), "seed {seed}: {report}");
                assert!(report.discarded.is_none());
                let empty = backup.durable().batch_seq == 0;
                let usual = if empty { Tail::Empty } else { Tail::Clean };
                assert_eq!((report.tail, report.certain), (usual, true), "seed {seed}: {report}");
                // It goes on as any other log.
                let mut wal = Wal::open(disk, TO, &existing()).unwrap().0;
                sealed += u64::from(wal.durable().batch_seq < backup.durable().batch_seq);
                wal.append(&state(1_000_000, 1, got.hard_state.commit)).unwrap();
                wal.close().unwrap();
                copies += 1;
            }
        }
        drop(held);
        assert_eq!(lab.log().difference(&read_all(&lab.wal).unwrap()), None);
    }
    announce(&format!("backup: {copies} copies, {behind} behind the log, {sealed} closed ones"));
    assert!(copies > 300 && behind > 100 && sealed > 5);
}

#[test]
fn a_log_that_never_held_anything_durable_is_copied_as_an_empty_one() {
    let mut lab = Lab::new(small());
    let before = lab.wal.backup().unwrap();
    lab.add(2, 100);
    let after = lab.wal.backup().unwrap();
    for backup in [before, after] {
        assert_eq!(backup.durable().batch_seq, 0);
        let (got, report) = restored(&copy(&backup));
        assert_eq!(got.entries.len(), 0);
        assert!(report.certain && !report.created);
    }
}

#[test]
fn what_is_held_stays_until_it_is_let_go_and_is_removed_then() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    for _ in 0..4 {
        lab.rotate();
    }
    lab.sync();
    let model = lab.log().clone();
    let held = segments(&lab.disk);
    let backup = lab.wal.backup().unwrap();
    for _ in 0..3 {
        let next = lab.log().next();
        lab.put(&compact(next - 1));
        lab.wal.step_gc().unwrap();
        lab.rotate();
    }
    let there = segments(&lab.disk);
    assert!(held.iter().all(|seq| there.contains(seq)), "{held:?} of {there:?}");
    assert_eq!(model.difference(&restored(&copy(&backup)).0), None);
    drop(backup);
    lab.wal.step_gc().unwrap();
    let there = segments(&lab.disk);
    assert!(!held.iter().any(|seq| there.contains(seq)), "{held:?} of {there:?}");
}

#[test]
fn a_destination_that_holds_anything_is_refused_and_left_alone() {
    let mut lab = Lab::new(small());
    lab.add_synced(3, 100);
    let backup = lab.wal.backup().unwrap();
    for name in ["IDENT", "LOCK", "wal/x", "notes.txt"] {
        let disk = SimVfs::new(5);
        disk.write_file(format!("{TO}/{name}"), b"mine");
        let before = disk.fingerprint();
        let error = backup.copy_to(&disk, TO).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert_eq!(disk.fingerprint(), before);
    }
    // The log itself, too.
    assert!(matches!(backup.copy_to(&lab.disk, DIR), Err(Error::Foreign { .. })));
    // An empty directory is welcome.
    let disk = copy(&backup);
    disk.delete(format!("{TO}/IDENT"));
    disk.delete(format!("{TO}/LOCK"));
    disk.delete(format!("{TO}/wal"));
    let report = backup.copy_to(&disk, TO).unwrap();
    assert_eq!(report.segments, 1);
    assert!(report.bytes > 300 && report.durable == backup.durable());
    assert_eq!(restored(&disk).0.entries.len(), 3);
}

#[test]
fn a_damaged_source_is_an_error_that_names_it_and_no_copy() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    lab.rotate();
    lab.add_synced(2, 100);
    let (closed, _) = lab.close();
    let mut refused = 0;
    for seq in segments(&closed) {
        for f in frames(&closed, seq) {
            for at in (f.offset..f.end).step_by(29) {
                let disk = closed.fork();
                let options = small().verify(raft_wal::Verify::Tail);
                let wal = Wal::open(disk.clone(), DIR, &options).unwrap().0;
                let backup = wal.backup().unwrap();
                flip(&disk, segment_path(seq), at);
                let to = SimVfs::new(5);
                match backup.copy_to(&to, TO) {
                    Err(Error::Corrupt(c)) => {
                        assert_eq!((&c.path, c.offset), (&segment_path(seq), f.offset), "{c}");
                    }
                    other => panic!("bit in byte {at} of segment {seq}: {other:?}"),
                }
                let opened = Wal::open(to, TO, &small());
                assert!(matches!(opened.map(drop), Err(Error::Foreign { .. })));
                refused += 1;
            }
        }
    }
    announce(&format!("backup: {refused} damaged sources refused"));
    assert!(refused > 200);
    // A header that is gone, a file that is gone.
    let lab = Lab::on(closed, small());
    let seq = segments(&lab.disk)[0];
    let backup = lab.wal.backup().unwrap();
    lab.disk.mutate(segment_path(seq), |bytes| bytes[..3 * 4096].fill(0));
    let error = backup.copy_to(&SimVfs::new(5), TO).unwrap_err();
    let is_it = matches!(&error, Error::Corrupt(c)
        if c.kind == CorruptKind::Header && c.path == segment_path(seq));
    assert!(is_it, "{error}");
    lab.disk.delete(segment_path(seq));
    assert!(matches!(backup.copy_to(&SimVfs::new(5), TO), Err(Error::Io { .. })));
}

#[test]
fn a_log_that_failed_or_waits_for_space_gives_no_backup() {
    let mut lab = Lab::new(small());
    lab.add_synced(2, 100);
    lab.add(1, 100);
    lab.disk.fail_next(raft_vfs::sim::Op::SyncData, raft_vfs::sim::Fault::Eio);
    assert!(lab.wal.sync().is_err());
    assert!(matches!(lab.wal.backup(), Err(Error::Poisoned { .. })));
    let (disk, _) = lab.die();
    let used: usize = disk.paths().iter().map(|p| disk.read_file(p).unwrap().len()).sum();
    disk.set_space(Some(used as u64));
    let (wal, report) = Wal::open(disk, DIR, &small()).unwrap();
    assert!(!report.recovered_durable);
    assert!(matches!(wal.backup(), Err(Error::Busy { .. })));
}

#[test]
fn a_copy_that_loses_its_newest_segment_is_refused() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    lab.rotate();
    lab.add_synced(2, 100);
    let disk = copy(&lab.wal.backup().unwrap());
    let newest = *segments(&lab.disk).iter().rfind(|&&n| !frames(&lab.disk, n).is_empty()).unwrap();
    let name = segment_path(newest);
    let name = name.strip_prefix(path("")).unwrap();
    disk.delete(std::path::Path::new(TO).join(name));
    match Wal::open(disk, TO, &existing()).map(drop) {
        Err(Error::Corrupt(c)) => assert_eq!(c.kind, CorruptKind::MissingSegment),
        other => panic!("{other:?}"),
    }
}
