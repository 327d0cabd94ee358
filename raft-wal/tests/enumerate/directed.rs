//! Places that no script reaches: they need a particular crash, or a failure, before them.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use raft_vfs::sim::{Change, Fate, Fault, Op, PendingUnit, Persistence};
use raft_vfs::{DirEntry, SimVfs, Vfs};
use raft_wal::SharedWal;
use raft_wal::format::SegmentHeader;

use super::copy::copy;
use super::judge::{Judge, key_of};
use super::repair::damage_and_repair;
use super::run::{Outcome, Run};
use super::script::{self, Pace};
use crate::support::oracle::Issued;
use crate::support::sim::{DIR, path, segment_path, segments};

/// A way to a place, and the seed of the disk that it is walked on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Directed {
    pub(crate) way: Way,
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The crash of the creation kept IDENT and lost the directory of the segments.
    LostWal,
    /// A half-written index file could not be removed by the open, and is in the way.
    LeftIndex,
    /// Segments so large that their dead tails are cut off, and that the thread which makes them
    /// syncs on the way.
    LargeSegment,
    /// Files that the handle made itself are used again.
    Recycle,
    /// A damaged log is repaired.
    Repair,
    /// One whose segments are gone is.
    RepairNothing,
    /// A log is copied while it is in use.
    Copy,
    /// One whose newest segment is full is.
    CopySealed,
}

impl Way {
    const ALL: [Self; 8] = [
        Self::LostWal,
        Self::LeftIndex,
        Self::LargeSegment,
        Self::Recycle,
        Self::Repair,
        Self::RepairNothing,
        Self::Copy,
        Self::CopySealed,
    ];
}

impl Directed {
    /// Every way, `times` times.
    pub(crate) fn all(times: u64) -> Vec<Self> {
        let of = |way| (0..times).map(move |seed| Self { way, seed });
        Way::ALL.into_iter().flat_map(of).collect()
    }

    pub(crate) fn walk(&self, judge: &mut Judge<'_>) -> Outcome {
        judge.tally.scripts += 1;
        let run = Run::on(SimVfs::new(self.seed));
        match self.way {
            Way::LostWal => lost_wal(judge, run),
            Way::LeftIndex => left_index(judge, run),
            Way::LargeSegment => large_segment(judge, run),
            Way::Recycle => recycle(judge, run),
            Way::Repair => damage_and_repair(judge, run, false),
            Way::RepairNothing => damage_and_repair(judge, run, true),
            Way::Copy => copy(judge, run, false),
            Way::CopySealed => copy(judge, run, true),
        }
    }
}

impl fmt::Display for Directed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the directed test, {:?} on a disk of seed {}", self.way, self.seed)
    }
}

fn lost_wal(judge: &mut Judge<'_>, mut run: Run) -> Outcome {
    run.disk.set_moments(true);
    run.open()?;
    let fate = |_: usize, unit: &PendingUnit| match unit.change {
        Change::CreateDir if unit.path.ends_with("wal") => Fate::Drop,
        _ => Fate::Keep,
    };
    let is_wal = |entry: &DirEntry| entry.name == "wal";
    for point in std::mem::take(&mut run.points) {
        let disk = point.moment.disk.power_cut(&mut { fate });
        let has_ident = disk.read_file(path("IDENT")).is_some();
        if has_ident && disk.list(Path::new(DIR)).is_ok_and(|names| !names.iter().any(is_wal)) {
            judge.recover_twice(&disk, &point.issued, key_of(&point.issued))?;
        }
    }
    Ok(())
}

fn left_index(judge: &mut Judge<'_>, mut run: Run) -> Outcome {
    let is_left = |disk: &SimVfs| {
        disk.paths().iter().any(|path| path.to_string_lossy().ends_with(".idx.tmp"))
    };
    run.open()?;
    run.disk.set_moments(true);
    run.step(script::Op::AppendBig, Pace::Duties)?;
    for point in std::mem::take(&mut run.points) {
        if is_left(&point.moment.disk) {
            // Which of its removals an open begins with is its own affair.
            for n in 1..=3 {
                let mut next = Run::on(point.moment.disk.fork());
                next.issued = Issued::clone(&point.issued);
                next.faulty = true;
                next.disk.fail_op(Op::Remove, n, Fault::Eio, Persistence::Once);
                if next.open()?.is_some() && is_left(&next.disk) {
                    next.disk.set_moments(true);
                    next.step(script::Op::Append1, Pace::Duties)?;
                    next.points.iter().try_for_each(|point| judge.sample(point))?;
                }
            }
        }
    }
    Ok(())
}

fn recycle(judge: &mut Judge<'_>, mut run: Run) -> Outcome {
    run.open()?;
    for _ in 0..3 {
        run.step(script::Op::AppendBig, Pace::Duties)?;
        run.step(script::Op::HardState, Pace::Duties)?;
        run.step(script::Op::Compact, Pace::Duties)?;
    }
    run.disk.set_moments(true);
    run.step(script::Op::AppendBig, Pace::Duties)?;
    let points = std::mem::take(&mut run.points);
    let is_used = |disk: &SimVfs, seq| {
        let bytes = disk.read_file(segment_path(seq)).unwrap_or_default();
        let header = bytes.first_chunk().and_then(|page| SegmentHeader::decode(page).ok());
        header.is_some_and(|h| h.reused)
    };
    let used = segments(&run.disk).into_iter().any(|seq| is_used(&run.disk, seq));
    assert!(used, "no file was used again");
    points.iter().try_for_each(|point| judge.sample(point))
}

fn large_segment(judge: &mut Judge<'_>, mut run: Run) -> Outcome {
    /// Longer than what a dead tail keeps, and than what is zeroed at once.
    const SEGMENT: u64 = 1280 << 10;
    run.options = run.options.segment_bytes(SEGMENT).spare_segments(0);
    run.open()?;
    // The second batch promises the first, which therefore stays where it is.
    run.step(script::Op::Append1, Pace::Synced)?;
    run.step(script::Op::Append1, Pace::Synced)?;
    run.kill();
    run.disk.set_moments(true);
    run.open()?;
    for point in std::mem::take(&mut run.points) {
        if point.moment.op == Op::Truncate {
            judge.sample(&point)?;
        }
    }
    run.disk.set_moments(false);
    run.put_made(|batches, log| Some(batches.append(log, &[SEGMENT as usize / 2])))?;
    run.sync()?;
    run.disk.set_moments(true);
    let before = segments(&run.disk).len();
    let Some(wal) = run.wal.take() else { return Ok(()) };
    // Its thread finds the segment half full, and makes the next one.
    let shared = SharedWal::new(wal).map_err(|e| format!("REFUSED threads: {e}"))?;
    while segments(&run.disk).len() == before {
        if let Some(e) = shared.take_trouble() {
            return Err(format!("REFUSED a duty: {e}"));
        }
        thread::sleep(Duration::from_micros(200));
    }
    drop(shared);
    run.keep_points();
    // What else the thread does depends on the time.
    let mut synced = run.points.iter().filter(|p| p.moment.op == Op::SyncData);
    synced.next().map_or(Ok(()), |point| judge.sample(point))
}
