//! What a middleware is to its chain.

use crate::answer::Answer;
use crate::compress::Encoding;
use crate::connlimit::Slot;
use crate::edits::{Edits, HeaderEdit, ResponseEdits, each_after, first_after};
use crate::effect::Effect;
use crate::jwt::Checking;
use crate::question::{Question, Reply};
use crate::timeouts::Timeouts;
use crate::trace::Captured;
use crate::view::{Finish, Now, Request, Response};
use std::fmt;

/// Bounds that middlewares put on an exchange; what is not named stays as the edge has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// A request's body that turns out longer is answered with 413.
    pub request_body_bytes_max: Option<u64>,
    pub timeouts: Timeouts,
}

pub(crate) trait Step: Send + Sync + fmt::Debug {
    /// Looks at a request, in the order of priorities.
    fn request<'c>(&'c self, seen: &mut Seen<'_, 'c>) -> Verdict<'c> {
        let _ = seen;
        Verdict::Pass
    }

    /// Goes on with what it asked.
    fn resume<'c>(&'c self, seen: &mut Seen<'_, 'c>, note: Note, reply: Reply) -> Verdict<'c> {
        let _ = (seen, note, reply);
        Verdict::Pass
    }

    /// Looks at the head of the response, in the reverse order. Only after it let the request pass.
    fn response<'c>(&'c self, note: &mut Note, seen: &mut SeenResponse<'_, 'c>) {
        let _ = (note, seen);
    }

    /// The exchange is over.
    fn finish(&self, note: Note, finish: &Finish, now: Now, effects: &mut Vec<Effect>) {
        let _ = (note, finish, now, effects);
    }
}

pub(crate) enum Verdict<'c> {
    Pass,
    /// Passes, and the response needs to know this.
    PassWith(Note),
    Answer(Answer),
    Ask(Question<'c>, Note),
}

/// What a step remembers between a request and its response, or between a question and its reply.
pub(crate) enum Note {
    None,
    /// Held until the exchange is over.
    Slot(#[expect(dead_code, reason = "held, never looked at")] Slot),
    Trace(Box<Captured>),
    /// What the client accepts of what we have.
    Encoding(Option<Encoding>),
    /// A CORS origin that may read the response.
    Origin(Option<String>),
    /// A user whose password is being checked.
    User(String),
    /// A token whose signature is being checked.
    Token(Box<Checking>),
}

/// A request as a step sees it: after the steps before it.
pub(crate) struct Seen<'r, 'c> {
    pub request: &'r Request<'r>,
    pub now: Now,
    pub edits: &'r mut Edits<'c>,
    pub limits: &'r mut Limits,
    pub effects: &'r mut Vec<Effect>,
}

pub(crate) struct SeenResponse<'r, 'c> {
    pub response: &'r Response<'r>,
    /// When the request came, and now.
    pub begun: Now,
    pub now: Now,
    pub edits: &'r mut ResponseEdits<'c>,
}

impl<'c> Seen<'_, 'c> {
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        first_after(&self.edits.headers, self.request.headers, name)
    }

    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    pub fn each_header(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        each_after(&self.edits.headers, self.request.headers, visit);
    }

    pub fn target(&self) -> &str {
        self.edits.target.as_deref().unwrap_or(self.request.target)
    }

    pub fn edit(&mut self, edit: HeaderEdit<'c>) {
        self.edits.headers.push(edit);
    }
}

impl<'c> SeenResponse<'_, 'c> {
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        first_after(&self.edits.headers, self.response.headers, name)
    }

    pub fn header_text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    pub fn edit(&mut self, edit: HeaderEdit<'c>) {
        self.edits.headers.push(edit);
    }

    pub fn each_header(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        each_after(&self.edits.headers, self.response.headers, visit);
    }

    /// Says that the response depends on a request header.
    pub fn vary(&mut self, name: &'static str) {
        let known = self.header_text("Vary").unwrap_or_default();
        if known.split(',').any(|part| matches!(part.trim(), "*") || part.trim().eq_ignore_ascii_case(name)) {
            return;
        }
        self.edit(HeaderEdit::add("Vary", name.as_bytes()));
    }
}
