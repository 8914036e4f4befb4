//! The cluster in three facts: who leads, how its state fares, and which addresses move between the machines.

use crate::controller::{Cluster, Etcd};
use crate::standing::{Quorum, Voters, is_learner};
use maud::{Markup, html};

pub fn render(cluster: &Cluster) -> Markup {
    let leader = Some(cluster.leader.node.as_str()).filter(|node| !node.is_empty());
    html! {
        dl.facts aria-label="The cluster" {
            div { dt { "Leader" } dd { (leader.unwrap_or("none")) } }
            div { dt { "State" } dd { (state(&cluster.etcd)) } }
            div {
                dt { "Floating addresses" }
                dd {
                    @for address in &cluster.settings.vips { code { (address) } " " }
                    @if cluster.settings.vips.is_empty() { "none" }
                }
            }
        }
    }
}

fn state(etcd: &Etcd) -> Markup {
    let learners = etcd.members.iter().filter(|member| is_learner(member)).count();
    html! {
        @match Voters::of(etcd) {
            Some(voters) => {
                span class={ "quorum " (class(voters.quorum())) } { (well(voters)) }
                span.reason { (outlook(voters)) @if learners > 0 { "; " (counted(learners, "learner")) } }
            },
            None if etcd.healthy => "in an etcd of your own",
            None => span.quorum.gone { "its members cannot be listed" },
        }
        @for member in etcd.members.iter().filter(|member| !member.healthy) {
            span.reason {
                (if member.name.is_empty() { "a new member" } else { &member.name }) ": "
                (member.error.as_deref().unwrap_or("it is not well"))
            }
        }
    }
}

fn class(quorum: Quorum) -> &'static str {
    match quorum {
        Quorum::Whole => "whole",
        Quorum::Strained => "strained",
        Quorum::Gone => "gone",
    }
}

fn well(Voters { well, all }: Voters) -> String {
    let verb = if well == 1 { "is" } else { "are" };
    format!("{well} of {} {verb} well", counted(all, "voter"))
}

fn outlook(voters: Voters) -> String {
    match voters.spare() {
        None => "no majority: nothing can be changed".to_owned(),
        Some(0) => "none may fail".to_owned(),
        Some(spare) => format!("{spare} may fail"),
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn page(members: Value, healthy: bool) -> String {
        let cluster = json!({
            "leader": {"node": "n1"}, "settings": {"vips": ["10.0.0.100/24", "fd00::100/64"]},
            "etcd": {"healthy": healthy, "members": members}
        });
        render(&serde_json::from_value(cluster).unwrap()).into_string()
    }

    fn voter(name: &str, healthy: bool) -> Value {
        json!({"name": name, "role": "voter", "healthy": healthy})
    }

    #[track_caller]
    fn shows(page: &str, texts: &[&str]) {
        for text in texts {
            assert!(page.contains(text), "the page lacks {text}: {page}");
        }
    }

    #[test]
    fn it_says_how_many_voters_are_well_and_how_many_may_fail() {
        let three = page(json!([voter("n1", true), voter("n2", true), voter("n3", true)]), true);
        shows(
            &three,
            &["quorum whole", "3 of 3 voters are well", "1 may fail", ">n1<", "10.0.0.100/24", "fd00::100/64"],
        );
        let away = json!({"name": "n3", "role": "voter", "healthy": false, "error": "no answer within 1s"});
        let strained = page(json!([voter("n1", true), voter("n2", true), away]), true);
        shows(&strained, &["quorum strained", "2 of 3 voters are well", "none may fail", "n3: no answer within 1s"]);
        let gone = page(json!([voter("n1", true), voter("n2", false), voter("n3", false)]), false);
        shows(&gone, &["quorum gone", "1 of 3 voters is well", "no majority"]);
        let learner = json!({"name": "n2", "role": "learner", "healthy": true});
        let two = page(json!([voter("n1", true), learner]), true);
        shows(&two, &["1 of 1 voter is well", "none may fail; 1 learner"]);
    }

    #[test]
    fn a_state_that_tells_no_members_is_said_to_be_the_users_or_away() {
        shows(&page(json!([]), true), &["an etcd of your own"]);
        shows(&page(json!([]), false), &["cannot be listed"]);
        shows(&render(&Cluster::default()).into_string(), &["none"]);
    }
}
