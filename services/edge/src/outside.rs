//! What middlewares cannot do by themselves: they ask ([`Question`]) and ask for things to be done ([`Effect`]).
//!
//! | | where | bound |
//! |---|---|---|
//! | signatures, `{SHA}` and `{PLAIN}` passwords | at once, in constant time: tens of microseconds | |
//! | bcrypt | blocking threads; pairs that were right are remembered | at once, waiting |
//! | forward auth | this runtime's pooled client | at once, its own timeout, the answer's body |
//! | webhooks | the same client, nobody waits | at once, a timeout |
//! | traces | one task that owns the sockets | a queue |
//!
//! The data path's threads never wait for any of it; a request that does is one task that is not woken yet.

mod call;
mod password;
mod signature;
mod syslog;

use crate::limits::{EFFECT_WARNING_INTERVAL, TRACES_QUEUE_MAX};
use crate::servers::lock;
pub(crate) use call::Clients;

use call::Calls;
use middleware::{Effect, Question, Reply, Syslog};
use password::Passwords;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::mpsc;

pub(crate) struct Outside {
    passwords: Passwords,
    calls: Calls,
    traces: mpsc::Sender<(Arc<Syslog>, String)>,
    warnings: Arc<Warnings>,
}

/// What fails for every request is told now and then.
#[derive(Debug, Default)]
struct Warnings(Mutex<(Option<Instant>, u64)>);

impl Outside {
    /// Called on the runtime that does it.
    pub fn start() -> io::Result<Arc<Self>> {
        let warnings = Arc::<Warnings>::default();
        let (traces, records) = mpsc::channel(TRACES_QUEUE_MAX);
        tokio::spawn(syslog::run(records, warnings.clone()));
        Ok(Arc::new(Self { passwords: Passwords::new()?, calls: Calls::new(warnings.clone()), traces, warnings }))
    }

    /// Begins it; nobody waits for it.
    pub fn perform(&self, effects: impl IntoIterator<Item = Effect>) {
        for effect in effects {
            match effect {
                Effect::Webhook(webhook) => self.calls.tell(webhook),
                Effect::Trace { to, message } => {
                    if self.traces.try_send((to, message)).is_err() {
                        self.warnings.warn(&"a trace is dropped: too many wait to be sent");
                    }
                }
            }
        }
    }

    pub async fn reply(&self, question: &Question<'_>) -> Reply {
        match question {
            Question::Password { stored, password } => match self.passwords.is_right(stored, password).await {
                Some(is_right) => Reply::Verified(is_right),
                None => {
                    self.warnings.warn(&"a password is not checked: too many wait");
                    Reply::Failed
                }
            },
            Question::Signature { key, message, signature } => {
                Reply::Verified(signature::is_right(key, message, signature))
            }
            Question::Authorize(request) => self.calls.authorize(request).await,
        }
    }
}

impl Warnings {
    fn warn(&self, what: &dyn fmt::Display) {
        let (last, unsaid) = &mut *lock(&self.0);
        if last.is_some_and(|last| last.elapsed() < EFFECT_WARNING_INTERVAL) {
            *unsaid += 1;
            return;
        }
        tracing::warn!(since_the_last = *unsaid, "{what}");
        (*last, *unsaid) = (Some(Instant::now()), 0);
    }
}
