//! Packed programs start in their own root: with nothing of this machine but the kernel. Needs root, for chroot.

use oci::pack::{Add, ImageBuilder};
use oci::unpack;
use std::fs::File;
use std::process::Command;

/// Packs programs of this machine, unpacks them, and runs one with the unpacked image as its root directory.
fn run_in_image(programs: &[&str], command: &[&str]) -> String {
    let spool = tempfile::tempdir().unwrap();
    let additions = programs.iter().map(|path| Add { source: path.into(), destination: None }).collect();
    let image = ImageBuilder { additions, ..ImageBuilder::default() }.build(spool.path()).unwrap();
    let root = tempfile::tempdir().unwrap();
    for layer in &image.layers {
        let file = File::open(&layer.file).unwrap();
        unpack::layer(file, &layer.descriptor, root.path(), &unpack::Options::default()).unwrap();
    }
    let output = Command::new("/usr/sbin/chroot").arg(root.path()).args(command).env_clear().output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_packed_shell_runs_packed_programs() {
    let script = "echo \"$(/usr/bin/uname -s) $(/bin/busybox echo inside)\"; /usr/bin/ls -d /etc || echo no etc";
    let programs = ["/bin/sh", "/usr/bin/uname", "/usr/bin/ls", "/bin/busybox"];
    assert_eq!(run_in_image(&programs, &["/bin/sh", "-c", script]), "Linux inside\nno etc\n");
}

/// A program of many libraries, found over several levels.
#[test]
fn a_program_of_many_libraries_starts() {
    assert!(run_in_image(&["/usr/bin/skopeo"], &["/usr/bin/skopeo", "--version"]).starts_with("skopeo version"));
}

#[test]
fn this_very_test_starts() {
    let me = std::env::current_exe().unwrap();
    let me = me.to_str().unwrap();
    assert!(run_in_image(&[me], &[me, "--list"]).contains("this_very_test_starts: test"));
}
