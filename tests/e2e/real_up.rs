//! `roadstead up`, lasting: what was acknowledged is there after any process, or all of them, were killed; running tasks
//! are taken back or replaced, never doubled.

mod support;

use nix::sys::signal::Signal;
use std::path::Path;
use support::{Up, children_of, processes_of_task, send, until};

/// An app of the host's own files: a shell that answers its name.
fn run_app(up: &Up, id: &str, instances: &str) {
    let layout = up.data.join("layout");
    let layout = layout.display().to_string();
    let binary = support::BINARY;
    let add = format!("{binary}=/s3pics/s3pics");
    if !Path::new(&layout).exists() {
        up.cli(&["image", "pack", "--add", &add, "--add", "/bin/sh", "--layout", &layout, "--tag", "second:1"]);
        up.cli(&["image", "push", &layout, "second:1"]);
    }
    let image = format!("{}/second:1", up.address("registry"));
    let cmd = "cd /s3pics; exec ./s3pics -AccessKey=a -SecretKey=b -EndPoint=http://s3.localhost -Namespace=s3 --listen 0.0.0.0:8000";
    up.cli(&[
        "app",
        "run",
        id,
        "--image",
        &image,
        "--cmd",
        cmd,
        "--port",
        "8000",
        "--health",
        "/",
        "--cpus",
        "0.1",
        "--mem",
        "64",
        "--instances",
        instances,
    ]);
}

fn answers(up: &Up, host: &str) -> Option<()> {
    up.visit(host, "/").filter(|(status, body)| *status == 200 && body.contains("Application running on")).map(drop)
}

fn up() -> (tempfile::TempDir, Up) {
    let data = tempfile::Builder::new().prefix("roadstead-up-").tempdir().expect("a temporary directory");
    let up = Up::start(data.path(), &["--runtime", "process", "--resources", "cpus:8;mem:8192;ports:[31000-32000]"]);
    (data, up)
}

#[test]
fn a_second_app_goes_the_same_way_and_is_served_under_its_reversed_path() {
    let _alone = support::alone();
    let (_data, up) = up();
    run_app(&up, "/shop/cart", "2");
    until("the app answers under cart.shop", || answers(&up, "cart.shop.localhost"));
    assert_eq!(up.tasks("/shop/cart").len(), 2);
    up.cli(&["app", "scale", "/shop/cart", "3"]);
    assert_eq!(up.tasks("/shop/cart").len(), 3);
    let shown = up.cli(&["app", "show", "/shop/cart"]);
    assert!(shown.contains("healthy"), "{shown}");
    up.cli(&["app", "remove", "/shop/cart"]);
    until("its route is gone", || up.visit("cart.shop.localhost", "/").filter(|(status, _)| *status == 404));
}

#[test]
fn after_kill_9_of_any_process_apps_come_back_and_no_task_is_doubled() {
    let _alone = support::alone();
    let (_data, up) = up();
    run_app(&up, "/lasting", "2");
    let tasks = up.tasks("/lasting");
    for role in ["edge", "data", "agent", "state"] {
        let children = up.children();
        let (_, pid) = children.iter().find(|(name, _)| name == role).expect("the role runs").clone();
        send(pid, Signal::SIGKILL);
        until(&format!("{role} runs again"), || {
            up.children().iter().any(|(name, other)| name == role && *other != pid).then_some(())
        });
        until(&format!("the app answers after {role} was killed"), || answers(&up, "lasting.localhost"));
        let mut now =
            until("the controller knows its tasks", || up.tasks_if_told("/lasting").filter(|all| all.len() == 2));
        let mut before = tasks.clone();
        now.sort();
        before.sort();
        assert_eq!(now, before, "the same tasks run after {role} was killed");
    }
    up.cli(&["app", "remove", "/lasting"]);
}

#[test]
fn after_a_restart_of_everything_running_tasks_are_taken_back() {
    let _alone = support::alone();
    let (_data, mut up) = up();
    run_app(&up, "/lasting", "2");
    let mut before = up.tasks("/lasting");
    let processes: Vec<Vec<u32>> = before.iter().map(|task| processes_of_task(task)).collect();
    up.end(Signal::SIGTERM);
    up.again();
    until("the app answers again", || answers(&up, "lasting.localhost"));
    let mut after = until("both tasks are known", || up.tasks_if_told("/lasting").filter(|all| all.len() == 2));
    let again: Vec<Vec<u32>> = before.iter().map(|task| processes_of_task(task)).collect();
    assert_eq!(processes, again, "the very processes are still there");
    before.sort();
    after.sort();
    assert_eq!(before, after);
    up.cli(&["app", "remove", "/lasting"]);
    until("no process of a task is left", || {
        before.iter().all(|task| processes_of_task(task).is_empty()).then_some(())
    });
}

#[test]
fn a_killed_supervisor_leaves_no_role_behind() {
    let _alone = support::alone();
    let (_data, mut up) = up();
    let children: Vec<u32> = up.children().into_iter().map(|(_, pid)| pid).collect();
    assert_eq!(children.len(), 4, "four processes");
    up.end(Signal::SIGKILL);
    until("every role has ended", || {
        let alive = children.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
        (alive.count() == 0 && children_of(children[0]).is_empty()).then_some(())
    });
}
