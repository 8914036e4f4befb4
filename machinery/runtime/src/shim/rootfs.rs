//! The root directory of a task, built in a mount namespace of its own, so that nothing of it is seen outside or outlives
//! the task.
//!
//! An image is hostile: its symbolic links may point anywhere. Every path inside it is resolved by `openat2` with
//! RESOLVE_IN_ROOT and mounted upon by descriptor, before the old root is given up; nothing is ever created through a link
//! that leaves the image.

use super::namespaces::is_root;
use crate::process::record::{TaskDir, TaskFile, TaskImage};
use crate::process::tree;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{UnlinkatFlags, fchdir, pivot_root, symlinkat, unlinkat};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

const NO_SOURCE: Option<&Path> = None;
const NO_KIND: Option<&str> = None;
const NO_DATA: Option<&str> = None;

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// `/dev` holds names only.
const DEV_OPTIONS: &str = "mode=755,size=64k";
/// Docker's default.
const SHM_OPTIONS: &str = "mode=1777,size=64m";
/// What Docker makes read-only and unreadable for a container that is root outside, too.
const PROC_READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
const PROC_MASKED: [&str; 5] =
    ["/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/sched_debug"];

/// Makes the task's root directory that of this process, which must be alone in its mount namespace and pid 1 of its pid
/// namespace.
pub(crate) fn enter(directory: &TaskDir, task: &TaskFile, sandbox: &Path) -> io::Result<()> {
    // Nothing we mount may be seen outside.
    at("/", mount(NO_SOURCE, "/", NO_KIND, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NO_DATA))?;
    match &task.image {
        None => {
            fs::create_dir_all(sandbox)?;
            let proc_flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            at("/proc", mount(Some("proc"), "/proc", Some("proc"), proc_flags, NO_DATA))
        }
        Some(image) => {
            let root = mount_image(directory, image)?;
            let jail = Jail(File::open(&root)?.into());
            furnish(&jail, directory, task)?;
            fchdir(&jail.0)?;
            at("the new root", pivot_root(".", "."))?;
            at("the old root", umount2(".", MntFlags::MNT_DETACH))?;
            std::env::set_current_dir("/")
        }
    }
}

/// Mounts the image with a writable layer of the task's own, by overlayfs, or by a copy where that is not to be had.
fn mount_image(directory: &TaskDir, image: &TaskImage) -> io::Result<PathBuf> {
    for name in ["upper", "work", "lower", "root"] {
        fs::create_dir_all(directory.join(name))?;
    }
    let (lower, root) = (directory.join("lower"), directory.join("root"));
    // Relative names without odd characters: overlayfs gives commas and colons a meaning.
    std::env::set_current_dir(directory.path())?;
    bind(&image.rootfs, &lower, MsFlags::empty())?;
    let options = "lowerdir=lower,upperdir=upper,workdir=work";
    // An ordinary user may not write trusted.* attributes (overlayfs documentation, "User xattr").
    let options = if is_root() { options.to_owned() } else { format!("{options},userxattr") };
    let overlay = mount(Some("overlay"), "root", Some("overlay"), MsFlags::MS_NODEV, Some(options.as_str()));
    if overlay.is_err() {
        let copy = directory.join("copy");
        tree::copy(&image.rootfs, &copy)?;
        bind(&copy, &root, MsFlags::empty())?;
    }
    Ok(root)
}

/// Mounts what every container finds in its root directory.
fn furnish(jail: &Jail, directory: &TaskDir, task: &TaskFile) -> io::Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let target = jail.directory(Path::new("/proc"), 0o555)?;
    at("/proc", mount(Some("proc"), &by_descriptor(&target), Some("proc"), quiet, NO_DATA))?;
    if is_root() && !task.container.privileged {
        protect_proc(jail)?;
    }

    let target = jail.directory(Path::new("/dev"), 0o755)?;
    at("/dev", mount(Some("tmpfs"), &by_descriptor(&target), Some("tmpfs"), MsFlags::MS_NOSUID, Some(DEV_OPTIONS)))?;
    for device in DEVICES {
        let target = jail.file(&Path::new("/dev").join(device))?;
        bind(&Path::new("/dev").join(device), &by_descriptor(&target), MsFlags::empty())?;
    }
    let dev = jail.directory(Path::new("/dev"), 0o755)?;
    for (name, target) in DEVICE_LINKS {
        symlinkat(target, &dev, name)?;
    }
    let target = jail.directory(Path::new("/dev/shm"), 0o1777)?;
    at("/dev/shm", mount(Some("tmpfs"), &by_descriptor(&target), Some("tmpfs"), quiet, Some(SHM_OPTIONS)))?;
    jail.directory(Path::new("/tmp"), 0o1777)?;

    for (name, content) in names(task) {
        let source = directory.join(name);
        fs::write(&source, content)?;
        let target = jail.file(&Path::new("/etc").join(name))?;
        bind(&source, &by_descriptor(&target), MsFlags::empty())?;
    }
    for volume in &task.container.volumes {
        // As Docker does: a host path that is not there becomes a directory.
        if !volume.host_path.exists() {
            fs::create_dir_all(&volume.host_path)?;
        }
        let is_directory = fs::metadata(&volume.host_path)?.is_dir();
        let path = &volume.container_path;
        let target = if is_directory { jail.directory(path, 0o755)? } else { jail.file(path)? };
        bind(&volume.host_path, &by_descriptor(&target), MsFlags::MS_REC)?;
        if volume.read_only {
            let mounted = if is_directory { jail.directory(path, 0o755)? } else { jail.file(path)? };
            make_read_only(&mounted)?;
        }
    }
    Ok(())
}

/// The files of `/etc` that say where a container is.
fn names(task: &TaskFile) -> [(&'static str, String); 3] {
    let name = &task.container.host_name;
    let mut hosts = format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t{name}\n");
    let mut resolv = "# This container has no network but its own loopback.\n".to_owned();
    if task.container.host_network {
        hosts += &fs::read_to_string("/etc/hosts").unwrap_or_default();
        resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    }
    [("hosts", hosts), ("resolv.conf", resolv), ("hostname", format!("{name}\n"))]
}

/// Root in the task is root on the host as far as `/proc` goes by user ids: it must not write there.
fn protect_proc(jail: &Jail) -> io::Result<()> {
    for path in PROC_READ_ONLY {
        let Some(target) = jail.existing(Path::new(path))? else { continue };
        bind(&by_descriptor(&target), &by_descriptor(&target), MsFlags::MS_REC)?;
        if let Some(mounted) = jail.existing(Path::new(path))? {
            make_read_only(&mounted)?;
        }
    }
    for path in PROC_MASKED {
        let Some(target) = jail.existing(Path::new(path))? else { continue };
        bind(Path::new("/dev/null"), &by_descriptor(&target), MsFlags::empty())?;
    }
    Ok(())
}

fn bind(source: &Path, target: &Path, more: MsFlags) -> io::Result<()> {
    let context = |error: Errno| {
        io::Error::new(
            io::Error::from(error).kind(),
            format!("mount {} on {}: {error}", source.display(), target.display()),
        )
    };
    mount(Some(source), target, NO_KIND, MsFlags::MS_BIND | more, NO_DATA).map_err(context)
}

/// Flags a mount already has must be kept: a user namespace may not clear them (mount_namespaces(7)).
fn make_read_only(mounted: &OwnedFd) -> io::Result<()> {
    let path = by_descriptor(mounted);
    let present = statvfs(&path)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    for (flag, keep) in kept {
        if present.contains(flag) {
            flags |= keep;
        }
    }
    at("read-only", mount(NO_SOURCE, &path, NO_KIND, flags, NO_DATA))
}

fn by_descriptor(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

fn at<T>(what: &str, result: nix::Result<T>) -> io::Result<T> {
    result.map_err(|error| io::Error::new(io::Error::from(error).kind(), format!("mount {what}: {error}")))
}

/// The image's root directory: paths are resolved as if it were `/`, links included.
struct Jail(OwnedFd);

impl Jail {
    fn existing(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        match openat2(&self.0, path, how) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(io::Error::new(io::Error::from(error).kind(), format!("{}: {error}", path.display()))),
        }
    }

    /// The directory of this path, made with all its parents where it is missing.
    fn directory(&self, path: &Path, mode: u32) -> io::Result<OwnedFd> {
        if let Some(found) = self.existing(path)? {
            return Ok(found);
        }
        let mut at = PathBuf::from("/");
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let parent = self.existing(&at)?.ok_or_else(|| io::Error::other(format!("{} went away", at.display())))?;
            at.push(name);
            if self.existing(&at)?.is_some() {
                continue;
            }
            // EEXIST is a link that points nowhere: what is mounted here takes its place.
            if mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) == Err(Errno::EEXIST) {
                unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir)?;
                mkdirat(&parent, name, Mode::from_bits_truncate(0o755))?;
            }
        }
        let made = self.existing(path)?.ok_or_else(|| io::Error::other(format!("cannot make {}", path.display())))?;
        fs::set_permissions(by_descriptor(&made), Permissions::from_mode(mode))?;
        Ok(made)
    }

    /// The file of this path, made empty where it is missing.
    fn file(&self, path: &Path) -> io::Result<OwnedFd> {
        if let Some(found) = self.existing(path)? {
            return Ok(found);
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::other(format!("{} is no file", path.display())));
        };
        let parent = self.directory(parent, 0o755)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let parent = File::open(by_descriptor(&parent))?;
        let create = || openat(&parent, name, flags, Mode::from_bits_truncate(0o644));
        if let Err(error) = create() {
            if error != Errno::EEXIST {
                return Err(error.into());
            }
            unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir)?;
            create()?;
        }
        self.existing(path)?.ok_or_else(|| io::Error::other(format!("cannot make {}", path.display())))
    }
}
