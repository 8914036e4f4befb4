//! Objects on an S3 elsewhere: another platform's, here.

mod support;

use support::Up;

const RUNTIME: [&str; 4] = ["--runtime", "process", "--resources", "cpus:4;mem:4096;ports:[31000-32000]"];

#[test]
fn objects_are_kept_on_an_s3_elsewhere_and_images_run_from_there() {
    let _alone = support::alone();
    let [first, second] = [(), ()].map(|()| tempfile::Builder::new().prefix("roadstead-s3-").tempdir().unwrap());
    let holder = Up::start(first.path(), &RUNTIME);
    let keys = holder.cli_json(&["token", "s3"]);
    let key = |name: &str| keys[name].as_str().expect("a key is text").to_owned();
    let config = second.path().join("config.toml");
    let text = format!(
        "[objects]\nlisten = \"127.0.0.1:0\"\nelsewhere = \"http://{}\"\naccess_key = \"{}\"\nsecret_key = \"{}\"\n",
        holder.address("objects"),
        key("access_key"),
        key("secret_key"),
    );
    let free = ["store", "console", "registry"].map(|part| format!("[{part}]\nlisten = \"127.0.0.1:0\"\n")).concat();
    let rest = "[controller]\nlisten = \"127.0.0.1:0\"\nsessions = \"127.0.0.1:0\"\n[edge]\nlisten = \"127.0.0.1:0\"\napi = \"127.0.0.1:0\"\n";
    std::fs::write(&config, text + &free + rest).unwrap();
    let config = config.to_str().expect("a temporary path is text");
    let data = second.path().join("data");
    let up = Up::start_with_config(&data, &[&["--config", config], RUNTIME.as_slice()].concat());

    let layout = second.path().join("layout").display().to_string();
    let add = format!("{}=/s3pics/s3pics", support::BINARY);
    up.cli(&["image", "pack", "--add", &add, "--add", "/bin/sh", "--layout", &layout, "--tag", "page:1"]);
    up.cli(&["image", "push", &layout, "page:1"]);
    assert!(!data.join("objects").exists(), "nothing is kept here");
    let image = format!("{}/page:1", up.address("registry"));
    let cmd =
        "cd /s3pics; exec ./s3pics -AccessKey=a -SecretKey=b -EndPoint=http://s3 -Namespace=s3 --listen 0.0.0.0:8000";
    let run = ["app", "run", "/page", "--image", &image, "--cmd", cmd, "--port", "8000", "--health", "/"];
    up.cli(&[run.as_slice(), &["--cpus", "0.1", "--mem", "32"]].concat());
    assert_eq!(up.cli_json(&["app", "show", "/page"])["tasksRunning"], 1, "it runs");
    let buckets = holder.cli(&["bucket", "list"]);
    assert!(buckets.contains("registry"), "{buckets}");
    up.cli(&["app", "remove", "/page"]);
}
