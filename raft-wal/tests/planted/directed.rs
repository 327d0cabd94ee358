//! Tests that go one way on purpose, for bugs that chance meets too seldom.

use raft_vfs::sim::{Change, Fate, Fault, KeepAll, KeepNothing, Op, PendingUnit, RandomCrash};
use raft_vfs::{OsVfs, SimVfs};
use raft_wal::error::CorruptKind;
use raft_wal::format::PAGE;
use raft_wal::{Options, Verify, Wal};

use crate::support::lab::{
    Lab, compact, entries, frames, judge, recover, refused, small, state, write,
};
use crate::support::oracle::Issued;
use crate::support::sim::{index_path, open, segment_path, segments};

/// How many of them take no time.
pub(crate) const QUICK: usize = 8;

/// Names and tests. Each panics if it fails.
pub(crate) const ALL: [(&str, fn()); 12] = [
    ("a newest segment lost after a power cut is missed", newest_lost_after_a_power_cut),
    ("dead tails are cut off", dead_tails_are_cut),
    ("what was compacted away goes", segments_go),
    ("a raised vote stays", raised_vote_stays),
    ("a backup outlives a compaction", backup_outlives_a_compaction),
    ("a frame of another history", frame_of_another_history),
    ("a mark of another history", mark_of_another_history),
    ("an index file of another history", index_file_of_another_history),
    ("IDENT names a segment at any time", head_is_never_lost),
    ("a crash at every call of recycling", recycling_is_crashed),
    ("a close with a used file published", a_close_beside_a_used_file_is_clean),
    ("a payload outlives its segment", payload_outlives_its_segment),
];

/// Two batches, the first of them promised, and a process that goes on after it.
fn second_life(options: Options) -> Lab {
    let mut lab = Lab::new(options);
    lab.add_synced(2, 100);
    lab.add_synced(2, 100);
    let mut lab = lab.restart();
    lab.add_synced(2, 100);
    lab
}

fn newest_lost_after_a_power_cut() {
    let lab = second_life(small());
    let disk = lab.disk.power_cut(&mut KeepNothing);
    assert_eq!(segments(&disk), [1, 2]);
    disk.delete(segment_path(2));
    assert_eq!(refused(&disk, &lab.options).kind, CorruptKind::MissingSegment);
}

fn dead_tails_are_cut() {
    const SEGMENT: u64 = 4 << 20;
    let mut lab = second_life(Options::new().segment_bytes(SEGMENT));
    lab.wal.step_gc().unwrap();
    let len = lab.disk.read_file(segment_path(1)).expect("it is live").len() as u64;
    assert!(len < SEGMENT, "{len} bytes");
}

/// The slot of HEAD that the dying second process wrote is lost, and the one that the third is
/// about to write is torn.
fn head_is_never_lost() {
    let mut lab = Lab::new(small());
    lab.add_synced(2, 100);
    lab.add_synced(2, 100);
    let (disk, _) = lab.die();
    let disk = disk.fork();
    for call in 1.. {
        let second = disk.fork();
        second.crash_at_call(call);
        let lived = next_process(&second);
        for again in 1..60 {
            let third = second.fork();
            third.crash_at_call(again);
            let ended = next_process(&third);
            for lost in [2 * PAGE, 3 * PAGE] {
                let cut = third.power_cut(&mut |_: usize, unit: &PendingUnit| match unit.change {
                    Change::Write { offset, .. } if unit.path.ends_with("IDENT") => {
                        if offset / PAGE * PAGE == lost { Fate::Drop } else { Fate::Garbage(1) }
                    }
                    _ => Fate::Keep,
                });
                for seq in segments(&cut) {
                    cut.delete(segment_path(seq));
                }
                let opened = open(&cut, &small());
                assert!(opened.is_err(), "{call} {again}: {:?}", opened.map(|(_, report)| report));
            }
            if ended {
                break;
            }
        }
        if lived {
            assert!(call > 10, "{call} calls");
            break;
        }
    }
}

/// Opens and appends; false if the process dies.
fn next_process(disk: &SimVfs) -> bool {
    let opened = open(disk, &small());
    let lived = opened.and_then(|(mut wal, _)| {
        wal.append(&entries(wal.next_index(), 1, 1, 100))?;
        wal.sync()
    });
    lived.is_ok()
}

/// A vote that only the copy in a mark, and only in the cache, has saved.
fn raised_vote_stays() {
    let mut lab = Lab::new(small());
    lab.add_synced(2, 50);
    lab.put(&state(5, 2, 0));
    lab.disk.fail_next(Op::SyncData, Fault::Crash);
    assert!(lab.wal.sync().is_err());
    let mut raised = 0;
    for seed in 0..600 {
        let disk = lab.disk.kill(seed);
        let (wal, report) = open(&disk, &lab.options).unwrap();
        if report.state_raised {
            raised += 1;
            let served = wal.hard_state();
            let (got, _) = recover(&disk.power_cut(&mut KeepNothing), &lab.options);
            assert_eq!(got.hard_state, served, "seed {seed}");
        }
    }
    assert!(raised > 0);
}

fn backup_outlives_a_compaction() {
    let mut lab = three_segments();
    let backup = lab.wal.backup().unwrap();
    lab.put(&compact(lab.log().hard_state.commit));
    lab.wal.step_gc().unwrap();
    for _ in 0..30 {
        lab.add_synced(1, 700);
    }
    backup.copy_to(&SimVfs::new(3), "/copy").unwrap();
}

/// On real files: a simulated map is a copy.
fn payload_outlives_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (mut wal, _) = Wal::open(OsVfs, dir.path(), &small()).unwrap();
    let put = |wal: &mut Wal<OsVfs>| {
        wal.append(&entries(wal.next_index(), 1, 1, 700)).unwrap();
        wal.write_through().unwrap();
    };
    (0..40).for_each(|_| put(&mut wal));
    wal.sync().unwrap();
    while wal.step_index().unwrap() {}
    let held = wal.entry(1).unwrap();
    let copy = held.data.to_vec();
    wal.compact_to(38).unwrap();
    (0..60).for_each(|_| put(&mut wal));
    assert!(held.data == copy, "somebody wrote over a payload that is in use");
}

/// Two histories with the same salt that part after two entries: disks of one seed.
fn twins() -> (Lab, Lab) {
    let lab = || {
        let mut lab = Lab::new(small());
        lab.add_synced(2, 60);
        lab
    };
    (lab(), lab())
}

fn frame_of_another_history() {
    let (mut a, mut b) = twins();
    a.add_synced(1, 50);
    a.add_synced(1, 70);
    b.put(&entries(3, 1, 2, 50));
    b.sync();
    let last = frames(&a.disk, 1).pop().expect("three batches");
    assert_eq!(frames(&b.disk, 1).last().map(|f| f.end), Some(last.offset));
    let bytes = a.disk.read_file(segment_path(1)).unwrap();
    let stale = &bytes[last.offset as usize..last.end as usize];
    write(&b.disk, segment_path(1), last.offset, stale);
    let (disk, issued) = b.die();
    judge(&disk.fork(), &small(), &issued);
}

fn mark_of_another_history() {
    let (mut a, mut b) = twins();
    a.put(&state(5, 2, 0));
    a.sync();
    b.add_synced(1, 400);
    let bytes = a.disk.read_file(segment_path(1)).unwrap();
    write(&b.disk, segment_path(1), PAGE, &bytes[PAGE as usize..3 * PAGE as usize]);
    let (disk, _) = b.die();
    assert_eq!(refused(&disk.fork(), &small()).kind, CorruptKind::State);
}

fn index_file_of_another_history() {
    let (mut a, mut b) = twins();
    b.add(1, 300);
    for lab in [&mut a, &mut b] {
        lab.rotate();
        lab.sync();
        while lab.wal.step_index().unwrap() {}
    }
    let other = a.disk.read_file(index_path(1)).unwrap();
    let (disk, issued) = b.die();
    let disk = disk.fork();
    disk.write_file(index_path(1), &other);
    judge(&disk, &small().verify(Verify::Tail), &Issued::after(issued.last().clone()));
}

/// Three segments; the entries of the first are committed.
fn three_segments() -> Lab {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    let committed = lab.log().next() - 1;
    lab.rotate();
    lab.put(&state(1, 1, committed));
    lab.sync();
    lab
}

fn segments_go() {
    let mut lab = three_segments();
    let committed = lab.log().hard_state.commit;
    lab.put(&compact(committed));
    lab.wal.step_gc().unwrap();
    assert!(!segments(&lab.disk).contains(&1), "{:?}", segments(&lab.disk));
}

/// Names fall back to what they were; bytes arrive.
fn old_names(_: usize, unit: &PendingUnit) -> Fate {
    match unit.change {
        Change::Write { .. } | Change::Size { .. } => Fate::Keep,
        _ => Fate::Drop,
    }
}

fn recycling_is_crashed() {
    for call in 1.. {
        let mut lab = three_segments();
        let committed = lab.log().hard_state.commit;
        lab.put(&compact(committed));
        lab.sync();
        lab.disk.crash_at_call(call);
        let lived = recycle(&mut lab);
        let (disk, issued) = (&lab.disk, &lab.issued);
        judge(&disk.power_cut(&mut KeepNothing), &lab.options, issued);
        judge(&disk.power_cut(&mut KeepAll), &lab.options, issued);
        judge(&disk.power_cut(&mut old_names), &lab.options, issued);
        for seed in 0..4 {
            judge(&disk.power_cut(&mut RandomCrash::new(seed)), &lab.options, issued);
            judge(&disk.kill(seed), &lab.options, issued);
        }
        for lost in 0..disk.pending_units().len() {
            let fate = |n: usize| if n == lost { Fate::Drop } else { Fate::Keep };
            let cut = disk.power_cut(&mut |n: usize, _: &PendingUnit| fate(n));
            judge(&cut, &lab.options, issued);
            go_on(Lab::on(cut, small()));
        }
        if lived {
            assert!(call > 20, "{call} calls");
            break;
        }
    }
}

/// The next segment is published in a file that this process used before; nothing is in it yet.
fn a_close_beside_a_used_file_is_clean() {
    let mut lab = three_segments();
    let committed = lab.log().hard_state.commit;
    lab.put(&compact(committed));
    lab.wal.step_gc().unwrap();
    while !lab.wal.step_publish().unwrap() {
        lab.add_synced(1, 300);
    }
    let Lab { wal, disk, options, .. } = lab;
    wal.close().unwrap();
    let (_, report) = open(&disk, &options).unwrap();
    assert!(report.certain && report.discarded.is_none(), "{report}");
}

/// A life in which files are used again, several of them.
fn go_on(mut lab: Lab) {
    for round in 0..4 {
        let committed = lab.log().next() - 1;
        lab.put(&state(2 + round, 1, committed));
        lab.put(&compact(committed));
        lab.wal.step_gc().unwrap();
        for _ in 0..8 {
            lab.add_synced(1, 700);
        }
    }
    judge(&lab.disk.fork(), &lab.options, &lab.issued);
}

/// Removes, and begins two more segments; false if the process dies.
fn recycle(lab: &mut Lab) -> bool {
    if lab.wal.step_gc().is_err() {
        return false;
    }
    for _ in 0..12 {
        let batch = entries(lab.log().next(), 1, 1, 700);
        let mut after = lab.log().clone();
        after.apply(&batch);
        lab.issued.states.push(after);
        if lab.wal.append(&batch).is_err() || lab.wal.sync().is_err() {
            return false;
        }
        lab.issued.acked = lab.issued.states.len() - 1;
    }
    true
}
