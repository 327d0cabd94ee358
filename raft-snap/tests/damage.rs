//! Damage at rest: every bit, every length, sectors zeroed, garbled and swapped, files renamed and
//! swapped, and random bytes. Either the same data come back, or an error that names the file and
//! the place; never other data, never a panic.
//!
//! `RAFT_SNAP_SEED=n` or `n..m` takes other seeds for the random ones.

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use raft_snap::error::CorruptKind;
use raft_snap::format::{CHUNK_MAX, FOOTER_LEN, Footer, Header};
use raft_snap::{Error, SnapDir, SnapInfo};
use raft_vfs::{SimVfs, Vfs};

use crate::support::{
    CHUNK, DIR, IDENTITY, announce, announcement, data, disk, id, indexes, meta, open, path, read,
    receive, seeds, write,
};

/// Two full chunks and one of 100 bytes, behind a header of one sector.
const LEN: usize = 2 * CHUNK + 100;
const HEADER: usize = 512;
const FILE: usize = HEADER + LEN + 3 * 8 + FOOTER_LEN;

/// A disk with the snapshot 10, and its bytes.
fn sample() -> (SimVfs, Vec<u8>) {
    let disk = disk(1);
    write(&open(&disk), 10, LEN).unwrap();
    let bytes = disk.read_file(path(10)).unwrap();
    assert_eq!(bytes.len(), FILE);
    (disk.fork(), bytes)
}

/// How often each kind of damage was told.
#[derive(Default)]
struct Tally {
    told: BTreeMap<String, u64>,
    same: u64,
}

impl Tally {
    fn total(&self) -> u64 {
        self.told.values().sum::<u64>() + self.same
    }

    fn report(&self, what: &str) {
        let Self { told, same } = self;
        announce(&format!("{what}: {} files, {told:?}, the same data {same}", self.total()));
    }

    /// Reads the file of 10 in every way there is, and counts what comes of it.
    fn judge(&mut self, disk: &SimVfs, what: &str) {
        let judged = catch_unwind(AssertUnwindSafe(|| judge(disk, 10)));
        match judged.unwrap_or_else(|_| panic!("{what}: panicked")) {
            Ok(()) => self.same += 1,
            Err(error) => {
                let kind = check_error(&error, &path(10), disk).unwrap_or_else(|why| {
                    panic!("{what}: {why}: {error}");
                });
                *self.told.entry(kind).or_default() += 1;
            }
        }
    }
}

/// `Ok` if everything says that the data of `index` are there, and they are.
fn judge(disk: &SimVfs, index: u64) -> Result<(), Error> {
    let snaps = open(disk);
    let listing = snaps.list().unwrap();
    assert_eq!(listing.usable.len() + listing.unusable.len(), 1);
    let newest = snaps.newest_usable().unwrap();
    let Some(info) = listing.usable.first() else {
        assert_eq!(newest, None);
        return Err(listing.unusable[0].error.clone());
    };
    assert_eq!(newest.as_ref(), Some(info));
    assert_eq!(info.meta, meta(index), "the header is another one");
    let verified = snaps.verify(info);
    let read = read(&snaps, info);
    by_chunks(&snaps, info, index, verified.is_err());
    match (verified, read) {
        (Ok(()), Ok(bytes)) => {
            assert!(bytes == data(index, LEN), "other data, in silence");
            Ok(())
        }
        (Err(verified), Err(read)) => {
            assert_eq!(verified.to_string(), read.to_string());
            Err(verified)
        }
        (verified, read) => panic!("verify {verified:?}, read {:?}", read.map(drop)),
    }
}

/// A chunk is right or refused, and at least one is refused if `damaged`.
fn by_chunks(snaps: &SnapDir<SimVfs>, info: &SnapInfo, index: u64, damaged: bool) {
    let Ok(reader) = snaps.reader(info) else { return };
    let data = data(index, LEN);
    let sound = |n: u32| match reader.chunk(n) {
        Ok(bytes) => {
            assert_eq!(bytes, data.chunks(CHUNK).nth(n as usize).unwrap(), "chunk {n}");
            true
        }
        Err(_) => false,
    };
    let all = (0..info.chunks).filter(|&n| sound(n)).count() == info.chunks as usize;
    assert_eq!(all, !damaged);
}

/// The error's kind; it must be one for files, in one line, and name the file and a place in it.
fn check_error(error: &Error, path: &Path, disk: &SimVfs) -> Result<String, String> {
    let text = error.to_string();
    if text.contains('\n') || !text.contains(path.to_str().unwrap()) {
        return Err("not one line with the file".into());
    }
    match error {
        Error::Corrupt(c) => {
            let len = disk.read_file(path).unwrap().len() as u64;
            if c.path != path || c.offset > len {
                return Err(format!("offset {} of a file of {len} bytes", c.offset));
            }
            Ok(c.kind.to_string())
        }
        Error::Unsupported { .. } => Ok("unsupported".into()),
        Error::IdentityMismatch { .. } => Ok("identity".into()),
        _ => Err("an unexpected error".into()),
    }
}

#[test]
fn every_bit_flip_is_told() {
    let (disk, bytes) = sample();
    let mut tally = Tally::default();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            disk.mutate(path(10), |bytes| bytes[at] ^= 1 << bit);
            tally.judge(&disk, &format!("bit {bit} of byte {at}"));
            disk.mutate(path(10), |bytes| bytes[at] ^= 1 << bit);
        }
    }
    tally.report("every bit");
    assert_eq!((tally.same, tally.total()), (0, 8 * FILE as u64));
}

#[test]
fn every_truncation_and_extension_is_told() {
    let (disk, bytes) = sample();
    let mut tally = Tally::default();
    for len in 0..bytes.len() {
        disk.write_file(path(10), &bytes[..len]);
        tally.judge(&disk, &format!("cut at {len}"));
    }
    for more in [1, 4, 8, 96, 512, 4096] {
        for fill in [0, 0xff] {
            let longer = [&bytes[..], &vec![fill; more]].concat();
            disk.write_file(path(10), &longer);
            tally.judge(&disk, &format!("longer by {more} of {fill}"));
        }
        // Its own end again: a footer, though not at its place.
        let longer = [&bytes[..], &bytes[FILE - 96.max(more).min(FILE)..]].concat();
        disk.write_file(path(10), &longer);
        tally.judge(&disk, &format!("longer by its own last {more}"));
    }
    tally.report("every length");
    assert_eq!((tally.same, tally.total()), (0, FILE as u64 + 18));
}

#[test]
fn every_zeroed_garbled_copied_and_swapped_part_is_told() {
    let (disk, bytes) = sample();
    let mut tally = Tally::default();
    let mut rng = Rng::with_seed(1);
    for unit in [64, 512, 520, 1024] {
        let parts: Vec<_> =
            (0..FILE.div_ceil(unit)).map(|n| n * unit..FILE.min((n + 1) * unit)).collect();
        for part in &parts {
            let mut put = |how: &str, change: &mut dyn FnMut(&mut [u8])| {
                let mut damaged = bytes.clone();
                change(&mut damaged[part.clone()]);
                if damaged != bytes {
                    disk.write_file(path(10), &damaged);
                    tally.judge(&disk, &format!("{how} {part:?}"));
                }
            };
            put("zeroed", &mut |b| b.fill(0));
            put("ones", &mut |b| b.fill(0xff));
            put("garbled", &mut |b| rng.fill(b));
            for other in &parts {
                let len = part.len().min(other.len());
                put("copied", &mut |b| b[..len].copy_from_slice(&bytes[other.start..][..len]));
            }
        }
        for (n, a) in parts.iter().enumerate() {
            for b in &parts[n + 1..] {
                let mut damaged = bytes.clone();
                let len = a.len().min(b.len());
                damaged[a.start..][..len].copy_from_slice(&bytes[b.start..][..len]);
                damaged[b.start..][..len].copy_from_slice(&bytes[a.start..][..len]);
                if damaged != bytes {
                    disk.write_file(path(10), &damaged);
                    tally.judge(&disk, &format!("swapped {a:?} and {b:?}"));
                }
            }
        }
    }
    // Whole chunks, each sound in itself.
    for (a, b) in [(0, 1), (1, 0)] {
        let mut damaged = bytes.clone();
        let place = |n: usize| HEADER + n * 520..HEADER + (n + 1) * 520;
        damaged[place(a)].copy_from_slice(&bytes[place(b)]);
        disk.write_file(path(10), &damaged);
        tally.judge(&disk, &format!("chunk {b} in the place of {a}"));
    }
    tally.report("parts");
    assert_eq!(tally.same, 0);
    assert!(tally.total() > 1_000);
}

#[test]
fn parts_of_another_file_are_told() {
    let (disk, bytes) = sample();
    let mut tally = Tally::default();
    let other = support::disk(2);
    for len in [LEN, LEN - 1, 0] {
        // The same snapshot, of the same node, written another time; its file has another salt.
        other.delete(DIR);
        write(&open(&other), 10, len).unwrap();
        let theirs = other.read_file(path(10)).unwrap();
        let mut judge = |mixed: Vec<u8>, what: &str| {
            if mixed != bytes && mixed != theirs {
                disk.write_file(path(10), &mixed);
                tally.judge(&disk, what);
            }
        };
        for border in (1..bytes.len()).filter(|b| b % 8 == 0 || (b - HEADER.min(*b)) % 520 < 8) {
            let mixed = [&bytes[..border], theirs.get(border..).unwrap_or_default()].concat();
            judge(mixed, &format!("ours to {border}, then theirs"));
            let mixed = [&theirs[..border.min(theirs.len())], &bytes[border..]].concat();
            judge(mixed, &format!("theirs to {border}, then ours"));
        }
        for (from, len) in [(512, 520), (1032, 520), (1552, 108)] {
            if theirs.len() < from + len {
                continue;
            }
            let mut mixed = bytes.clone();
            mixed[from..from + len].copy_from_slice(&theirs[from..from + len]);
            judge(mixed, &format!("their chunk at {from}"));
        }
    }
    tally.report("two files mixed");
    assert_eq!(tally.same, 0);
    assert!(tally.total() > 1_000);
}

#[test]
fn renamed_and_swapped_files_name_both_snapshots() {
    let disk = disk(1);
    let snaps = open(&disk);
    for index in [10, 20] {
        write(&snaps, index, LEN).unwrap();
    }
    let infos = snaps.list().unwrap().usable;
    let [first, second] = [10, 20].map(|index| disk.read_file(path(index)).unwrap());
    disk.write_file(path(10), &second);
    disk.write_file(path(20), &first);
    disk.write_file(path(30), &first);
    let listing = snaps.list().unwrap();
    assert!(listing.usable.is_empty());
    for (unusable, (named, inside)) in listing.unusable.iter().zip([(30, 10), (20, 10), (10, 20)]) {
        let Error::Corrupt(c) = &unusable.error else { panic!("{}", unusable.error) };
        assert_eq!((c.kind, unusable.id), (CorruptKind::Name, id(named)));
        assert_eq!(c.path, path(named));
        assert!(c.expected.contains(&format!("index {named}")), "{c}");
        assert!(c.found.contains(&format!("index {inside}")), "{c}");
    }
    for info in infos {
        assert!(snaps.verify(&info).unwrap_err().is_corrupt());
    }
}

#[test]
fn a_file_that_changed_since_it_was_listed_is_told() {
    let (disk, _) = sample();
    let snaps = open(&disk);
    let info = snaps.newest_usable().unwrap().unwrap();
    let reader = snaps.reader(&info).unwrap();
    disk.delete(path(10));
    write(&snaps, 10, LEN).unwrap();
    let Error::Corrupt(c) = snaps.verify(&info).unwrap_err() else { panic!() };
    assert_eq!((c.kind, &*c.path), (CorruptKind::FileHash, &*path(10)));
    // Damage under an open reader is told when it is read.
    drop(reader);
    let info = snaps.newest_usable().unwrap().unwrap();
    let mut reader = snaps.reader(&info).unwrap();
    disk.mutate(path(10), |bytes| bytes.truncate(1200));
    let mut bytes = Vec::new();
    let error = reader.read_to_end(&mut bytes).unwrap_err();
    let Some(Error::Corrupt(c)) = Error::of(&error) else { panic!("{error}") };
    assert_eq!((c.kind, c.offset), (CorruptKind::Chunk, 1200));
    assert_eq!(bytes, data(10, LEN)[..CHUNK], "what was before is right");
}

#[test]
fn a_hash_that_is_wrong_though_every_checksum_is_right_is_told() {
    let (disk, bytes) = sample();
    let header = Header::decode(&bytes[..HEADER]).unwrap();
    let mut footer = {
        let raw = bytes[FILE - FOOTER_LEN..].first_chunk().unwrap();
        Footer::decode(raw, &bytes[..HEADER], header.salt).unwrap()
    };
    footer.data_hash[7] ^= 1;
    footer = Footer::new(&bytes[..HEADER], footer.chunks, footer.data_len, footer.data_hash);
    disk.mutate(path(10), |b| b[FILE - FOOTER_LEN..].copy_from_slice(&footer.encode(header.salt)));
    let snaps = open(&disk);
    let info = snaps.newest_usable().unwrap().unwrap();
    let Error::Corrupt(c) = snaps.verify(&info).unwrap_err() else { panic!() };
    assert_eq!(c.kind, CorruptKind::DataHash);
    let mut bytes = Vec::new();
    assert!(snaps.reader(&info).unwrap().read_to_end(&mut bytes).is_err());
    assert_eq!(bytes.len(), 2 * CHUNK, "the last chunk is not handed out");
}

#[test]
fn every_bit_flip_in_an_unfinished_transfer_costs_some_chunks_and_nothing_else() {
    let disk = disk(1);
    let snaps = open(&disk);
    let mut receiver = snaps.receiver(&announcement(10, LEN)).unwrap();
    receiver.put(0, &data(10, LEN)[..CHUNK]).unwrap();
    receiver.put(1, &data(10, LEN)[CHUNK..2 * CHUNK]).unwrap();
    drop(receiver);
    let part = path(10).with_extension("part");
    let bytes = disk.read_file(&part).unwrap();
    let mut resumed = BTreeMap::<_, u64>::new();
    for at in 0..bytes.len() {
        let disk = disk.fork();
        disk.mutate(&part, |bytes| bytes[at] ^= 1 << (at % 8));
        let snaps = open(&disk);
        let receiver = snaps.receiver(&announcement(10, LEN)).unwrap();
        *resumed.entry(receiver.resumed()).or_default() += 1;
        drop(receiver);
        let info = receive(&snaps, 10, LEN).unwrap();
        assert_eq!(read(&snaps, &info).unwrap(), data(10, LEN), "byte {at}");
    }
    announce(&format!("{} flips; chunks taken over: {resumed:?}", bytes.len()));
    assert_eq!(resumed, BTreeMap::from([(0, 512 + 520), (1, 520)]));
}

/// A header and a footer with fields that cannot be, and right checksums.
fn forged(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let mut header = Header::decode(&bytes[..HEADER]).unwrap();
    let odd = |rng: &mut Rng| [0, 1, u64::MAX, u64::MAX / 2, rng.u64(..)][rng.usize(..5)];
    match rng.u8(..7) {
        0 => header.chunk_len = odd(rng) as u32,
        1 => header.chunk_len = rng.u32(512..=CHUNK_MAX),
        2 => header.index = odd(rng),
        3 => header.term = odd(rng),
        4 => header.announced = Some((odd(rng), [0; 32])),
        5 => header.conf_state = vec![1; rng.usize(..2000)],
        _ => header.salt = odd(rng) as u32,
    }
    let raw = header.encode().unwrap();
    let (chunks, data_len) = match rng.u8(..3) {
        0 => (3, LEN as u64),
        1 => (odd(rng) as u32, odd(rng)),
        _ => (rng.u32(..9), rng.u64(..4000)),
    };
    let footer = Footer::new(&raw, chunks, data_len, [0; 32]).encode(header.salt);
    [&raw, &bytes[HEADER..FILE - FOOTER_LEN], &footer[..]].concat()
}

/// Bytes that are no snapshot, though some of them were one.
fn mutated(rng: &mut Rng, bytes: &[u8]) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for _ in 0..rng.usize(1..4) {
        let at = rng.usize(..damaged.len().max(1));
        let len = rng.usize(..=(damaged.len() - at).min(600));
        match rng.u8(..7) {
            0 => damaged[at..at + len].fill(0),
            1 => rng.fill(&mut damaged[at..at + len]),
            2 => drop(damaged.drain(at..at + len)),
            3 => {
                let copy = damaged[at..at + len].to_vec();
                damaged.splice(at..at, copy);
            }
            4 => damaged.truncate(at),
            5 if !damaged.is_empty() => damaged[at] = rng.u8(..),
            _ => damaged.rotate_left(at),
        }
        if damaged.is_empty() {
            break;
        }
    }
    damaged
}

#[test]
fn no_bytes_panic_or_are_taken_for_other_data() {
    let (disk, bytes) = sample();
    let mut tally = Tally::default();
    for seed in seeds(40_000) {
        let mut rng = Rng::with_seed(seed);
        let damaged = match rng.u8(..4) {
            0 => forged(&mut rng, &bytes),
            _ => mutated(&mut rng, &bytes),
        };
        disk.write_file(path(10), &damaged);
        if damaged == bytes || footer_is_of_nothing(&disk) {
            continue;
        }
        tally.judge(&disk, &format!("RAFT_SNAP_SEED={seed}"));
    }
    tally.report("random bytes");
    assert_eq!(tally.same, 0);
}

/// A forged file can be usable and damaged inside; that its data are refused is seen here.
fn footer_is_of_nothing(disk: &SimVfs) -> bool {
    let snaps = open(disk);
    let Some(info) = snaps.list().unwrap().usable.pop() else { return false };
    if info.meta == meta(10) && info.chunks == 3 {
        return false;
    }
    assert!(snaps.verify(&info).is_err(), "it was made with another hash");
    true
}

#[test]
fn random_bytes_as_an_unfinished_transfer_are_never_taken_over() {
    let (_, bytes) = sample();
    let part = path(10).with_extension("part");
    for seed in seeds(3_000) {
        let mut rng = Rng::with_seed(seed);
        let disk = disk(1);
        let snaps = open(&disk);
        disk.write_file(&part, &mutated(&mut rng, &bytes));
        let info = receive(&snaps, 10, LEN).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(read(&snaps, &info).unwrap(), data(10, LEN), "RAFT_SNAP_SEED={seed}");
        assert_eq!((info.identity, indexes(&snaps)), (IDENTITY, vec![10]));
    }
}

#[test]
fn no_length_in_a_file_makes_the_reader_ask_for_memory_that_the_file_has_not() {
    let (disk, bytes) = sample();
    let header = Header::decode(&bytes[..HEADER]).unwrap();
    let longest = Header { chunk_len: CHUNK_MAX, ..header };
    let raw = longest.encode().unwrap();
    for data_len in [u64::MAX, 1 << 60, u64::from(CHUNK_MAX) * 1000, u64::from(CHUNK_MAX)] {
        let chunks = u32::try_from(data_len.div_ceil(CHUNK_MAX.into())).unwrap_or(u32::MAX);
        let footer = Footer::new(&raw, chunks, data_len, [0; 32]).encode(longest.salt);
        disk.write_file(path(10), &[&raw, &bytes[HEADER..FILE - 96], &footer[..]].concat());
        let error = open(&disk).list().unwrap().unusable.remove(0).error;
        let Error::Corrupt(c) = error else { panic!("{error}") };
        assert_eq!(c.kind, CorruptKind::Length, "{c}");
    }
    let names: Vec<PathBuf> =
        disk.list(Path::new(DIR)).unwrap().iter().map(|e| e.name.clone().into()).collect();
    assert_eq!(names.len(), 1);
}
