use super::*;
use crate::media_type;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use tar::{EntryType, Header};

const TAR: &str = "application/vnd.oci.image.layer.v1.tar";

/// A tar written without the library's care, so that it can be hostile.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: EntryType, name: &str, link: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_420_980_792);
        let identity = nix::unistd::geteuid().as_raw();
        header.set_uid(u64::from(identity));
        header.set_gid(u64::from(nix::unistd::getegid().as_raw()));
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, name, "", 0o644, content.as_bytes())
    }

    fn directory(self, name: &str, mode: u32) -> Self {
        self.entry(EntryType::Directory, name, "", mode, b"")
    }

    fn link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, name, target, 0o777, b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(EntryType::Link, name, target, 0o644, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// A root inside a directory that holds something worth protecting.
struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("root")).unwrap();
        fs::write(directory.path().join("precious"), "untouched").unwrap();
        Self { directory }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("root")
    }

    fn apply(&self, tar: Tar) -> Result<Applied, UnpackError> {
        apply(tar.end().as_slice(), &self.root(), TAR, &Options::default())
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.root().join(path)).is_ok()
    }

    fn outside_is_untouched(&self) {
        let mut names: Vec<_> =
            fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["precious", "root"]);
        assert_eq!(fs::read_to_string(self.directory.path().join("precious")).unwrap(), "untouched");
    }
}

#[test]
fn files_directories_and_links_are_laid_out() {
    let scene = Scene::new();
    let tar = Tar::default()
        .directory("./", 0o755)
        .directory("etc/", 0o755)
        .file("etc/motd", "hello")
        .entry(EntryType::Regular, "bin/tool", "", 0o755, b"#!")
        .link("motd", "etc/motd")
        .hard_link("etc/motd.copy", "etc/motd");
    let applied = scene.apply(tar).unwrap();
    assert_eq!(applied.entries, 6);
    assert_eq!(scene.read("motd"), "hello");
    let (one, two) = (scene.root().join("etc/motd"), scene.root().join("etc/motd.copy"));
    assert_eq!(fs::metadata(&one).unwrap().ino(), fs::metadata(two).unwrap().ino());
    assert_eq!(fs::metadata(one).unwrap().mtime(), 1_420_980_792);
    assert_eq!(fs::metadata(scene.root().join("bin/tool")).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let scene = Scene::new();
    scene.apply(Tar::default().file("a/one", "1").file("a/two", "2").file("b/deep/three", "3").file("c", "c")).unwrap();
    let upper = Tar::default()
        .file("b/new", "new")
        .file("b/.wh..wh..opq", "")
        .file("a/.wh.one", "")
        .file(".wh.c", "")
        .file("c", "again")
        .file("a/three", "kept: a whiteout hides lower layers only")
        .file("a/.wh.three", "")
        .file(".wh..wh.plnk", "AUFS' own")
        .file(".wh.absent", "");
    scene.apply(upper).unwrap();
    assert!(!scene.exists("a/one") && scene.exists("a/two"));
    assert!(!scene.exists("b/deep") && scene.read("b/new") == "new");
    assert_eq!(scene.read("c"), "again");
    assert!(scene.exists("a/three"));
    assert!(!scene.exists(".wh.absent") && !scene.exists(".wh..wh.plnk") && !scene.exists("b/.wh..wh..opq"));
}

#[test]
fn an_upper_layer_replaces_whatever_is_there() {
    let scene = Scene::new();
    scene.apply(Tar::default().file("x/inside", "1").link("y", "x").file("z", "file")).unwrap();
    scene.apply(Tar::default().file("x", "now a file").directory("y", 0o700).directory("z", 0o755)).unwrap();
    assert_eq!(scene.read("x"), "now a file");
    assert!(fs::symlink_metadata(scene.root().join("y")).unwrap().is_dir());
    assert!(scene.root().join("z").is_dir());
}

#[test]
fn a_hard_linked_file_is_replaced_not_written_through() {
    let scene = Scene::new();
    scene.apply(Tar::default().file("one", "old").hard_link("two", "one")).unwrap();
    scene.apply(Tar::default().file("two", "new")).unwrap();
    assert_eq!((scene.read("one"), scene.read("two")), ("old".to_owned(), "new".to_owned()));
}

#[test]
fn no_path_leads_out_of_the_root() {
    for (name, tar) in [
        ("dots", Tar::default().file("../precious", "gone")),
        ("dots inside", Tar::default().file("a/../../../precious", "gone")),
        ("absolute", Tar::default().file("/precious", "gone")),
        ("link up", Tar::default().link("up", "..").file("up/precious", "gone")),
        ("link chain", Tar::default().link("a", "b").link("b", "../..").file("a/precious", "gone")),
        ("absolute link", Tar::default().link("etc", "/etc").file("etc/roadstead-escaped", "gone")),
        ("file through link", Tar::default().link("f", "../precious").file("f", "gone")),
        ("hard link out", Tar::default().hard_link("f", "../precious").file("f", "gone")),
        ("hard link through link", Tar::default().link("up", "..").hard_link("f", "up/precious")),
        ("whiteout up", Tar::default().file("../.wh.precious", "")),
        ("whiteout through link", Tar::default().link("up", "..").file("up/.wh.precious", "")),
        ("opaque up", Tar::default().link("up", "..").file("up/.wh..wh..opq", "")),
        ("whiteout of the parent", Tar::default().file("a/.wh...", "")),
        ("directory through link", Tar::default().link("d", "../escaped").directory("d/x", 0o777)),
    ] {
        let scene = Scene::new();
        let _refused_or_kept_inside = scene.apply(tar);
        scene.outside_is_untouched();
        assert!(!Path::new("/etc/roadstead-escaped").exists(), "{name}");
    }
    let scene = Scene::new();
    scene.apply(Tar::default().link("etc", "/conf").file("etc/x", "inside")).unwrap();
    assert_eq!(scene.read("conf/x"), "inside");
}

#[test]
fn links_in_circles_are_refused() {
    let scene = Scene::new();
    let outcome = scene.apply(Tar::default().link("a", "b").link("b", "a").file("a/x", "1"));
    assert!(matches!(outcome, Err(UnpackError::Entry { .. })), "{outcome:?}");
}

#[test]
fn bounds_hold() {
    let scene = Scene::new();
    let few = Options { limits: Limits { entries_max: 2, ..Limits::default() }, ..Options::default() };
    let tar = Tar::default().file("1", "").file("2", "").file("3", "").end();
    let outcome = apply(tar.as_slice(), &scene.root(), TAR, &few);
    assert!(matches!(outcome, Err(UnpackError::Limit { what: "entries", .. })), "{outcome:?}");

    let small = Options { limits: Limits { tar_bytes_max: 4096, ..Limits::default() }, ..Options::default() };
    let bomb = Tar::default().file("zeros", &"0".repeat(1 << 20)).end();
    assert!(apply(gzip(&bomb).as_slice(), &scene.root(), media_type::OCI_LAYER_GZIP, &small).is_err());
    assert!(fs::metadata(scene.root().join("zeros")).map_or(0, |file| file.len()) <= 4096);

    let name = vec![b'n'; 2 << 20];
    let tar = Tar::default().entry(EntryType::GNULongName, "././@LongLink", "", 0, &name).file("x", "");
    let outcome = scene.apply(tar);
    assert!(matches!(outcome, Err(UnpackError::Limit { .. })), "{outcome:?}");
}

#[test]
fn special_files_are_passed_over() {
    let scene = Scene::new();
    let tar =
        Tar::default().entry(EntryType::Char, "dev/null", "", 0o666, b"").entry(EntryType::Fifo, "p", "", 0o666, b"");
    scene.apply(tar).unwrap();
    assert!(!scene.exists("dev/null") && !scene.exists("p"));
}

#[test]
fn long_names_are_joined() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    builder.append_data(&mut header, &long, &b"ok"[..]).unwrap();
    builder.append_pax_extensions([("path", b"from/pax".as_slice()), ("mtime", b"5.25")]).unwrap();
    let mut header = Header::new_ustar();
    header.set_size(3);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    builder.append(&header, &b"pax"[..]).unwrap();
    let tar = builder.into_inner().unwrap();
    let scene = Scene::new();
    let unpacker = Options { ownership: Ownership::Unpacker, ..Options::default() };
    apply(tar.as_slice(), &scene.root(), TAR, &unpacker).unwrap();
    assert_eq!(scene.read(&long), "ok");
    assert_eq!(scene.read("from/pax"), "pax");
    assert_eq!(fs::metadata(scene.root().join("from/pax")).unwrap().mtime(), 5);
}

#[test]
fn an_ordinary_users_layer_stays_usable() {
    let scene = Scene::new();
    let tar =
        Tar::default().directory("closed", 0o000).entry(EntryType::Regular, "closed/file", "", 0o4755, b"set-uid");
    let unpacker = Options { ownership: Ownership::Unpacker, ..Options::default() };
    apply(tar.end().as_slice(), &scene.root(), TAR, &unpacker).unwrap();
    let mode = |path: &str| fs::metadata(scene.root().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("closed"), mode("closed/file")), (0o700, 0o755));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Two frames with a skippable one between them.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    let (one, two) = bytes.split_at(bytes.len() / 2);
    let mut stream = ruzstd::encoding::compress_to_vec(one, level);
    stream.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9]);
    stream.extend(ruzstd::encoding::compress_to_vec(two, ruzstd::encoding::CompressionLevel::Fastest));
    stream
}

#[test]
fn every_compression_gives_the_same_tar() {
    let tar = Tar::default().file("numbers", &(0..20_000).map(|n| format!("{n} ")).collect::<String>()).end();
    for (media_type, blob) in [
        (TAR, tar.clone()),
        (media_type::OCI_LAYER_GZIP, gzip(&tar)),
        ("application/vnd.docker.image.rootfs.diff.tar.gzip", gzip(&tar)),
        ("application/vnd.oci.image.layer.v1.tar+zstd", zstd(&tar)),
    ] {
        let scene = Scene::new();
        let descriptor = Descriptor::new(media_type, Digest::sha256(&blob), blob.len() as u64);
        let applied = layer(blob.as_slice(), &descriptor, &scene.root(), &Options::default())
            .unwrap_or_else(|error| panic!("{media_type}: {error:?}"));
        assert_eq!(applied.diff_id, Digest::sha256(&tar), "{media_type}");
        assert!(scene.read("numbers").ends_with("19999 "));
    }
    let other = apply(&b""[..], Path::new("/nowhere"), "application/json", &Options::default());
    assert!(matches!(other, Err(UnpackError::MediaType { .. })));
}

#[test]
fn a_layer_that_is_not_its_digest_is_refused() {
    let blob = gzip(&Tar::default().file("x", "x").end());
    let check = |digest: Digest, size: u64| {
        let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, digest, size);
        layer(blob.as_slice(), &descriptor, &Scene::new().root(), &Options::default())
    };
    let (digest, size) = (Digest::sha256(&blob), blob.len() as u64);
    assert!(check(digest.clone(), size).is_ok());
    assert!(matches!(check(Digest::sha256(b"other"), size), Err(UnpackError::Digest { .. })));
    assert!(matches!(check(digest, size + 1), Err(UnpackError::Size { .. })));
}

#[test]
fn an_image_is_checked_against_its_diff_ids() {
    let tar = Tar::default().file("x", "x").end();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer");
    fs::write(&path, &tar).unwrap();
    let pulled = |diff_ids: Vec<Digest>| {
        let descriptor = Descriptor::new(TAR, Digest::sha256(&tar), tar.len() as u64);
        let mut config = crate::ImageConfig::default();
        config.rootfs.diff_ids = diff_ids;
        let layers = vec![crate::store::PulledLayer { descriptor, path: path.clone() }];
        PulledImage { manifest_digest: Digest::sha256(b"m"), config, layers }
    };
    let unpack = |diff_ids| image(&pulled(diff_ids), &Scene::new().root(), &Options::default());
    assert!(unpack(vec![Digest::sha256(&tar)]).is_ok());
    assert!(matches!(unpack(vec![Digest::sha256(b"")]), Err(UnpackError::DiffId { .. })));
    assert!(matches!(unpack(Vec::new()), Err(UnpackError::LayerCount { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        for media_type in [TAR, media_type::OCI_LAYER_GZIP, "application/vnd.oci.image.layer.v1.tar+zstd"] {
            let scene = Scene::new();
            let _either = apply(bytes.as_slice(), &scene.root(), media_type, &Options::default());
        }
    }

    /// A valid tar with some bytes changed: past the checksum of the header, into the odd corners.
    #[test]
    fn no_damaged_tar_escapes(
        paths in proptest::collection::vec("(\\.\\./|/|\\./|a/|b/|\\.wh\\.){0,4}(a|b|precious|\\.\\.|)", 1..8),
        targets in proptest::collection::vec("(\\.\\./|/|a/|b/){0,3}(a|b|precious|)", 8),
        kinds in proptest::collection::vec(0u8..4, 8),
    ) {
        let scene = Scene::new();
        let mut tar = Tar::default();
        for ((path, target), kind) in paths.iter().zip(&targets).zip(&kinds) {
            tar = match kind {
                0 => tar.file(path, "written"),
                1 => tar.directory(path, 0o755),
                2 => tar.link(path, target),
                _ => tar.hard_link(path, target),
            };
        }
        let _either = scene.apply(tar);
        scene.outside_is_untouched();
    }
}
