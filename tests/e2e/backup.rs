//! The restore drill: what a backup holds is started by another machine.

mod support;

use nix::sys::signal::Signal;
use support::{Up, until};

const RESOURCES: [&str; 4] = ["--runtime", "process", "--resources", "cpus:8;mem:8192;ports:[31000-32000]"];

fn run_app(up: &Up) {
    let cmd = "exec sleep 100000";
    up.cli(&["app", "run", "/kept", "--cmd", cmd, "--cpus", "0.1", "--mem", "32", "--instances", "2"]);
}

#[test]
fn a_backup_is_restored_on_another_machine_and_its_apps_run_there() {
    let _alone = support::alone();
    let [first, second] = [(), ()].map(|()| tempfile::Builder::new().prefix("roadstead-backup-").tempdir().unwrap());
    let up = Up::start(first.path(), &RESOURCES);
    run_app(&up);
    let file = first.path().join("backup");
    let file = file.to_str().expect("a temporary path is text");
    let told = up.cli_json(&["backup", file]);
    assert!(told["keys"].as_u64() > Some(0), "{told}");
    let token = up.token.clone();
    up.cli(&["app", "remove", "/kept"]);
    let mut up = up;
    up.end(Signal::SIGTERM);

    let data = second.path().join("data");
    let data_text = data.to_str().expect("a temporary path is text");
    support::text(&["restore", file, "--data", data_text]);
    let restored = Up::start(&data, &RESOURCES);
    assert_eq!(restored.token, token, "whoever had a token has it still");
    let [seal_key, kept] =
        [data.as_path(), first.path()].map(|data| std::fs::read(data.join("identity/seal.key")).unwrap());
    assert_eq!(seal_key, kept, "what is sealed in the state is read on the new machine, too");
    until("both tasks run on the new machine", || {
        let app = restored.json_if_told(&["app", "show", "/kept"])?;
        (app["tasksRunning"] == 2).then_some(())
    });
    restored.cli(&["app", "remove", "/kept"]);

    // Cut off in between, nothing is started there.
    let half = second.path().join("half");
    std::fs::create_dir_all(half.join("store.restoring")).unwrap();
    let refused = std::process::Command::new(support::BINARY).args(["up", "--data"]).arg(&half).output();
    let refused = String::from_utf8(refused.expect("the binary starts").stderr).unwrap();
    assert!(refused.contains("was cut off"), "{refused}");

    let again = std::process::Command::new(support::BINARY).args(["restore", file, "--data", data_text]).output();
    let refused = String::from_utf8(again.expect("the binary starts").stderr).unwrap();
    assert!(refused.contains("is there already"), "{refused}");
}

#[test]
fn a_backup_that_is_cut_off_or_damaged_is_refused() {
    let _alone = support::alone();
    let first = tempfile::Builder::new().prefix("roadstead-backup-").tempdir().unwrap();
    let up = Up::start(first.path(), &RESOURCES);
    let path = first.path().join("backup");
    up.cli(&["backup", path.to_str().expect("a temporary path is text")]);
    let whole = std::fs::read(&path).unwrap();
    // The archive's first header is of 512 bytes, and the state follows it.
    let mut damaged = whole.clone();
    damaged[600] ^= 1;
    for (name, bytes) in [("cut", &whole[..700]), ("damaged", &damaged)] {
        let file = first.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let data = first.path().join(format!("restored-{name}"));
        let output =
            std::process::Command::new(support::BINARY).arg("restore").arg(&file).arg("--data").arg(&data).output();
        let output = output.expect("the binary starts");
        assert!(!output.status.success(), "{name}");
        assert!(!data.join("identity").exists(), "{name}: nothing that looks like a platform is left");
    }
}
