//! Which machines are members of etcd: planned from who should be and who is, one step at a time, and done again until
//! nothing is left to do.
//!
//! The number of voters stays odd: an even one tolerates no more failures than the odd one below it, and fails more often
//! (etcd's FAQ: "Why an odd number of cluster members?"). A second machine therefore follows as a learner until there is a
//! third. etcd 3.4 takes one learner at a time.
//!
//! etcd's members are behind no fence of ours. A controller that slept between reading who should be a member and acting on
//! it must not remove one that another controller has taken in meanwhile: so a member is removed only when the pass before
//! found it, too, to be of no machine.

use lifecycle::ErrorChain;
use std::collections::BTreeSet;
use store::{Member, MemberId, Members, StoreError};

/// One step towards the members there should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Of a machine that has left.
    Remove(MemberId),
    /// The learner has a vote from then on.
    Promote(MemberId),
    /// By its peer URL.
    AddLearner(String),
}

/// What came of a look at the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Stepped,
    /// A member has not started yet, has not caught up, or is of no machine.
    Waits,
    InOrder,
}

/// Members that the last pass found to be of no machine.
pub(crate) type Leaving = BTreeSet<MemberId>;

/// Members of no machine. `own`: the planning controller's, without which what is wanted cannot be right.
fn leaving(wanted: &BTreeSet<String>, own: &str, members: &[Member]) -> Leaving {
    let is_wanted = |member: &&Member| member.peer_urls.iter().any(|url| wanted.contains(url));
    if !wanted.contains(own) {
        return Leaving::new();
    }
    members.iter().filter(|member| !is_wanted(member)).map(|member| member.id).collect()
}

/// The next step from the members there are to those there should be, named by their peer URLs.
pub(crate) fn plan(wanted: &BTreeSet<String>, own: &str, members: &[Member], before: &Leaving) -> Option<Step> {
    if !wanted.contains(own) {
        return None;
    }
    if let Some(id) = leaving(wanted, own, members).intersection(before).next() {
        return Some(Step::Remove(*id));
    }
    let learner = members.iter().find(|member| member.is_learner);
    let voters = members.len() - usize::from(learner.is_some());
    if let Some(learner) = learner {
        // One that was never started has nothing to promote.
        let is_started = !learner.name.is_empty();
        return (voters < odd(wanted.len()) && is_started).then_some(Step::Promote(learner.id));
    }
    let is_missing = |url: &&String| !members.iter().any(|member| member.peer_urls.contains(url));
    wanted.iter().find(is_missing).map(|url| Step::AddLearner(url.clone()))
}

/// Takes one step, if there is one. `before` becomes what this pass found; without it nobody is removed.
pub(crate) async fn step(
    members: &dyn Members,
    wanted: &BTreeSet<String>,
    own: &str,
    before: Option<&mut Leaving>,
) -> Result<Progress, StoreError> {
    let listed = members.member_list().await?;
    let found = leaving(wanted, own, &listed);
    let is_waiting = !found.is_empty() || listed.iter().any(|member| member.name.is_empty());
    let found_before = before.map(|before| std::mem::replace(before, found)).unwrap_or_default();
    let Some(step) = plan(wanted, own, &listed, &found_before) else {
        return Ok(if is_waiting { Progress::Waits } else { Progress::InOrder });
    };
    match &step {
        Step::Remove(id) => members.member_remove(*id).await?,
        Step::Promote(id) => match members.member_promote(*id).await {
            // It has not caught up yet; it will.
            Err(error @ StoreError::Refused { .. }) => {
                tracing::debug!(error = %ErrorChain(&error), "a member of the state is not promoted yet");
                return Ok(Progress::Waits);
            }
            promoted => promoted?,
        },
        Step::AddLearner(url) => {
            members.member_add_learner(url).await?;
        }
    }
    tracing::info!(?step, "the state's members change");
    Ok(Progress::Stepped)
}

/// The largest odd number up to `number`.
fn odd(number: usize) -> usize {
    if number.is_multiple_of(2) { number.saturating_sub(1) } else { number }
}

#[cfg(test)]
mod tests {
    use super::super::fake_members::{FakeMembers, member};
    use super::*;
    use proptest::prelude::*;

    fn urls(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn settle(fake: &FakeMembers, wanted: &BTreeSet<String>) {
        let mut before = Leaving::new();
        let mut idle = 0;
        while idle < 2 {
            let stepped = step(fake, wanted, "a", Some(&mut before)).await.unwrap();
            idle = if stepped == Progress::Stepped { 0 } else { idle + 1 };
        }
    }

    #[tokio::test]
    async fn a_second_machine_learns_until_the_third_is_there_then_both_vote() {
        let fake = FakeMembers::of("a");
        settle(&fake, &urls(&["a", "b"])).await;
        fake.start("b");
        settle(&fake, &urls(&["a", "b"])).await;
        assert_eq!((fake.voters(), fake.members.lock().unwrap().len()), (1, 2));
        let three = urls(&["a", "b", "c"]);
        settle(&fake, &three).await;
        assert_eq!((fake.voters(), fake.members.lock().unwrap().len()), (2, 3), "the third has not started yet");
        fake.start("c");
        settle(&fake, &three).await;
        assert_eq!(fake.voters(), 3);
        // One leaves for good, and another comes in its place.
        settle(&fake, &urls(&["a", "c"])).await;
        assert_eq!((fake.voters(), fake.members.lock().unwrap().len()), (2, 2));
        let again = urls(&["a", "c", "d"]);
        settle(&fake, &again).await;
        fake.start("d");
        settle(&fake, &again).await;
        assert_eq!(fake.voters(), 3);
    }

    #[test]
    fn without_itself_among_the_wanted_a_controller_removes_nobody() {
        let members = [member(1, "a", false), member(2, "b", false)];
        let before = Leaving::from([1, 2]);
        assert_eq!(plan(&urls(&[]), "a", &members, &before), None);
        assert_eq!(plan(&urls(&["b"]), "a", &members, &before), None);
        assert_eq!(plan(&urls(&["a"]), "a", &members, &before), Some(Step::Remove(2)));
    }

    #[tokio::test]
    async fn a_member_that_another_controller_took_in_while_this_one_slept_is_not_removed() {
        let fake = FakeMembers::of("a");
        let stale = urls(&["a"]);
        let mut before = Leaving::new();
        assert_eq!(step(&fake, &stale, "a", Some(&mut before)).await.unwrap(), Progress::InOrder);
        fake.member_add_learner("b").await.unwrap();
        assert_eq!(step(&fake, &stale, "a", Some(&mut before)).await.unwrap(), Progress::Waits);
        assert_eq!(step(&fake, &stale, "a", None).await.unwrap(), Progress::Waits, "a join removes nobody at all");
        assert_eq!(fake.members.lock().unwrap().len(), 2);
        // The next pass, which has read anew, means it.
        assert_eq!(step(&fake, &stale, "a", Some(&mut before)).await.unwrap(), Progress::Stepped);
        assert_eq!(fake.members.lock().unwrap().len(), 1);
    }

    proptest! {
        /// Whoever should be a member becomes one, voters are odd where nobody left, and the plan comes to an end.
        #[test]
        fn every_number_of_machines_settles(machines in 1_usize..6) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let names: Vec<String> = (0..machines).map(|machine| char::from(b'a' + machine as u8).to_string()).collect();
                let wanted: BTreeSet<String> = names.iter().cloned().collect();
                let fake = FakeMembers::of("a");
                for _ in 0..20 {
                    settle(&fake, &wanted).await;
                    names.iter().for_each(|name| fake.start(name));
                }
                assert_eq!(fake.members.lock().unwrap().len(), machines);
                assert_eq!(fake.voters(), odd(machines));
            });
        }
    }
}
