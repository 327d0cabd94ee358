//! A pass goes on whatever the log does between its steps, and harms nothing.

use fastrand::Rng;
use raft_vfs::sim::{Fault, Op, Persistence};
use raft_wal::error::CorruptKind;
use raft_wal::{Error, Finding};

use crate::support::batches::Batches;
use crate::support::lab::{Lab, compact, flip, frames, small, state};
use crate::support::sim::{announce, read_all, segment_path, segments};

/// A log of a few segments, open.
fn several() -> Lab {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    for _ in 0..3 {
        lab.rotate();
    }
    lab.sync();
    lab
}

#[test]
fn nothing_that_a_log_does_between_two_steps_is_called_damage() {
    let (mut passes, mut steps) = (0, 0);
    for seed in 0..120 {
        let mut rng = Rng::with_seed(seed);
        let mut batches = Batches::new();
        let mut lab = Lab::new(small());
        for _ in 0..rng.usize(20..120) {
            let batch = batches.random(&mut rng, lab.log());
            lab.put(&batch);
            match rng.u8(..40) {
                0..6 => lab.sync(),
                6 => lab = lab.restart(),
                7 => lab.wal.step_index().map(drop).unwrap(),
                8 => lab.wal.step_gc().map(drop).unwrap(),
                9 => lab.wal.step_publish().map(drop).unwrap(),
                10 => lab.wal.write_through().unwrap(),
                _ => {}
            }
            if rng.bool() {
                let step = lab.wal.step_scrub(rng.u64(..9000)).unwrap();
                assert!(step.found.is_empty(), "seed {seed}: {:?}", step.found);
                passes += u64::from(step.pass_done);
                steps += 1;
            }
        }
        assert!(!lab.wal.scrub_status().is_damaged());
        assert_eq!(lab.log().difference(&read_all(&lab.wal).unwrap()), None);
    }
    announce(&format!("scrub: {steps} steps between batches, {passes} passes"));
    assert!(passes > 300 && steps > 2000);
}

#[test]
fn a_pass_ends_though_the_log_grows_faster_than_it_reads() {
    let mut lab = several();
    for _ in 0..200 {
        lab.add_synced(1, 700);
        lab.add_synced(1, 700);
        if lab.wal.step_scrub(1).unwrap().pass_done {
            return;
        }
    }
    panic!("no end: {:?}", lab.wal.scrub_status());
}

#[test]
fn damage_does_not_poison_and_is_told_once_and_kept() {
    let mut lab = several();
    let seq = segments(&lab.disk)[1];
    let hurt = frames(&lab.disk, seq).into_iter().find(|f| !f.offsets.is_empty()).unwrap();
    let index = hurt.header.first_index;
    flip(&lab.disk, segment_path(seq), hurt.end - 20);
    let step = lab.wal.step_scrub(u64::MAX).unwrap();
    let [Finding::Damage(c)] = &step.found[..] else { panic!("{:?}", step.found) };
    assert_eq!((c.kind, &c.path, c.offset), (CorruptKind::Batch, &segment_path(seq), hurt.offset));
    assert_eq!(c.lost.unwrap().first, index);
    assert_eq!(step.pass, 1);
    // Everything else goes on.
    lab.add_synced(2, 100);
    assert_eq!(lab.wal.poisoned(), None);
    assert!(matches!(lab.wal.entry(index), Err(Error::Corrupt(_))));
    let next = lab.wal.next_index();
    lab.wal.entries(index + 3, next, u64::MAX).unwrap();
    let step = lab.wal.step_scrub(u64::MAX).unwrap();
    assert_eq!((step.pass, step.found.len()), (2, 0), "told once");
    let status = lab.wal.scrub_status();
    assert_eq!((status.passes, status.findings.len()), (2, 1));
    assert!(status.is_damaged() && status.bytes > 0);
    // It is no news any more once the file is gone.
    lab.put(&compact(next - 1));
    lab.sync();
    assert!(lab.wal.step_gc().unwrap() > 0);
    lab.wal.step_scrub(u64::MAX).unwrap();
    assert!(!lab.wal.scrub_status().is_damaged(), "{:?}", lab.wal.scrub_status());
}

#[test]
fn a_live_segment_that_is_gone_or_cut_short_is_found() {
    let lab = several();
    let seq = segments(&lab.disk)[1];
    let (disk, _) = lab.close();
    for harm in 0..3 {
        let disk = disk.fork();
        let mut lab = Lab::on(disk.clone(), small());
        let end = frames(&disk, seq).last().unwrap().end;
        let (kind, offset) = match harm {
            0 => {
                disk.delete(segment_path(seq));
                (CorruptKind::MissingSegment, 0)
            }
            1 => {
                disk.mutate(segment_path(seq), |bytes| bytes.truncate(end as usize - 8));
                (CorruptKind::Length, end - 8)
            }
            _ => {
                disk.mutate(segment_path(seq), |bytes| bytes[..3 * 4096].fill(0));
                (CorruptKind::Header, 0)
            }
        };
        let step = lab.wal.step_scrub(u64::MAX).unwrap();
        let is_it = |f: &Finding| match f {
            Finding::Damage(c) => (c.kind, &c.path, c.offset) == (kind, &segment_path(seq), offset),
            _ => false,
        };
        assert!(step.found.iter().any(is_it), "{:?}", step.found);
    }
}

#[test]
fn what_cannot_be_read_is_a_finding_and_the_rest_is_read() {
    let mut lab = several();
    lab.disk.set_trace(true);
    lab.wal.step_scrub(u64::MAX).unwrap();
    let reads = lab.disk.take_trace().iter().filter(|call| call.op == Op::Read).count();
    let mut unreadable = 0;
    for n in 1..=reads as u64 {
        let mut lab = several();
        lab.disk.fail_op(Op::Read, n, Fault::Eio, Persistence::Once);
        let step = lab.wal.step_scrub(u64::MAX).unwrap();
        assert!(step.pass_done);
        let is_it = |f: &Finding| matches!(f, Finding::Unreadable { .. }) && f.is_damage();
        assert!(step.found.iter().all(is_it), "{:?}", step.found);
        unreadable += step.found.len();
        assert_eq!(lab.wal.poisoned(), None);
        assert!(lab.wal.step_scrub(u64::MAX).unwrap().found.is_empty());
    }
    announce(&format!("scrub: {unreadable} of {reads} failed reads were found"));
    // A page that may have been written meanwhile is looked at again: once is no finding there.
    assert!(reads >= 8 && unreadable + 3 >= reads);
    // Without descriptors it is nobody's fault: the step is made again.
    lab.disk.fail_next(Op::Open, Fault::Emfile);
    assert!(matches!(lab.wal.step_scrub(u64::MAX), Err(Error::Io { .. })));
    assert!(lab.wal.step_scrub(u64::MAX).unwrap().pass_done);
}

#[test]
fn a_scrub_writes_nothing() {
    let mut lab = several();
    let before = (lab.disk.fingerprint(), lab.disk.pending_units());
    lab.disk.set_trace(true);
    lab.wal.step_scrub(u64::MAX).unwrap();
    let reads = [Op::Open, Op::Read, Op::Stat];
    let calls = lab.disk.take_trace();
    assert!(calls.len() > 10 && calls.iter().all(|c| reads.contains(&c.op)), "{calls:?}");
    assert_eq!((lab.disk.fingerprint(), lab.disk.pending_units()), before);
}
