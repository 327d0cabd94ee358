//! The checker can fail: each of these bugs, planted in a driver, a disk or a network, is found.

use sim::{Plan, Plant, run};

/// Seeds in which a planted bug has to show.
const SEEDS: u64 = 400;

fn is_found(plant: Plant) {
    let plan = Plan { from: 0, seeds: SEEDS, events: 500, plant };
    let found = (0..SEEDS).find_map(|seed| run(seed, &plan).err());
    let Some(failure) = found else { panic!("{plant:?} is not found in {SEEDS} seeds") };
    println!("{plant:?}: seed {}: {}", failure.seed, failure.violation.rule);
    let sound = run(failure.seed, &Plan { plant: Plant::Nothing, ..plan });
    assert!(sound.is_ok(), "seed {} fails without it, too", failure.seed);
}

macro_rules! planted {
    ($($name:ident: $plant:ident,)*) => {
        $(#[test]
        fn $name() {
            is_found(Plant::$plant);
        })*
    };
}

planted! {
    a_vote_that_is_forgotten_is_found: ForgottenVote,
    a_term_that_is_forgotten_is_found: ForgottenTerm,
    an_ack_before_the_write_is_found: AckBeforeWrite,
    a_lost_last_entry_is_found: LostTail,
    damage_that_nobody_tells_of_is_found: UntoldDamage,
    an_answer_of_another_node_is_found: Impostor,
    two_changes_at_once_are_found: UncheckedChanges,
    reads_without_a_quorum_are_found: LocalReads,
    an_entry_that_is_skipped_is_found: SkippedEntry,
    an_entry_that_is_applied_twice_is_found: AppliedTwice,
    a_snapshot_with_a_later_configuration_is_found: SnapshotOfLater,
    a_change_that_one_node_does_not_apply_is_found: UnappliedChange,
    writes_out_of_order_are_found: UnorderedWrites,
    a_tail_that_is_not_cut_off_is_found: NoTruncation,
}
