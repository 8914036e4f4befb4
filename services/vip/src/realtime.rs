//! Asking the kernel to run a thread before ordinary ones, and to keep the program in memory: a holder that gets no time
//! sends no advertisements, and loses the address without being at fault.
#![allow(unsafe_code)]

use nix::libc;
use std::io;

/// Above ordinary real-time work, below the kernel's own threads (keepalived's default is 50, too).
const PRIORITY: libc::c_int = 50;

/// Puts the calling thread into the round-robin real-time class; its children do not inherit it.
pub(crate) fn schedule_first() -> io::Result<()> {
    let parameters = libc::sched_param { sched_priority: PRIORITY };
    // SAFETY: 0 names the calling thread; the kernel only reads the structure, which outlives the call.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps pages of the program that were used once from being written out or dropped. Pages are locked as they are touched
/// and mappings made later are not: neither does the process grow, nor can a later allocation fail for it.
pub(crate) fn stay_in_memory() -> io::Result<()> {
    // SAFETY: takes flags only; locking pages changes no memory's content.
    let result = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_ONFAULT) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
