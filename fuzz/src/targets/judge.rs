//! What must hold of a log directory, whatever is in it.

use raft_vfs::SimVfs;
use raft_wal::error::LostRange;
use raft_wal::{
    Batch, Degraded, Entry, EntryKind, Error, HardState, Options, ReadMode, ReadOnly,
    RecoveryReport, Status, TailPolicy, Verification, Verify, VoteRule, Wal, verify,
};

use super::{dump, repaired};
use crate::native::FIRST_FRAME;
use crate::support::model::Model;
use crate::support::sim::{DIR, path, read_all};

/// Options out of one byte of an input. Segments are small, so that nothing takes long.
pub(super) fn options(byte: u8) -> Options {
    let bit = |n: u8| byte >> n & 1 == 1;
    Options::new()
        .create(false)
        .segment_bytes(16 << 10)
        .verify(Verify::Full)
        .read_mode(if bit(0) { ReadMode::Pread } else { ReadMode::Map })
        .vote_rule(if bit(1) { VoteRule::Unchecked } else { VoteRule::OncePerTerm })
        .align(if bit(2) { 512 } else { 1 })
}

/// Asserts, of the log in the usual place of `disk`:
///
/// - `verify`, a read-only opening, an open for reading what is sound, and an open that is refused
///   change no byte;
/// - `verify`, the read-only opening and the open say the same: all read the log, and then the
///   same log, or all refuse it, and then with the same words;
/// - of damage there is a file and an offset within it;
/// - a log that opens can be appended to, and comes back with what was appended, after a crash too;
/// - what is called sound of a damaged log can be read, and of an intact one it is all of it;
/// - other ways of opening it panic neither;
/// - a repair keeps what `repaired.rs` says;
/// - `wal-dump` prints valid JSON, and its verdict is the library's.
///
/// # Panics
/// If any of that does not hold.
pub(super) fn log(disk: &SimVfs, options: &Options, input: &[u8]) {
    let whole = disk;
    let disk = &whole.fork();
    // Index files are caches: what they say is judged apart from what the log says.
    for path in disk.paths().iter().filter(|p| p.extension().is_some_and(|e| e == "idx")) {
        disk.delete(path);
    }
    if disk.read_file(path("LOCK")).is_none() {
        disk.write_file(path("LOCK"), b"");
    }
    let before = disk.fingerprint();
    let verified = verify(disk.clone(), DIR, options);
    let looked = ReadOnly::open(disk.clone(), DIR, options);
    assert_eq!(disk.fingerprint(), before, "looking changed the disk");

    let fork = disk.fork();
    let opened = Wal::open(fork.clone(), DIR, options);
    agree(&verified, opened.as_ref().err());
    agree(&verified, looked.as_ref().err());
    let model = match opened {
        Err(e) => {
            assert_eq!(fork.fingerprint(), before, "a refused open changed the disk: {e}");
            named(&fork, &e);
            None
        }
        Ok((wal, report)) => {
            let model = read_all(&wal).expect("all of it was verified");
            assert_eq!((report.first_index, report.next_index), (model.first, model.next()));
            if let Ok((log, _)) = &looked {
                same_log(log, &model);
            }
            go_on(wal, &report, model.clone(), &fork, options);
            Some(model)
        }
    };
    degraded(disk, options, &verified, model.as_ref());
    assert_eq!(disk.fingerprint(), before, "reading what is sound changed the disk");
    other_ways(whole, options, model.as_ref());
    repaired::check(disk, options, model.as_ref());
    // The program does not know whose log it is, and so not whether votes may change.
    let unchecked = verify(disk.clone(), DIR, &options.clone().vote_rule(VoteRule::Unchecked));
    dump::check(disk, DIR, unchecked.as_ref().ok().map(|v| word(v.status)), input);
    assert_eq!(disk.fingerprint(), before, "a dump changed the disk");
}

/// The word that JSON has for it.
fn word(status: Status) -> &'static str {
    match status {
        Status::Intact => "intact",
        Status::TornTail => "torn_tail",
        Status::LiveTail => "live_tail",
        Status::Corrupt => "corrupt",
    }
}

/// Verification and an opening, which failed if there is an error, must come to the same.
fn agree(verified: &Result<Verification, Error>, refused: Option<&Error>) {
    match (verified, refused) {
        // What is no file or directory stands in several ways.
        (Err(Error::Io { .. }), Some(_)) | (Err(_), Some(Error::Io { .. })) => {}
        (Err(v), Some(e)) => assert_eq!(v.to_string(), e.to_string(), "two reasons"),
        (Ok(v), None) => assert_ne!(v.status, Status::Corrupt, "{:?}", v.problems),
        (Ok(v), Some(Error::Corrupt(e))) => {
            assert_eq!(v.status, Status::Corrupt, "refused: {e}");
            assert_eq!(v.problems.first(), Some(&**e), "the first problem is the refusal's");
        }
        (v, e) => panic!("verification {v:?}, the opening {e:?}"),
    }
}

/// An error names a file, and a place in it if there is such a file.
fn named(disk: &SimVfs, error: &Error) {
    if let Error::Corrupt(c) = error {
        assert!(c.path.starts_with(DIR), "{c}");
        if let Some(bytes) = disk.read_file(&c.path) {
            assert!(
                c.offset <= bytes.len().max(FIRST_FRAME) as u64,
                "{c}, of {} bytes",
                bytes.len()
            );
        }
    }
}

/// The read-only opening holds what the open found.
fn same_log(log: &ReadOnly<SimVfs>, model: &Model) {
    assert_eq!((log.first_index(), log.next_index()), (model.first, model.next()));
    let entries = log.entries(model.first, model.next(), u64::MAX).expect("verified");
    assert!(entries == model.entries, "other entries, read only");
    let state = (log.hard_state(), log.snapshot(), log.metadata());
    assert_eq!(state, (model.hard_state, model.snapshot.as_ref(), model.metadata.as_ref()));
    assert!(log.blobs().eq(model.blobs.iter()), "other keyed values, read only");
}

/// Appends to the log, and reads it again after a restart.
fn go_on(
    mut wal: Wal<SimVfs>,
    report: &RecoveryReport,
    mut model: Model,
    disk: &SimVfs,
    options: &Options,
) {
    assert!(report.recovered_durable, "there is room");
    let term = model.last_term().unwrap_or(0).max(model.hard_state.term);
    let HardState { vote, commit, .. } = model.hard_state;
    let vote = if term == model.hard_state.term { vote } else { 0 };
    let data = bytes::Bytes::from_static(b"one more");
    let entry = Entry { index: model.next(), term, kind: EntryKind::Normal, data };
    let batch = Batch::of_entries(vec![entry]).with_hard_state(HardState { term, vote, commit });
    match wal.append(&batch) {
        Ok(ticket) => {
            model.apply(&batch);
            wal.wait(ticket).expect("a sound disk");
        }
        // Numbers have an end, and a hostile log may be there.
        Err(e) => assert!(at_the_end(&model, report), "{report}\n{batch:?}: {e}"),
    }
    assert_eq!(read_all(&wal).expect("still sound"), model, "after an append");
    wal.step_scrub(u64::MAX).expect("a sound disk");
    let copy = SimVfs::new(2);
    match wal.backup().and_then(|held| held.copy_to(&copy, DIR)) {
        Ok(_) => {
            let (wal, _) = Wal::open(copy, DIR, options).expect("a copy opens");
            assert_eq!(read_all(&wal).expect("just copied"), model, "a copy");
        }
        Err(e) => assert!(matches!(e, Error::Corrupt(_)), "a copy: {e}"),
    }
    let crashed = disk.power_cut(&mut raft_vfs::sim::KeepNothing);
    drop(wal);
    for (what, disk) in [("a power cut", &crashed), ("a restart", disk)] {
        let (wal, _) = Wal::open(disk.clone(), DIR, options)
            .unwrap_or_else(|e| panic!("it was open before {what}: {e}"));
        assert_eq!(read_all(&wal).expect("synced"), model, "after {what}");
    }
}

/// Whether an index, or a number of a file or a batch, is so high that there may be no next one.
fn at_the_end(model: &Model, report: &RecoveryReport) -> bool {
    const HIGH: u64 = u64::MAX / 2 - (1 << 20);
    model.next() > HIGH || report.era > HIGH
}

/// Everything that is said to be sound can be read.
fn degraded(
    disk: &SimVfs,
    options: &Options,
    verified: &Result<Verification, Error>,
    model: Option<&Model>,
) {
    let log = match (Wal::open_degraded(disk.clone(), DIR, options), verified) {
        (Ok(log), _) => log,
        // Of several reasons each may meet another one first.
        (Err(_), Err(_)) => return,
        (Err(e), Ok(v)) => {
            // Behind damage may stand what only a newer version knows to read.
            let unread = matches!(&e, Error::Corrupt(c) if c.path == path("IDENT"))
                || matches!(e, Error::Unsupported { .. });
            return assert!(unread && v.status == Status::Corrupt, "{e}, verified {v:?}");
        }
    };
    let _ = (log.hard_state(), log.snapshot(), log.metadata(), log.blobs().count());
    let refused = verified.as_ref().is_ok_and(|v| v.status == Status::Corrupt);
    assert!(!refused || !log.problems().is_empty(), "{verified:?}, and no problem");
    let intact = verified.as_ref().is_ok_and(|v| v.status == Status::Intact);
    match model {
        Some(model) if intact => undamaged(&log, model),
        _ => damaged(&log),
    }
}

/// A log without fault, read as if it were damaged.
fn undamaged(log: &Degraded<SimVfs>, model: &Model) {
    assert!(log.lost().is_empty() && log.problems().is_empty(), "{:?}", log.problems());
    let (first, next) = (log.first_index(), log.next_index());
    // Of a log that never held anything the first index is the options' affair.
    let unbegun = next == 0 && model.entries.is_empty();
    assert!(unbegun || (first, next) == (model.first, model.next()), "[{first}, {next}) {model:?}");
    let entries = log.entries(first, next, u64::MAX).expect("it opens");
    assert!(entries == model.entries, "other entries, degraded");
    assert!(entries.iter().all(|e| log.term(e.index) == Some(e.term)));
}

/// A log that is refused, or torn: each index within its bounds is there or lost, and none beyond.
fn damaged(log: &Degraded<SimVfs>) {
    let (first, next) = (log.first_index(), log.next_index());
    assert!(first <= next, "[{first}, {next})");
    let is_lost = |index| {
        let holds = |l: &LostRange| l.first <= index && l.last.is_none_or(|last| index <= last);
        log.lost().iter().any(holds)
    };
    for lost in log.lost() {
        let last = lost.last.unwrap_or(lost.first);
        assert!(first <= lost.first && lost.first <= last, "{lost} of [{first}, {next})");
        assert!(lost.last.is_none_or(|last| last < next), "{lost} of [{first}, {next})");
    }
    for index in (first..next).take(4096).chain([0, next.saturating_sub(1), next, u64::MAX]) {
        let within = (first..next).contains(&index);
        match log.entries(index, index.saturating_add(1), 0) {
            Ok(entries) => {
                let right = |e: &Entry| (e.index, Some(e.term)) == (index, log.term(index));
                assert!(entries.iter().all(right), "another entry {index}: {entries:?}");
                assert!(entries.is_empty() || (within && !is_lost(index)), "{index} is there");
            }
            Err(Error::Corrupt(c)) => assert!(is_lost(index), "{index} is not lost: {c}"),
            Err(Error::Compacted { .. }) => assert!(index < first, "{index} is compacted"),
            Err(Error::Unavailable { .. }) => assert!(!within, "{index} is neither there nor lost"),
            Err(e) => panic!("entry {index}: {e}"),
        }
    }
}

/// Openings that trust index files, and ones that refuse what is in doubt: they change nothing if
/// they refuse, and no entry that they give is another than the log's.
fn other_ways(disk: &SimVfs, options: &Options, model: Option<&Model>) {
    let by_index = options.clone().verify(Verify::Tail);
    let certain = options.clone().tail_policy(TailPolicy::RefuseAmbiguous);
    for options in [options, &by_index, &certain] {
        let disk = disk.fork();
        disk.write_file(path("LOCK"), b"");
        let before = disk.fingerprint();
        let Ok((wal, _)) = Wal::open(disk.clone(), DIR, options) else {
            assert_eq!(disk.fingerprint(), before, "a refused open changed the disk");
            continue;
        };
        let (first, next) = (wal.first_index(), wal.next_index());
        for index in (first..next).take(64) {
            let held = model.and_then(|m| m.entry(index));
            let _ = wal.term(index);
            match (wal.entry(index), held) {
                (Ok(entry), Some(held)) => assert_eq!(entry, *held, "another entry {index}"),
                (Ok(entry), None) => assert_eq!(entry.index, index),
                (Err(Error::Corrupt(_)), _) => {}
                (Err(e), _) => panic!("entry {index}: {e}"),
            }
        }
        let _ = wal.close();
    }
}
