//! P16 to P21: failing calls, hostile contents, other files, other processes.

use std::path::Path;

use raft_vfs::SimVfs;
use raft_vfs::sim::{Fault, FsyncFailure, KeepNothing, Op, Persistence};
use raft_wal::format::{
    FrameHeader, HeadSlot, IdentPage, IndexHead, Mark, PAGE, SegmentHeader, crc,
};
use raft_wal::{Error, Options, ReadMode, ReadOnly, Verify, Wal, verify};

use crate::support::lab::{Lab, compact, entries, frames, judge, recover, small, state, write};
use crate::support::sim::{DIR, index_path, indexes, open, path, read_all, segment_path, segments};

/// Calls that write to a segment: syncs, writes, directory syncs, IDENT.
#[test]
fn p16_after_a_failed_sync_or_write_nothing_is_retried_or_acknowledged_and_durable_reads_go_on() {
    for mode in [FsyncFailure::KeepCache, FsyncFailure::RevertCache] {
        for op in [Op::SyncData, Op::Write] {
            for fault in [Fault::Eio, Fault::Enospc, Fault::Edquot, Fault::Erofs] {
                let disk = SimVfs::new(11);
                disk.set_fsync_mode(mode);
                let mut lab = Lab::on(disk, small());
                lab.put(&state(1, 1, 0));
                lab.add_synced(2, 100);
                let durable = lab.wal.durable();
                let ticket = lab.add(1, 100);
                lab.disk.fail_next(op, fault);
                let failed = lab.wal.wait(ticket);
                assert!(matches!(failed, Err(Error::Poisoned { .. })), "{failed:?}");
                lab.disk.set_trace(true);
                for _ in 0..3 {
                    assert!(matches!(lab.wal.sync(), Err(Error::Poisoned { .. })));
                    assert!(matches!(lab.wal.wait(ticket), Err(Error::Poisoned { .. })));
                    let append = lab.wal.append(&state(2, 1, 0));
                    assert!(matches!(append, Err(Error::Poisoned { .. })));
                    assert!(matches!(lab.wal.step_gc(), Err(Error::Poisoned { .. })));
                    assert!(matches!(lab.wal.write_through(), Err(Error::Poisoned { .. })));
                }
                let calls = lab.disk.take_trace();
                let written = calls.iter().find(|c| [Op::Write, Op::SyncData].contains(&c.op));
                assert_eq!(written, None, "nothing is tried again");
                assert_eq!(lab.wal.durable(), durable);
                assert!(!lab.wal.is_durable(ticket));
                assert!(lab.wal.poisoned().is_some());
                assert_eq!(lab.wal.entries(1, 3, u64::MAX).unwrap().len(), 2);
                assert!(matches!(lab.wal.entry(3), Err(Error::Poisoned { .. })));
                assert!(matches!(lab.wal.close(), Err(Error::Poisoned { .. })));
                let (disk, issued) = (lab.disk, lab.issued);
                judge(&disk, &small(), &issued);
                judge(&disk.power_cut(&mut KeepNothing), &small(), &issued);
            }
        }
    }
}

#[test]
fn p16_a_failed_directory_sync_or_write_of_ident_poisons_too() {
    // Around the first append of a process: publish, HEAD, SEG_START.
    let mut poisoned = 0;
    for op in [Op::SyncDir, Op::SyncData, Op::Write] {
        for nth in 1..8 {
            let mut lab = Lab::new(small());
            lab.add_synced(1, 10);
            let (disk, _) = lab.close();
            let mut lab = Lab::on(disk, small());
            lab.disk.fail_op(op, nth, Fault::Eio, Persistence::Once);
            let next = lab.log().next();
            let before = lab.log().clone();
            let result = lab.wal.append(&entries(next, 1, 0, 10)).and_then(|t| lab.wal.wait(t));
            match result {
                Err(Error::Poisoned { .. }) => {
                    poisoned += 1;
                    assert!(lab.wal.sync().is_err());
                }
                Err(Error::Io { .. }) => {
                    // While the segment was made: nothing depends on it, and the next try works.
                    assert_eq!(before.difference(&read_all(&lab.wal).unwrap()), None);
                    lab.disk.clear_faults();
                    lab.add_synced(1, 10);
                }
                Ok(()) => continue,
                Err(other) => panic!("{other}"),
            }
            lab.disk.clear_faults();
            let (got, _) = recover(&lab.disk, &small());
            assert!(got.next() == next || got.next() == next + 1);
        }
    }
    assert!(poisoned >= 4, "{poisoned}");
}

/// Whatever a single call returns, once or from then on, the next open has all that was
/// acknowledged.
#[test]
fn p16_every_call_may_fail_with_every_error_and_the_next_open_has_what_was_acknowledged() {
    let mut runs = 0;
    for fault in Fault::ALL {
        for persistence in [Persistence::Once, Persistence::Forever] {
            // The calls of an ordinary life; reads that are done in between count too.
            for call in (1..140).step_by(3) {
                let mut lab = Lab::new(small());
                lab.put(&state(1, 1, 0));
                lab.add_synced(2, 300);
                lab.disk.fail_call(call, fault, persistence);
                let mut acked = lab.issued.acked;
                for n in 0..14 {
                    let batch = match n % 7 {
                        5 => compact(lab.log().first + 1),
                        6 => state(2 + n, 1, lab.log().hard_state.commit),
                        _ => entries(lab.log().next(), 1, 1, 700),
                    };
                    let mut after = lab.log().clone();
                    after.apply(&batch);
                    lab.issued.states.push(after);
                    match lab.wal.append(&batch) {
                        Ok(_) => {}
                        Err(Error::Poisoned { .. }) => break,
                        Err(_) => drop(lab.issued.states.pop()),
                    }
                    if n % 2 == 1 && lab.wal.sync().is_ok() {
                        acked = lab.issued.states.len() - 1;
                    }
                    let _ = (lab.wal.step_publish(), lab.wal.step_index(), lab.wal.step_gc());
                }
                lab.issued.acked = acked;
                lab.disk.clear_faults();
                judge(&lab.disk, &small(), &lab.issued);
                judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued);
                runs += 1;
            }
        }
    }
    assert!(runs > 900);
}

#[test]
fn p17_no_space_means_that_the_log_is_as_it_was() {
    let mut lab = Lab::new(small());
    lab.add_synced(3, 1000);
    let paths = lab.disk.paths();
    let used: usize = paths.iter().filter_map(|p| lab.disk.read_file(p)).map(|b| b.len()).sum();
    lab.disk.set_space(Some(used as u64 + 4000));
    let (before, tip) = (lab.log().clone(), lab.wal.durable());
    let refused = lab.wal.append(&entries(4, 2, 0, 1000));
    assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    assert_eq!(before.difference(&read_all(&lab.wal).unwrap()), None);
    lab.wal.sync().unwrap();
    assert_eq!(lab.wal.durable(), tip);
    // A hard state still fits.
    lab.put(&state(1, 1, 3));
    lab.sync();
    lab.disk.set_space(None);
    lab.add_synced(2, 1000);
    let (got, _) = judge(&lab.disk.power_cut(&mut KeepNothing), &small(), &lab.issued);
    assert_eq!(got.next(), 6);
}

#[test]
fn p18_a_read_error_is_of_one_range_and_passes() {
    let mut lab = Lab::new(small().read_mode(ReadMode::Pread).tail_cache_bytes(0));
    for _ in 0..3 {
        lab.rotate();
    }
    lab.sync();
    let before = lab.disk.fingerprint();
    let model = lab.log().clone();
    for entry in &model.entries {
        lab.disk.fail_op(Op::Read, 1, Fault::Eio, Persistence::Once);
        match lab.wal.entry(entry.index) {
            // Where the index file had to be read first, the segment was scanned instead.
            Ok(e) => assert_eq!(e, *entry),
            Err(Error::Io { path, .. }) => {
                assert!(path.starts_with(DIR));
                assert_eq!(lab.wal.entry(entry.index).unwrap(), *entry, "the next read succeeds");
            }
            Err(other) => panic!("{other}"),
        }
        lab.disk.clear_faults();
    }
    assert_eq!(lab.disk.fingerprint(), before);
    assert_eq!(lab.wal.poisoned(), None);
    lab.add_synced(1, 10);
}

#[test]
fn p18_a_read_error_while_opening_refuses_and_truncates_nothing() {
    let mut lab = Lab::new(small());
    lab.rotate();
    lab.rotate();
    lab.add(1, 20);
    lab.wal.write_through().unwrap();
    let (disk, issued) = lab.die();
    let mut refused = 0;
    for nth in 1..200 {
        for persistence in [Persistence::Once, Persistence::Forever] {
            let fork = disk.fork();
            fork.fail_op(Op::Read, nth, Fault::Eio, persistence);
            let before = fork.fingerprint();
            match open(&fork, &small()) {
                Err(Error::Io { .. }) => {
                    refused += 1;
                    fork.clear_faults();
                    if fork.fingerprint() != before {
                        // The era was started before the read failed; nothing is lost by that.
                        judge(&fork, &small(), &issued);
                    }
                }
                Ok((wal, _)) => {
                    fork.clear_faults();
                    issued.legal(&read_all(&wal).unwrap()).unwrap();
                }
                Err(other) => panic!("{other}"),
            }
            judge(&fork, &small(), &issued);
        }
    }
    assert!(refused > 10, "{refused}");
}

/// Puts an extreme value into a field and makes the checksum right again.
type Reseal<'a> = &'a dyn Fn(&mut [u8]);

const EXTREMES: [u64; 9] =
    [0, 1, 7, 1 << 31, (1 << 32) - 1, 1 << 40, u64::MAX >> 1, u64::MAX - 1, u64::MAX];

/// Every field of `len` bytes at `at`, as 4 and as 8 bytes, with every extreme, under a checksum
/// that is right.
fn forge(disk: &SimVfs, file: &Path, copies: &[u64], len: usize, reseal: &[Reseal<'_>]) -> usize {
    let mut forged = 0;
    for field in (0..len - 4).step_by(4) {
        for width in [4, 8] {
            if field + width > len - 4 {
                continue;
            }
            for extreme in EXTREMES {
                let fork = disk.fork();
                for (&at, reseal) in copies.iter().zip(reseal) {
                    fork.mutate(file, |bytes| {
                        let block = &mut bytes[at as usize..at as usize + len];
                        block[field..field + width]
                            .copy_from_slice(&extreme.to_le_bytes()[..width]);
                        reseal(block);
                    });
                }
                survive(&fork);
                forged += 1;
            }
        }
    }
    forged
}

/// The same for a segment's header, in all three copies: one alone is outvoted.
fn forge_headers(disk: &SimVfs, file: &Path) -> usize {
    let mut forged = 0;
    for field in (8..SegmentHeader::LEN - 4).step_by(4) {
        for extreme in EXTREMES {
            let fork = disk.fork();
            fork.mutate(file, |bytes| {
                bytes[field..field + 4].copy_from_slice(&extreme.to_le_bytes()[..4]);
                seal(0)(&mut bytes[..SegmentHeader::LEN]);
                let header = bytes[..SegmentHeader::LEN].to_vec();
                let salt = u32::from_le_bytes(header[20..24].try_into().unwrap());
                for page in [1_u32, 2] {
                    let at = page as usize * PAGE as usize;
                    bytes[at..at + SegmentHeader::LEN].copy_from_slice(&header);
                    seal(salt ^ page)(&mut bytes[at..at + Mark::LEN]);
                }
            });
            survive(&fork);
            forged += 1;
        }
    }
    forged
}

/// Everything that opens a log gives an answer.
fn survive(disk: &SimVfs) {
    for options in [small().verify(Verify::Full), small().verify(Verify::Tail)] {
        if let Ok((wal, _)) = open(&disk.fork(), &options) {
            let _ = wal.entries(wal.first_index(), wal.next_index(), 1 << 20);
        }
    }
    let _ = ReadOnly::open(disk.fork(), DIR, &small());
    let _ = verify(disk.fork(), DIR, &small());
    if let Ok(log) = Wal::open_degraded(disk.fork(), DIR, &small()) {
        let _ = log.entries(log.first_index(), log.next_index(), 1 << 20);
    }
}

fn seal(seed: u32) -> impl Fn(&mut [u8]) {
    move |block| {
        let at = block.len() - 4;
        let sum = crc(seed, &block[..at]);
        block[at..].copy_from_slice(&sum.to_le_bytes());
    }
}

#[test]
fn p19_extreme_values_in_every_field_under_good_checksums_give_an_answer() {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    lab.rotate();
    lab.add_synced(2, 60);
    let (disk, _) = lab.close();
    let mut forged = 0;
    let ident = path("IDENT");
    let plain = seal(0);
    forged += forge(&disk, &ident, &[0, PAGE], IdentPage::LEN, &[&plain, &plain]);
    for slot in [2_u32, 3] {
        let reseal = seal(slot);
        forged += forge(&disk, &ident, &[u64::from(slot) * PAGE], HeadSlot::LEN, &[&reseal]);
    }
    for seq in segments(&disk) {
        let file = segment_path(seq);
        let raw = disk.read_file(&file).unwrap();
        let header = SegmentHeader::decode(raw[..128].try_into().unwrap()).unwrap();
        let salt = header.salt;
        forged += forge_headers(&disk, &file);
        for page in [1_u32, 2] {
            let at = u64::from(page) * PAGE;
            let reseal = seal(salt ^ page);
            forged += forge(&disk, &file, &[at], Mark::LEN, &[&reseal]);
        }
        for frame in frames(&disk, seq) {
            let reseal = seal(salt ^ (frame.offset / 8) as u32);
            forged += forge(&disk, &file, &[frame.offset], FrameHeader::LEN, &[&reseal]);
        }
    }
    for seq in indexes(&disk) {
        forged += forge(&disk, &index_path(seq), &[0], IndexHead::LEN, &[&plain]);
    }
    assert!(forged > 3_000, "{forged}");
}

#[test]
fn p19_noise_in_every_file_gives_an_answer() {
    let mut lab = Lab::new(small());
    lab.rotate();
    lab.add_synced(2, 60);
    let (disk, _) = lab.close();
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..1500 {
        let fork = disk.fork();
        let files = fork.paths();
        let file = &files[rng.usize(..files.len())];
        let len = fork.read_file(file).unwrap().len();
        match rng.u8(..5) {
            0 => fork.write_file(file, b""),
            1 => fork.write_file(
                file,
                &(0..rng.usize(..40_000)).map(|_| rng.u8(..)).collect::<Vec<_>>(),
            ),
            2 if len > 0 => {
                let at = rng.usize(..len);
                let noise: Vec<u8> = (at..len.min(at + 3000)).map(|_| rng.u8(..)).collect();
                write(&fork, file, at as u64, &noise);
            }
            3 => drop(fork.mutate(file, |bytes| bytes.truncate(bytes.len() / 3))),
            _ => drop(fork.mutate(file, |bytes| bytes.extend_from_slice(&[0xA5; 5000]))),
        }
        survive(&fork);
    }
}

#[test]
fn p20_names_that_are_not_the_logs_are_left_alone_and_listed() {
    let mut lab = Lab::new(small());
    lab.rotate();
    lab.sync();
    let strangers =
        ["wal/notes.txt", "wal/1.seg", "wal/00000000000000000009.seg.bak", "wal/.hidden", "README"];
    for name in strangers {
        lab.disk.write_file(path(name), b"mine");
    }
    let mut lab = lab.restart();
    for name in strangers.iter().filter(|n| n.starts_with("wal/")) {
        let noted = lab.report.notes.iter().any(|n| n.path == path(name));
        assert!(noted, "{name} is listed");
    }
    lab.rotate();
    let next = lab.log().next();
    lab.put(&compact(next));
    lab.wal.step_gc().unwrap();
    let (disk, _) = lab.close();
    for name in strangers {
        assert_eq!(disk.read_file(path(name)).as_deref(), Some(&b"mine"[..]));
    }
}

#[test]
fn p20_something_else_under_a_name_of_the_log_is_refused_and_a_directory_of_others_is_not_taken() {
    let (disk, _) = Lab::new(small()).close();
    for name in ["wal/00000000000000000007.seg", "wal/00000000000000000001.idx", "IDENT"] {
        let fork = disk.fork();
        fork.plant_special(path(name));
        let refused = open(&fork, &small()).map(|(_, report)| report);
        match refused {
            Err(Error::Io { path: found, .. }) => assert_eq!(found, path(name)),
            // An index file is a cache, and nobody's name is needed for one.
            Ok(_) if name.ends_with("idx") => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    let strange = SimVfs::new(1);
    strange.write_file(path("family.jpg"), b"...");
    let before = strange.fingerprint();
    assert!(matches!(open(&strange, &small()), Err(Error::Foreign { .. })));
    strange.delete(path("LOCK"));
    assert_eq!(strange.fingerprint(), before);
    let nobody = open(&SimVfs::new(1), &Options::new().create(false));
    assert!(matches!(nobody, Err(Error::NoLog { .. })));
}

#[test]
fn p20_segments_without_ident_and_ident_without_segments_are_not_a_new_log() {
    let mut lab = Lab::new(small());
    lab.add_synced(1, 10);
    let (disk, _) = lab.close();
    let fork = disk.fork();
    fork.delete(path("IDENT"));
    assert!(matches!(open(&fork, &small()), Err(Error::IdentMissing { .. })));
    let fork = disk.fork();
    fork.delete(segment_path(1));
    assert!(matches!(open(&fork, &small()), Err(Error::Corrupt(_))));
    let fork = disk.fork();
    fork.delete(path("wal"));
    assert!(matches!(open(&fork, &small()), Err(Error::Corrupt(_))));
}

#[test]
fn p21_a_second_opener_is_refused_as_long_as_the_first_is_there() {
    let mut lab = Lab::new(small());
    lab.add_synced(1, 10);
    for dir in [DIR.to_owned(), format!("{DIR}/"), format!("{DIR}/../log")] {
        let second = Wal::open(lab.disk.clone(), &dir, &small()).map(|(_, report)| report);
        assert!(matches!(second, Err(Error::Locked { .. })), "{dir}: {second:?}");
        let degraded = Wal::open_degraded(lab.disk.clone(), &dir, &small()).map(drop);
        assert!(matches!(degraded, Err(Error::Locked { .. })), "{dir}: {degraded:?}");
    }
    lab.add_synced(1, 10);
    let disk = lab.disk.clone();
    drop(lab);
    assert_eq!(Lab::on(disk, small()).log().next(), 3);
}
