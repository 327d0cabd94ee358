//! P9 to P15 and P23: damage at rest.

use std::ops::Range;
use std::path::{Path, PathBuf};

use raft_vfs::SimVfs;
use raft_vfs::sim::KeepNothing;
use raft_wal::error::{Corrupt, CorruptKind};
use raft_wal::format::{FIRST_FRAME, FrameHeader, IndexHead, Mark, PAGE, crc};
use raft_wal::{Error, Options, ReadMode, Status, Tail, TailPolicy, Verify, Wal, verify};

use crate::support::lab::{
    Lab, blob, compact, entries, flip, frames, judge, recover, refused, small, state, truncate,
    write,
};
use crate::support::model::Model;
use crate::support::sim::{DIR, index_path, indexes, open, path, read_all, segment_path, segments};

fn full() -> Options {
    small().verify(Verify::Full)
}

/// A closed log with something of everything in several segments.
fn closed_log() -> (SimVfs, Model) {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    lab.put(&blob("key", b"value"));
    let next = lab.log().next();
    lab.put(&entries(next - 2, 3, 2, 120));
    lab.rotate();
    lab.put(&truncate(lab.log().next() - 1));
    lab.put(&state(3, 2, 4));
    let mut lab = lab.restart();
    lab.add_synced(2, 200);
    lab.put(&compact(2));
    let (disk, issued) = lab.close();
    (disk, issued.last().clone())
}

/// The bytes of a file that mean something.
fn meaningful(disk: &SimVfs, file: &Path) -> Vec<Range<u64>> {
    if file == path("IDENT") {
        // Both copies of the identity; of HEAD only the slot in force.
        return vec![0..128, PAGE..PAGE + 128];
    }
    let seq: u64 = file.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let marks = [1, 2].map(|page| page * PAGE..page * PAGE + 256);
    let frames = frames(disk, seq).into_iter().map(|f| f.offset..f.end);
    std::iter::once(0..128).chain(marks).chain(frames).collect()
}

fn files(disk: &SimVfs) -> Vec<PathBuf> {
    let mut all = vec![path("IDENT")];
    all.extend(segments(disk).into_iter().map(segment_path));
    all
}

/// Every bit of every byte would take minutes; one bit of each byte takes seconds.
#[test]
fn p09_every_flipped_byte_gives_the_same_log_or_an_error_that_names_it() {
    let (disk, model) = closed_log();
    let (mut same, mut named) = (0, 0);
    for file in files(&disk) {
        let len = disk.read_file(&file).unwrap().len() as u64;
        let meant = meaningful(&disk, &file);
        for at in 0..len {
            let inside = meant.iter().find(|r| r.contains(&at));
            // Of the zeros between, a sample.
            if inside.is_none() && at % 61 != 0 {
                continue;
            }
            let damaged = disk.fork();
            flip(&damaged, &file, at);
            let in_frames = inside.is_some() && at >= FIRST_FRAME && file != path("IDENT");
            if !in_frames {
                let (got, _) = recover(&damaged, &full());
                assert_eq!(model.difference(&got), None, "{} + {at}", file.display());
                same += 1;
                continue;
            }
            let corrupt = refused(&damaged, &full());
            let place = format!("{} + {at}: {corrupt}", file.display());
            assert_eq!(corrupt.path, file, "{place}");
            assert!(inside.unwrap().contains(&corrupt.offset), "{place}");
            named += 1;
        }
    }
    assert!(same > 2_000 && named > 5_000, "{same} the same, {named} named");
}

#[test]
fn p09_every_lost_sector_and_page_gives_the_same_log_or_an_error_that_names_it() {
    let (disk, model) = closed_log();
    for file in files(&disk) {
        let len = disk.read_file(&file).unwrap().len() as u64;
        for unit in [512, PAGE] {
            for at in (0..len).step_by(unit as usize) {
                for fill in [0, 0xFF] {
                    let damaged = disk.fork();
                    write(&damaged, &file, at, &vec![fill; unit as usize]);
                    match open(&damaged, &full()) {
                        Ok((wal, _)) => {
                            let got = read_all(&wal).unwrap();
                            assert_eq!(model.difference(&got), None, "{} + {at}", file.display());
                        }
                        Err(Error::Corrupt(c)) => assert_eq!(c.path, file, "{c}"),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
    }
}

#[test]
fn p09_a_missing_file_is_named_and_so_are_the_entries_that_a_bad_batch_held() {
    let (disk, model) = closed_log();
    let all = segments(&disk);
    for &seq in &all {
        let damaged = disk.fork();
        damaged.delete(segment_path(seq));
        let corrupt = refused(&damaged, &full());
        assert_eq!((corrupt.kind, corrupt.path), (CorruptKind::MissingSegment, segment_path(seq)));
    }
    // A payload of a closed segment: the error says which entries are gone.
    let frame = &frames(&disk, all[0])[2];
    let damaged = disk.fork();
    flip(&damaged, segment_path(all[0]), frame.end - 20);
    let lost = refused(&damaged, &full()).lost.expect("the header of the batch is sound");
    let index = frame.header.first_index;
    assert!(lost.first <= index && lost.last.is_none_or(|last| last >= index), "{lost}");
    assert!(model.entry(index).is_some());
}

#[test]
fn p09_an_index_file_under_the_last_number_keeps_no_log_from_going_on() {
    let (disk, model) = closed_log();
    let index = disk.read_file(index_path(indexes(&disk)[0])).unwrap();
    disk.write_file(index_path(u64::MAX), &index);
    let mut lab = Lab::on(disk, small());
    assert_eq!(model.difference(lab.log()), None);
    lab.add_synced(1, 20);
    assert!(!indexes(&lab.disk).contains(&u64::MAX), "it belongs to no segment");
}

/// Changes an index file's head or its tables.
type Lie<'a> = &'a dyn Fn(&mut IndexHead, &mut Vec<u8>);

#[test]
fn p09_an_index_file_that_lies_is_noted_by_a_full_open_and_not_used() {
    let (disk, model) = closed_log();
    let file = index_path(indexes(&disk)[0]);
    let sound = disk.read_file(&file).unwrap();
    let head = IndexHead::decode(sound[..IndexHead::LEN].try_into().unwrap()).unwrap();
    assert!(head.n > 1 && head.runs > 0);
    let runs = IndexHead::LEN + (head.n as usize * 4).next_multiple_of(8);
    let lies: [Lie<'_>; 5] = [
        &|_, tables| tables[0] ^= 1,
        &|_, tables| tables[runs - IndexHead::LEN + 8] ^= 1,
        &|head, _| head.low ^= 1,
        &|head, _| head.had_reset = !head.had_reset,
        &|head, _| head.first += 1,
    ];
    for (n, lie) in lies.iter().enumerate() {
        let (mut head, mut tables) = (head, sound[IndexHead::LEN..].to_vec());
        lie(&mut head, &mut tables);
        head.tables_crc = crc(head.salt, &tables);
        let damaged = disk.fork();
        damaged.write_file(&file, &[&head.encode()[..], &tables].concat());
        let (got, report) = recover(&damaged, &full());
        assert_eq!(model.difference(&got), None, "lie {n}");
        let note = report.notes.iter().find(|note| note.path == file);
        assert!(note.is_some(), "lie {n}: {report}");
        let verified = verify(damaged, DIR, &small()).unwrap();
        assert_eq!(verified.status, Status::Intact, "lie {n}");
        assert!(verified.report.unwrap().notes.iter().any(|note| note.path == file));
    }
}

#[test]
fn p09_a_closed_segment_that_needs_a_newer_reader_is_not_called_damaged() {
    let (disk, _) = closed_log();
    let seq = segments(&disk)[0];
    let salt = raft_wal::inspect::Segment::open(&disk, &segment_path(seq)).unwrap();
    let salt = salt.header().unwrap().salt;
    for frame in [0, 2].map(|n| frames(&disk, seq)[n].clone()) {
        let newer = disk.fork();
        let header = FrameHeader { codec: 1, ..frame.header };
        write(&newer, segment_path(seq), frame.offset, &header.encode(salt, frame.offset));
        match open(&newer, &full()) {
            Err(Error::Unsupported { path, found: 1, .. }) => assert_eq!(path, segment_path(seq)),
            other => panic!("{:?}", other.map(|(_, report)| report)),
        }
    }
}

/// The same damage to the same bytes, without and with a promise.
#[test]
fn p10_the_same_bytes_are_torn_without_a_promise_and_damage_with_one() {
    let mut lab = Lab::new(small());
    lab.add_synced(2, 100);
    lab.add_synced(2, 100);
    let frame = frames(&lab.disk, 1).pop().unwrap();
    let without = lab.disk.fork();
    // A later frame promises it, and so does a mark.
    let by_frame = {
        lab.add(1, 10);
        lab.wal.write_through().unwrap();
        lab.disk.fork()
    };
    let by_mark = {
        let mut lab = Lab { disk: lab.disk.clone(), ..lab };
        lab.sync();
        lab.wal.step_mark(std::time::Duration::ZERO).unwrap();
        assert!(lab.wal.step_mark(std::time::Duration::from_secs(1)).unwrap());
        lab.disk.fork()
    };
    let len = (frame.end - frame.offset) as usize;
    let noise: Vec<u8> = (0..len).map(|i| (i * 31 + 5) as u8).collect();
    for bytes in [vec![0; len], vec![0xFF; len], noise] {
        let torn = without.fork();
        write(&torn, segment_path(1), frame.offset, &bytes);
        let (got, report) = recover(&torn, &small());
        assert_eq!(got.next(), 3);
        assert!(!report.certain);
        for promised in [&by_frame, &by_mark] {
            let damaged = promised.fork();
            write(&damaged, segment_path(1), frame.offset, &bytes);
            let corrupt = refused(&damaged, &small());
            assert_eq!((corrupt.kind, corrupt.offset), (CorruptKind::Batch, frame.offset));
        }
    }
}

#[test]
fn p10_a_mark_that_promises_more_is_believed_beside_one_of_a_close() {
    let (disk, _) = closed_log();
    let seq = *segments(&disk).last().unwrap();
    let bytes = disk.read_file(segment_path(seq)).unwrap();
    let mark = |page: u32| {
        let raw = &bytes[page as usize * PAGE as usize..][..Mark::LEN];
        (page, Mark::decode(raw.try_into().unwrap(), page).unwrap())
    };
    let marks = [mark(1), mark(2)];
    let (closing, (page, other)) = match marks {
        [(_, m), o] | [o, (_, m)] if m.clean => (m, o),
        _ => panic!("no mark of a close: {marks:?}"),
    };
    let more = Mark { durable_to: closing.durable_to + 8, ..other };
    write(&disk, segment_path(seq), u64::from(page) * PAGE, &more.encode(page));
    let corrupt = refused(&disk, &full());
    assert_eq!((corrupt.kind, corrupt.offset), (CorruptKind::Batch, closing.durable_to));
}

#[test]
fn p11_the_last_flush_without_a_promise_is_given_up_and_said_so_and_the_policy_can_refuse() {
    let mut lab = Lab::new(small());
    lab.add_synced(2, 100);
    lab.add_synced(1, 100);
    let last = frames(&lab.disk, 1).pop().unwrap();
    let disk = lab.disk.power_cut(&mut KeepNothing);
    flip(&disk, segment_path(1), last.end - 9);
    let (got, report) = recover(&disk, &small());
    assert_eq!(got.next(), 3);
    assert!(!report.certain);
    assert!(matches!(report.tail, Tail::Torn { first_index: 3, entries: 1 }), "{report}");
    let discarded = report.discarded.expect("what was given up is said");
    assert_eq!((&discarded.path, discarded.offset), (&segment_path(1), last.offset));
    assert!(discarded.bytes > 0 && discarded.bytes <= last.end - last.offset);
    let strict = small().tail_policy(TailPolicy::RefuseAmbiguous);
    let before = disk.fingerprint();
    match open(&disk, &strict) {
        Err(Error::AmbiguousTail { path, offset, .. }) => {
            assert_eq!((path, offset), (segment_path(1), last.offset));
        }
        other => panic!("{:?}", other.map(|(_, report)| report)),
    }
    assert_eq!(disk.fingerprint(), before);
    // Once it was cut, the log is certain again, and the policy has nothing to refuse.
    let lab = Lab::on(disk, small());
    let (disk, _) = lab.close();
    let mut lab = Lab::on(disk, strict.clone());
    lab.add_synced(1, 20);
    let (disk, _) = lab.close();
    assert!(Lab::on(disk, strict).report.certain);
}

#[test]
fn p11_an_end_that_was_given_up_is_in_doubt_although_head_is_lost() {
    let mut lab = Lab::new(small());
    lab.add_synced(1, 20);
    let (disk, _) = lab.die();
    flip(&disk, segment_path(1), FIRST_FRAME);
    for slot in [2, 3] {
        flip(&disk, path("IDENT"), slot * PAGE);
    }
    let (got, report) = recover(&disk, &small());
    assert!(got.entries.is_empty() && report.discarded.is_some(), "{report}");
    assert!(!report.certain, "{report}");
}

#[test]
fn p12_a_vote_whose_batch_is_torn_is_still_obeyed() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.sync();
    lab.add_synced(1, 20);
    lab.put(&state(5, 2, 1));
    lab.wal.sync().unwrap();
    // The flush that brought it had a mark beside it; the batch itself rots.
    let frame = frames(&lab.disk, 1).pop().unwrap();
    flip(&lab.disk, segment_path(1), frame.offset + 60);
    let mut lab = lab.restart();
    assert!(lab.report.state_raised);
    assert_eq!((lab.log().hard_state.term, lab.log().hard_state.vote), (5, 2));
    let second = lab.wal.append(&state(5, 3, 0));
    assert!(matches!(second, Err(Error::Rejected(_))), "a second vote: {second:?}");
    let back = lab.wal.append(&state(4, 1, 0));
    assert!(matches!(back, Err(Error::Rejected(_))), "a lower term: {back:?}");
    let (got, _) = recover(&lab.disk.power_cut(&mut KeepNothing), &small());
    assert_eq!((got.hard_state.term, got.hard_state.vote), (5, 2), "durably raised");
}

#[test]
fn p12_a_durable_state_newer_than_the_log_has_is_an_error() {
    let mut lab = Lab::new(small());
    lab.put(&state(2, 1, 0));
    lab.sync();
    lab.add_synced(2, 20);
    let (disk, _) = lab.close();
    let bytes = disk.read_file(segment_path(1)).unwrap();
    for page in [1_u32, 2] {
        let at = u64::from(page) * PAGE;
        let raw = bytes[at as usize..at as usize + Mark::LEN].try_into().unwrap();
        let mark = Mark::decode(raw, page).unwrap();
        for (term, vote) in [(3, 0), (2, 9)] {
            // A mark that repeats a State of a frame which the log has, and has otherwise.
            let lying = Mark { term, vote, mark_no: 99, state_off: FIRST_FRAME, ..mark };
            let damaged = disk.fork();
            write(&damaged, segment_path(1), at, &lying.encode(page));
            assert_eq!(refused(&damaged, &small()).kind, CorruptKind::State);
        }
    }
}

#[test]
fn p12_term_and_vote_survive_the_removal_of_the_segments_that_brought_them() {
    let mut lab = Lab::new(small());
    lab.put(&state(7, 3, 0));
    for _ in 0..3 {
        lab.rotate();
    }
    let next = lab.log().next();
    lab.put(&compact(next));
    lab.wal.step_gc().unwrap();
    assert_eq!(segments(&lab.disk).len(), 1);
    lab.sync();
    let (got, _) = judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued);
    assert_eq!((got.hard_state.term, got.hard_state.vote), (7, 3));
}

/// Another log, whose files have the same names.
fn other_log() -> SimVfs {
    let mut lab = Lab::on(SimVfs::new(1234), small());
    lab.put(&state(1, 1, 0));
    for _ in 0..3 {
        lab.rotate();
    }
    lab.close().0
}

#[test]
fn p13_files_of_another_log_under_other_names_or_swapped_are_refused_by_name() {
    let (disk, _) = closed_log();
    let other = other_log();
    let all = segments(&disk);
    for &seq in &all {
        let foreign = disk.fork();
        foreign.write_file(segment_path(seq), &other.read_file(segment_path(1)).unwrap());
        match open(&foreign, &full()) {
            Err(Error::IdentityMismatch { path, what, .. }) => {
                assert_eq!((path, what), (segment_path(seq), "log uuid"));
            }
            found => panic!("{:?}", found.map(|(_, report)| report)),
        }
        for &from in all.iter().filter(|&&from| from != seq) {
            let renamed = disk.fork();
            renamed.write_file(segment_path(seq), &disk.read_file(segment_path(from)).unwrap());
            let corrupt = refused(&renamed, &full());
            assert_eq!((corrupt.kind, corrupt.path), (CorruptKind::Name, segment_path(seq)));
        }
    }
    // The whole wal directory under another identity.
    let foreign = disk.fork();
    foreign.write_file(path("IDENT"), &other.read_file(path("IDENT")).unwrap());
    assert!(matches!(open(&foreign, &full()), Err(Error::IdentityMismatch { .. })));
}

#[test]
fn p13_sectors_that_went_to_another_place_are_recognised() {
    let (disk, _) = closed_log();
    let seq = segments(&disk)[0];
    let bytes = disk.read_file(segment_path(seq)).unwrap();
    let all = frames(&disk, seq);
    let end = all.last().unwrap().end;
    for to in (FIRST_FRAME..end - 512).step_by(512) {
        for from in (FIRST_FRAME..end - 512).step_by(512) {
            let sector = &bytes[from as usize..from as usize + 512];
            if *sector == bytes[to as usize..to as usize + 512] {
                continue;
            }
            let damaged = disk.fork();
            write(&damaged, segment_path(seq), to, sector);
            assert_eq!(refused(&damaged, &full()).path, segment_path(seq));
        }
    }
    // A whole frame in the place of another one of the same size.
    let same = |a: &raft_wal::scan::Frame, b: &raft_wal::scan::Frame| {
        a.end - a.offset == b.end - b.offset && a.offset != b.offset
    };
    let pair = all.iter().find_map(|a| Some((a, all.iter().find(|b| same(a, b))?)));
    let (a, b) = pair.expect("two frames of one size");
    let damaged = disk.fork();
    write(&damaged, segment_path(seq), b.offset, &bytes[a.offset as usize..a.end as usize]);
    assert_eq!(refused(&damaged, &full()).offset, b.offset);
}

#[test]
fn p14_an_entry_that_rots_while_the_log_is_open_is_refused_and_its_neighbours_are_served() {
    let (disk, model) = closed_log();
    let options = small().read_mode(ReadMode::Pread).tail_cache_bytes(0);
    let (wal, _) = open(&disk, &options).unwrap();
    let mut rotten = Vec::new();
    for seq in segments(&disk) {
        for frame in frames(&disk, seq) {
            for (i, &offset) in frame.offsets.iter().enumerate() {
                let index = frame.header.first_index + i as u64;
                let at = u64::from(offset) * 8 + 14;
                if index.is_multiple_of(3) && model.entry(index).is_some() {
                    flip(&disk, segment_path(seq), at);
                    rotten.push(index);
                }
            }
        }
    }
    assert!(rotten.len() > 3);
    for entry in &model.entries {
        match wal.entry(entry.index) {
            Ok(e) => {
                assert_eq!(e, *entry);
                assert!(!rotten.contains(&entry.index), "entry {} was not checked", entry.index);
            }
            Err(Error::Corrupt(c)) => {
                assert!(rotten.contains(&entry.index));
                assert_eq!(c.kind, CorruptKind::Record);
                assert_eq!(c.lost.map(|l| l.first), Some(entry.index));
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn p15_verification_notices_every_flipped_byte_that_means_something() {
    let (disk, _) = closed_log();
    let sound = verify(disk.fork(), DIR, &small()).unwrap();
    assert_eq!((sound.status, sound.problems.len()), (Status::Intact, 0));
    let notes = sound.report.map_or(0, |r| r.notes.len());
    for file in files(&disk) {
        for range in meaningful(&disk, &file) {
            for at in range {
                let damaged = disk.fork();
                flip(&damaged, &file, at);
                let found = verify(damaged, DIR, &small()).unwrap();
                let noted = found.report.as_ref().map_or(0, |r| r.notes.len()) > notes;
                let named = found.problems.iter().any(|p: &Corrupt| p.path == file);
                let place = format!("{} + {at}: {:?}", file.display(), found.status);
                assert!(named || noted, "{place}");
                assert_eq!(found.status == Status::Corrupt, named, "{place}");
            }
        }
    }
}

#[test]
fn p23_a_degraded_opening_names_what_is_lost_and_serves_the_rest() {
    let (disk, model) = closed_log();
    let mut ranges = 0;
    for seq in segments(&disk) {
        for frame in frames(&disk, seq) {
            let damaged = disk.fork();
            flip(&damaged, segment_path(seq), frame.offset + 56);
            let before = damaged.fingerprint();
            let log = Wal::open_degraded(damaged.clone(), DIR, &small()).unwrap();
            assert!(!log.problems().is_empty());
            let lost = |index: u64| {
                log.lost().iter().any(|l| l.first <= index && l.last.is_none_or(|z| index <= z))
            };
            ranges += log.lost().len();
            for entry in &model.entries {
                match log.entries(entry.index, entry.index + 1, u64::MAX) {
                    Ok(served) => assert!(served == std::slice::from_ref(entry), "a stale one"),
                    Err(_) => assert!(lost(entry.index), "entry {} for no reason", entry.index),
                }
            }
            assert_eq!(damaged.fingerprint(), before);
        }
    }
    assert!(ranges > 0);
}
