//! Logs with every state that they went through.

use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_wal::{MARK_IDLE, Options, Wal};

use crate::support::batches::Batches;
use crate::support::model::Model;
use crate::support::sim::{DIR, read_all, segments};

pub(crate) use crate::support::lab::frames;
pub(crate) use crate::support::sim::segment_path as segment;

/// Numbers of the segments in which something was written, ascending.
pub(crate) fn started(disk: &SimVfs) -> Vec<u64> {
    segments(disk).into_iter().filter(|&seq| !frames(disk, seq).is_empty()).collect()
}

/// Every byte of every file but the lock.
pub(crate) fn bytes(disk: &SimVfs) -> Vec<(PathBuf, Vec<u8>)> {
    let files = disk.paths().into_iter().filter(|p| !p.ends_with("LOCK"));
    files.filter_map(|p| Some((p.clone(), disk.read_file(&p)?))).collect()
}

/// A log that nobody has open, and its past.
pub(crate) struct AtRest {
    pub(crate) disk: SimVfs,
    pub(crate) options: Options,
    /// The log after each batch, from the empty one on.
    pub(crate) states: Vec<Model>,
    /// The disk as it was at some time before the end.
    pub(crate) earlier: SimVfs,
}

/// A random log, several processes long, in which a promise covers everything.
pub(crate) fn random(rng: &mut Rng) -> AtRest {
    let size = [16, 20, 24][rng.usize(..3)] << 10;
    let first = [1, 1, 1, 0, 50][rng.usize(..5)];
    let options = Options::new()
        .segment_bytes(size)
        .align([1, 1, 1, 512][rng.usize(..4)])
        .initial_index(first);
    let disk = SimVfs::new(rng.u64(..));
    let mut states = vec![Model::new(first)];
    let mut earlier = disk.fork();
    let mut batches = Batches::new();
    let mut now = Duration::ZERO;
    let eras = rng.usize(1..4);
    for era in 1..=eras {
        let (mut wal, _) = Wal::open(disk.clone(), DIR, &options).expect("a sound log opens");
        for _ in 0..rng.usize(1..30) {
            let mut after = states.last().expect("the first one").clone();
            let batch = batches.random(rng, &after);
            let Ok(ticket) = wal.append(&batch) else { continue };
            after.apply(&batch);
            states.push(after);
            now += Duration::from_millis(1);
            let done = match rng.u8(..20) {
                0..12 => wal.wait(ticket),
                12 => wal.step_publish().map(drop),
                13 => wal.step_index().map(drop),
                14 => wal.step_gc().map(drop),
                15 => wal.step_all(now),
                _ => Ok(()),
            };
            done.expect("nothing fails");
            if rng.u8(..20) == 0 {
                earlier = disk.fork();
            }
        }
        wal.sync().expect("nothing fails");
        if era < eras && rng.bool() {
            continue;
        }
        if rng.bool() {
            wal.close().expect("nothing fails");
            continue;
        }
        for _ in 0..2 {
            now += 2 * MARK_IDLE;
            wal.step_mark(now).expect("nothing fails");
        }
    }
    let disk = disk.power_cut(&mut raft_vfs::sim::KeepAll);
    let (wal, _) = Wal::open(disk.fork(), DIR, &options).expect("a sound log opens");
    let last = states.last().expect("the first one");
    assert_eq!(last.difference(&read_all(&wal).unwrap()), None, "the model is right");
    AtRest { disk, options, states, earlier }
}
