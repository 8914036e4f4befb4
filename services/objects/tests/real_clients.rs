//! Round trips of the clients people use: awscli, boto3, s3cmd, rclone. Each must be installed (boto3 is fetched by pip
//! into a directory of the test if Python cannot import it).

#[path = "support/store.rs"]
#[expect(dead_code, reason = "these clients sign for themselves")]
mod store;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use store::{ACCESS_KEY, SECRET_KEY, Store};
use tokio::process::Command;

/// pip may have to download.
const COMMAND_MAX: Duration = Duration::from_secs(180);
const LARGE_BYTES: usize = 20 << 20;

/// A client's own home, with a small and a large file in it.
struct Home {
    dir: tempfile::TempDir,
    endpoint: String,
}

impl Home {
    fn new(store: &Store) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("small"), "a small body").unwrap();
        std::fs::write(dir.path().join("large"), large()).unwrap();
        Self { dir, endpoint: format!("http://{}", store.address) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// Runs a client to its end; its output, if it succeeded.
    async fn run(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Result<String, String> {
        let program = program.as_ref();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_MAX_ATTEMPTS", "1")
            // rclone refuses to start with one.
            .env_remove("AWS_CA_BUNDLE")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = tokio::time::timeout(COMMAND_MAX, command.output()).await;
        let output = output.unwrap_or_else(|_| panic!("{} {arguments:?} did not end", program.display()));
        let output = output.unwrap_or_else(|error| panic!("{} must be installed: {error}", program.display()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!("{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr))),
        }
    }
}

fn large() -> Vec<u8> {
    (0..LARGE_BYTES).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn awscli_makes_its_round_trip() {
    let store = Store::start().await;
    let home = Home::new(&store);
    let aws = async |arguments: &[&str]| {
        let all = [&["--endpoint-url", home.endpoint.as_str()], arguments].concat();
        home.run("/usr/bin/aws", &all).await
    };
    aws(&["s3", "mb", "s3://pictures"]).await.unwrap();
    aws(&["s3", "cp", "small", "s3://pictures/dir/a b+c.txt"]).await.unwrap();
    aws(&["s3", "cp", "large", "s3://pictures/large"]).await.unwrap();
    let listed = aws(&["s3", "ls", "--recursive", "s3://pictures"]).await.unwrap();
    assert!(listed.contains("dir/a b+c.txt") && listed.contains("20971520 large"), "{listed}");
    assert!(aws(&["s3", "ls", "s3://pictures"]).await.unwrap().contains("PRE dir/"));
    aws(&["s3", "cp", "s3://pictures/large", "back"]).await.unwrap();
    assert!(home.read("back") == large());
    aws(&["s3", "cp", "s3://pictures/large", "s3://pictures/copy"]).await.unwrap();
    let object = ["--bucket", "pictures", "--key", "copy"];
    aws(&[&["s3api", "get-object"], &object[..], &["--range", "bytes=100-199", "part"]].concat()).await.unwrap();
    assert_eq!(home.read("part"), &large()[100..200]);
    aws(&["s3", "sync", ".", "s3://pictures/sync", "--exclude", ".*"]).await.unwrap();
    let url = aws(&["s3", "presign", "s3://pictures/dir/a b+c.txt"]).await.unwrap();
    let fetched = store.client.get(url.trim()).await.unwrap();
    assert_eq!(fetched.body(), "a small body");
    let rules = r#"{"CORSRules":[{"AllowedOrigins":["*"],"AllowedMethods":["PUT"],"AllowedHeaders":["*"]}]}"#;
    aws(&["s3api", "put-bucket-cors", "--bucket", "pictures", "--cors-configuration", rules]).await.unwrap();
    let cors = aws(&["s3api", "get-bucket-cors", "--bucket", "pictures"]).await.unwrap();
    assert!(cors.contains("PUT"), "{cors}");
    let refused = aws(&["s3", "rb", "s3://pictures"]).await.unwrap_err();
    assert!(refused.contains("BucketNotEmpty"), "{refused}");
    aws(&["s3", "rm", "s3://pictures/large"]).await.unwrap();
    aws(&["s3", "rb", "--force", "s3://pictures"]).await.unwrap();
    assert_eq!(aws(&["s3", "ls"]).await.unwrap(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_makes_its_round_trip_with_both_signatures() {
    let store = Store::start().await;
    let home = Home::new(&store);
    let mut python = PathBuf::from("python3");
    if home.run(&python, &["-c", "import boto3"]).await.is_err() {
        home.run(&python, &["-m", "venv", "venv"]).await.unwrap();
        python = home.path("venv/bin/python");
        home.run(&python, &["-m", "pip", "install", "--quiet", "boto3"]).await.unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/boto3_round_trip.py");
    home.run(&python, &[script, &home.endpoint]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn s3cmd_makes_its_round_trip_with_both_signatures() {
    let store = Store::start().await;
    let home = Home::new(&store);
    let config = format!(
        "[default]\naccess_key = {ACCESS_KEY}\nsecret_key = {SECRET_KEY}\nhost_base = {0}\nhost_bucket = {0}\n\
         use_https = False\n",
        store.address
    );
    std::fs::write(home.path("s3cfg"), config).unwrap();
    for (bucket, version) in [("s3://cmd-v4", "--no-signature-v2"), ("s3://cmd-v2", "--signature-v2")] {
        let s3cmd = async |arguments: &[&str]| {
            let mut all = vec!["-c", "s3cfg", "--no-progress"];
            if version == "--signature-v2" {
                all.push(version);
            }
            all.extend(arguments);
            home.run("s3cmd", &all).await
        };
        let large = format!("{bucket}/large");
        s3cmd(&["mb", bucket]).await.unwrap();
        s3cmd(&["put", "small", &format!("{bucket}/dir/a b+c.txt")]).await.unwrap();
        s3cmd(&["put", "--multipart-chunk-size-mb=5", "large", &large]).await.unwrap();
        let listed = s3cmd(&["ls", "--recursive", bucket]).await.unwrap();
        assert!(listed.contains("dir/a b+c.txt") && listed.contains("20971520"), "{listed}");
        s3cmd(&["get", "--force", &large, "back"]).await.unwrap();
        assert!(home.read("back") == self::large());
        s3cmd(&["get", "--force", &format!("{bucket}/dir/a b+c.txt"), "small-back"]).await.unwrap();
        assert_eq!(home.read("small-back"), b"a small body");
        s3cmd(&["cp", &large, &format!("{bucket}/copy")]).await.unwrap();
        assert!(s3cmd(&["info", &large]).await.unwrap().contains("20971520"));
        let rules = "<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>";
        std::fs::write(home.path("cors.xml"), rules).unwrap();
        s3cmd(&["setcors", "cors.xml", bucket]).await.unwrap();
        assert!(s3cmd(&["info", bucket]).await.unwrap().contains("AllowedMethod"));
        s3cmd(&["delcors", bucket]).await.unwrap();
        s3cmd(&["del", "--recursive", "--force", bucket]).await.unwrap();
        s3cmd(&["rb", bucket]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rclone_makes_its_round_trip_with_both_signatures() {
    let store = Store::start().await;
    let home = Home::new(&store);
    for (bucket, v2) in [("clone-v4", "false"), ("clone-v2", "true")] {
        let remote = format!(
            ":s3,provider=Other,access_key_id=\"{ACCESS_KEY}\",secret_access_key=\"{SECRET_KEY}\",endpoint=\"{}\",\
             force_path_style=true,v2_auth={v2}:{bucket}",
            home.endpoint
        );
        let rclone = async |arguments: &[&str]| home.run("rclone", &[&["--retries=1"], arguments].concat()).await;
        let at = |path: &str| format!("{remote}/{path}");
        std::fs::create_dir_all(home.path("tree/dir")).unwrap();
        std::fs::copy(home.path("small"), home.path("tree/dir/a b+c é.txt")).unwrap();
        std::fs::copy(home.path("large"), home.path("tree/large")).unwrap();
        rclone(&["mkdir", &remote]).await.unwrap();
        rclone(&["copy", "--s3-upload-cutoff=5M", "--s3-chunk-size=5M", "tree", &remote]).await.unwrap();
        rclone(&["check", "--download", "tree", &remote]).await.unwrap();
        let listed = rclone(&["lsf", "-R", &remote]).await.unwrap();
        assert!(listed.contains("dir/a b+c é.txt") && listed.contains("large"), "{listed}");
        assert_eq!(rclone(&["cat", "--offset=2", "--count=5", &at("dir/a b+c é.txt")]).await.unwrap(), "small");
        rclone(&["copyto", &at("large"), &at("copy")]).await.unwrap();
        rclone(&["touch", "--timestamp=2015-01-11T12:53:12", &at("dir/a b+c é.txt")]).await.unwrap();
        if v2 == "false" {
            // With V2 rclone's link is not signed at all.
            let url = rclone(&["link", "--expire=1h", &at("dir/a b+c é.txt")]).await.unwrap();
            assert_eq!(store.client.get(url.trim()).await.unwrap().body(), "a small body");
        }
        rclone(&["delete", &at("copy")]).await.unwrap();
        rclone(&["purge", &remote]).await.unwrap();
    }
}
