use super::*;
use serde_json::json;

fn node(document: Value) -> Node {
    serde_json::from_value(document).unwrap()
}

fn reason_of(document: Value) -> String {
    let node = node(document);
    reason(&node, Standing::of(&node), None).into_string()
}

#[test]
fn amounts_are_short_whatever_the_fractions_were() {
    let node = node(json!({"resources": {"cpus": 8, "mem": 2048.45}, "used": {"cpus": 0.30000000000000004}}));
    assert_eq!(used(&node, "cpus", CPU_DECIMALS), "0.3 / 8");
    assert_eq!(used(&node, "mem", MEMORY_DECIMALS), "2048");
    assert_eq!(used(&node, "disk", MEMORY_DECIMALS), "–");
}

#[test]
fn any_shape_of_limits_becomes_a_line() {
    assert_eq!(words(&json!(["no outbound network", "no seccomp"])), "no outbound network; no seccomp");
    assert_eq!(words(&json!({"pids": 100})), "pids 100");
    assert_eq!(words(&json!(null)), "");
    assert_eq!((count(&json!([1, 2])), count(&json!(3))), ("2".into(), "3".into()));
}

#[test]
fn what_several_machines_lack_is_said_once() {
    let lacks = |id: &str, limits| node(json!({"id": id, "runtime": "process", "limits": limits}));
    let nodes = [lacks("a", json!(["no seccomp"])), lacks("b", json!(["no seccomp"])), lacks("c", json!([]))];
    let text = limits(&nodes).into_string();
    assert!(text.contains("</code> on a, b: no seccomp.") && text.matches("<p>").count() == 1, "{text}");
    assert_eq!(limits(&nodes[2..]).into_string(), "");
}

#[test]
fn each_standing_says_why() {
    let since = "2026-11-22T20:11:05.500Z";
    assert_eq!(reason_of(json!({"state": "connected"})), "");
    let silent = reason_of(json!({"state": "silent", "lastSeen": since}));
    assert!(silent.contains("last heard <time") && silent.contains("20:11:05"), "{silent}");
    let suspected = reason_of(json!({"state": "silent", "suspected": true, "since": since}));
    assert!(suspected.contains(">2026-11-22 20:11:05</time>; its servers leave the routes"), "{suspected}");
    let kept = reason_of(json!({"state": "silent", "suspected": true, "since": since, "brake": "2 of 2"}));
    assert!(kept.contains("kept by the brake") && !kept.contains("2 of 2"), "{kept}");
    let lost = reason_of(json!({"state": "silent", "lost": true, "since": since, "draining": true}));
    assert!(lost.contains("; its tasks are started elsewhere; it is being drained"), "{lost}");
    let draining = |tasks| reason_of(json!({"state": "connected", "draining": true, "tasks": tasks}));
    assert!(draining(1).contains("1 task is still here") && draining(7).contains("7 tasks are still here"));
    assert!(draining(0).contains("it may be stopped") && !draining(0).contains("being drained"));
    assert!(reason_of(json!({"state": "absent"})).contains("its agent has not come yet"));
    assert!(reason_of(json!({"state": "<resting>"})).contains("&lt;resting&gt;"));
}

#[test]
fn the_part_in_the_state_is_leading_voting_learning_or_none() {
    let part = |document| part(&node(document)).into_string();
    let leads = part(json!({"leader": true, "etcd": "voter"}));
    assert!(leads.contains(">Leads<") && leads.contains(">voter<"), "{leads}");
    assert_eq!(part(json!({"leader": false, "etcd": "voter"})), "Voter");
    assert_eq!(part(json!({"leader": false, "etcd": "learner"})), "Learner");
    assert_eq!(part(json!({"leader": false, "etcd": null})), "–");
}

#[test]
fn what_helps_a_machine_is_offered() {
    let offered = |documents: &[Value]| {
        let nodes: Vec<Node> = documents.iter().cloned().map(node).collect();
        change(&nodes[0], &nodes).map(|(action, _)| action)
    };
    let other = json!({"state": "connected"});
    assert_eq!(offered(&[json!({"state": "connected"}), other.clone()]), Some("drain"));
    assert_eq!(offered(&[json!({"state": "connected", "draining": true}), other.clone()]), Some("restore"));
    assert_eq!(offered(&[json!({"state": "silent", "lost": true}), other.clone()]), Some("drain"));
    assert_eq!(offered(&[json!({"state": "absent"}), other]), None, "there is no agent yet to be drained");
    assert_eq!(offered(&[json!({"state": "connected"})]), None, "its tasks could go nowhere");
    assert_eq!(offered(&[json!({"state": "connected", "draining": true})]), Some("restore"));
}

#[test]
fn the_brake_is_said_once() {
    let silent = json!({"id": "a", "state": "silent", "suspected": true, "brake": "2 of 2 nodes are silent at once"});
    let nodes = [node(silent.clone()), node(silent)];
    let page = render(&Content { nodes: Some(&nodes), cluster: Ok(None), offers_changes: false }).into_string();
    assert_eq!(page.matches("2 of 2 nodes are silent at once").count(), 1, "{page}");
    assert!(page.contains("The brake is on"));
}

#[test]
fn a_machine_alone_has_no_words_of_clusters() {
    let nodes = [node(json!({"id": "a", "state": "connected"}))];
    let page = render(&Content { nodes: Some(&nodes), cluster: Ok(None), offers_changes: true }).into_string();
    for word in ["Part in the state", "Version", "Leader", "Drain"] {
        assert!(!page.contains(word), "{word}: {page}");
    }
}
