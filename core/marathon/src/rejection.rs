//! Why a document is not an app, in the form Marathon answers with.

use serde_json::{Value, json};

/// Faults told in one answer; further ones are left out.
pub const FAULTS_MAX: usize = 64;

/// Everything wrong with one place of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detail {
    /// `/healthChecks(0)/portIndex`, as Marathon ≥ 1.0 writes paths.
    pub path: String,
    pub errors: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Not JSON, or of another type than the field has: 400.
    #[error("Invalid JSON")]
    Json(Vec<Detail>),
    /// Well-formed, but no app can be so: 422.
    #[error("Object is not valid")]
    Invalid(Vec<Detail>),
}

impl Rejection {
    pub fn invalid(path: &str, error: impl Into<String>) -> Self {
        Self::Invalid(vec![Detail { path: path.to_owned(), errors: vec![error.into()] }])
    }

    pub fn json(path: &str, error: impl Into<String>) -> Self {
        Self::Json(vec![Detail { path: path.to_owned(), errors: vec![error.into()] }])
    }

    /// The HTTP status Marathon gives it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Json(_) => 400,
            Self::Invalid(_) => 422,
        }
    }

    /// The answer's body: `{"message", "details": [{"path", "errors"}]}`.
    pub fn body(&self) -> Value {
        let (Self::Json(details) | Self::Invalid(details)) = self;
        let details: Vec<Value> =
            details.iter().map(|detail| json!({ "path": detail.path, "errors": detail.errors })).collect();
        json!({ "message": self.to_string(), "details": details })
    }
}

/// Collects what is wrong while a document is read, so that one answer tells it all.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    types: Vec<Detail>,
    values: Vec<Detail>,
}

impl Faults {
    /// A field has another JSON type than it should.
    pub fn type_error(&mut self, path: String, error: &str) {
        add(&mut self.types, path, error.to_owned());
    }

    /// A field has a value it cannot have.
    pub fn value(&mut self, path: String, error: impl Into<String>) {
        add(&mut self.values, path, error.into());
    }

    pub fn result(self) -> Result<(), Rejection> {
        if !self.types.is_empty() {
            Err(Rejection::Json(self.types))
        } else if !self.values.is_empty() {
            Err(Rejection::Invalid(self.values))
        } else {
            Ok(())
        }
    }
}

fn add(details: &mut Vec<Detail>, path: String, error: String) {
    if let Some(detail) = details.iter_mut().find(|detail| detail.path == path) {
        if !detail.errors.contains(&error) {
            detail.errors.push(error);
        }
    } else if details.len() < FAULTS_MAX {
        details.push(Detail { path, errors: vec![error] });
    }
}
