//! The middlewares of one route, in order, and a request's way through them.

use crate::answer::Answer;
use crate::edits::{Edits, ResponseEdits};
use crate::effect::Effect;
use crate::question::{Question, Reply};
use crate::spec::{Middleware, SpecError};
use crate::step::{Limits, Note, Seen, SeenResponse, Verdict};
use crate::view::{Finish, Now, Request, Response};
use serde_json::Value;

/// Middlewares one route may have.
pub const MIDDLEWARES_MAX: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("{count} middlewares, more than {MIDDLEWARES_MAX}")]
    TooMany { count: usize },
    #[error("two middlewares have the id {id:?}")]
    SameId { id: String },
    #[error("middleware {number} of the list")]
    Middleware { number: usize, source: SpecError },
}

/// Smaller priorities first (outermost); equal ones by id.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    middlewares: Vec<Middleware>,
}

#[must_use]
pub enum Decision<'c> {
    /// Forward it, with these edits and limits.
    Continue(Passage<'c>),
    /// Nothing is forwarded. The response edits of the steps it came through are in it, what they held is free.
    Answer(Answer),
    Ask(Asking<'c>),
}

/// A request on its way through a chain. Dropping it frees what it holds.
pub struct Passage<'c> {
    pub edits: Edits<'c>,
    pub limits: Limits,
    /// To be performed now.
    pub effects: Vec<Effect>,
    middlewares: &'c [Middleware],
    /// How many of them it has passed.
    passed: usize,
    /// By position; most leave none.
    notes: Vec<(usize, Note)>,
    begun: Now,
}

/// A passage that waits for a reply.
pub struct Asking<'c> {
    passage: Passage<'c>,
    question: Question<'c>,
    note: Note,
}

impl Chain {
    /// Reads a route document's list.
    pub fn read(list: &[Value], previous: Option<&Chain>) -> Result<Self, ChainError> {
        if list.len() > MIDDLEWARES_MAX {
            return Err(ChainError::TooMany { count: list.len() });
        }
        let read = |(index, value)| {
            Middleware::read(value).map_err(|source| ChainError::Middleware { number: index + 1, source })
        };
        let middlewares = list.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Self::new(middlewares, previous)
    }

    /// What is unchanged keeps the state it had in `previous`.
    pub fn new(mut middlewares: Vec<Middleware>, previous: Option<&Chain>) -> Result<Self, ChainError> {
        if middlewares.len() > MIDDLEWARES_MAX {
            return Err(ChainError::TooMany { count: middlewares.len() });
        }
        middlewares.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some(pair) = middlewares.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(ChainError::SameId { id: pair[0].id.clone() });
        }
        middlewares.sort_by_key(|middleware| middleware.priority);
        let known = previous.map_or([].as_slice(), |previous| &previous.middlewares);
        for middleware in &mut middlewares {
            if let Some(known) = known.iter().find(|known| known.is_same(middleware)) {
                middleware.step = known.step.clone();
            }
        }
        Ok(Self { middlewares })
    }

    pub fn is_empty(&self) -> bool {
        self.middlewares.is_empty()
    }

    pub fn middlewares(&self) -> &[Middleware] {
        &self.middlewares
    }

    /// Decides on a request; once, however often it will be retried.
    pub fn before(&self, request: &Request<'_>, now: Now) -> Decision<'_> {
        let passage = Passage {
            edits: Edits::default(),
            limits: Limits::default(),
            effects: Vec::new(),
            middlewares: &self.middlewares,
            passed: 0,
            notes: Vec::new(),
            begun: now,
        };
        passage.walk(request, now, None)
    }
}

impl<'c> Passage<'c> {
    fn walk(mut self, request: &Request<'_>, now: Now, mut replied: Option<(Note, Reply)>) -> Decision<'c> {
        let middlewares = self.middlewares;
        while let Some(middleware) = middlewares.get(self.passed) {
            let mut seen =
                Seen { request, now, edits: &mut self.edits, limits: &mut self.limits, effects: &mut self.effects };
            let verdict = match replied.take() {
                Some((note, reply)) => middleware.step.resume(&mut seen, note, reply),
                None => middleware.step.request(&mut seen),
            };
            match verdict {
                Verdict::Pass => {}
                Verdict::PassWith(note) => self.notes.push((self.passed, note)),
                Verdict::Answer(answer) => return Decision::Answer(self.answered(answer, now)),
                Verdict::Ask(question, note) => return Decision::Ask(Asking { passage: self, question, note }),
            }
            self.passed += 1;
        }
        Decision::Continue(self)
    }

    /// The head of the response is known; called once, for the response that reaches the client.
    pub fn response(&mut self, response: &Response<'_>, now: Now) -> ResponseEdits<'c> {
        let mut edits = ResponseEdits::default();
        let middlewares = self.middlewares;
        for (position, middleware) in middlewares[..self.passed].iter().enumerate().rev() {
            let mut nothing = Note::None;
            let note = self.notes.iter_mut().find(|(of, _)| *of == position).map(|(_, note)| note);
            let mut seen = SeenResponse { response, begun: self.begun, now, edits: &mut edits };
            middleware.step.response(note.unwrap_or(&mut nothing), &mut seen);
        }
        edits
    }

    /// The last byte was sent, or will never be.
    pub fn finish(mut self, finish: &Finish, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (position, note) in self.notes.drain(..).rev() {
            self.middlewares[position].step.finish(note, finish, now, &mut effects);
        }
        effects
    }

    /// An answer from within takes the way back that a server's response would.
    fn answered(mut self, mut answer: Answer, now: Now) -> Answer {
        answer.drop_forbidden_body();
        let body_bytes = answer.body.len() as u64;
        let response = Response { status: answer.status, headers: &answer, body_bytes: Some(body_bytes), is_own: true };
        let edits = self.response(&response, now);
        answer.edit(&edits.headers);
        answer.effects.append(&mut self.effects);
        answer.effects.extend(edits.effects);
        answer.effects.extend(self.finish(&Finish { request_body_bytes: 0, response_body_bytes: body_bytes }, now));
        answer
    }
}

impl<'c> Asking<'c> {
    pub fn question(&self) -> &Question<'c> {
        &self.question
    }

    /// `request` is the one that was shown before.
    pub fn resume(self, reply: Reply, request: &Request<'_>, now: Now) -> Decision<'c> {
        self.passage.walk(request, now, Some((self.note, reply)))
    }
}

#[cfg(test)]
mod tests;
