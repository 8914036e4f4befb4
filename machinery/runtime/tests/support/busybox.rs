//! A root directory in which busybox is every program.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const APPLETS: [&str; 20] = [
    "sh", "echo", "cat", "sleep", "hostname", "httpd", "grep", "test", "id", "ls", "kill", "yes", "head", "dd",
    "mount", "mknod", "ps", "nc", "chroot", "wc",
];

pub fn make(root: &Path) {
    for directory in ["bin", "etc", "work", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).expect("busybox-static is installed");
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/work:/bin/sh\n").unwrap();
}
