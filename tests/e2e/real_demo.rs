//! `roadstead demo --once --json`, as anyone would run it: as root with the process runtime, with dockerd, and as an
//! ordinary user with an empty HOME. The mutants show that the demo can fail.

mod support;

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{BINARY, Dockerd, OrdinaryUser};

/// What one run printed.
struct Told {
    status: std::process::ExitStatus,
    report: Value,
    story: String,
}

fn demo(mut command: Command) -> Told {
    let output = command.stdin(Stdio::null()).output().expect("the demo starts");
    let story = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{story}"));
    Told { status: output.status, report, story }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(["demo", "--once", "--json", "--answer-within", support::ANSWER_WITHIN_S]).args(arguments);
    command
}

fn assert_told(told: &Told, runtime: &str) {
    let report = &told.report;
    let context = format!("{report:#}\n{}", told.story);
    assert!(told.status.success(), "{context}");
    assert_eq!(report["ok"], true, "{context}");
    assert_eq!(report["runtime"], runtime, "{context}");
    assert_eq!(report["instances_routed_max"], 20, "{context}");
    assert_eq!(report["instances_final"], 1, "{context}");
    assert_eq!(report["failed_requests"], 0, "{context}");
    assert!(report["requests"].as_u64().unwrap() > 500, "{context}");
    assert!(report["host_names_seen"].as_u64().unwrap() >= 10, "{context}");
    assert!(report["object_bytes_in"].as_u64().unwrap() >= 12 << 20, "{context}");
    assert!(report["app_bytes_in"].as_u64().unwrap() < 64 << 10, "{context}");
    assert!(report["steps"].as_array().unwrap().iter().all(|step| step["ok"] == true), "{context}");
}

fn step_is_ok(report: &Value, name: &str) -> Option<bool> {
    report["steps"].as_array()?.iter().find(|step| step["name"] == name)?["ok"].as_bool()
}

#[test]
fn the_story_is_told_as_root_without_docker() {
    let _alone = support::alone();
    assert_told(&demo(command(&["--runtime", "process"])), "process");
}

#[test]
fn the_story_is_told_with_dockerd() {
    let _alone = support::alone();
    let dockerd = Dockerd::start();
    let mut command = command(&[]);
    command.env("DOCKER_HOST", dockerd.host());
    assert_told(&demo(command), "docker");
    assert_eq!(dockerd.containers(), Vec::<String>::new(), "no container is left");
}

#[test]
fn the_story_is_told_as_an_ordinary_user_in_an_empty_home() {
    let _alone = support::alone();
    let user = OrdinaryUser::new();
    let binary = user.copy_of(Path::new(BINARY));
    let mut command = user.command(&binary);
    command.args(["demo", "--once", "--json", "--runtime", "process"]);
    assert_told(&demo(command), "process");
}

#[test]
fn with_drain_switched_off_requests_fail() {
    let _alone = support::alone();
    let told = demo(command(&["--runtime", "process", "--mutant", "no-drain"]));
    assert!(!told.status.success() && told.report["ok"] == false);
    assert!(told.report["failed_requests"].as_u64().unwrap() > 0, "{:#}\n{}", told.report, told.story);
}

#[test]
fn a_picture_that_goes_through_the_app_fails_its_step() {
    let _alone = support::alone();
    let told = demo(command(&["--runtime", "process", "--mutant", "upload-through-app"]));
    assert!(!told.status.success() && told.report["ok"] == false);
    assert_eq!(step_is_ok(&told.report, "picture"), Some(false), "{:#}\n{}", told.report, told.story);
    assert!(told.report["app_bytes_in"].as_u64().unwrap() >= 64 << 10);
}
