//! The checker can fail: each of these bugs, planted in a driver, a disk or a network, is found,
//! and by a rule that it should break.

use sim::{Plan, Plant, run};

/// Seeds in which a planted bug has to show.
const SEEDS: u64 = 4000;

fn is_found(plant: Plant, rules: &[&str]) {
    let plan = Plan { from: 0, seeds: SEEDS, events: 500, plant };
    let mut others = Vec::new();
    for seed in 0..SEEDS {
        let Err(failure) = run(seed, &plan) else { continue };
        let rule = failure.violation.rule;
        if rules.contains(&rule) {
            println!(
                "{plant:?}: seed {seed}, by \"{rule}\"; {} before by other rules",
                others.len()
            );
            return;
        }
        others.push((seed, failure.violation));
    }
    panic!("{plant:?} breaks no rule of {rules:?} in {SEEDS} seeds, others so: {others:#?}");
}

macro_rules! planted {
    ($($name:ident: $plant:ident breaks $rules:expr,)*) => {
        $(#[test]
        fn $name() {
            is_found(Plant::$plant, &$rules);
        })*
    };
}

const VOTE: &str = "one vote in a term";
const ELECTION: &str = "election safety";
const COMPLETE: &str = "leader completeness";
const MACHINES: &str = "state machine safety";
const MATCHING: &str = "log matching";
const CONFIGURATIONS: &str = "equal configurations";

planted! {
    a_vote_that_is_forgotten_is_found: ForgottenVote breaks [VOTE],
    two_leaders_by_a_forgotten_vote_are_found: UncheckedVote breaks [ELECTION],
    a_term_that_is_forgotten_is_found: ForgottenTerm breaks [VOTE],
    an_ack_before_the_write_is_found: AckBeforeWrite breaks [COMPLETE, MACHINES],
    a_lost_last_entry_is_found: LostTail breaks [COMPLETE, MACHINES],
    damage_that_nobody_tells_of_is_found: UntoldDamage breaks [COMPLETE, MACHINES],
    an_answer_of_another_node_is_found: Impostor breaks [COMPLETE, MACHINES, ELECTION],
    reads_without_a_quorum_are_found: LocalReads breaks ["linearizable reads"],
    an_entry_that_is_skipped_is_found: SkippedEntry breaks [MACHINES],
    an_entry_that_is_applied_twice_is_found: AppliedTwice breaks [MACHINES],
    a_snapshot_with_a_later_configuration_is_found: SnapshotOfLater breaks [CONFIGURATIONS],
    a_change_that_one_node_does_not_apply_is_found: UnappliedChange breaks [CONFIGURATIONS],
    writes_out_of_order_are_found: UnorderedWrites breaks [COMPLETE, MACHINES, MATCHING],
    a_tail_that_is_not_cut_off_is_found: NoTruncation breaks [MATCHING],
    a_promise_that_is_not_durable_is_found: UnsyncedPromise breaks ["promises are durable"],
}
