//! A reader is the data: any sequence of reads and seeks on it gives what the same sequence on the
//! bytes in memory gives.

mod support;

use std::io::{Cursor, Read as _, Seek as _, SeekFrom};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::support::{CHUNK, data, disk, open, write};

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Seek(SeekFrom),
}

/// Mostly near the data, sometimes nowhere near.
fn step(len: usize) -> impl Strategy<Value = Step> {
    let near = i64::try_from(len).expect("lengths here are short") + 9;
    let offset = prop_oneof![8 => -near..=near, 1 => any::<i64>()];
    prop_oneof![
        (0..3 * CHUNK).prop_map(Step::Read),
        (0..=len as u64 + 9).prop_map(|at| Step::Seek(SeekFrom::Start(at))),
        any::<u64>().prop_map(|at| Step::Seek(SeekFrom::Start(at))),
        offset.clone().prop_map(|by| Step::Seek(SeekFrom::Current(by))),
        offset.prop_map(|by| Step::Seek(SeekFrom::End(by))),
    ]
}

fn history() -> impl Strategy<Value = (usize, Vec<Step>)> {
    (0..5 * CHUNK).prop_flat_map(|len| {
        let steps = proptest::collection::vec(step(len), 1..40);
        (Just(len), steps)
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(14),
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_reader_moves_and_reads_as_the_bytes_themselves((len, steps) in history()) {
        let snaps = open(&disk(1));
        let info = write(&snaps, 5, len).unwrap();
        let mut reader = snaps.reader(&info).unwrap();
        let mut bytes = Cursor::new(data(5, len));
        for step in steps {
            match step {
                Step::Read(count) => {
                    let (mut found, mut expected) = (Vec::new(), Vec::new());
                    reader.by_ref().take(count as u64).read_to_end(&mut found).unwrap();
                    bytes.by_ref().take(count as u64).read_to_end(&mut expected).unwrap();
                    prop_assert_eq!(found, expected);
                }
                Step::Seek(to) => match (reader.seek(to), bytes.seek(to)) {
                    (Ok(found), Ok(expected)) => prop_assert_eq!(found, expected),
                    (found, expected) => prop_assert!(found.is_err() && expected.is_err()),
                },
            }
            prop_assert_eq!(reader.stream_position().unwrap(), bytes.position());
        }
    }
}
