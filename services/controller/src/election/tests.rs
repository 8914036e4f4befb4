//! The rules one by one, and a seeded simulation of three candidates on a store that fails.

mod simulation;

use super::*;

const NOW: Duration = Duration::from_secs(100);

fn seen(node: &str, incarnation: &str, revision: Revision) -> Option<Seen> {
    let record = Record { node: node.into(), incarnation: incarnation.into(), ..Record::default() };
    Some(Seen { record, revision, is_leased: true })
}

fn candidate() -> Election {
    Election::new("a", "a1", true)
}

/// What a candidate does after it has looked.
fn after_look(election: &mut Election, at: Revision, seen: Option<Seen>, votes: Votes) -> Command {
    assert_eq!(election.command(NOW), Command::Look);
    election.heard(NOW, NOW, Outcome::Saw { at, seen, votes });
    election.command(NOW)
}

fn leader(ttl: Duration) -> Election {
    let mut election = candidate();
    after_look(&mut election, 5, None, Votes::default());
    election.heard(NOW, NOW, Outcome::Won { ttl });
    assert!(election.is_leading());
    election
}

#[test]
fn a_candidate_stands_when_nobody_leads_and_rests_when_somebody_does() {
    let campaign = after_look(&mut candidate(), 5, None, Votes::default());
    assert_eq!(campaign, Command::Campaign { against: None, cause: Cause::Vacant });
    let mut follower = candidate();
    let rest = after_look(&mut follower, 5, seen("b", "b1", 4), Votes::default());
    assert_eq!(rest, Command::Rest { until: NOW + LOOK_INTERVAL });
    assert_eq!(follower.leader(), seen("b", "b1", 4).as_ref());
    follower.nudge(NOW);
    assert_eq!(follower.command(NOW), Command::Look);
}

#[test]
fn an_own_dead_predecessor_and_a_record_without_a_lease_are_taken_over_at_once() {
    let own = after_look(&mut candidate(), 5, seen("a", "a0", 4), Votes::default());
    assert_eq!(own, Command::Campaign { against: Some(4), cause: Cause::OwnPredecessor });
    let unleased = seen("", "x", 3).map(|seen| Seen { is_leased: false, ..seen });
    let alone = after_look(&mut candidate(), 5, unleased, Votes::default());
    assert_eq!(alone, Command::Campaign { against: Some(3), cause: Cause::Unleased });
}

#[test]
fn a_later_process_of_the_same_node_ends_this_one() {
    let mut election = leader(LEASE_TTL);
    election.step_down(NOW);
    assert_eq!(after_look(&mut election, 9, seen("a", "a2", 8), Votes::default()), Command::End);
    assert_eq!(election.command(NOW + LEASE_TTL), Command::End);
}

#[test]
fn only_most_of_all_candidates_depose_a_leader_that_cannot_be_reached() {
    let cases = [(0, 3, false), (1, 3, false), (2, 3, true), (1, 2, false), (2, 5, false), (3, 5, true)];
    for (against, candidates, stands) in cases {
        let command = after_look(&mut candidate(), 5, seen("b", "b1", 4), Votes { against, candidates });
        let campaign = Command::Campaign { against: Some(4), cause: Cause::Unreachable };
        assert_eq!(command == campaign, stands, "{against} of {candidates}: {command:?}");
    }
}

#[test]
fn who_is_no_candidate_follows_and_never_stands() {
    let mut watcher = Election::new("d", "d1", false);
    assert_eq!(after_look(&mut watcher, 5, None, Votes::default()), Command::Rest { until: NOW + LOOK_INTERVAL });
}

#[test]
fn a_leader_renews_in_time_and_steps_down_when_its_lease_may_be_over() {
    let mut election = leader(LEASE_TTL);
    assert_eq!(election.command(NOW), Command::Rest { until: NOW + RENEW_INTERVAL });
    let asked_at = NOW + RENEW_INTERVAL;
    assert_eq!(election.command(asked_at), Command::Renew { good_until: NOW + LEASE_TTL, looks: false });
    // The answer came late: the lease counts from when it was asked for.
    election.heard(asked_at, asked_at + LEASE_TTL / 2, Outcome::Renewed { ttl: LEASE_TTL });
    let good_until = asked_at + LEASE_TTL;
    let asked_at = good_until - Duration::from_millis(1);
    assert_eq!(election.command(asked_at), Command::Renew { good_until, looks: false });
    election.heard(asked_at, asked_at, Outcome::NoAnswer);
    assert!(election.is_leading());
    assert_eq!(election.command(good_until), Command::Look);
    assert!(!election.is_leading());
}

#[test]
fn a_leader_looks_at_its_record_when_that_may_have_changed() {
    let mut election = leader(LEASE_TTL);
    let good_until = NOW + LEASE_TTL;
    election.nudge(NOW);
    assert_eq!(election.command(NOW), Command::Renew { good_until, looks: true });
    election.heard(NOW, NOW, Outcome::NoAnswer);
    assert_eq!(election.command(NOW + RENEW_INTERVAL), Command::Renew { good_until, looks: true }, "not seen yet");
    election.heard(NOW, NOW, Outcome::Renewed { ttl: LEASE_TTL });
    assert_eq!(election.command(NOW + RENEW_INTERVAL), Command::Renew { good_until, looks: false });
}

#[test]
fn who_gives_the_lead_away_lets_others_go_first() {
    let mut election = leader(LEASE_TTL);
    election.abstain(NOW);
    assert!(!election.is_leading());
    assert!(matches!(after_look(&mut election, 6, None, Votes::default()), Command::Rest { .. }));
    let later = NOW + ABSTENTION;
    assert_eq!(election.command(later), Command::Look);
    election.heard(later, later, Outcome::Saw { at: 7, seen: None, votes: Votes::default() });
    assert_eq!(election.command(later), Command::Campaign { against: None, cause: Cause::Vacant });
}

#[test]
fn an_answer_to_what_one_no_longer_is_changes_nothing() {
    let mut election = leader(LEASE_TTL);
    election.step_down(NOW);
    election.heard(NOW, NOW, Outcome::Renewed { ttl: LEASE_TTL });
    assert!(!election.is_leading());
    let mut election = leader(LEASE_TTL);
    election.heard(NOW, NOW, Outcome::Saw { at: 9, seen: seen("b", "b1", 8), votes: Votes::default() });
    assert!(election.is_leading());
}
