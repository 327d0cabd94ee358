//! Majorities and joint majorities, against their definitions.

use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;
use raft_core::quorum::{JointConfig, MajorityConfig, VoteResult};
use std::collections::{BTreeMap, BTreeSet};

fn majority(voters: &[u64]) -> MajorityConfig {
    voters.iter().copied().collect()
}

fn joint(incoming: &[u64], outgoing: &[u64]) -> JointConfig {
    JointConfig { incoming: majority(incoming), outgoing: majority(outgoing) }
}

#[test]
fn a_majority_of_none_agrees_to_everything() {
    let none = MajorityConfig::new();
    assert_eq!(none.committed_index(|_| None), u64::MAX);
    assert_eq!(none.vote_result(|_| None), VoteResult::Won);
    assert_eq!(joint(&[1], &[]).committed_index(|_| Some(7)), 7);
}

#[test]
fn of_an_even_number_more_than_half_is_needed() {
    let four = majority(&[1, 2, 3, 4]);
    let acked = |id| Some([9, 8, 3, 2][id as usize - 1]);
    assert_eq!(four.committed_index(acked), 3);
    assert_eq!(four.vote_result(|id| Some(id <= 2)), VoteResult::Lost);
    assert_eq!(four.vote_result(|id| Some(id <= 3)), VoteResult::Won);
}

#[test]
fn a_joint_election_is_lost_with_either_half_and_won_with_both() {
    let config = joint(&[1, 2, 3], &[3, 4, 5]);
    let votes = |yes: &'static [u64], no: &'static [u64]| {
        move |id| if yes.contains(&id) { Some(true) } else { no.contains(&id).then_some(false) }
    };
    assert_eq!(config.vote_result(votes(&[1, 2], &[])), VoteResult::Pending);
    assert_eq!(config.vote_result(votes(&[1, 2], &[4, 5])), VoteResult::Lost);
    assert_eq!(config.vote_result(votes(&[1, 3, 4], &[2, 5])), VoteResult::Won);
}

#[test]
fn the_voters_of_both_halves_come_in_order_and_once() {
    let ids = |config: JointConfig| config.ids().collect::<Vec<_>>();
    assert_eq!(ids(joint(&[5, 1, 3], &[2, 3, 9])), [1, 2, 3, 5, 9]);
    assert_eq!(ids(joint(&[1], &[])), [1]);
    assert_eq!(ids(joint(&[], &[2, 1])), [1, 2]);
}

#[test]
fn one_voter_decides_alone_only_outside_of_a_joint_configuration() {
    assert!(joint(&[1], &[]).is_singleton());
    assert!(!joint(&[1], &[1]).is_singleton());
    assert!(!joint(&[1, 2], &[]).is_singleton());
    assert!(joint(&[1], &[1]).is_joint() && !joint(&[1], &[]).is_joint());
}

/// The largest index, of those that anybody has and 0, that more than half have.
fn committed(voters: &BTreeSet<u64>, acked: &BTreeMap<u64, u64>) -> u64 {
    let index_of = |id: &u64| acked.get(id).copied().unwrap_or(0);
    let had = |index: u64| voters.iter().filter(|id| index_of(id) >= index).count();
    let candidates = voters.iter().map(index_of).chain([0]);
    match voters.len() {
        0 => u64::MAX,
        all => candidates.filter(|index| had(*index) * 2 > all).max().unwrap_or(0),
    }
}

/// Whether more than half say yes.
fn wins(voters: &BTreeSet<u64>, votes: &BTreeMap<u64, bool>) -> bool {
    let yes = voters.iter().filter(|id| votes.get(id) == Some(&true)).count();
    voters.is_empty() || yes * 2 > voters.len()
}

/// Every way in which those who have not voted may yet do so, and whether both halves win then.
fn outcomes(
    halves: [&BTreeSet<u64>; 2],
    votes: &BTreeMap<u64, bool>,
) -> impl Iterator<Item = bool> {
    let all: BTreeSet<u64> = halves[0].union(halves[1]).copied().collect();
    let open: Vec<u64> = all.into_iter().filter(|id| !votes.contains_key(id)).collect();
    (0_u32..1 << open.len()).map(move |choice| {
        let mut votes = votes.clone();
        votes.extend(open.iter().enumerate().map(|(nth, id)| (*id, choice >> nth & 1 == 1)));
        halves.iter().all(|half| wins(half, &votes))
    })
}

proptest! {
    /// Up to 20 voters: beyond those that are counted without an allocation.
    #[test]
    fn what_is_committed_is_what_more_than_half_of_each_half_have(
        incoming in btree_set(1_u64..24, 1..20),
        outgoing in btree_set(1_u64..24, 0..20),
        acked in btree_map(1_u64..24, 0_u64..30, 0..24),
    ) {
        let config = JointConfig {
            incoming: incoming.iter().copied().collect(),
            outgoing: outgoing.iter().copied().collect(),
        };
        let expected = committed(&incoming, &acked).min(committed(&outgoing, &acked));
        prop_assert_eq!(config.committed_index(|id| acked.get(&id).copied()), expected);
    }

    /// Won and lost are what nothing can change any more, and as early as that is so.
    #[test]
    fn an_election_is_decided_as_soon_as_the_open_votes_cannot_change_it(
        incoming in btree_set(1_u64..9, 1..6),
        outgoing in btree_set(1_u64..9, 0..6),
        votes in btree_map(1_u64..9, any::<bool>(), 0..9),
    ) {
        let config = JointConfig {
            incoming: incoming.iter().copied().collect(),
            outgoing: outgoing.iter().copied().collect(),
        };
        let outcomes: BTreeSet<bool> = outcomes([&incoming, &outgoing], &votes).collect();
        let expected = match (outcomes.contains(&true), outcomes.contains(&false)) {
            (true, false) => VoteResult::Won,
            (false, true) => VoteResult::Lost,
            _ => VoteResult::Pending,
        };
        prop_assert_eq!(config.vote_result(|id| votes.get(&id).copied()), expected);
    }
}
