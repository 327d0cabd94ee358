//! What an open verifies, by policy.

use raft_vfs::SimVfs;
use raft_wal::error::CorruptKind;
use raft_wal::{Error, Options, Verify};

use crate::support::lab::{Lab, flip, frames, recover, refused, small, state};
use crate::support::sim::{index_path, indexes, open, segment_path, segments};

/// A closed log with a flipped bit in a payload of a closed segment that has an index file; and
/// the segment, the frame's offset and its first index.
fn damaged() -> (SimVfs, u64, u64, u64) {
    let mut lab = Lab::new(small());
    lab.put(&state(1, 1, 0));
    for _ in 0..3 {
        lab.rotate();
    }
    let (disk, _) = lab.close();
    let seq = segments(&disk)[1];
    assert!(indexes(&disk).contains(&seq));
    let hurt = frames(&disk, seq).into_iter().rfind(|f| !f.offsets.is_empty()).unwrap();
    flip(&disk, segment_path(seq), hurt.end - 30);
    (disk, seq, hurt.offset, hurt.header.first_index)
}

#[test]
fn a_full_verification_refuses_a_flipped_bit_behind_an_index_file() {
    let (disk, seq, offset, _) = damaged();
    // A small log is read whole by default.
    for options in [small().verify(Verify::Full), small().verify(Verify::Auto), small()] {
        let c = refused(&disk, &options);
        assert_eq!((c.kind, c.path, c.offset), (CorruptKind::Batch, segment_path(seq), offset));
    }
}

#[test]
fn a_verification_of_the_tail_leaves_it_to_the_read_and_to_the_scrub() {
    let (disk, seq, offset, index) = damaged();
    let (mut wal, report) = open(&disk, &small().verify(Verify::Tail)).unwrap();
    assert!(report.indexed >= 2);
    assert!(matches!(wal.entry(index), Err(Error::Corrupt(c)) if c.path == segment_path(seq)));
    wal.entry(index + 1).unwrap();
    let step = wal.step_scrub(u64::MAX).unwrap();
    assert_eq!(step.found.len(), 1);
    assert_eq!((step.found[0].path(), step.found[0].offset()), (&*segment_path(seq), offset));
}

#[test]
fn a_verification_of_the_tail_reads_what_has_no_index_file() {
    let (disk, seq, offset, _) = damaged();
    disk.delete(index_path(seq));
    let c = refused(&disk, &small().verify(Verify::Tail));
    assert_eq!((c.path, c.offset), (segment_path(seq), offset));
}

/// By the files' sizes together: 256 MiB are read, more are trusted to their index files. The
/// files of this log are made longer than they need to be, which no one minds.
#[test]
fn the_default_reads_small_logs_whole_and_trusts_the_index_files_of_large_ones() {
    let mut lab = Lab::new(Options::new().segment_bytes(64 << 20));
    lab.put(&state(1, 1, 0));
    for _ in 0..5 {
        for _ in 0..66 {
            lab.add(1, 1 << 20);
        }
        lab.sync();
    }
    let (disk, _) = lab.close();
    let total: usize = segments(&disk)
        .into_iter()
        .map(|seq| disk.read_file(segment_path(seq)).unwrap().len())
        .sum();
    assert!(total > 256 << 20);
    let indexed = |verify| recover(&disk, &small().verify(verify)).1.indexed;
    assert_eq!(indexed(Verify::Auto), indexed(Verify::Tail));
    assert!(indexed(Verify::Tail) >= 3);
    assert_eq!(indexed(Verify::Full), 0);
}
