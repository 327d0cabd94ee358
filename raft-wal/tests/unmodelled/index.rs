//! Index files are a cache: with them, without them and with bad ones a log is the same, whatever
//! was truncated, reset and compacted across its segments.

use bytes::Bytes;
use fastrand::Rng;
use raft_vfs::SimVfs;
use raft_wal::{Entry, Error, Options, ReadMode, Verify};

use crate::support::batches::Batches;
use crate::support::lab::{Lab, compact, entries, flip, recover, small, state, truncate};
use crate::support::model::Model;
use crate::support::sim::{index_path, indexes, open, read_all, segment_path, segments};

/// Ways of opening that read by index file, by scan, through maps and without.
fn ways() -> [Options; 4] {
    [
        small().verify(Verify::Tail),
        small().verify(Verify::Tail).read_mode(ReadMode::Pread),
        small().verify(Verify::Full),
        small().verify(Verify::Full).read_mode(ReadMode::Pread),
    ]
}

fn without_index_files(disk: &SimVfs) -> SimVfs {
    let bare = disk.fork();
    for seq in indexes(disk) {
        bare.delete(index_path(seq));
    }
    bare
}

/// Opens a disk in every way, with and without its index files; all must read as `model`. Returns
/// how many segments were trusted to their index files.
fn same_in_every_way(disk: &SimVfs, model: &Model) -> usize {
    let bare = without_index_files(disk);
    let mut indexed = 0;
    for options in ways() {
        let (got, report) = recover(disk, &options);
        assert_eq!(model.difference(&got), None, "{options:?}");
        indexed += report.indexed;
        let (got, report) = recover(&bare, &options);
        assert_eq!(model.difference(&got), None, "scanned, {options:?}");
        assert_eq!(report.indexed, 0);
    }
    indexed
}

/// A closed log of several segments that truncates across them.
fn truncated_log() -> Lab {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    for _ in 0..3 {
        lab.rotate();
    }
    let next = lab.log().next();
    lab.put(&entries(next - 9, 2, 2, 90));
    for _ in 0..2 {
        lab.rotate();
    }
    lab.put(&truncate(6));
    lab.put(&entries(6, 3, 3, 200));
    lab.put(&state(4, 2, 4));
    lab.put(&entries(8, 2, 4, 300));
    lab.rotate();
    lab.put(&compact(3));
    lab.sync();
    lab
}

#[test]
fn truncation_across_closed_segments_reads_the_same_by_index_file_and_by_scan() {
    let (disk, issued) = truncated_log().close();
    assert!(indexes(&disk).len() >= 5);
    assert!(same_in_every_way(&disk, issued.last()) >= 8);
}

#[test]
fn random_logs_read_the_same_by_index_file_and_by_scan() {
    let mut trusted = 0;
    for seed in 0..150 {
        let mut rng = Rng::with_seed(seed);
        let mut batches = Batches::new();
        let mut lab = Lab::new(small());
        for _ in 0..rng.usize(10..60) {
            let batch = batches.random(&mut rng, lab.log());
            lab.put(&batch);
            match rng.u8(..30) {
                0..5 => lab.sync(),
                5 => lab = lab.restart(),
                6 => lab.wal.step_index().map(drop).unwrap(),
                7 => lab.wal.step_gc().map(drop).unwrap(),
                _ => {}
            }
        }
        let (disk, issued) = lab.close();
        trusted += same_in_every_way(&disk, issued.last());
    }
    assert!(trusted > 500, "only {trusted} segments were read by index file");
}

#[test]
fn an_index_file_with_any_bit_flipped_or_cut_anywhere_changes_nothing() {
    let (disk, issued) = truncated_log().close();
    let ways = [small().verify(Verify::Tail), ways()[1].clone()];
    for seq in indexes(&disk) {
        let len = disk.read_file(index_path(seq)).unwrap().len();
        for at in 0..len {
            let damaged = disk.fork();
            flip(&damaged, index_path(seq), at as u64);
            let (got, _) = recover(&damaged, &ways[at % 2]);
            assert_eq!(issued.last().difference(&got), None, "bit in byte {at} of index {seq}");
            let cut = disk.fork();
            cut.mutate(index_path(seq), |bytes| bytes.truncate(at));
            let (got, _) = recover(&cut, &ways[at % 2]);
            assert_eq!(issued.last().difference(&got), None, "index {seq} cut to {at}");
        }
    }
}

#[test]
fn an_index_file_of_another_segment_log_or_cut_is_not_believed() {
    let (disk, issued) = truncated_log().close();
    let mut other = Lab::new(small());
    for _ in 0..9 {
        other.rotate();
    }
    let (foreign, _) = other.close();
    let all = indexes(&disk);
    for &seq in &all {
        for &from in &all {
            let strange = [disk.read_file(index_path(from)), foreign.read_file(index_path(seq))];
            for bytes in strange.into_iter().flatten() {
                let swapped = disk.fork();
                swapped.write_file(index_path(seq), &bytes);
                for options in &ways()[..2] {
                    let (got, _) = recover(&swapped, options);
                    assert_eq!(issued.last().difference(&got), None, "{from} as {seq}");
                }
            }
        }
    }
}

/// A first life closes a segment at one batch and makes its index file; the segment that it was
/// closed for is lost, and a second life closes it at another batch.
#[test]
fn an_index_file_of_an_earlier_cut_is_not_believed() {
    let mut lab = Lab::new(small());
    lab.add_synced(2, 100);
    lab.add(2, 100);
    lab.wal.write_through().unwrap();
    let (disk, _) = lab.die();
    // The first life sees all four entries, and closes segment 1 behind the second: the rest is
    // carried.
    let stale = {
        let first = Lab::on(disk.fork(), small());
        let (closed, _) = first.close();
        closed.read_file(index_path(1)).unwrap()
    };
    // The second life sees them proven, and closes segment 1 behind the fourth.
    let mut second = Lab::on(disk, small());
    assert!(second.report.carried > 0);
    second.add_synced(3, 60);
    let (disk, issued) = second.close();
    let own = disk.read_file(index_path(1)).unwrap();
    disk.write_file(index_path(1), &stale);
    assert_eq!(own.len() % 4, 0);
    same_in_every_way(&disk, issued.last());
    // And one that is a true index of a shorter cut.
    let mut lab = Lab::new(small());
    lab.add_synced(2, 100);
    lab.add_synced(2, 100);
    let short = lab.disk.fork();
    lab.add_synced(2, 100);
    lab.add_synced(1, 100);
    let (disk, issued) = lab.restart().close_after_one();
    let (shorter, _) = Lab::on(short, small()).close_after_one();
    disk.write_file(index_path(1), &shorter.read_file(index_path(1)).unwrap());
    same_in_every_way(&disk, issued.last());
}

impl Lab {
    fn close_after_one(mut self) -> (SimVfs, crate::support::oracle::Issued) {
        self.add_synced(1, 10);
        self.close()
    }
}

#[test]
fn an_index_table_that_lies_under_a_good_checksum_gives_errors_and_no_wrong_entries() {
    use raft_wal::format::{IndexHead, crc};
    let (disk, issued) = truncated_log().close();
    let mut refused = 0;
    for seq in indexes(&disk) {
        let bytes = disk.read_file(index_path(seq)).unwrap();
        let head = IndexHead::decode(bytes[..IndexHead::LEN].try_into().unwrap()).unwrap();
        if head.n < 2 {
            continue;
        }
        // Two entries change places in the table.
        let mut tables = bytes[IndexHead::LEN..].to_vec();
        let (a, b) = tables.split_at_mut(4);
        a.swap_with_slice(&mut b[..4]);
        let head = IndexHead { tables_crc: crc(head.salt, &tables), ..head };
        let lying = disk.fork();
        lying.write_file(index_path(seq), &[&head.encode()[..], &tables].concat());
        for options in &ways()[..2] {
            let (wal, _) = open(&lying.fork(), options).unwrap();
            for entry in &issued.last().entries {
                match wal.entry(entry.index) {
                    Ok(e) => assert_eq!(e, *entry),
                    Err(Error::Corrupt(c)) => {
                        assert_eq!(c.path, segment_path(seq));
                        refused += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
    }
    assert!(refused > 0);
}

/// Payloads point into a mapping, or into memory; both outlive the segment and the log.
#[test]
fn entries_stay_what_they_are_when_their_segment_is_removed_and_the_log_is_gone() {
    for options in [small(), small().read_mode(ReadMode::Pread), small().tail_cache_bytes(0)] {
        let mut lab = Lab::new(options);
        for _ in 0..4 {
            lab.rotate();
        }
        lab.sync();
        let held: Vec<Entry> = lab.wal.entries(1, lab.log().next(), u64::MAX).unwrap();
        let copies: Vec<(u64, Bytes)> =
            held.iter().map(|e| (e.index, Bytes::copy_from_slice(&e.data))).collect();
        let next = lab.log().next();
        let before = segments(&lab.disk).len();
        lab.wal.compact_to(next).unwrap();
        assert!(segments(&lab.disk).len() < before, "files are gone");
        drop(lab);
        for (entry, (index, data)) in held.iter().zip(&copies) {
            assert_eq!((entry.index, &entry.data), (*index, data));
        }
    }
}

#[test]
fn a_log_reads_the_same_while_it_is_open_and_after_each_index_file() {
    let mut lab = truncated_log();
    let model = lab.log().clone();
    loop {
        assert_eq!(model.difference(&read_all(&lab.wal).unwrap()), None);
        if !lab.wal.step_index().unwrap() {
            break;
        }
    }
    assert_eq!(indexes(&lab.disk).len() + 1, segments(&lab.disk).len());
}
