//! Bytes of the application that look like evidence: a torn tail behind which such bytes stand is
//! a torn tail, whatever they say.

use bytes::Bytes;
use raft_vfs::SimVfs;
use raft_wal::format::{FrameHeader, crc};
use raft_wal::{Batch, Entry, EntryKind, Options};

use crate::support::lab::{Lab, frames, judge, small, write};
use crate::support::model::Model;
use crate::support::sim::segment_path;

/// A log with a promise, an un-synced frame, and behind it an un-synced frame that holds `lure`
/// at 8-byte boundaries plus `shift`. The first of the two is torn; nothing else is.
fn torn_before(lure: &dyn Fn(&SimVfs, u64) -> Vec<u8>, shift: usize) -> (SimVfs, Lab, Model) {
    let mut lab = Lab::new(small().segment_bytes(24 << 10));
    lab.add_synced(1, 100);
    lab.add_synced(1, 100);
    let before = lab.log().clone();
    lab.add(1, 40);
    lab.wal.write_through().unwrap();
    let torn = frames(&lab.disk, 1).pop().unwrap();
    // Frame header, record head: the payload begins 60 bytes behind the frame.
    let at = torn.end + 60 + shift as u64;
    let mut data = vec![0; shift];
    data.extend(lure(&lab.disk, at));
    let next = lab.log().next();
    let entry = Entry { index: next, term: 0, kind: EntryKind::Normal, data: Bytes::from(data) };
    lab.put(&Batch::of_entries(vec![entry]));
    lab.wal.write_through().unwrap();
    let disk = lab.disk.fork();
    write(&disk, segment_path(1), torn.offset, &vec![0; (torn.end - torn.offset) as usize]);
    (disk, lab, before)
}

fn is_torn_tail(disk: &SimVfs, lab: &Lab, before: &Model) {
    let (got, report) = judge(disk, &lab.options, &lab.issued);
    assert_eq!(before.difference(&got), None);
    assert!(!report.certain);
}

/// A header that promises everything in front of it, with a checksum that `seal` makes.
fn promising(at: u64, number: u64, seal: impl Fn(&mut [u8])) -> Vec<u8> {
    let header = FrameHeader {
        body_len: 64,
        n_entries: 1,
        batch_seq: number,
        durable_to: at - 8,
        first_index: 4,
        chain: 7,
        body_crc: 7,
        flags: 0,
        codec: 0,
        stream: 0,
        header_crc: 0,
    };
    let mut raw = header.encode(0, at).to_vec();
    seal(&mut raw);
    raw
}

fn put_crc(raw: &mut [u8], seed: u32) {
    let sum = crc(seed, &raw[..44]);
    raw[44..48].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn headers_that_an_application_forges_without_the_salt_are_no_evidence() {
    for shift in 0..8 {
        for seed in [0, u32::MAX, 0x5246_5457] {
            let lure = move |_: &SimVfs, at: u64| {
                let many = (0..20).flat_map(|n| {
                    let at = at + n * 48;
                    promising(at, 5 + n % 3, |raw| put_crc(raw, seed ^ (at / 8) as u32))
                });
                many.collect()
            };
            let (disk, lab, before) = torn_before(&lure, shift);
            is_torn_tail(&disk, &lab, &before);
        }
    }
}

#[test]
fn copies_of_real_frames_at_other_places_are_no_evidence() {
    for shift in 0..8 {
        let lure = |disk: &SimVfs, _: u64| {
            let bytes = disk.read_file(segment_path(1)).unwrap();
            let all = frames(disk, 1);
            let range = all[0].offset as usize..all.last().unwrap().end as usize;
            bytes[range].repeat(3)
        };
        let (disk, lab, before) = torn_before(&lure, shift);
        is_torn_tail(&disk, &lab, &before);
    }
}

#[test]
fn frames_of_another_segment_or_life_at_the_very_same_place_are_no_evidence() {
    // Another log, whose frames stand at all the places where this one's payload does.
    let mut other = Lab::on(SimVfs::new(99), small().segment_bytes(24 << 10));
    (0..60).for_each(|_| other.add_synced(1, 32));
    let strange = other.disk.read_file(segment_path(1)).unwrap();
    let (disk, lab, before) =
        torn_before(&|_, at| strange[at as usize..at as usize + 4000].to_vec(), 4);
    is_torn_tail(&disk, &lab, &before);
}

/// The filter comes before the checksum: a header with the right salt and place is evidence only
/// if its number and its promise can be true there.
#[test]
fn headers_with_a_good_checksum_but_an_impossible_number_or_promise_are_no_evidence() {
    let salt = |disk: &SimVfs| {
        let raw = disk.read_file(segment_path(1)).unwrap();
        u32::from_le_bytes(raw[20..24].try_into().unwrap())
    };
    // The torn batch is number 3: those before it, itself, and those too far ahead to fit between
    // are impossible.
    for number in [1, 2, 3, 400, u64::MAX >> 1] {
        let lure = move |disk: &SimVfs, at: u64| {
            promising(at, number, |raw| put_crc(raw, salt(disk) ^ (at / 8) as u32))
        };
        let (disk, lab, before) = torn_before(&lure, 4);
        is_torn_tail(&disk, &lab, &before);
    }
    // A promise beyond itself.
    let lure = move |disk: &SimVfs, at: u64| {
        promising(at, 5, |raw| {
            raw[16..24].copy_from_slice(&(at + 8).to_le_bytes());
            put_crc(raw, salt(disk) ^ (at / 8) as u32);
        })
    };
    let (disk, lab, before) = torn_before(&lure, 4);
    is_torn_tail(&disk, &lab, &before);
    // The control: with a possible number the same header is believed, so the place is right.
    let lure = move |disk: &SimVfs, at: u64| {
        promising(at, 5, |raw| put_crc(raw, salt(disk) ^ (at / 8) as u32))
    };
    let (disk, lab, _) = torn_before(&lure, 4);
    let corrupt = crate::support::lab::refused(&disk, &lab.options);
    assert_eq!(corrupt.path, segment_path(1));
}

/// A dead process's frames, with promises that were true of it, lie behind the cut of its
/// segment: they are dead, and no evidence against a successor.
#[test]
fn promises_behind_a_cut_are_dead() {
    let options = Options::new().segment_bytes(24 << 10);
    let mut lab = Lab::new(options.clone());
    lab.add_synced(1, 100);
    lab.add(1, 100);
    lab.wal.write_through().unwrap();
    let mut lab = lab.restart();
    assert_eq!(lab.report.carried, 1);
    // Something in the old segment now promises far more than is left of it.
    let dead = frames(&lab.disk, 1).pop().unwrap();
    let at = dead.end.next_multiple_of(8) + 64;
    let raw = lab.disk.read_file(segment_path(1)).unwrap();
    let salt = u32::from_le_bytes(raw[20..24].try_into().unwrap());
    let lie = promising(at, 5, |raw| put_crc(raw, salt ^ (at / 8) as u32));
    write(&lab.disk, segment_path(1), at, &lie);
    lab.add_synced(1, 10);
    let (_, report) = judge(&lab.disk, &options, &lab.issued);
    assert_eq!(report.discarded, None);
}
