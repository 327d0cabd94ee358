//! A process that runs into its limits: file size, open files, rights, and a directory that goes
//! away. Limits are a process's own, so each test runs in a child.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use raft_wal::{Batch, Entry, Error, HardState, Options, Wal};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::child;
use crate::support::model::Model;
use crate::support::oracle::Issued;
use crate::workload::{announce, assert_says, digest, entry, open, read_all};

type Log = Wal<raft_vfs::OsVfs>;

/// The bodies of the children.
pub(crate) fn child(role: &str, dir: &Path, seed: u64) {
    match role {
        "no-room-for-a-segment" => no_room_for_a_segment(dir),
        "cut-off-in-a-write" => cut_off_in_a_write(dir, seed),
        "no-room-to-carry" => no_room_to_carry(dir),
        "no-room-at-all" => no_room_at_all(dir),
        "no-descriptors-at-open" => no_descriptors_at_open(dir),
        "no-descriptors-at-rotation" => no_descriptors_at_rotation(dir),
        other => panic!("unknown role {other}"),
    }
}

/// Sets the soft limit, or takes it away.
fn limit(resource: Resource, to: Option<u64>) {
    let maximum = getrlimit(resource).maximum;
    setrlimit(resource, Rlimit { current: to.or(maximum), maximum }).expect("a limit may be set");
}

fn limit_file_size(to: u64) {
    limit(Resource::Fsize, Some(to));
}

fn lift_file_size() {
    limit(Resource::Fsize, None);
}

/// Appends and waits; the model follows.
fn acked(wal: &mut Log, log: &mut Model, batch: &Batch) {
    let ticket = wal.append(batch).expect("the batch is taken");
    wal.wait(ticket).expect("the disk works");
    log.apply(batch);
    assert!(wal.is_durable(ticket));
}

fn one(log: &Model, len: usize) -> Batch {
    Batch::of_entries(vec![entry(log.next(), 1, len)])
}

fn same(wal: &Log, log: &Model) {
    let got = read_all(wal).expect("the log is readable");
    assert_eq!(got, *log);
}

/// What a child of this process left, judged by a process without limits.
fn left_behind(dir: &Path, said: &[String]) {
    let expected = said.iter().find_map(|l| l.strip_prefix("LEFT ")).expect("it came to its end");
    let (wal, report) = open(dir, &Options::new()).expect("the next open succeeds");
    let got = read_all(&wal).expect("the log is readable");
    assert_eq!(format!("{}", digest(&got)), expected, "{got:?}\n{report}");
}

#[test]
fn where_the_next_segment_does_not_fit_entries_are_refused_and_small_batches_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let said = child::run(child::command_without_xfsz("no-room-for-a-segment", &dir, 0));
    left_behind(&dir, &said);
}

fn no_room_for_a_segment(dir: &Path) {
    // The first segment has 4 MiB, the second would have 16 MiB.
    let (mut wal, _) = open(dir, &Options::new().segment_bytes(16 << 20)).expect("a new log");
    let mut log = Model::new(1);
    limit_file_size(8 << 20);
    let refused = loop {
        let batch = one(&log, 60_000);
        match wal.append(&batch) {
            Ok(_) => log.apply(&batch),
            Err(e) => break e,
        }
        assert!(log.next() < 1000, "the limit was never reached");
    };
    let too_large = io::Error::from_raw_os_error(rustix::io::Errno::FBIG.raw_os_error());
    assert!(matches!(refused, Error::NoSpace { .. }), "{refused}");
    assert_says(&refused, &["the next segment", &too_large.to_string(), "free space", "try again"]);
    same(&wal, &log);
    wal.sync().expect("what was taken before is as good as ever");
    same(&wal, &log);
    for round in 0..100_u64 {
        // Votes, commits, compactions and keyed values find room; entries are refused each time.
        let state = HardState { term: round + 1, vote: round % 3, commit: log.next() - 1 };
        acked(&mut wal, &mut log, &Batch::of_hard_state(state));
        let compact = Some(log.first + u64::from(log.next() > log.first + 10));
        acked(&mut wal, &mut log, &Batch { compact, ..Batch::default() });
        let blobs = vec![("key".into(), round.to_string().into())];
        acked(&mut wal, &mut log, &Batch { blobs, ..Batch::default() });
        let e = wal.append(&one(&log, 60_000)).expect_err("there is no room");
        assert!(matches!(e, Error::NoSpace { .. }), "{e}");
    }
    same(&wal, &log);
    assert_eq!(wal.poisoned(), None);
    let unfinished = fs::read_dir(dir.join("wal")).expect("a log").map(|e| e.expect("a name"));
    let unfinished = unfinished.filter(|e| e.file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(unfinished.count(), 0, "what could not be made was removed");
    lift_file_size();
    for _ in 0..10 {
        let batch = one_of_term(&log, 60_000);
        acked(&mut wal, &mut log, &batch);
    }
    same(&wal, &log);
    child::say(&format!("LEFT {}", digest(&log)));
    // It ends without a close, as a process that is killed does.
}

fn one_of_term(log: &Model, len: usize) -> Batch {
    Batch::of_entries(vec![Entry { term: log.hard_state.term, ..entry(log.next(), 1, len) }])
}

#[test]
fn a_write_cut_off_in_the_middle_poisons_the_log_and_a_reopen_has_everything_acknowledged() {
    let mut written_in_part = 0;
    for seed in 0..8 {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("log");
        let said = child::run(child::command_without_xfsz("cut-off-in-a-write", &dir, seed));
        let number = |word: &str| -> usize {
            let last = said.iter().rev().find_map(|l| l.strip_prefix(word)?.parse().ok());
            last.expect("the child said how far it came")
        };
        let mut issued = Issued::after(Model::new(1));
        for _ in 0..number("ISSUED ") {
            let mut next = issued.last().clone();
            next.apply(&one(&next, 3000));
            issued.states.push(next);
        }
        issued.acked = number("ACKED ");
        let (wal, report) = open(&dir, &Options::new()).expect("the next open succeeds");
        issued.legal(&read_all(&wal).unwrap()).unwrap_or_else(|e| panic!("{e}\n{report}"));
        written_in_part += u32::from(report.discarded.is_some());
        // It is an ordinary log again.
        drop(wal);
        let (mut wal, _) = open(&dir, &Options::new()).unwrap();
        let mut log = read_all(&wal).unwrap();
        for _ in 0..10 {
            let batch = one(&log, 3000);
            acked(&mut wal, &mut log, &batch);
        }
        same(&wal, &log);
    }
    announce(&format!("8 writes hit the file size limit, {written_in_part} inside a batch"));
    assert!(written_in_part > 0, "no write was ever cut off inside a batch");
}

fn cut_off_in_a_write(dir: &Path, seed: u64) {
    let (mut wal, _) = open(dir, &Options::new().segment_bytes(1 << 20)).expect("a new log");
    let mut log = Model::new(1);
    for _ in 0..10 {
        let batch = one(&log, 3000);
        acked(&mut wal, &mut log, &batch);
    }
    let durable = log.clone();
    // Somewhere in the middle of a segment that is there in full; batches go out four at a time.
    limit_file_size(60_000 + 997 * seed);
    let mut groups = 0;
    let (mut acknowledged, first) = (durable, wal.next_index());
    let failed = loop {
        for _ in 0..4 {
            let batch = one(&log, 3000);
            wal.append(&batch).expect("an append writes nothing yet");
            log.apply(&batch);
        }
        match wal.sync() {
            Ok(()) => acknowledged = log.clone(),
            Err(e) => break e,
        }
        groups += 1;
        assert!(groups < 100, "the limit was never reached");
    };
    lift_file_size();
    let too_large = io::Error::from_raw_os_error(rustix::io::Errno::FBIG.raw_os_error());
    let segment = format!("wal/{:020}.seg", 1);
    assert!(matches!(failed, Error::Poisoned { .. }), "{failed}");
    assert_says(&failed, &[&segment, &too_large.to_string(), "in doubt", "reopen"]);
    assert!(wal.poisoned().is_some());
    // Nothing is retried, although the disk would work again.
    for again in [wal.append(&one(&log, 10)).map(drop), wal.sync(), wal.write_through()] {
        assert!(matches!(again, Err(Error::Poisoned { .. })), "{again:?}");
    }
    // What was durable is readable; what was not is in doubt, and not served.
    let sound = wal.entries(1, acknowledged.next(), u64::MAX).expect("durable entries");
    assert_eq!(sound, acknowledged.entries);
    let doubtful = wal.entry(acknowledged.next());
    assert!(matches!(doubtful, Err(Error::Poisoned { .. })), "{doubtful:?}");
    assert!(acknowledged.next() >= first);
    child::say(&format!("ACKED {}", acknowledged.entries.len()));
    child::say(&format!("ISSUED {}", log.entries.len()));
}

#[test]
fn an_open_that_finds_no_room_to_write_again_what_is_unproven_serves_it_and_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    {
        let (mut wal, _) = open(&dir, &Options::new()).unwrap();
        let mut log = Model::new(1);
        let batch = one(&log, 100);
        acked(&mut wal, &mut log, &batch);
        // Written, but not proven: no later promise speaks of it.
    }
    let said = child::run(child::command_without_xfsz("no-room-to-carry", &dir, 0));
    left_behind(&dir, &said);
}

fn no_room_to_carry(dir: &Path) {
    limit_file_size(64 << 10);
    let (mut wal, report) = open(dir, &Options::new()).expect("opening needs no space");
    assert!(report.carried > 0 && !report.recovered_durable, "{report}");
    assert!(report.to_string().contains("NOT durable yet"), "{report}");
    assert!(!wal.recovered_durable());
    let mut log = read_all(&wal).expect("what was recovered is served");
    assert_eq!(log.next(), 2);
    for refused in [wal.append(&one(&log, 10)).map(drop), wal.sync()] {
        assert!(matches!(refused, Err(Error::NoSpace { .. })), "{refused:?}");
    }
    same(&wal, &log);
    lift_file_size();
    let batch = one(&log, 10);
    acked(&mut wal, &mut log, &batch);
    assert!(wal.recovered_durable());
    same(&wal, &log);
    child::say(&format!("LEFT {}", digest(&log)));
}

#[test]
fn a_log_that_cannot_even_be_made_for_lack_of_room_is_made_by_the_next_open() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let said = child::run(child::command_without_xfsz("no-room-at-all", &dir, 0));
    left_behind(&dir, &said);
}

fn no_room_at_all(dir: &Path) {
    for bytes in [0, 1, 4096, 16 * 1024 - 1] {
        limit_file_size(bytes);
        let e = open(dir, &Options::new()).expect_err("IDENT takes 16 KiB");
        assert!(matches!(&e, Error::Io { path, .. } if path.ends_with("IDENT.tmp")), "{e}");
        assert_says(&e, &["write", "IDENT.tmp"]);
    }
    limit_file_size(16 * 1024);
    let (mut wal, report) = open(dir, &Options::new()).expect("an empty log takes 16 KiB");
    assert!(report.created);
    let e = wal.append(&one(&Model::new(1), 1)).expect_err("a segment takes more");
    assert!(matches!(e, Error::NoSpace { .. }), "{e}");
    same(&wal, &Model::new(1));
    child::say(&format!("LEFT {}", digest(&Model::new(1))));
}

/// Opens files until only `left` descriptors are to be had; dropping them gives them back.
fn take_descriptors(left: usize) -> Vec<File> {
    limit(Resource::Nofile, Some(64));
    let mut taken = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(f) => taken.push(f),
            Err(e) => {
                assert_eq!(e.raw_os_error(), Some(rustix::io::Errno::MFILE.raw_os_error()));
                taken.truncate(taken.len().saturating_sub(left));
                return taken;
            }
        }
    }
}

#[test]
fn an_open_that_runs_out_of_descriptors_fails_with_the_reason_and_leaves_the_log_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let said = child::run(child::command("no-descriptors-at-open", &dir, 0));
    left_behind(&dir, &said);
}

fn is_out_of_descriptors(e: &Error) -> bool {
    let code = Some(rustix::io::Errno::MFILE.raw_os_error());
    matches!(e, Error::Io { source, .. } if source.raw_os_error() == code)
}

fn no_descriptors_at_open(dir: &Path) {
    let options = Options::new().segment_bytes(64 << 10);
    let mut log = Model::new(1);
    {
        let (mut wal, _) = open(dir, &options).expect("a new log");
        for _ in 0..40 {
            let batch = one(&log, 10_000);
            acked(&mut wal, &mut log, &batch);
        }
    }
    let (mut refused, mut left) = (0, 0);
    loop {
        let taken = take_descriptors(left);
        let result = open(dir, &options);
        drop(taken);
        limit(Resource::Nofile, None);
        match result {
            Ok((wal, _)) => {
                same(&wal, &log);
                break;
            }
            Err(Error::Poisoned { cause }) => assert!(cause.contains("Too many open files")),
            Err(e) => assert!(is_out_of_descriptors(&e), "{e}"),
        }
        (refused, left) = (refused + 1, left + 1);
        assert!(left < 60, "an open never succeeds");
    }
    assert!(refused > 2, "the limit was not felt");
    child::say(&format!("LEFT {}", digest(&log)));
}

#[test]
fn an_append_that_runs_out_of_descriptors_leaves_the_log_as_it_was_and_works_later() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let said = child::run(child::command("no-descriptors-at-rotation", &dir, 0));
    left_behind(&dir, &said);
}

fn no_descriptors_at_rotation(dir: &Path) {
    let (mut wal, _) = open(dir, &Options::new().segment_bytes(64 << 10)).expect("a new log");
    let mut log = Model::new(1);
    let mut refused = 0;
    for round in 0..30 {
        let taken = take_descriptors(round % 3);
        // Six of these fill a segment: the next one needs a descriptor, which may not be had.
        for _ in 0..12 {
            let batch = one(&log, 9_000);
            match wal.append(&batch) {
                Ok(_) => log.apply(&batch),
                Err(e) => {
                    assert!(is_out_of_descriptors(&e), "{e}");
                    refused += 1;
                }
            }
        }
        wal.sync().expect("the open segment needs no descriptor");
        drop(taken);
        limit(Resource::Nofile, None);
        assert_eq!(wal.poisoned(), None);
        same(&wal, &log);
        for _ in 0..12 {
            let batch = one(&log, 9_000);
            acked(&mut wal, &mut log, &batch);
        }
    }
    assert!(refused > 0, "the limit was not felt");
    child::say(&format!("LEFT {}", digest(&log)));
}

#[test]
fn a_directory_that_may_not_be_written_is_refused_with_the_reason() {
    if rustix::process::geteuid().is_root() {
        announce("skipped: root may write to any directory");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    drop(open(&dir, &Options::new()).unwrap());
    fs::remove_file(dir.join("LOCK")).unwrap();
    for mode in [0o500, 0o000] {
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        let e = open(&dir, &Options::new()).unwrap_err();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        let denied = io::ErrorKind::PermissionDenied;
        assert!(matches!(&e, Error::Io { source, .. } if source.kind() == denied), "{e}");
        assert_says(&e, &[dir.to_str().unwrap(), "denied"]);
    }
    open(&dir, &Options::new()).unwrap();
}

#[test]
fn a_directory_that_is_moved_away_stops_rotation_and_nothing_else() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, away) = (temp.path().join("log"), temp.path().join("away"));
    let (mut wal, _) = open(&dir, &Options::new().segment_bytes(64 << 10)).unwrap();
    let mut log = Model::new(1);
    let batch = one(&log, 9_000);
    acked(&mut wal, &mut log, &batch);
    fs::rename(&dir, &away).unwrap();
    let mut refused = 0;
    for _ in 0..12 {
        let batch = one(&log, 9_000);
        match wal.append(&batch) {
            Ok(_) => log.apply(&batch),
            Err(e) => {
                let gone = io::ErrorKind::NotFound;
                assert!(matches!(&e, Error::Io { source, .. } if source.kind() == gone), "{e}");
                assert_says(&e, &[dir.to_str().unwrap(), "No such file"]);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    wal.sync().unwrap();
    same(&wal, &log);
    assert_eq!(wal.poisoned(), None);
    let e = open(&dir, &Options::new().create(false)).unwrap_err();
    assert!(matches!(e, Error::NoLog { .. }), "{e}");
    fs::rename(&away, &dir).unwrap();
    for _ in 0..12 {
        let batch = one(&log, 9_000);
        acked(&mut wal, &mut log, &batch);
    }
    same(&wal, &log);
    drop(wal);
    same(&open(&dir, &Options::new()).unwrap().0, &log);
}

#[test]
fn a_directory_that_is_deleted_is_told_as_an_error_and_a_new_log_may_take_its_place() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("log");
    let (mut wal, _) = open(&dir, &Options::new().segment_bytes(64 << 10)).unwrap();
    let mut log = Model::new(1);
    let batch = one(&log, 9_000);
    acked(&mut wal, &mut log, &batch);
    fs::remove_dir_all(&dir).unwrap();
    let refused = (0..12).find_map(|_| {
        let batch = one(&log, 9_000);
        wal.append(&batch).map(|_| log.apply(&batch)).err()
    });
    assert!(matches!(refused, Some(Error::Io { .. })), "{refused:?}");
    same(&wal, &log);
    // The lock went with the directory; the old handle cannot touch what a new owner makes.
    let (mut new, report) = open(&dir, &Options::new()).unwrap();
    assert!(report.created);
    let mut other = Model::new(1);
    let batch = one(&other, 5);
    acked(&mut new, &mut other, &batch);
    drop(wal);
    drop(new);
    same(&open(&dir, &Options::new()).unwrap().0, &other);
}
