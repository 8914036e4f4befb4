//! Giving up rights before the task's first instruction.
#![allow(unsafe_code)]

use nix::libc;
use std::io;

/// What Docker leaves a container by default (its documented list, "Runtime privilege and Linux capabilities"), less MKNOD: without a device
/// control group a device node would open the host's disks. Numbers are those of linux/capability.h.
const KEPT: [u8; 13] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    10, // NET_BIND_SERVICE
    13, // NET_RAW
    18, // SYS_CHROOT
    29, // AUDIT_WRITE
    31, // SETFCAP
];

/// Capability numbers fit the kernel's 64-bit sets.
const CAPABILITIES_MAX: u8 = 64;

/// Takes all other capabilities out of the bounding set, so that no `exec` from here on can gain them, and rules out
/// gaining any by set-uid files. This process keeps what it has until it executes something else.
pub(crate) fn drop_for_children() -> io::Result<()> {
    for capability in (0..CAPABILITIES_MAX).filter(|capability| !KEPT.contains(capability)) {
        // SAFETY: PR_CAPBSET_DROP takes one integer and touches no memory of this process.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) };
        if result != 0 {
            let error = io::Error::last_os_error();
            // EINVAL: this kernel knows no capability of this number, nor any higher.
            if error.raw_os_error() == Some(libc::EINVAL) {
                break;
            }
            return Err(error);
        }
    }
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}
