//! SIGUSR2 between two binaries in one process. Handlers do not survive exec(2), and without one the signal ends the process;
//! that it is ignored does survive. So a wish that comes before the next binary listens is lost, and nothing else: that
//! binary was just put in place of the one before it.
#![allow(unsafe_code)]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The signal is ignored while this lives, and on into the next program.
pub(super) struct Ignored {
    before: SigAction,
}

pub(super) fn ignore_the_wish() -> nix::Result<Ignored> {
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is set, so none can run where it must not.
    let before = unsafe { sigaction(Signal::SIGUSR2, &ignore) }?;
    Ok(Ignored { before })
}

impl Drop for Ignored {
    fn drop(&mut self) {
        // SAFETY: what was set before is set again: the runtime's handler, which is never taken away.
        let _nothing_to_be_done = unsafe { sigaction(Signal::SIGUSR2, &self.before) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Bit 11 (SIGUSR2) of `SigIgn`, proc(5).
    fn is_ignored(status: &str) -> bool {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 11) != 0
    }

    #[test]
    fn the_wish_is_ignored_into_the_next_program_and_heard_again_where_that_does_not_come() {
        let own = || std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(!is_ignored(&own()));
        let ignored = ignore_the_wish().unwrap();
        let status = Command::new("cat").arg("/proc/self/status").output().unwrap();
        assert!(is_ignored(&String::from_utf8_lossy(&status.stdout)), "it survives exec");
        drop(ignored);
        assert!(!is_ignored(&own()));
    }
}
