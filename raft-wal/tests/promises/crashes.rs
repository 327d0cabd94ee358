//! P1 to P8: what a crash may take, and what it may not.

use std::time::Duration;

use raft_vfs::SimVfs;
use raft_vfs::sim::{
    Fate, Fault, FsyncFailure, KeepAll, KeepNothing, Op, Persistence, RandomCrash, Subset,
};
use raft_wal::{Batch, Error, Options, Reset, SnapshotMark, Verify, Wal};

use crate::support::lab::{
    Lab, blob, compact, entries, frames, judge, recover, refused, small, state, truncate,
};
use crate::support::model::Model;
use crate::support::oracle::Issued;
use crate::support::sim::{index_path, indexes, open, read_all, segment_path, segments};

/// A process that may die at any call.
struct Mortal {
    wal: Wal<SimVfs>,
    issued: Issued,
}

impl Mortal {
    fn open(disk: &SimVfs, issued: &mut Issued) -> Result<Self, Error> {
        let (wal, _) = open(disk, &small())?;
        let got = read_all(&wal)?;
        issued.legal(&got).unwrap();
        *issued = Issued::after(got);
        Ok(Self { wal, issued: issued.clone() })
    }

    fn put(&mut self, batch: &Batch) -> Result<(), Error> {
        let mut after = self.issued.last().clone();
        after.apply(batch);
        self.issued.states.push(after);
        self.wal.append(batch).map(drop)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.wal.sync()?;
        self.issued.acked = self.issued.states.len() - 1;
        Ok(())
    }

    fn add(&mut self, count: u64, len: usize) -> Result<(), Error> {
        let next = self.issued.last().next();
        self.put(&entries(next, count, 3, len))
    }
}

/// Every kind of operation once; two lives.
fn life(disk: &SimVfs, issued: &mut Issued) -> Result<(), Error> {
    let mut log = Mortal::open(disk, issued)?;
    let lived = first_life(&mut log);
    *issued = log.issued;
    lived?;
    log.wal.close()?;
    issued.acked = issued.states.len() - 1;
    let mut log = Mortal::open(disk, issued)?;
    let lived = second_life(&mut log);
    *issued = log.issued;
    lived
}

fn first_life(log: &mut Mortal) -> Result<(), Error> {
    log.put(&state(3, 1, 0))?;
    log.add(2, 300)?;
    log.sync()?;
    log.add(1, 200)?;
    log.wal.write_through()?;
    log.put(&blob("key", b"value"))?;
    log.sync()?;
    log.add(2, 1200)?;
    log.wal.step_publish()?;
    log.add(1, 900)?;
    log.sync()?;
    log.put(&truncate(5))?;
    log.put(&Batch { hard_state: state(4, 2, 4).hard_state, ..entries(5, 1, 4, 100) })?;
    log.wal.step_mark(Duration::ZERO)?;
    log.wal.step_mark(Duration::from_secs(1))?;
    log.put(&compact(4))?;
    log.wal.step_gc()?;
    log.sync()?;
    log.put(&entries(6, 1, 4, 3000))?;
    log.wal.step_index()?;
    let reset = Some(Reset { first_index: 20, base_term: Some(4) });
    log.put(&Batch { reset, ..state(4, 2, 19) })?;
    log.sync()?;
    log.wal.step_gc()?;
    log.put(&entries(20, 2, 5, 50))
}

fn second_life(log: &mut Mortal) -> Result<(), Error> {
    log.put(&entries(21, 2, 6, 80))?;
    log.sync()?;
    log.put(&entries(23, 1, 6, 80))
}

/// Chooses all subsets of a few pending units; of many, the telling ones.
fn subsets(units: usize) -> Vec<u64> {
    if units <= 7 {
        return (0..1 << units).collect();
    }
    let low = |n: usize| if n >= 64 { u64::MAX } else { (1 << n) - 1 };
    let all = low(units);
    let prefixes = (0..=units).map(low);
    let suffixes = (0..units).map(|n| all & !low(n));
    let singles = (0..units.min(64)).flat_map(|n| [1 << n, all & !(1 << n)]);
    prefixes.chain(suffixes).chain(singles).collect()
}

#[test]
fn p01_p03_a_crash_at_every_call_leaves_an_issued_state_with_all_that_was_acknowledged() {
    let mut states = 0;
    for call in 1.. {
        let disk = SimVfs::new(5);
        disk.crash_at_call(call);
        let mut issued = Issued::after(Model::new(1));
        let lived = life(&disk, &mut issued);
        for bits in subsets(disk.pending_units().len()) {
            for others in [Fate::Drop, Fate::Garbage(bits)] {
                judge(&disk.power_cut(&mut Subset::new(bits).others(others)), &small(), &issued);
                states += 1;
            }
        }
        for seed in 0..3 {
            judge(&disk.kill(seed), &small(), &issued);
            judge(&disk.power_cut(&mut RandomCrash::new(seed)), &small(), &issued);
            states += 2;
        }
        if lived.is_ok() {
            assert!(call > 150, "{call} calls");
            break;
        }
        assert!(disk.crashed(), "call {call}: {lived:?}");
    }
    assert!(states > 8_000, "{states} states");
}

#[test]
fn p02_of_a_batch_with_everything_in_it_all_or_nothing_survives() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.add_synced(4, 60);
    let before = lab.log().clone();
    let snapshot = SnapshotMark { index: 3, term: 1, file_len: 9, ..SnapshotMark::default() };
    lab.put(&Batch {
        truncate: Some(4),
        snapshot: Some(snapshot),
        compact: Some(3),
        metadata: Some(vec![5; 400].into()),
        blobs: blob("key", &[6; 300]).blobs,
        hard_state: state(2, 2, 3).hard_state,
        ..entries(4, 3, 2, 150)
    });
    lab.wal.write_through().unwrap();
    let after = lab.log().clone();
    let units = lab.disk.pending_units().len();
    assert!((3..=7).contains(&units), "{units} units");
    let (mut none, mut all) = (0, 0);
    for bits in 0..1_u64 << units {
        for others in [Fate::Drop, Fate::Zero, Fate::Garbage(7), Fate::Torn(300), Fate::Stale(0)] {
            let disk = lab.disk.power_cut(&mut Subset::new(bits).others(others));
            let (got, _) = recover(&disk, &small());
            none += usize::from(got == before);
            all += usize::from(got == after);
            assert!(got == before || got == after, "{got:?}");
        }
    }
    assert!(none > 0 && all > 0);
}

#[test]
fn p04_recovery_may_die_at_every_call_twice_in_a_row_and_ends_in_the_same_state() {
    let mut lab = Lab::new(small());
    lab.put(&state(2, 1, 0));
    lab.rotate();
    lab.add_synced(1, 100);
    lab.add(2, 400);
    lab.put(&truncate(lab.log().next() - 1));
    lab.wal.write_through().unwrap();
    let (disk, issued) = lab.die();
    let mut interrupted = 0;
    for first in 1.. {
        let once = disk.fork();
        once.crash_at_call(first);
        let survived = open(&once, &small()).is_ok() && !once.crashed();
        for choice in 0..4 {
            let after = crash(&once, choice);
            let (got, _) = judge(&after, &small(), &issued);
            // Die again, at a call of the second recovery, and open for good.
            after.crash_at_call(1 + first * 7 % 40);
            let _ = open(&after, &small());
            let again = after.power_cut(&mut KeepNothing);
            let (second, _) = judge(&again, &small(), &issued);
            if choice == 0 {
                assert_eq!(got.difference(&second), None, "nothing more could get lost");
            }
            interrupted += 1;
        }
        if survived {
            break;
        }
    }
    assert!(interrupted > 100, "{interrupted}");
}

fn crash(disk: &SimVfs, choice: u64) -> SimVfs {
    match choice {
        0 => disk.power_cut(&mut KeepNothing),
        1 => disk.power_cut(&mut KeepAll),
        2 => disk.kill(choice),
        _ => disk.power_cut(&mut RandomCrash::new(choice)),
    }
}

/// What a first life wrote behind the cut that a second one made is whole on the disk, with right
/// checksums and numbers; it stays dead.
#[test]
fn p05_whole_frames_behind_a_cut_stay_dead() {
    let mut lab = Lab::new(small());
    lab.add_synced(1, 50);
    lab.add_synced(1, 50);
    for _ in 0..3 {
        lab.add(1, 600);
        lab.wal.write_through().unwrap();
    }
    let dead = lab.log().clone();
    // The first of the three is lost, the others are whole.
    let units = lab.disk.pending_units().len();
    let torn = lab.disk.power_cut(&mut Subset::new(!0b11 & ((1 << units) - 1)));
    let mut second = Lab::on(torn, small());
    assert_eq!(second.log().next(), 3);
    second.put(&entries(3, 1, 1, 600));
    second.sync();
    for seed in 0..50 {
        let disk = second.disk.power_cut(&mut RandomCrash::new(seed));
        let (got, _) = judge(&disk, &small(), &second.issued);
        assert_eq!(got.next(), 4);
        assert_ne!(got.entry(3), dead.entry(3));
    }
}

#[test]
fn p05_an_overwritten_suffix_stays_away_when_the_segment_that_overwrote_it_is_lost() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    let second = lab.rotate();
    // An era later, the end of the log is overwritten.
    let mut lab = lab.restart();
    let next = lab.log().next();
    lab.put(&entries(next - 2, 1, 2, 40));
    lab.sync();
    let third = segments(&lab.disk).pop().unwrap();
    assert!(third > second);
    let lost = lab.disk.fork();
    lost.delete(segment_path(third));
    assert_eq!(refused(&lost, &small()).path, segment_path(third), "HEAD vouches for it");
    // By rotation: the predecessor's SEAL vouches for it.
    let mut lab = Lab::on(lab.disk.power_cut(&mut KeepNothing), small());
    lab.rotate();
    lab.put(&truncate(lab.log().next() - 1));
    lab.sync();
    let newest = segments(&lab.disk).pop().unwrap();
    let lost = lab.disk.fork();
    lost.delete(segment_path(newest));
    assert_eq!(refused(&lost, &small()).path, segment_path(newest));
}

#[test]
fn p06_the_log_is_there_after_its_first_sync_however_its_creation_was_interrupted() {
    for call in 1..60 {
        for fault in [Fault::Crash, Fault::Eio] {
            let disk = SimVfs::new(3);
            disk.fail_call(call, fault, Persistence::Once);
            let _ = open(&disk, &small());
            // The cache survives: directories are there that may never have reached the disk.
            let disk = disk.kill(call);
            let mut lab = Lab::on(disk, small());
            lab.add_synced(1, 40);
            let (got, _) =
                judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued.clone());
            assert_eq!(got.next(), 2, "{fault:?} in call {call}");
        }
    }
}

#[test]
fn p06_no_segment_is_written_before_its_name_and_header_are_durable() {
    let mut lab = Lab::new(small());
    for _ in 0..3 {
        lab.rotate();
        lab.add(1, 100);
        lab.wal.write_through().unwrap();
        let cut = lab.disk.power_cut(&mut KeepNothing);
        for seq in segments(&lab.disk) {
            let bytes = cut.read_file(segment_path(seq)).expect("the name is durable");
            let header = bytes[..128].try_into().unwrap();
            let header = raft_wal::format::SegmentHeader::decode(header).unwrap();
            assert_eq!((header.seq, header.capacity), (seq, bytes.len() as u64));
        }
    }
}

#[test]
fn p07_what_an_open_serves_after_a_kill_is_durable() {
    for seed in 0..200 {
        let mut lab = Lab::new(small());
        lab.put(&state(1, 1, 0));
        lab.add_synced(2, 100);
        lab.add(2, 500);
        lab.put(&state(2, 3, 2));
        lab.wal.write_through().unwrap();
        let killed = lab.disk.kill(seed);
        let (wal, report) = open(&killed, &small()).unwrap();
        let served = read_all(&wal).unwrap();
        assert!(report.recovered_durable);
        assert_eq!(wal.durable().last_index + 1, served.next());
        let (got, _) = recover(&killed.power_cut(&mut KeepNothing), &small());
        assert_eq!(served.difference(&got), None, "seed {seed}");
    }
}

/// The sync fails, the cache keeps what the disk has lost, the process starts again: what it reads
/// is written again, to other pages.
#[test]
fn p07_what_a_failed_sync_left_in_the_cache_is_written_again_before_it_is_served() {
    let mut kept = 0;
    for seed in 0..100 {
        let disk = SimVfs::new(seed);
        disk.set_fsync_mode(FsyncFailure::KeepCache);
        let mut lab = Lab::on(disk, small());
        lab.add_synced(2, 100);
        lab.add(2, 700);
        lab.disk.fail_next(Op::SyncData, Fault::Eio);
        lab.wal.sync().unwrap_err();
        let issued = lab.issued.clone();
        let (disk, _) = lab.die();
        let (wal, _) = open(&disk, &small()).unwrap();
        let served = read_all(&wal).unwrap();
        issued.legal(&served).unwrap();
        kept += usize::from(served.next() == 5);
        let (got, _) = recover(&disk.power_cut(&mut KeepNothing), &small());
        assert_eq!(served.difference(&got), None, "seed {seed}");
    }
    assert!(kept > 0, "the cache never showed it");
}

/// A log of a few segments of a MiB.
fn long_log(options: &Options) -> SimVfs {
    let mut lab = Lab::new(options.clone());
    for _ in 0..60 {
        lab.add(1, 100_000);
        lab.sync();
    }
    lab.close().0
}

#[test]
fn p08_an_open_reads_the_newest_segment_and_the_beginnings_of_the_others() {
    let options = Options::new().segment_bytes(1 << 20).verify(Verify::Tail);
    let disk = long_log(&options);
    let mut all = segments(&disk);
    all.retain(|&seq| !frames(&disk, seq).is_empty());
    assert!(all.len() >= 6);
    disk.set_trace(true);
    let (wal, report) = open(&disk, &options).unwrap();
    assert_eq!(report.indexed, all.len() - 1);
    assert!(report.scanned_bytes <= 3 << 20, "{report}");
    let calls = disk.take_trace();
    for &seq in &all[..all.len() - 1] {
        let reads = calls.iter().filter(|c| c.op == Op::Read && c.path == segment_path(seq));
        let read: u64 = reads.map(|c| c.len).sum();
        let first = frames(&disk, seq)[0].end;
        assert!(read <= 2 * first + (128 << 10), "{read} bytes of {seq}, {first} needed");
    }
    drop(wal);
    // Without index files, the last closed segments are read once, and then have one.
    for seq in indexes(&disk) {
        disk.delete(index_path(seq));
    }
    drop(open(&disk, &options).unwrap());
    assert!(indexes(&disk).len() + 3 >= all.len());
}

#[test]
fn p08_what_must_be_written_again_is_bounded() {
    let options = small().max_unsynced_bytes(2000);
    let mut lab = Lab::new(options.clone());
    for _ in 0..40 {
        lab.add(1, 300);
        let (_, report) = judge(&lab.disk.power_cut(&mut KeepNothing), &options, &lab.issued);
        let behind = lab.log().next() - report.next_index;
        assert!(behind <= 2000 / 300 + 1, "{behind} entries behind");
    }
}
