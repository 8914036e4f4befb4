//! The fields of a JSON object, taken one by one, so that what is left is known to be unknown.

use super::SpecError;
use crate::duration;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Elements a list may have.
pub const LIST_MAX: usize = 1024;

pub struct Fields {
    /// What the names stand in: empty, or `Fallback.`.
    path: String,
    /// By lower-case name, with the name as it came.
    left: BTreeMap<String, (String, Value)>,
    known: Vec<&'static str>,
}

impl Fields {
    pub fn of(value: &Value, path: &str) -> Result<Self, SpecError> {
        let Value::Object(fields) = value else {
            let field = if path.is_empty() { "Middleware" } else { path.trim_end_matches('.') };
            return Err(SpecError::new(field, "expected an object"));
        };
        let present = fields.iter().filter(|(_, value)| !value.is_null());
        let left = present.map(|(name, value)| (name.to_lowercase(), (name.clone(), value.clone()))).collect();
        Ok(Self { path: path.to_owned(), left, known: Vec::new() })
    }

    pub fn error(&self, name: &str, message: impl Into<String>) -> SpecError {
        SpecError::new(format!("{}{name}", self.path), message)
    }

    pub fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(&name.to_lowercase()).map(|(_, value)| value)
    }

    /// Empty when it is not there.
    pub fn text(&mut self, name: &'static str) -> Result<String, SpecError> {
        match self.take(name) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.error(name, format!("expected a string, found {other}"))),
        }
    }

    pub fn required_text(&mut self, name: &'static str) -> Result<String, SpecError> {
        let text = self.text(name)?;
        if text.is_empty() { Err(self.error(name, "is missing")) } else { Ok(text) }
    }

    /// False when it is not there.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, SpecError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.error(name, format!("expected true or false, found {other}"))),
        }
    }

    pub fn integer(&mut self, name: &'static str) -> Result<Option<i64>, SpecError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(self.error(name, format!("expected an integer, found {value}"))),
        }
    }

    /// An integer from `low` to `high`; none when it is not there.
    pub fn bounded(&mut self, name: &'static str, low: i64, high: i64) -> Result<Option<u64>, SpecError> {
        match self.integer(name)? {
            Some(number) if !(low..=high).contains(&number) => {
                Err(self.error(name, format!("expected {low} to {high}, found {number}")))
            }
            number => Ok(number.map(|number| number.max(0) as u64)),
        }
    }

    /// Integer nanoseconds, as Go writes durations, or Go's text (`10s`); none when it is not there, empty or 0.
    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, SpecError> {
        let read = match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => duration::parse(&text),
            Some(value) => match value.as_i64() {
                Some(nanos) => duration::from_nanos(nanos),
                None => Err(format!("expected nanoseconds or a text as in 10s, found {value}")),
            },
        };
        read.map_err(|message| self.error(name, message))
    }

    /// A list of strings; empty when it is not there.
    pub fn texts(&mut self, name: &'static str) -> Result<Vec<String>, SpecError> {
        let values = self.list(name)?;
        let texts = values.iter().map(|value| value.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
        texts.ok_or_else(|| self.error(name, "expected a list of strings"))
    }

    pub fn list(&mut self, name: &'static str) -> Result<Vec<Value>, SpecError> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) if values.len() <= LIST_MAX => Ok(values),
            Some(Value::Array(_)) => Err(self.error(name, format!("more than {LIST_MAX} elements"))),
            Some(other) => Err(self.error(name, format!("expected a list, found {other}"))),
        }
    }

    /// An object whose names are not ours.
    pub fn map(&mut self, name: &'static str) -> Result<Vec<(String, Value)>, SpecError> {
        match self.take(name) {
            None => Ok(Vec::new()),
            Some(Value::Object(fields)) if fields.len() <= LIST_MAX => Ok(fields.into_iter().collect()),
            Some(Value::Object(_)) => Err(self.error(name, format!("more than {LIST_MAX} elements"))),
            Some(other) => Err(self.error(name, format!("expected an object, found {other}"))),
        }
    }

    pub fn object(&mut self, name: &'static str) -> Result<Option<Fields>, SpecError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        Fields::of(&value, &format!("{}{name}.", self.path)).map(Some)
    }

    /// Refuses what nobody took.
    pub fn done(self) -> Result<(), SpecError> {
        match self.left.values().next() {
            None => Ok(()),
            Some((name, _)) => {
                let message = format!("is unknown: expected one of {}", self.known.join(", "));
                Err(self.error(name, message))
            }
        }
    }
}
