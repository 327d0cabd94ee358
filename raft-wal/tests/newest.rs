//! The newest segment is lost while the next process starts: at whatever call that process died,
//! the loss is proven by what IDENT says, and never taken for a younger or an empty log.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use raft_vfs::SimVfs;
use raft_vfs::sim::{KeepAll, KeepNothing};
use raft_wal::error::CorruptKind;
use raft_wal::{Batch, Entry, EntryKind, Error, Options, Wal};

const DIR: &str = "/log";

fn options() -> Options {
    Options::new().segment_bytes(16 << 10)
}

fn batch(index: u64) -> Batch {
    let data = Bytes::from(vec![index as u8; 100]);
    Batch::of_entries(vec![Entry { index, term: 1, kind: EntryKind::Normal, data }])
}

/// A log of one segment with acknowledged entries, left without a goodbye.
fn one_segment() -> SimVfs {
    let disk = SimVfs::new(7);
    let (mut wal, _) = Wal::open(disk.clone(), DIR, &options()).unwrap();
    for index in 1..=5 {
        let ticket = wal.append(&batch(index)).unwrap();
        wal.wait(ticket).unwrap();
    }
    disk.fork()
}

fn segments(disk: &SimVfs) -> Vec<PathBuf> {
    let mut found = disk.paths();
    found.retain(|p| p.extension().is_some_and(|e| e == "seg"));
    found.sort();
    found
}

/// What the next process does: opens, appends, syncs; returns whether it lived to the end.
fn next_life(disk: &SimVfs) -> bool {
    let lived = Wal::open(disk.clone(), DIR, &options()).and_then(|(mut wal, _)| {
        let ticket = wal.append(&batch(6))?;
        wal.wait(ticket)
    });
    lived.is_ok()
}

#[test]
fn the_loss_of_the_segment_that_a_dying_start_stood_on_is_never_silent() {
    let (mut deaths, mut before_its_start) = (0, 0);
    for call in 1.. {
        let disk = one_segment();
        disk.crash_at_call(call);
        let lived = next_life(&disk);
        for rest in [disk.power_cut(&mut KeepAll), disk.power_cut(&mut KeepNothing)] {
            let old = Path::new(DIR).join("wal").join("00000000000000000001.seg");
            let others = segments(&rest).len() - 1;
            rest.delete(&old);
            let opened = Wal::open(rest, DIR, &options());
            match opened {
                Err(Error::Corrupt(c)) => {
                    assert_eq!(c.kind, CorruptKind::MissingSegment, "died at call {call}: {c}");
                }
                other => panic!("died at call {call}: {other:?}"),
            }
            before_its_start += usize::from(!lived && others > 0);
        }
        deaths += 1;
        if lived {
            break;
        }
    }
    // It died at many calls, some of them between the new segment's name and its first batch.
    assert!(deaths > 20 && before_its_start > 4, "{deaths} deaths, {before_its_start}");
}
