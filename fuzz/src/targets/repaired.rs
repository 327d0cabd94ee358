//! Repairs of a log directory, whatever is in it.

use raft_vfs::SimVfs;
use raft_wal::{Error, Options, RepairPolicy, Wal, plan_repair};

use crate::support::model::Model;
use crate::support::sim::{DIR, path, read_all};

/// Asserts that a plan changes nothing; that a log which opens loses nothing by a repair; that a
/// repair which may forget a vote has to be asked for; that after any other the log opens and is
/// what was planned; and that each segment is still there as it was, under its name or in
/// `quarantine/`.
///
/// # Panics
/// If any of that does not hold.
pub(super) fn check(whole: &SimVfs, options: &Options, model: Option<&Model>) {
    let before = whole.fingerprint();
    let disk = whole.fork();
    let plan = match plan_repair(disk.clone(), DIR, options) {
        Ok(plan) => plan,
        Err(e) => return assert!(model.is_none(), "it opens, and cannot be repaired: {e}"),
    };
    assert_eq!(disk.fingerprint(), before, "a plan changed the disk");
    let (said, needed) = (plan.to_string(), plan.is_needed());
    assert_eq!(needed, !said.starts_with("nothing"), "{said}");
    let kept = plan.outline().cut.as_ref().map(|cut| cut.kept.clone());
    assert!(model.is_none() || kept.is_none(), "it opens, and is cut: {said}");
    let plan = if plan.hard_state_is_certain() {
        plan
    } else {
        let refused = plan.execute();
        assert!(matches!(refused, Err(Error::VoteInDoubt { .. })), "{refused:?}");
        assert_eq!(disk.fingerprint(), before, "a refused repair changed the disk");
        let again = plan_repair(disk.clone(), DIR, options).expect("as before");
        again.policy(RepairPolicy::AcceptLostVote)
    };
    if let Err(e) = plan.execute() {
        panic!("a sound disk, and yet a repair fails: {e}\n{said}");
    }
    assert!(needed || disk.fingerprint() == before, "nothing to repair, and yet a change");
    all_there(whole, &disk);
    let opened = Wal::open(disk, DIR, options);
    let (wal, _) = opened.unwrap_or_else(|e| panic!("after a repair: {e}\n{said}"));
    let got = read_all(&wal).expect("all of it was verified");
    assert!(
        model.is_none_or(|model| got == *model),
        "no repair was needed, and it made another log"
    );
    if let Some(kept) = kept {
        let planned = (kept.first_index, kept.next_index, kept.hard_state, kept.snapshot);
        assert_eq!((got.first, got.next(), got.hard_state, got.snapshot), planned, "{said}");
    }
}

/// Each segment is where it was, or a copy of it is in quarantine.
fn all_there(before: &SimVfs, after: &SimVfs) {
    let copies: Vec<_> =
        after.paths().into_iter().filter(|p| p.starts_with(path("quarantine"))).collect();
    let segments = before.paths().into_iter().filter(|p| p.extension().is_some_and(|e| e == "seg"));
    for path in segments {
        let bytes = before.read_file(&path);
        let kept = after.read_file(&path) == bytes;
        let copied = copies.iter().any(|copy| after.read_file(copy) == bytes);
        assert!(kept || copied, "{} is not as it was, and there is no copy", path.display());
    }
}
