//! The command line as a person uses it: each command against a platform that runs, what it prints, how it ends.

mod support;

use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::{BINARY, OrdinaryUser, Process, Up, failure, send, text, until};
use tempfile::TempDir;

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: i32 = 64;
/// What a shell says of a process that SIGINT ended.
const EXIT_INTERRUPTED: i32 = 130;

/// A platform of the test's own; its apps go with it.
struct Tour {
    up: Up,
    data: TempDir,
}

impl Tour {
    fn start() -> Self {
        let data = tempfile::Builder::new().prefix("roadstead-cli-").tempdir().expect("a temporary directory");
        let resources = "cpus:4;mem:4096;ports:[31800-31899]";
        let up = Up::start(data.path(), &["--runtime", "process", "--resources", resources]);
        until("the node has joined", || (up.json_if_told(&["node", "list"])?[0]["state"] == "connected").then_some(()));
        Self { up, data }
    }

    /// Runs a command, whatever its end.
    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the binary starts")
    }

    /// Runs a command, which must fail; what it said.
    fn failure(&self, arguments: &[&str]) -> String {
        failure(&[arguments, &["--data", &self.directory()]].concat())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).arg("--data").arg(self.data.path()).stdin(Stdio::null());
        command
    }

    fn directory(&self) -> String {
        self.data.path().display().to_string()
    }

    /// Runs an app of the node's own files: this binary's web page, which answers on the port it is given.
    fn run_page(&self, id: &str, more: &[&str]) -> String {
        let cmd = format!(
            "exec {BINARY} pics -AccessKey=a -SecretKey=b -EndPoint=http://s3.localhost -Namespace=s3 \
             --listen 0.0.0.0:$PORT0"
        );
        let flags = ["app", "run", id, "--cmd", &cmd, "--health", "/", "--cpus", "0.1", "--mem", "32"];
        self.cli(&[&flags, more].concat())
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/", self.address("edge").port())
    }
}

impl Deref for Tour {
    type Target = Up;

    fn deref(&self) -> &Up {
        &self.up
    }
}

impl Drop for Tour {
    fn drop(&mut self) {
        let apps: Value =
            serde_json::from_slice(&self.output(&["app", "list", "-o", "json"]).stdout).unwrap_or_default();
        for id in apps.as_array().into_iter().flatten().filter_map(|app| app["id"].as_str()) {
            self.output(&["app", "remove", id, "--force", "--timeout", "20"]);
        }
    }
}

/// The cells of a table's row that begins with `first`.
fn row(table: &str, first: &str) -> Vec<String> {
    let line = table.lines().find(|line| line.split("  ").next() == Some(first));
    let line = line.unwrap_or_else(|| panic!("no row of {first} in\n{table}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
}

#[test]
fn an_app_is_run_listed_shown_scaled_restarted_and_removed() {
    let _alone = support::alone();
    let tour = Tour::start();
    let url = tour.url("page.localhost");
    assert_eq!(tour.run_page("page", &[]), format!("/page  deployed, 1 of 1 running  {url}"));
    assert_eq!(tour.cli(&["app", "scale", "page", "2"]), format!("/page  deployed, 2 of 2 running  {url}"));

    let table = tour.cli(&["app", "list"]);
    assert_eq!(table.lines().next(), Some("ID     TASKS  HEALTHY  CPUS  MEM  STATUS"));
    assert_eq!(row(&table, "/page"), ["/page", "2 / 2", "2", "0.1", "32", "running"]);
    assert_eq!(tour.cli_json(&["app", "list"])[0]["tasksHealthy"], 2);

    let shown = tour.cli(&["app", "show", "page"]);
    for part in ["/page  running\n", &url, "2 of 2 running, 2 healthy", "0.1 cpus, 32 MiB", "no seccomp"] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    let tasks = tour.tasks("page");
    let task = row(&shown, &tasks[0]);
    assert!(task[1].contains(":318") && task[2] == "running" && task[4] == "healthy", "{task:?}");
    let app = tour.cli_json(&["app", "show", "page"]);
    assert_eq!(app["url"], url.as_str());
    assert_eq!(app["reasons"].as_array().map(Vec::len), Some(0), "{app}");

    let node = row(&tour.cli(&["node", "list"]), &text_of(&tour.cli_json(&["node", "list"])[0]["hostname"]));
    assert_eq!(node[2..8], ["connected", "-", "process", "0.2 / 4", "64 / 4096", "2"]);

    assert_eq!(tour.cli(&["app", "restart", "page"]), format!("/page  restarted, 2 of 2 running  {url}"));
    assert!(tour.tasks("page").iter().all(|task| !tasks.contains(task)), "every task was replaced");
    assert_eq!(tour.cli(&["app", "scale", "page", "0"]), "/page  deployed, 0 of 0 running");
    assert_eq!(row(&tour.cli(&["app", "list"]), "/page")[5], "suspended");
    let removed = tour.cli_json(&["app", "remove", "page"]);
    assert_eq!((&removed["id"], &removed["state"]), (&"/page".into(), &"removed".into()));
    assert_eq!(tour.cli(&["app", "list"]), "ID  TASKS  HEALTHY  CPUS  MEM  STATUS");
}

fn text_of(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn a_second_run_brings_an_app_to_its_new_definition_and_does_not_scale_it() {
    let _alone = support::alone();
    let tour = Tour::start();
    tour.run_page("page", &["--env", "OLD=1", "--instances", "2"]);
    let tasks = tour.tasks("page");
    tour.run_page("page", &["--env", "OLD=1"]);
    assert_eq!(tour.tasks("page"), tasks, "the same definition replaces no task");
    tour.run_page("page", &["--env", "NEW=1"]);
    let app = tour.cli_json(&["app", "show", "page"]);
    assert_eq!(app["env"], serde_json::json!({ "NEW": "1" }));
    assert_eq!(app["instances"], 2);
    assert!(tour.tasks("page").iter().all(|task| !tasks.contains(task)), "every task was replaced");

    let versions = tour.cli_json(&["app", "versions", "page"]);
    assert_eq!(versions[0], app["version"], "newest first");
    let table = tour.cli(&["app", "versions", "page"]);
    assert_eq!(table.lines().count(), 1 + versions.as_array().unwrap().len(), "{table}");
}

#[test]
fn a_marathon_file_runs_and_flags_go_over_it() {
    let _alone = support::alone();
    let tour = Tour::start();
    let definition =
        r#"{"id": "/shop/cart", "cmd": "sleep 600", "cpus": 0.1, "mem": 16, "instances": 1, "labels": {"a": "b"}}"#;
    let path = tour.data.path().join("cart.json");
    std::fs::write(&path, definition).unwrap();
    let path = path.display().to_string();
    tour.cli(&["app", "run", "--file", &path, "--instances", "2"]);
    let app = tour.cli_json(&["app", "show", "/shop/cart"]);
    assert_eq!((&app["instances"], &app["labels"]["a"]), (&2.into(), &"b".into()));

    let mut child = tour.command(&["app", "run", "other", "--file", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(definition.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(tour.cli_json(&["app", "show", "other"])["cmd"], "sleep 600");

    std::fs::write(&path, "[]").unwrap();
    assert!(tour.failure(&["app", "run", "--file", &path]).contains("must hold one app definition"));
    std::fs::write(&path, "{").unwrap();
    assert!(tour.failure(&["app", "run", "--file", &path]).contains("is not JSON"));
    std::fs::write(&path, r#"{"id": "/x", "cmd": "true", "cpus": "many"}"#).unwrap();
    assert!(tour.failure(&["app", "run", "--file", &path]).contains("/cpus"), "the wrong field is named");
}

#[test]
fn an_app_that_is_not_placed_says_why_and_is_locked_until_it_is_forced() {
    let _alone = support::alone();
    let tour = Tour::start();
    let run = ["app", "run", "big", "--cmd", "sleep 600", "--cpus", "100", "--mem", "16"];
    let error = tour.failure(&[&run[..], &["--timeout", "1"]].concat());
    let deployment = tour.cli_json(&["app", "show", "big"])["deployments"][0]["id"].clone();
    assert!(error.contains(&text_of(&deployment)) && error.contains("needs 100 cpus, 4 are free"), "{error}");
    let shown = tour.cli(&["app", "show", "big"]);
    assert!(shown.contains("/big  deploying") && shown.contains("needs 100 cpus, 4 are free"), "{shown}");

    let error = tour.failure(&["app", "scale", "big", "2"]);
    assert!(error.contains(&text_of(&deployment)) && error.contains("--force"), "{error}");
    let begun = tour.cli_json(&["app", "scale", "big", "2", "--force", "--no-wait"]);
    assert_eq!(begun["state"], "deploying");

    // Ctrl-C while it waits: on a pipe, too, it says what goes on.
    let mut child = tour.command(&["app", "restart", "big", "--force"]);
    let child = child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("the restart has begun", || {
        let now = tour.cli_json(&["app", "show", "big"])["deployments"][0]["id"].clone();
        (now.is_string() && now != begun["deploymentId"]).then_some(())
    });
    until("it waits for signals", || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
        let interrupt = 1 << (Signal::SIGINT as u32 - 1);
        (u64::from_str_radix(caught.trim(), 16).ok()? & interrupt != 0).then_some(())
    });
    send(child.id(), Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(EXIT_INTERRUPTED));
    assert_eq!(output.stdout, b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("goes on") && said.contains("roadstead app show /big"), "{said}");
    assert_eq!(said.lines().count(), 1, "no progress on a pipe: {said}");
}

#[test]
fn waiting_outlives_a_controller_that_is_killed() {
    let _alone = support::alone();
    let tour = Tour::start();
    let run = ["app", "run", "big", "--cmd", "sleep 600", "--cpus", "100", "--mem", "16"];
    let child = tour.command(&run).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("it waits", || (tour.output(&["app", "show", "big"]).status.success()).then_some(()));
    let state = |up: &Up| up.children().into_iter().find(|(name, _)| name == "state").map(|(_, pid)| pid);
    let killed = state(&tour).expect("the state runs");
    send(killed, Signal::SIGKILL);
    until("the state runs again", || state(&tour).filter(|pid| *pid != killed));
    until("the app is removed by another hand", || {
        tour.output(&["app", "remove", "big", "--force"]).status.success().then_some(())
    });
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "roadstead: /big was removed while it was being deployed\n");
}

#[test]
fn a_task_that_fails_is_told_with_its_cause() {
    let _alone = support::alone();
    let tour = Tour::start();
    let cmd = "echo going down; exit 3";
    tour.cli(&["app", "run", "bad", "--cmd", cmd, "--cpus", "0.1", "--mem", "16", "--no-wait"]);
    let shown = until("the failure is shown", || {
        Some(tour.cli(&["app", "show", "bad"])).filter(|shown| shown.contains("exited with status 3"))
    });
    assert!(shown.lines().any(|line| line.starts_with("  failed      bad.")), "{shown}");
    let failed = shown.lines().find_map(|line| line.strip_prefix("  failed      ")).unwrap();
    let failed = failed.split_whitespace().next().unwrap();
    until("the failed task is gone", || (!tour.tasks("bad").iter().any(|task| task == failed)).then_some(()));
    assert_eq!(tour.cli(&["app", "logs", "bad", "--task", failed]), "going down");
}

#[test]
fn a_log_is_followed_until_its_task_ends() {
    let _alone = support::alone();
    let tour = Tour::start();
    let cmd = "echo to stderr >&2; echo first; until [ -e go ]; do sleep 0.1; done; echo last; exec sleep 600";
    tour.cli(&["app", "run", "talk", "--cmd", cmd, "--cpus", "0.1", "--mem", "16"]);
    until("the first line is printed", || (tour.cli(&["app", "logs", "talk"]) == "first").then_some(()));
    assert_eq!(tour.cli(&["app", "logs", "talk", "--stderr"]), "to stderr");

    let task = tour.tasks("talk").remove(0);
    let mut command = tour.command(&["app", "logs", "talk", "--task", &task, "--follow"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut child = Process(child);
    assert_eq!(lines.next().unwrap().unwrap(), "first");
    let sandbox = tour.data.path().join("node/tasks").join(&task).join("sandbox/go");
    std::fs::write(sandbox, "").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "last");
    tour.cli(&["app", "remove", "talk"]);
    assert!(lines.next().is_none(), "the log ends with its task");
    assert!(child.0.wait().unwrap().success());
    assert!(tour.failure(&["app", "logs", "talk"]).contains("App '/talk' does not exist"));
}

#[test]
fn events_are_printed_as_they_happen() {
    let _alone = support::alone();
    let tour = Tour::start();
    let follow = |arguments: &[&str]| {
        let mut child = tour.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let process = Process(child);
        let first = lines.next().expect("the stream says that it has begun").unwrap();
        assert!(first.contains("event_stream_attached"), "{first}");
        (process, lines.map_while(Result::ok))
    };
    let (_table, mut lines) = follow(&["events"]);
    let (_json, mut values) = follow(&["events", "--output", "json"]);
    tour.cli(&["app", "run", "nap", "--cmd", "sleep 600", "--cpus", "0.1", "--mem", "16"]);
    let running = lines.find(|line| line.contains("status_update_event")).expect("a task runs");
    assert!(running.contains("/nap  nap.") && running.ends_with("TASK_RUNNING"), "{running}");
    let scaled = lines.find(|line| line.contains("deployment_step_success")).expect("a step is done");
    assert!(scaled.ends_with("ScaleApplication /nap"), "{scaled}");
    let value = values.find(|line| line.contains("status_update_event")).expect("a task runs");
    let value: Value = serde_json::from_str(&value).expect("one line is one JSON value");
    assert_eq!(value["taskStatus"], "TASK_RUNNING");
}

#[test]
fn routes_are_listed_and_a_request_is_explained() {
    let _alone = support::alone();
    let tour = Tour::start();
    tour.run_page("page", &[]);
    let table = until("the edge has the route", || {
        Some(tour.cli(&["route", "list"])).filter(|table| table.contains("app.page "))
    });
    assert_eq!(row(&table, "app.page"), ["app.page", "Host(`page.localhost`)", "1", "0", "/page"]);
    let explained = tour.cli(&["route", "explain", "GET", "http://page.localhost/x", "-H", "X-Version: 2"]);
    assert!(explained.starts_with("GET http://page.localhost/x takes the route app.page\n  to http://127.0.0.1:318"));
    assert_eq!(row(&explained, "app.page"), ["app.page", "wins"]);
    let why = "Host(\"s3.localhost\") does not hold";
    assert_eq!(row(&explained, "platform-s3"), ["platform-s3", "does not match", why]);
    let explained = tour.cli_json(&["route", "explain", "GET", "http://nobody.localhost/"]);
    assert_eq!(explained["winner"], Value::Null);
    assert!(tour.failure(&["route", "explain", "GET", "http://x/", "-H", "none"]).contains("Name: value"));
}

#[test]
fn an_image_is_packed_pushed_listed_and_run() {
    let _alone = support::alone();
    let tour = Tour::start();
    let layout = tour.data.path().join("image").display().to_string();
    let page = tour.data.path().join("index.html");
    std::fs::write(&page, "packed without Docker").unwrap();
    let page = format!("{}=/www/index.html", page.display());
    let mut pack = vec!["image", "pack", "--layout", &layout, "--tag", "page:1", "--add", &page];
    // Debian's busybox-static, under two of its names.
    pack.extend(["--add", "/bin/busybox=/bin/sh", "--add", "/bin/busybox=/bin/busybox"]);
    let digest = tour.cli(&pack);
    assert_eq!(tour.cli_json(&pack)["digest"], digest.as_str(), "the same files give the same digest");
    let registry = tour.address("registry");
    assert_eq!(tour.cli(&["image", "push", &layout, "page:1"]), format!("{registry}/page:1  {digest}"));
    assert_eq!(row(&tour.cli(&["image", "list"]), "page"), ["page", "1", &digest]);
    assert_eq!(tour.cli(&["bucket", "list"]), "NAME\nregistry");
    assert_eq!(tour.cli_json(&["bucket", "list"]), serde_json::json!(["registry"]));

    let image = format!("{registry}/page:1");
    let cmd = "exec /bin/busybox httpd -f -p 8000 -h /www";
    let run = ["app", "run", "page", "--image", &image, "--cmd", cmd, "--port", "8000", "--health", "/"];
    let run = [&run[..], &["--cpus", "0.1", "--mem", "64"]].concat();
    tour.cli(&run);
    until("the page is served", || {
        tour.visit("page.localhost", "/").filter(|answer| *answer == (200, "packed without Docker".to_owned()))
    });
    let tasks = tour.tasks("page");
    tour.cli(&run);
    assert_eq!(tour.tasks("page"), tasks, "the same definition replaces no task");
    let shown = tour.cli(&["app", "show", "page"]);
    assert!(shown.contains(&format!("image       {image}")), "{shown}");
}

#[test]
fn a_url_and_a_token_are_as_good_as_the_socket() {
    let _alone = support::alone();
    let tour = Tour::start();
    let server = tour.address("controller").to_string();
    let remote = ["--server", &server, "--token", &tour.token];
    tour.cli(&["app", "run", "nap", "--cmd", "sleep 600", "--cpus", "0.1", "--mem", "16"]);
    assert_eq!(text(&[&["app", "list"], &remote[..]].concat()), tour.cli(&["app", "list"]));
    assert_eq!(text(&[&["node", "list"], &remote[..]].concat()), tour.cli(&["node", "list"]));
    assert!(text(&[&["app", "scale", "nap", "2"], &remote[..]].concat()).contains("2 of 2 running"));
    let edge = tour.address("edge_api").to_string();
    until("both ways list the same routes", || {
        let routes = text(&["route", "list", "--server", &edge, "--token", &tour.token]);
        (routes == tour.cli(&["route", "list"])).then_some(())
    });

    assert!(failure(&["app", "list", "--server", &server]).contains("--token"));
    assert!(failure(&["app", "list", "--server", &server, "--token", "rs_wrong"]).contains("--token"));
    let viewer = tour.cli(&["token", "show", "viewer"]);
    text(&["app", "list", "--server", &server, "--token", &viewer]);
    failure(&["app", "scale", "nap", "1", "--server", &server, "--token", &viewer]);
    let keys = tour.cli(&["token", "s3"]);
    assert!(keys.starts_with("AWS_ACCESS_KEY_ID=") && keys.contains("\nAWS_SECRET_ACCESS_KEY="), "two variables");
}

#[test]
fn what_is_wrong_is_said_and_wrong_usage_ends_with_64() {
    let nowhere = tempfile::tempdir().unwrap();
    let nowhere = nowhere.path().display().to_string();
    for (arguments, expected) in [
        (vec!["app", "list", "--data", &nowhere], "start one with `roadstead up"),
        (vec!["bucket", "list", "--data", &nowhere], "start one with `roadstead up"),
        (vec!["route", "list", "--data", &nowhere], "start one with `roadstead up"),
        (vec!["token", "show", "--data", &nowhere], "start one with `roadstead up"),
        (vec!["bucket", "list", "--server", "127.0.0.1:1", "--data", &nowhere], "no platform runs on"),
        (vec!["app", "list", "--frob"], "unexpected argument '--frob'"),
        (vec!["app", "run"], "<ID>"),
        (vec!["app", "run", "x", "--data", &nowhere], "--cmd COMMAND, --image IMAGE, or --file FILE"),
        (vec!["app", "run", "x", "--cmd", "true", "--env", "A", "--data", &nowhere], "--env A: expected NAME=VALUE"),
        (vec!["app", "show", "A B"], "invalid characters"),
        (vec!["app", "list", "--server", "https://x"], "expected http://HOST:PORT"),
        (vec!["app", "scale", "x", "-1"], "-1"),
        (vec!["token", "show", "king"], "expected one of admin"),
        (vec!["frob"], "unrecognized subcommand 'frob'"),
    ] {
        let output = Command::new(BINARY).args(&arguments).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(EXIT_USAGE), "{arguments:?}: {said}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
    }
    assert!(failure(&["app", "list", "--server", "127.0.0.1:1"]).contains("nothing answers at http://127.0.0.1:1"));
}

#[test]
fn an_unknown_app_is_named_by_every_command() {
    let _alone = support::alone();
    let tour = Tour::start();
    for command in [vec!["show"], vec!["scale"], vec!["restart"], vec!["remove"], vec!["logs"], vec!["versions"]] {
        let number = if command == ["scale"] { &["2"][..] } else { &[] };
        let said = tour.failure(&[&["app"], &command[..], &["nobody"], number].concat());
        assert_eq!(said, "roadstead: App '/nobody' does not exist\n", "{command:?}");
    }
    assert_eq!(tour.cli(&["app", "list"]).lines().count(), 1, "none of them made one");
}

#[test]
fn another_user_is_told_to_use_a_token() {
    let _alone = support::alone();
    let tour = Tour::start();
    let user = OrdinaryUser::new();
    let binary = user.copy_of(Path::new(BINARY));
    std::fs::set_permissions(tour.data.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = user.command(&binary).args(["app", "list", "--data", &tour.directory()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("owner only") && said.contains("--token"), "{said}");
    let server = tour.address("controller").to_string();
    let output = user.command(&binary).args(["app", "list", "--server", &server, "--token", &tour.token]).output();
    assert!(output.unwrap().status.success());
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let mut child = Command::new(BINARY)
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
    assert!(child.wait().unwrap().success());
}

#[test]
fn completions_know_the_commands_and_bash_reads_them() {
    let directory = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&["completions", shell]);
        for word in ["demo", "explain", "versions", "follow"] {
            assert!(script.contains(word), "{word} in {shell}");
        }
        let path = directory.path().join(shell);
        std::fs::write(&path, script).unwrap();
        if shell == "bash" {
            let status = Command::new("bash").arg("-n").arg(&path).status().expect("bash is installed");
            assert!(status.success());
        }
    }
}
