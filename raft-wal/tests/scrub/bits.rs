//! One flipped bit in each byte of a log's files: one pass finds it if it counts, and only then.

use std::ops::Range;
use std::path::{Path, PathBuf};

use raft_vfs::SimVfs;
use raft_wal::format::PAGE;
use raft_wal::{Options, ScrubStep, Wal};

use crate::support::lab::{Lab, blob, compact, entries, flip, frames, small, state, truncate};
use crate::support::sim::{announce, index_path, indexes, open, path, segment_path, segments};

/// What stands at a place: where a finding about it begins.
type Unit = (Range<u64>, u64);

/// The bytes of a file that count, with where each begins.
fn units(disk: &SimVfs, file: &Path, durable_end: Option<u64>) -> Vec<Unit> {
    let page = |at: u64, len: u64| (at..at + len, at);
    if file == path("IDENT") {
        return vec![page(0, 128), page(PAGE, 128), page(2 * PAGE, 64), page(3 * PAGE, 64)];
    }
    if file.extension().is_some_and(|e| e == "idx") {
        return vec![page(0, disk.read_file(file).unwrap().len() as u64)];
    }
    let seq = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let mut all = vec![page(0, 128), page(PAGE, 256), page(2 * PAGE, 256)];
    let live = |end: u64| durable_end.is_none_or(|durable| end <= durable);
    let live = frames(disk, seq).into_iter().filter(|f| live(f.end));
    all.extend(live.map(|f| (f.offset..f.end, f.offset)));
    all
}

fn files(disk: &SimVfs) -> Vec<PathBuf> {
    let segments = segments(disk).into_iter().map(segment_path);
    let indexes = indexes(disk).into_iter().map(index_path);
    std::iter::once(path("IDENT")).chain(segments).chain(indexes).collect()
}

fn pass(wal: &mut Wal<SimVfs>) -> ScrubStep {
    let step = wal.step_scrub(u64::MAX).unwrap();
    assert!(step.pass_done, "{step:?}");
    step
}

/// Flips one bit of every `stride`-th byte of `file` in a copy of the disk that `ready` opens, and
/// has it scrubbed. Returns how many were found, and how many did not count.
fn flip_each(
    disk: &SimVfs,
    file: &Path,
    (units, stride): (&[Unit], usize),
    ready: impl Fn(&SimVfs) -> Wal<SimVfs>,
) -> (usize, usize) {
    let len = disk.read_file(file).unwrap().len() as u64;
    let (mut found, mut slack) = (0, 0);
    for at in 0..len {
        let unit = units.iter().find(|(range, _)| range.contains(&at));
        if unit.is_none() && !at.is_multiple_of(97) || !at.is_multiple_of(stride as u64) {
            continue;
        }
        let copy = disk.fork();
        let mut wal = ready(&copy);
        flip(&copy, file, at);
        let step = pass(&mut wal);
        let what = format!("bit in byte {at} of {}: {:?}", file.display(), step.found);
        if let Some((_, begin)) = unit {
            let here = |f: &raft_wal::Finding| f.path() == file && f.offset() == *begin;
            assert!(step.found.iter().any(here), "not found: {what}");
            assert!(step.found.iter().all(|f| f.path() == file), "elsewhere: {what}");
            assert!(step.found.iter().all(|f| !f.to_string().is_empty()));
            found += 1;
        } else {
            assert!(step.found.is_empty(), "{what}");
            slack += 1;
        }
    }
    (found, slack)
}

/// Several closed segments with everything in them, and index files.
fn log() -> SimVfs {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.put(&blob("key", b"value"));
    lab.rotate();
    lab.rotate();
    let next = lab.log().next();
    lab.put(&entries(next - 2, 3, 2, 120));
    lab.put(&truncate(lab.log().next() - 1));
    lab.put(&compact(2));
    let mut lab = lab.restart();
    lab.add_synced(3, 200);
    lab.rotate();
    lab.rotate();
    let (disk, _) = lab.close();
    disk
}

#[test]
fn one_pass_finds_a_flipped_bit_in_every_byte_that_counts_and_none_in_slack() {
    let disk = log();
    assert!(segments(&disk).len() >= 4 && indexes(&disk).len() >= 3);
    let ready = |disk: &SimVfs| open(disk, &small()).unwrap().0;
    assert_eq!(pass(&mut ready(&disk.fork())).found.len(), 0, "nothing is wrong yet");
    let (mut found, mut slack) = (0, 0);
    for file in files(&disk) {
        let counted = flip_each(&disk, &file, (&units(&disk, &file, None), 1), ready);
        (found, slack) = (found + counted.0, slack + counted.1);
    }
    announce(&format!("scrub: {found} flips found, {slack} in slack passed over"));
    assert!(found > 10_000 && slack > 500);
}

/// The newest segment is read up to what is durable and no further.
#[test]
fn one_pass_reads_the_segment_that_is_written_up_to_what_is_durable() {
    for options in [small(), small().align(512)] {
        let mut lab = Lab::new(options.clone());
        lab.put(&state(1, 1, 0));
        lab.add_synced(2, 60);
        let disk = lab.disk.clone();
        drop(lab);
        let ready = |disk: &SimVfs| {
            let mut wal = open(disk, &options).unwrap().0;
            wal.append(&entries(wal.next_index(), 2, 1, 50)).unwrap();
            wal.sync().unwrap();
            let (next, durable) = (wal.next_index(), wal.durable());
            wal.append(&entries(next, 1, 1, 40)).unwrap();
            wal.write_through().unwrap();
            assert_eq!(wal.durable(), durable);
            wal
        };
        let sample = disk.fork();
        drop(ready(&sample));
        let newest = *segments(&sample).last().unwrap();
        let (file, all) = (segment_path(newest), frames(&sample, newest));
        assert!(all.len() >= 2);
        let units = units(&sample, &file, Some(all[all.len() - 2].end));
        let mut found = 0;
        let last = all.last().unwrap();
        for at in 0..last.end {
            let unit = units.iter().find(|(range, _)| range.contains(&at));
            if unit.is_none() && !at.is_multiple_of(53) && at < last.offset {
                continue;
            }
            let copy = disk.fork();
            let mut wal = ready(&copy);
            flip(&copy, &file, at);
            let step = pass(&mut wal);
            let what = format!("bit in byte {at}: {:?}", step.found);
            match unit {
                Some((_, begin)) => {
                    assert!(step.found.iter().any(|f| f.offset() == *begin), "{what}");
                    found += 1;
                }
                None => assert!(step.found.is_empty(), "{what}"),
            }
        }
        announce(&format!("scrub: {found} flips found in the segment that is written"));
        assert!(found > 700);
    }
}

/// Small steps find what one large one does, and damage at one place hides none at another.
#[test]
fn several_damages_are_all_found_by_steps_of_any_size() {
    let disk = log();
    let options = Options::new().segment_bytes(16 << 10);
    for budget in [1, 700, 5000, u64::MAX] {
        let copy = disk.fork();
        let mut wal = open(&copy, &options).unwrap().0;
        let mut harmed = Vec::new();
        for seq in segments(&copy) {
            let frames = frames(&disk, seq);
            for f in [frames.first(), frames.get(frames.len() / 2), frames.last()] {
                let f = f.unwrap();
                // Of a body and of a header in turn.
                let at = if harmed.len() % 2 == 0 { f.end - 3 } else { f.offset + 9 };
                if !harmed.contains(&(segment_path(seq), f.offset)) {
                    flip(&copy, segment_path(seq), at);
                    harmed.push((segment_path(seq), f.offset));
                }
            }
        }
        let mut found = Vec::new();
        let mut steps = 0;
        loop {
            let step = wal.step_scrub(budget).unwrap();
            steps += 1;
            found.extend(step.found);
            if step.pass_done {
                break;
            }
        }
        for (path, offset) in &harmed {
            let here = |f: &raft_wal::Finding| f.path() == path && f.offset() == *offset;
            assert!(found.iter().any(here), "{}+{offset} by {budget}", path.display());
        }
        assert!(found.iter().all(raft_wal::Finding::is_damage));
        assert!(steps == 1 || budget != u64::MAX);
        assert!(steps > 10 || budget != 1, "{steps} steps");
        assert_eq!(wal.scrub_status().findings.len(), found.len());
        assert!(wal.scrub_status().is_damaged());
    }
}
