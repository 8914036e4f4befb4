//! Errors keep their cause in `source()` only; this adapter prints the whole chain where a person reads it.

use std::error::Error;
use std::fmt;

pub type BoxError = Box<dyn Error + Send + Sync + 'static>;

/// Displays an error followed by its causes: `read log: open segment: permission denied`.
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("read log")]
    struct ReadLog(#[source] std::io::Error);

    #[test]
    fn the_chain_is_printed_once_each() {
        let error = ReadLog(std::io::Error::other("disk on fire"));
        assert_eq!(ErrorChain(&error).to_string(), "read log: disk on fire");
    }
}
