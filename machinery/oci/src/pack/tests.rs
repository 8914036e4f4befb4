use super::elf::{Elf, Kind};
use super::*;
use crate::unpack;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn pack(additions: Vec<Add>) -> Result<(PackedImage, tempfile::TempDir), PackError> {
    let spool = tempfile::tempdir().unwrap();
    let image = ImageBuilder { additions, ..ImageBuilder::default() }.build(spool.path())?;
    Ok((image, spool))
}

fn add(source: impl Into<PathBuf>, destination: &str) -> Add {
    Add { source: source.into(), destination: Some(destination.into()) }
}

/// The packed image, unpacked again.
fn unpacked(image: &PackedImage) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for layer in &image.layers {
        let file = fs::File::open(&layer.file).unwrap();
        let applied = unpack::layer(file, &layer.descriptor, root.path(), &unpack::Options::default()).unwrap();
        assert_eq!(applied.diff_id, layer.diff_id);
    }
    root
}

#[test]
fn the_same_files_give_the_same_digest() {
    let make = |umask: u32| {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().join("top");
        // Made in another order and with other modes and times each time.
        let mut names = ["a", "b", "sub/c"];
        if umask == 0 {
            names.reverse();
        }
        for name in names {
            let path = top.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666 & !umask)).unwrap();
        }
        fs::set_permissions(&top, fs::Permissions::from_mode(0o777 & !umask)).unwrap();
        symlink("a", top.join("link")).unwrap();
        let (image, _spool) = pack(vec![add(&top, "/srv")]).unwrap();
        (image.digest(), unpacked(&image))
    };
    let ((one, root), (two, _)) = (make(0), make(0o077));
    assert_eq!(one, two);
    assert_eq!(fs::read_to_string(root.path().join("srv/sub/c")).unwrap(), "sub/c");
    assert_eq!(fs::read_link(root.path().join("srv/link")).unwrap(), Path::new("a"));
}

#[test]
fn a_program_brings_its_interpreter_and_libraries() {
    let (image, _spool) = pack(vec![add("/bin/sh", "/bin/sh")]).unwrap();
    let root = unpacked(&image);
    let sh = fs::metadata(root.path().join("bin/sh")).unwrap();
    assert_eq!(sh.permissions().mode() & 0o777, 0o755);
    let needs = elf::read(Path::new("/bin/sh")).unwrap().unwrap();
    let interpreter = needs.interpreter.expect("the shell of this machine is dynamically linked");
    assert!(root.path().join(interpreter.strip_prefix("/").unwrap()).is_file());
    let libraries = files_below(root.path());
    for name in &needs.needed {
        assert!(libraries.iter().any(|path| path.file_name() == Some(name)), "{name:?} in {libraries:?}");
    }
    let config = crate::ImageConfig::parse(&image.config).unwrap();
    assert_eq!(config.platform(), host_platform());
}

fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { pending.push(path) } else { files.push(path) }
        }
    }
    files
}

#[test]
fn destinations_follow_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let text = file.to_str().unwrap();
    let parse = |text: &str| text.parse::<Add>().unwrap();
    let (image, _spool) =
        pack(vec![parse(text), parse(&format!("{text}=/into/")), parse(&format!("{text}=relative/../name"))]).unwrap();
    let root = unpacked(&image);
    for path in [text.trim_start_matches('/'), "into/file", "name"] {
        assert_eq!(fs::read_to_string(root.path().join(path)).unwrap(), "x", "{path}");
    }
}

#[test]
fn links_of_the_image_are_followed_inside_it() {
    let directory = tempfile::tempdir().unwrap();
    let top = directory.path().join("top");
    fs::create_dir_all(top.join("usr/lib")).unwrap();
    symlink("usr/lib", top.join("lib")).unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let (image, _spool) = pack(vec![add(&top, "/"), add(&file, "/lib/file")]).unwrap();
    let root = unpacked(&image);
    assert_eq!(fs::read_to_string(root.path().join("usr/lib/file")).unwrap(), "x");
    assert!(fs::symlink_metadata(root.path().join("lib")).unwrap().is_symlink());
}

#[test]
fn what_cannot_be_packed_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let outcome = pack(vec![add(directory.path().join("absent"), "/x")]);
    assert!(matches!(outcome, Err(PackError::File { .. })));
    let outcome = pack(vec![add(&file, "/x"), add(&file, "/x/y")]);
    assert!(matches!(outcome, Err(PackError::Place { .. })));
    let socket = directory.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(matches!(pack(vec![add(&socket, "/s")]), Err(PackError::Special { .. })));
}

#[test]
fn a_missing_library_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    let mut bytes = fs::read("/bin/sh").unwrap();
    // The program now asks for a library that nobody has.
    let at = bytes.windows(9).position(|window| window == b"libc.so.6").expect("the shell needs libc.so.6");
    bytes[at..at + 9].copy_from_slice(b"libq.so.6");
    fs::write(&program, bytes).unwrap();
    match pack(vec![add(&program, "/p")]) {
        Err(PackError::MissingLibrary { name, needed_by }) => {
            assert_eq!((name.as_str(), needed_by), ("libq.so.6", program));
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn a_layout_is_written_and_read() {
    let (image, _spool) = pack(vec![add("/etc/hostname", "/etc/hostname")]).unwrap();
    let layout = tempfile::tempdir().unwrap();
    crate::layout::write(layout.path(), "2.0", &image.local()).unwrap();
    crate::layout::write(layout.path(), "2.0", &image.local()).unwrap();
    for name in [Some("2.0"), None] {
        let read = crate::layout::read(layout.path(), name).unwrap();
        assert_eq!(read.manifest, image.manifest);
        assert_eq!(read.blobs.len(), 2);
    }
    assert!(crate::layout::read(layout.path(), Some("3.0")).is_err());
}

/// A program of a few segments, as a linker would write it.
fn small_elf() -> Vec<u8> {
    let mut bytes = vec![0; 0x300];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    let mut put =
        |at: usize, value: u64, width: usize| bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    put(18, 62, 2);
    put(32, 64, 8);
    put(54, 56, 2);
    put(56, 3, 2);
    for (index, (kind, offset, address, size)) in
        [(1, 0, 0x40_0000, 0x300), (2, 0x100, 0x40_0100, 0x60), (3, 0x280, 0x40_0280, 5)].into_iter().enumerate()
    {
        let at = 64 + index * 56;
        put(at, kind, 4);
        put(at + 8, offset, 8);
        put(at + 16, address, 8);
        put(at + 32, size, 8);
    }
    for (index, (tag, value)) in [(5, 0x40_0200), (1, 1), (1, 8), (29, 15), (0, 0)].into_iter().enumerate() {
        put(0x100 + index * 16, tag, 8);
        put(0x108 + index * 16, value, 8);
    }
    bytes[0x200..0x224].copy_from_slice(b"\0liba.1\0libb.2\0$ORIGIN/../lib:/x\0\0\0\0");
    bytes[0x280..0x285].copy_from_slice(b"/ld\0\0");
    bytes
}

#[test]
fn a_programs_needs_are_read() {
    let elf = elf::parse(small_elf().as_slice()).unwrap().unwrap();
    let expected = Elf {
        kind: Kind { is_64_bit: true, is_little_endian: true, machine: 62 },
        interpreter: Some("/ld".into()),
        needed: vec!["liba.1".into(), "libb.2".into()],
        rpath: None,
        runpath: Some("$ORIGIN/../lib:/x".into()),
    };
    assert_eq!(elf, expected);
    assert_eq!(elf.kind.platform().unwrap().architecture, "amd64");
    assert!(elf::parse(&b"#!/bin/sh\n"[..]).unwrap().is_none());
}

proptest! {
    #[test]
    fn no_bytes_panic_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let mut elf = b"\x7fELF".to_vec();
        elf.extend(&bytes);
        let _either = elf::parse(bytes.as_slice());
        let _either = elf::parse(elf.as_slice());
    }

    #[test]
    fn no_damaged_program_panics_the_reader(changes in proptest::collection::vec((0usize..0x300, any::<u8>()), 1..12), cut in 0usize..0x300) {
        let mut bytes = small_elf();
        for (at, value) in changes {
            bytes[at] = value;
        }
        let _either = elf::parse(bytes.as_slice());
        let _either = elf::parse(&bytes[..cut]);
    }
}
