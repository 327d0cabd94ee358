//! Tears between two bytes, and what a second crash makes of the pieces.

use std::ops::Range;
use std::path::Path;

use raft_vfs::SimVfs;
use raft_vfs::sim::{Change, Fate, Fault, KeepNothing, Op, PendingUnit, Subset};
use raft_wal::format::{FIRST_FRAME, PAGE};

use crate::support::lab::{Lab, frames, judge, small, state, write};
use crate::support::model::Model;
use crate::support::oracle::Issued;
use crate::support::sim::{path, segment_path};

/// The ways in which `new` may be torn where the disk has `old`: only what is in front of a byte
/// arrived, only what is behind it, or all but it; what did not arrive is old or noise.
fn tears(old: &[u8], new: &[u8]) -> Vec<Vec<u8>> {
    let noise: Vec<u8> = (0..new.len()).map(|i| (i * 151 + 89) as u8).collect();
    let mut torn = Vec::new();
    for at in 0..=new.len() {
        for rest in [old, &noise] {
            torn.push([&new[..at], &rest[at..]].concat());
            torn.push([&rest[..at], &new[at..]].concat());
            if at < new.len() {
                let mut hole = new.to_vec();
                hole[at] = rest[at];
                torn.push(hole);
            }
        }
    }
    torn
}

/// Puts every tear of `range` of a file on a disk that has nothing un-synced, and judges it.
/// `expect` says which state must be there, given whether the bytes arrived whole.
fn judge_tears(lab: &Lab, file: &Path, range: Range<u64>, expect: impl Fn(bool) -> Model) -> usize {
    let bounds = range.start as usize..range.end as usize;
    let new = lab.disk.read_file(file).unwrap()[bounds.clone()].to_vec();
    let base = lab.disk.power_cut(&mut KeepNothing);
    let old = base.read_file(file).unwrap()[bounds].to_vec();
    let all = tears(&old, &new);
    for (n, torn) in all.iter().enumerate() {
        let disk = base.fork();
        write(&disk, file, range.start, torn);
        let (got, _) = judge(&disk, &lab.options, &lab.issued);
        assert_eq!(expect(*torn == new).difference(&got), None, "tear {n}");
        if n % 37 == 0 {
            go_on(&disk, lab, &got);
        }
    }
    all.len()
}

/// A log that was recovered from pieces takes appends, and never sees the pieces again.
fn go_on(disk: &SimVfs, lab: &Lab, got: &Model) {
    let mut next = Lab::on(disk.fork(), lab.options.clone());
    assert_eq!(next.log(), got);
    next.add_synced(1, 50);
    next.add(1, 60);
    next.wal.write_through().unwrap();
    for bits in [0, u64::MAX, 0b0101] {
        judge(&next.disk.power_cut(&mut Subset::new(bits)), &next.options, &next.issued);
    }
}

#[test]
fn a_frame_torn_at_any_byte_is_gone_and_only_a_whole_one_counts() {
    // The last frame lies within a sector, across two, and across a page.
    for (before, len) in [(20, 30), (350, 70), (3700, 40)] {
        let mut lab = Lab::new(small().segment_bytes(64 << 10));
        lab.add_synced(1, before);
        lab.put(&state(1, 2, 1));
        lab.sync();
        lab.add(2, len);
        lab.wal.write_through().unwrap();
        let last = frames(&lab.disk, 1).pop().unwrap();
        let without = lab.issued.states[lab.issued.acked].clone();
        let with = lab.log().clone();
        let expect = |whole| if whole { with.clone() } else { without.clone() };
        let n = judge_tears(&lab, &segment_path(1), last.offset..last.end, expect);
        assert!(n > 600, "{n} tears");
    }
}

#[test]
fn a_whole_frame_behind_a_torn_one_does_not_count_and_is_no_evidence() {
    let mut lab = Lab::new(small());
    lab.add_synced(2, 20);
    lab.add(1, 30);
    lab.add(1, 40);
    lab.wal.write_through().unwrap();
    let all = frames(&lab.disk, 1);
    let [.., torn, whole] = &all[..] else { panic!("at least two frames") };
    let before = lab.issued.states[lab.issued.acked].clone();
    let both = lab.log().clone();
    // The second one arrives in any case.
    let bytes = lab.disk.read_file(segment_path(1)).unwrap();
    let second = bytes[whole.offset as usize..whole.end as usize].to_vec();
    let first = bytes[torn.offset as usize..torn.end as usize].to_vec();
    let base = lab.disk.power_cut(&mut KeepNothing);
    write(&base, segment_path(1), whole.offset, &second);
    for piece in tears(&vec![0; first.len()], &first) {
        let disk = base.fork();
        write(&disk, segment_path(1), torn.offset, &piece);
        let (got, report) = judge(&disk, &lab.options, &lab.issued);
        let expected = if piece == first { &both } else { &before };
        assert_eq!(expected.difference(&got), None);
        assert!(!report.certain);
    }
}

#[test]
fn the_first_frame_of_a_process_torn_at_any_byte_leaves_the_log_of_its_predecessor() {
    let mut lab = Lab::new(small());
    lab.add_synced(3, 100);
    let (disk, _) = lab.close();
    let mut lab = Lab::on(disk, small());
    let before = lab.log().clone();
    lab.add(1, 50);
    lab.wal.write_through().unwrap();
    let with = lab.log().clone();
    let start = frames(&lab.disk, 2).remove(0);
    let expect = |whole| if whole { with.clone() } else { before.clone() };
    judge_tears(&lab, &segment_path(2), start.offset..start.end, expect);
}

#[test]
fn the_first_frame_of_a_rotated_segment_torn_at_any_byte_ends_the_log_at_the_seal() {
    let mut lab = Lab::new(small());
    let (before, with) = loop {
        let before = lab.log().clone();
        lab.add(1, 60);
        lab.wal.write_through().unwrap();
        if !frames(&lab.disk, 2).is_empty() {
            break (before, lab.log().clone());
        }
        lab.sync();
        lab.wal.step_publish().unwrap();
    };
    // The sync of the SEAL acknowledged everything in front of it.
    lab.issued.acked = lab.issued.states.len() - 2;
    let start = frames(&lab.disk, 2).remove(0);
    assert_eq!(start.offset, FIRST_FRAME);
    let expect = |whole| if whole { with.clone() } else { before.clone() };
    judge_tears(&lab, &segment_path(2), start.offset..start.end, expect);
}

#[test]
fn a_mark_torn_at_any_byte_is_ignored_or_raises_a_vote_that_was_issued() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.sync();
    lab.add_synced(1, 30);
    // The frame with the vote and the mark that repeats it are in one flush; the sync fails.
    lab.put(&state(2, 3, 1));
    lab.disk.fail_next(Op::SyncData, Fault::Crash);
    lab.wal.sync().unwrap_err();
    let base = lab.disk.power_cut(&mut KeepNothing);
    let units = lab.disk.pending_units();
    let marks = |offset: u64| (PAGE..FIRST_FRAME).contains(&offset);
    let mut keep = |_: usize, unit: &PendingUnit| match unit.change {
        Change::Write { offset, .. } if marks(offset) => Fate::Keep,
        _ => Fate::Drop,
    };
    let arrived = lab.disk.power_cut(&mut keep);
    assert!(units.len() >= 2);
    let (new, old) = (arrived.read_file(segment_path(1)), base.read_file(segment_path(1)));
    let (new, old) = (new.unwrap(), old.unwrap());
    let mut raised = 0;
    for page in [1, 2] {
        let at = page * PAGE as usize;
        let bounds = at..at + 256;
        if new[bounds.clone()] == old[bounds.clone()] {
            continue;
        }
        for torn in tears(&old[bounds.clone()], &new[bounds]) {
            let disk = base.fork();
            write(&disk, segment_path(1), at as u64, &torn);
            let (got, report) = judge(&disk, &lab.options, &lab.issued);
            raised += usize::from(report.state_raised);
            let expected = if report.state_raised { (2, 3) } else { (1, 1) };
            assert_eq!((got.hard_state.term, got.hard_state.vote), expected);
        }
    }
    assert!(raised > 0, "the whole mark was among them");
}

#[test]
fn a_head_slot_torn_at_any_byte_refuses_nothing() {
    let mut lab = Lab::new(small());
    lab.add_synced(2, 40);
    let mut lab = lab.restart();
    lab.add_synced(2, 40);
    let lab = lab.restart();
    let ident = path("IDENT");
    let new = lab.disk.read_file(&ident).unwrap();
    for slot in [2, 3] {
        let at = slot * PAGE as usize;
        // Only the slot that is not in force is ever being written.
        let other = at ^ PAGE as usize;
        let number = |at: usize| u64::from_le_bytes(new[at..at + 8].try_into().unwrap());
        if number(at) > number(other) {
            continue;
        }
        for torn in tears(&[0; 64], &new[at..at + 64]) {
            let disk = lab.disk.power_cut(&mut KeepNothing);
            write(&disk, &ident, at as u64, &torn);
            judge(&disk, &lab.options, &lab.issued);
        }
    }
}

/// Batch numbers, places and sizes that a first process used are used again by a second one, and
/// every combination of what was left of both is tried.
#[test]
fn numbers_used_twice_never_mix_two_lives() {
    let (mut states, mut revived) = (0, 0);
    let mut lab = Lab::new(small());
    lab.add_synced(1, 20);
    for len in [300, 400, 300] {
        lab.add(1, len);
        lab.wal.write_through().unwrap();
    }
    let units = lab.disk.pending_units().len();
    assert!(units <= 8, "{units} units");
    for bits in 0..1_u64 << units {
        for others in [Fate::Drop, Fate::Zero, Fate::Garbage(bits)] {
            let torn = lab.disk.power_cut(&mut Subset::new(bits).others(others));
            let (got, _) = judge(&torn, &lab.options, &lab.issued);
            let mut second = Lab::on(torn, small());
            revived += usize::from(second.report.carried > 0);
            assert_eq!(second.log(), &got);
            // The same indexes, numbers and sizes; another term, so other bytes.
            second.put(&state(1, 1, 0));
            for len in [300, 400, 300] {
                second.add(1, len);
                second.wal.write_through().unwrap();
            }
            let units = second.disk.pending_units().len().min(12);
            for bits in (0..1_u64 << units).step_by(7) {
                let torn = second.disk.power_cut(&mut Subset::new(bits));
                judge_again(&torn, &second.issued);
                states += 1;
            }
        }
    }
    assert!(states > 200 && revived > 0, "{states} states, {revived} revived");
}

fn judge_again(disk: &SimVfs, issued: &Issued) {
    let (got, _) = judge(disk, &small(), issued);
    let third = Lab::on(disk.fork(), small());
    assert_eq!(third.log(), &got);
    let (again, report) = judge(&third.disk, &small(), &Issued::after(got.clone()));
    assert_eq!((again, report.carried), (got, 0));
}
