//! What the middlewares of a route ask for of a request's way: it holds for every attempt.

use crate::limits::BODY_IDLE_MAX;
use http1::{Edit, Target};
use middleware::{Change, HeaderEdit, Limits, Passage};
use std::borrow::Cow;
use std::mem;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Orders {
    /// The route whose middlewares let the request pass: it may go to the servers of no other that has some.
    pub route: String,
    target: Option<String>,
    headers: Vec<HeaderEdit<'static>>,
    pub limits: Limits,
}

impl Orders {
    pub fn of(route: &str, passage: &mut Passage<'_>) -> Self {
        let edits = mem::take(&mut passage.edits);
        let headers = edits.headers.into_iter().map(owned).collect();
        Self { route: route.to_owned(), target: edits.target, headers, limits: passage.limits }
    }

    pub fn target(&self) -> Option<Target<'_>> {
        self.target.as_deref().and_then(Target::new)
    }

    pub fn edits(&self) -> Vec<Edit<'_>> {
        edits(&self.headers)
    }

    /// While not a byte moves.
    pub fn idle_max(&self) -> Duration {
        self.limits.timeouts.idle.unwrap_or(BODY_IDLE_MAX)
    }
}

/// As they are written; what would change the framing is left out.
pub(super) fn edits<'a>(edits: &'a [HeaderEdit<'_>]) -> Vec<Edit<'a>> {
    let edit = |edit: &'a HeaderEdit<'_>| match &edit.change {
        Change::Remove => Edit::remove(&edit.name),
        Change::Set(value) => Edit::set(&edit.name, value),
        Change::Add(value) => Edit::add(&edit.name, value),
    };
    edits.iter().filter_map(edit).collect()
}

fn owned(edit: HeaderEdit<'_>) -> HeaderEdit<'static> {
    let value = |value: Cow<'_, [u8]>| Cow::Owned(value.into_owned());
    HeaderEdit {
        name: Cow::Owned(edit.name.into_owned()),
        change: match edit.change {
            Change::Remove => Change::Remove,
            Change::Set(set) => Change::Set(value(set)),
            Change::Add(added) => Change::Add(value(added)),
        },
    }
}
