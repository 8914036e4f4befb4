//! S3 through the edge, with the clients people use: awscli, s3cmd, rclone, curl. Each runs with names of its own in
//! `/etc/hosts`, since Debian's resolver knows no `*.localhost`: all of them lead to the edge's port, and none to the objects'.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::Up;
use tempfile::TempDir;

const LARGE_BYTES: usize = 20 << 20;
/// Each client's, since a bucket is also a name.
const BUCKETS: [&str; 4] = ["pictures", "odd-keys", "cmd", "clone"];
const ODD_KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/odd_keys.py");

/// A platform, and a home for its clients.
struct World {
    /// Ends with this.
    _up: Up,
    home: TempDir,
    endpoint: String,
    keys: Vec<(String, String)>,
}

impl World {
    fn start() -> Self {
        let home = tempfile::Builder::new().prefix("roadstead-s3-").tempdir().expect("a temporary directory");
        let resources = "cpus:1;mem:512;ports:[31980-31989]";
        let up = Up::start(&home.path().join("data"), &["--runtime", "process", "--resources", resources]);
        let said = up.cli(&["token", "s3"]);
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let keys = said.lines().map(|line| pair(line).expect("NAME=VALUE")).collect();
        let names: Vec<String> = BUCKETS.iter().map(|bucket| format!("{bucket}.s3.localhost")).collect();
        std::fs::write(home.path().join("hosts"), format!("127.0.0.1 localhost s3.localhost {}\n", names.join(" ")))
            .unwrap();
        std::fs::write(home.path().join("small"), "a small body").unwrap();
        std::fs::write(home.path().join("large"), large()).unwrap();
        let endpoint = format!("http://s3.localhost:{}", up.address("edge").port());
        Self { _up: up, home, endpoint, keys }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs a client to its end: whether it succeeded, and what it said.
    fn attempt(&self, program: &str, arguments: &[&str]) -> (bool, String) {
        assert!(Path::new(program).exists(), "{program} must be installed: cargo xtask setup");
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"", program])
            .args(arguments)
            .current_dir(self.home.path())
            .env("HOME", self.home.path())
            .envs(self.keys.iter().map(|(name, value)| (name, value)))
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            // What fails once has failed.
            .env("AWS_MAX_ATTEMPTS", "1")
            .env_remove("AWS_CA_BUNDLE")
            .stdin(Stdio::null())
            .output()
            .expect("unshare is part of util-linux");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let (succeeded, said) = self.attempt(program, arguments);
        assert!(succeeded, "{program} {arguments:?}: {said}");
        said
    }

    fn aws(&self, arguments: &[&str]) -> String {
        self.run("/usr/bin/aws", &[&["--endpoint-url", &self.endpoint], arguments].concat())
    }

    fn odd_keys(&self, arguments: &[&str]) -> String {
        self.run("/usr/bin/python3", &[&[ODD_KEYS, &self.endpoint], arguments].concat())
    }
}

fn large() -> Vec<u8> {
    (0..LARGE_BYTES).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8).collect()
}

#[test]
fn s3_clients_reach_the_storage_through_the_edge() {
    let _alone = support::alone();
    let world = World::start();

    world.aws(&["s3", "mb", "s3://pictures"]);
    world.aws(&["s3", "cp", "large", "s3://pictures/large"]);
    world.aws(&["s3", "cp", "small", "s3://pictures/dir/a b+c é.txt"]);
    let listed = world.aws(&["s3", "ls", "--recursive", "s3://pictures"]);
    assert!(listed.contains("dir/a b+c é.txt") && listed.contains("20971520 large"), "{listed}");
    world.aws(&["s3", "cp", "s3://pictures/large", "back"]);
    assert!(world.read("back") == large());
    let range = ["--bucket", "pictures", "--key", "large", "--range", "bytes=1048576-1048675", "part"];
    world.aws(&[&["s3api", "get-object"], &range[..]].concat());
    assert_eq!(world.read("part"), &large()[1_048_576..1_048_676]);
    let url = world.aws(&["s3", "presign", "s3://pictures/dir/a b+c é.txt"]);
    assert_eq!(world.run("/usr/bin/curl", &["--silent", "--fail", "--path-as-is", url.trim()]), "a small body");

    let config = format!(
        "[default]\nhost_base = {0}\nhost_bucket = %(bucket)s.{0}\nuse_https = False\n",
        world.endpoint.trim_start_matches("http://")
    );
    std::fs::write(world.path("s3cfg"), config).unwrap();
    let s3cmd =
        |arguments: &[&str]| world.run("/usr/bin/s3cmd", &[&["-c", "s3cfg", "--no-progress"], arguments].concat());
    s3cmd(&["mb", "s3://cmd"]);
    s3cmd(&["put", "--multipart-chunk-size-mb=5", "large", "s3://cmd/a b+c/large"]);
    s3cmd(&["get", "--force", "s3://cmd/a b+c/large", "back"]);
    assert!(world.read("back") == large());

    let (key, secret) = (&world.keys[0].1, &world.keys[1].1);
    let remote = format!(
        ":s3,provider=Other,access_key_id=\"{key}\",secret_access_key=\"{secret}\",endpoint=\"{}\",\
         force_path_style=false:clone",
        world.endpoint
    );
    std::fs::create_dir_all(world.path("tree/dir")).unwrap();
    std::fs::copy(world.path("small"), world.path("tree/dir/a b+c é.txt")).unwrap();
    std::fs::copy(world.path("large"), world.path("tree/large")).unwrap();
    let rclone = |arguments: &[&str]| world.run("/usr/bin/rclone", &[&["--retries=1"], arguments].concat());
    rclone(&["mkdir", &remote]);
    rclone(&["copy", "--s3-upload-cutoff=5M", "--s3-chunk-size=5M", "tree", &remote]);
    rclone(&["check", "--download", "tree", &remote]);
}

/// Names that a proxy which tidies paths would spoil, under both styles of addresses, in signed requests and presigned ones.
#[test]
fn odd_keys_keep_their_signatures_through_the_edge() {
    let _alone = support::alone();
    let world = World::start();
    let said = world.odd_keys(&["round-trip"]);
    assert!(said.ends_with("all is well\n"), "{said}");

    // Each line: a presigned URL to put an object to, and one to get it from.
    let urls = world.odd_keys(&["presign"]);
    assert!(urls.lines().count() >= 10, "{urls}");
    for (number, line) in urls.lines().enumerate() {
        let (put, get) = line.split_once(' ').unwrap();
        let body = format!("body {number}");
        std::fs::write(world.path("body"), &body).unwrap();
        // As it is written: curl would take `//` and dots away.
        let as_is = ["--silent", "--show-error", "--fail", "--path-as-is"];
        let expect = ["--header", "Expect: 100-continue", "--expect100-timeout", "30"];
        // `-T` would add the file's name to an address that ends with a slash.
        let body_of = ["--request", "PUT", "--data-binary", "@body", "--verbose", put];
        let said = world.run("/usr/bin/curl", &[&as_is[..], &expect, &body_of].concat());
        assert!(said.contains("< HTTP/1.1 100 Continue") && said.contains("< HTTP/1.1 200 OK"), "{put}: {said}");
        assert_eq!(world.run("/usr/bin/curl", &[&as_is[..], &[get]].concat()), body, "{get}");
    }

    // A signature of something else is refused before any of the body is sent.
    let (put, _) = urls.lines().next().unwrap().split_once(' ').unwrap();
    let forged = put.replacen("/odd-keys/", "/odd-keys/x", 1);
    assert_ne!(put, forged);
    let asks = ["--silent", "--expect100-timeout", "30", "--write-out", "%{http_code} %{size_upload}"];
    let refused = world.run(
        "/usr/bin/curl",
        &[&asks[..], &["--header", "Expect: 100-continue", "-T", "large", "--output", "answer", &forged]].concat(),
    );
    assert_eq!(refused, "403 0");
}
