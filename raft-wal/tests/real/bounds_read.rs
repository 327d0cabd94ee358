//! Sizes at their bounds, options at their bounds, and reads with every odd range.

use bytes::Bytes;
use raft_vfs::OsVfs;
use raft_wal::{Batch, Entry, EntryKind, Error, Options, ReadMode, ReadOnly, Result, Verify};

use crate::bounds::{Pair, small};
use crate::support::model::Model;
use crate::workload::{assert_says, entry, open, read_all};

const MAX: u64 = u64::MAX;

fn payload(index: u64, len: u64) -> Batch {
    let data = Bytes::from(vec![0xa5; usize::try_from(len).expect("it fits memory")]);
    Batch::of_entries(vec![Entry { index, term: 1, kind: EntryKind::Normal, data }])
}

#[test]
fn a_payload_of_the_configured_maximum_is_taken_and_one_byte_more_is_not() {
    for max in [0, 1, 7, 1000, 16 << 20] {
        let mut pair = Pair::new(small().max_entry_bytes(max));
        let (found, bound) = (format!("{} bytes", max + 1), format!("maximum is {max}"));
        pair.refuse(&payload(1, max + 1), &["payload", &found, &bound, "split it", "option"]);
        pair.take(&payload(1, 0));
        pair.take(&payload(2, max));
        pair.refuse(&payload(3, max + 1), &["payload", &found, &bound]);
        pair.take(&payload(3, max.saturating_sub(1)));
        pair.reopen();
    }
}

#[test]
fn the_largest_payload_of_the_format_comes_back() {
    let max = (256 << 20) - 1;
    let options = Options::new().max_entry_bytes(max).max_batch_bytes(1 << 30);
    let temp = tempfile::tempdir().unwrap();
    let (mut wal, _) = open(temp.path(), &options).unwrap();
    let ticket = wal.append(&payload(1, max)).unwrap();
    wal.wait(ticket).unwrap();
    drop(wal);
    let (wal, _) = open(temp.path(), &options).unwrap();
    let data = wal.entry(1).unwrap().data;
    assert!(data.len() as u64 == max && data.iter().all(|&b| b == 0xa5));
}

#[test]
fn a_batch_of_exactly_the_maximum_is_taken_and_the_next_size_is_not() {
    for option in [4096, 1 << 20, 8 << 20] {
        let mut pair = Pair::new(small().max_batch_bytes(option));
        let Error::TooLarge { max, .. } = pair.refuse(&payload(1, 9 << 20), &["a batch", "split"])
        else {
            panic!("another refusal");
        };
        assert!((4096..=option).contains(&max));
        // A frame is a header of 48 bytes and, for each entry, 16 bytes and a multiple of 8.
        let fits = max / 8 * 8 - 48 - 16;
        let (size, bound) = (format!("{} bytes", fits + 64 + 8), format!("maximum is {max}"));
        pair.refuse(&payload(1, fits + 1), &["a batch", &size, &bound, "split it", "option"]);
        pair.take(&payload(1, fits));
        let small_ones = |n: u64| Batch::of_entries((2..2 + n).map(|i| entry(i, 1, 0)).collect());
        let n = (max - 48) / 16;
        pair.refuse(&small_ones(n + 1), &["a batch", &bound]);
        pair.take(&small_ones(n));
        pair.reopen();
    }
}

#[test]
fn an_option_outside_its_bounds_is_refused_before_anything_is_made() {
    let o = Options::new;
    let cases = [
        (o().segment_bytes(0), "segment_bytes", 0, "16 KiB to 4 GiB"),
        (o().segment_bytes((16 << 10) - 1), "segment_bytes", 16_383, "16 KiB to 4 GiB"),
        (o().segment_bytes((4 << 30) + 1), "segment_bytes", (4 << 30) + 1, "16 KiB to 4 GiB"),
        (o().segment_bytes(MAX), "segment_bytes", MAX, "16 KiB to 4 GiB"),
        (o().max_entry_bytes(256 << 20), "max_entry_bytes", 256 << 20, "less than 256 MiB"),
        (o().max_entry_bytes(MAX), "max_entry_bytes", MAX, "less than 256 MiB"),
        (o().max_batch_bytes(0), "max_batch_bytes", 0, "4 KiB to 1 GiB"),
        (o().max_batch_bytes(4095), "max_batch_bytes", 4095, "4 KiB to 1 GiB"),
        (o().max_batch_bytes((1 << 30) + 1), "max_batch_bytes", (1 << 30) + 1, "4 KiB to 1 GiB"),
        (o().max_batch_bytes(MAX), "max_batch_bytes", MAX, "4 KiB to 1 GiB"),
        (o().max_unsynced_bytes(MAX), "max_unsynced_bytes", MAX, "at most 1 GiB"),
        (o().align(0), "align", 0, "1, 512 or 4096"),
        (o().align(513), "align", 513, "1, 512 or 4096"),
        (o().align(MAX), "align", MAX, "1, 512 or 4096"),
        (o().initial_index(MAX), "initial_index", MAX, "less than u64::MAX"),
    ];
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    for (options, name, found, expected) in cases {
        let e = open(&dir, &options).unwrap_err();
        assert!(matches!(e, Error::Option { .. }), "{e}");
        assert_says(&e, &[name, &found.to_string(), "expected", expected]);
        let e = ReadOnly::open(OsVfs, &dir, &options).unwrap_err();
        assert!(matches!(e, Error::Option { .. }), "{e}");
        assert!(!dir.exists(), "{name}");
    }
}

#[test]
fn a_log_works_with_every_option_at_its_bounds() {
    let o = small;
    let cases = [
        o().segment_bytes(16 << 10),
        o().segment_bytes((16 << 10) + 1),
        o().segment_bytes(4 << 30),
        o().max_entry_bytes(3000).max_batch_bytes(4096),
        o().max_batch_bytes(1 << 30),
        o().max_unsynced_bytes(0),
        o().max_unsynced_bytes(1 << 30),
        o().tail_cache_bytes(0),
        o().tail_cache_bytes(MAX),
        o().align(512),
        o().align(4096),
        o().align(4096).max_unsynced_bytes(0).tail_cache_bytes(0).read_mode(ReadMode::Pread),
        o().verify(Verify::Full),
        o().verify(Verify::Tail).read_mode(ReadMode::Pread),
    ];
    for options in cases {
        let mut pair = Pair::new(options);
        for round in 0..3 {
            for i in 0..12 {
                let next = pair.log.next();
                let batch = Batch::of_entries(vec![entry(next, 1, i * 250), entry(next + 1, 1, 1)]);
                pair.take(&batch);
            }
            let middle = pair.log.next() - 5;
            pair.take(&Batch {
                compact: Some(middle - 3),
                truncate: Some(middle),
                ..payload(middle, 9)
            });
            pair = pair.reopen();
            if round == 1 {
                let Pair { wal, temp, options, log } = pair;
                wal.close().unwrap();
                let (wal, _) = open(temp.path(), &options).unwrap();
                assert_eq!(read_all(&wal).unwrap(), log);
                pair = Pair { wal, temp, options, log };
            }
        }
    }
}

/// What a range read must give.
fn expected(log: &Model, low: u64, high: u64, max_bytes: u64) -> Result<Vec<Entry>, &'static str> {
    if low >= high {
        return Ok(Vec::new());
    }
    if low < log.first {
        return Err("was compacted");
    }
    if high > log.next() {
        return Err("is not in the log");
    }
    let (mut out, mut bytes) = (Vec::new(), 0);
    for e in &log.entries[(low - log.first) as usize..(high - log.first) as usize] {
        bytes += e.data.len() as u64;
        if !out.is_empty() && bytes > max_bytes {
            break;
        }
        out.push(e.clone());
    }
    Ok(out)
}

/// Numbers at, around and far from the bounds of a log.
fn odd(log: &Model) -> Vec<u64> {
    let middle = log.first + log.entries.len() as u64 / 2;
    let mut numbers = vec![0, 1, 2, middle, middle + 1, MAX / 2, MAX - 1, MAX];
    for near in [log.first, log.next()] {
        numbers.extend([near.saturating_sub(2), near.saturating_sub(1), near]);
        numbers.extend([near.saturating_add(1), near.saturating_add(2)]);
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Asks with every pair of odd numbers, and every odd index for its term.
fn ask_everything(
    log: &Model,
    entries: impl Fn(u64, u64, u64) -> Result<Vec<Entry>>,
    term: impl Fn(u64) -> Result<Option<u64>>,
) {
    for low in odd(log) {
        for high in odd(log) {
            for max_bytes in [0, 1, 99, 100, 101, 1000, MAX] {
                let (got, want) =
                    (entries(low, high, max_bytes), expected(log, low, high, max_bytes));
                match (got, want) {
                    (Ok(got), Ok(want)) => {
                        assert_eq!(got, want, "[{low}, {high}) up to {max_bytes} of {log:?}");
                    }
                    (Err(e), Err(what)) => {
                        assert!(matches!(e, Error::Compacted { .. } | Error::Unavailable { .. }));
                        let bound = if what == "was compacted" { log.first } else { log.next() };
                        assert_says(&e, &[what, &bound.to_string()]);
                    }
                    (got, want) => panic!("[{low}, {high}) of {log:?}: {got:?} not {want:?}"),
                }
            }
        }
        match term(low) {
            Ok(got) => assert_eq!(got, log.term(low), "the term of {low} in {log:?}"),
            Err(Error::Compacted { index, first_index }) => {
                assert_eq!((index, first_index), (low, log.first));
                assert!(low < log.first && low.checked_add(1) != Some(log.first));
            }
            Err(Error::Unavailable { index, next_index }) => {
                assert_eq!((index, next_index), (low, log.next()));
                assert!(low >= log.next() && low.checked_add(1) != Some(log.first));
            }
            Err(e) => panic!("the term of {low} in {log:?}: {e}"),
        }
    }
}

/// Asks the open log, a reader, and the log reopened in each way.
fn ask_in_every_way(pair: Pair) {
    let ask = |pair: &Pair| {
        ask_everything(&pair.log, |l, h, m| pair.wal.entries(l, h, m), |i| pair.wal.term(i));
        for index in odd(&pair.log) {
            match pair.wal.entry(index) {
                Ok(e) => assert_eq!(Some(&e), pair.log.entry(index)),
                Err(Error::Compacted { .. }) => assert!(index < pair.log.first),
                Err(Error::Unavailable { .. }) => assert!(index >= pair.log.next()),
                Err(e) => panic!("entry {index}: {e}"),
            }
        }
    };
    ask(&pair);
    let (reader, _) = ReadOnly::open(OsVfs, pair.temp.path(), &pair.options).expect("it opens");
    ask_everything(&pair.log, |l, h, m| reader.entries(l, h, m), |i| reader.term(i));
    let mut pair = pair;
    for mode in [ReadMode::Map, ReadMode::Pread] {
        pair.options = pair.options.clone().read_mode(mode).tail_cache_bytes(0);
        pair = pair.reopen();
        ask(&pair);
    }
    let Pair { wal, temp, options, log } = pair;
    wal.close().expect("it closes");
    let (wal, _) = open(temp.path(), &options).expect("it opens");
    ask(&Pair { wal, temp, options, log });
}

#[test]
fn every_odd_range_of_an_empty_log_is_empty_or_unavailable() {
    for initial in [0, 1, 1000, MAX - 1] {
        ask_in_every_way(Pair::new(small().initial_index(initial)));
    }
}

#[test]
fn every_odd_range_gives_the_entries_or_says_which_bound_it_breaks() {
    for initial in [0, 1, MAX - 90] {
        let mut pair = Pair::new(small().initial_index(initial));
        let entries = |at: u64, n: u64, term| (at..at + n).map(|i| entry(i, term, 100)).collect();
        for term in 1..20 {
            let batch = Batch::of_entries(entries(pair.log.next(), 4, term));
            pair.take(&batch);
        }
        // Across segments: some cut, some compacted, one overwritten.
        let next = pair.log.next();
        pair.take(&Batch { truncate: Some(next - 9), ..Batch::default() });
        pair.take(&Batch { compact: Some(initial + 7), ..Batch::default() });
        pair.take(&Batch::of_entries(entries(next - 20, 8, 30)));
        pair.take(&Batch::of_entries(vec![entry(next - 12, 31, 0), entry(next - 11, 31, 9000)]));
        ask_in_every_way(pair);
    }
}

#[test]
fn a_log_that_was_emptied_answers_for_the_entry_before_it_and_no_other() {
    let mut pair = Pair::new(small());
    pair.take(&Batch::of_entries((1..30).map(|i| entry(i, i, 700)).collect()));
    pair.take(&Batch { compact: Some(30), ..Batch::default() });
    assert_eq!(pair.wal.term(29).unwrap(), Some(29));
    ask_in_every_way(pair);
}

#[test]
fn every_duty_of_an_empty_log_has_nothing_to_do() {
    let mut pair = Pair::new(small());
    let wal = &mut pair.wal;
    wal.sync().unwrap();
    wal.write_through().unwrap();
    assert!(!wal.step_publish().unwrap() && !wal.step_index().unwrap());
    assert!(!wal.step_mark(std::time::Duration::MAX).unwrap());
    assert_eq!(wal.step_gc().unwrap(), 0);
    wal.step_all(std::time::Duration::ZERO).unwrap();
    assert!(wal.recovered_durable() && wal.poisoned().is_none());
    let pair = pair.reopen();
    pair.wal.close().unwrap();
    let names = std::fs::read_dir(pair.temp.path().join("wal")).unwrap();
    assert_eq!(names.count(), 0, "an open without an append makes no segment");
}
