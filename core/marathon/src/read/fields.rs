//! Typed access to the fields of a JSON object. `null` counts as absent, as it does for Marathon's optional fields.

use crate::Rejection;
use crate::rejection::Faults;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The longest time a field may say: ten years.
pub const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;

/// An object and where it stands in the document.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    path: String,
    fields: &'a Map<String, Value>,
}

/// A value and where it stands in the document.
#[derive(Clone, Debug)]
pub struct Item<'a> {
    pub path: String,
    pub value: &'a Value,
}

impl<'a> Object<'a> {
    pub fn root(value: &'a Value) -> Result<Self, Rejection> {
        let fields = value.as_object().ok_or_else(|| Rejection::json("/", "error.expected.jsobject"))?;
        Ok(Self { path: String::new(), fields })
    }

    pub fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// The path of the object itself.
    pub fn own_path(&self) -> String {
        if self.path.is_empty() { "/".into() } else { self.path.clone() }
    }

    pub fn get(&self, name: &str) -> Option<Item<'a>> {
        let value = self.fields.get(name).filter(|value| !value.is_null())?;
        Some(Item { path: self.path(name), value })
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn text(&self, name: &str, faults: &mut Faults) -> Option<String> {
        self.get(name)?.text(faults)
    }

    pub fn boolean(&self, name: &str, faults: &mut Faults) -> Option<bool> {
        let item = self.get(name)?;
        let value = item.value.as_bool();
        if value.is_none() {
            faults.type_error(item.path, "error.expected.jsboolean");
        }
        value
    }

    /// A number within bounds.
    pub fn number(&self, name: &str, bounds: RangeInclusive<f64>, faults: &mut Faults) -> Option<f64> {
        self.get(name)?.number(bounds, faults)
    }

    /// A whole number within bounds.
    pub fn integer(&self, name: &str, bounds: RangeInclusive<u32>, faults: &mut Faults) -> Option<u32> {
        self.get(name)?.integer(bounds, faults)
    }

    pub fn port(&self, name: &str, faults: &mut Faults) -> Option<u16> {
        self.get(name)?.port(faults)
    }

    /// A number of seconds, kept to the millisecond.
    pub fn seconds(&self, name: &str, faults: &mut Faults) -> Option<Duration> {
        let seconds = self.number(name, 0.0..=SECONDS_MAX, faults)?;
        Some(Duration::from_millis((seconds * 1000.0).round() as u64))
    }

    pub fn list(&self, name: &str, faults: &mut Faults) -> Option<Vec<Item<'a>>> {
        self.get(name)?.list(faults)
    }

    pub fn object(&self, name: &str, faults: &mut Faults) -> Option<Object<'a>> {
        self.get(name)?.object(faults)
    }

    /// The objects of a list; those that are none are told.
    pub fn objects(&self, name: &str, faults: &mut Faults) -> Option<Vec<Object<'a>>> {
        let items = self.list(name, faults)?;
        Some(items.into_iter().filter_map(|item| item.object(faults)).collect())
    }

    pub fn texts(&self, name: &str, faults: &mut Faults) -> Option<Vec<String>> {
        let items = self.list(name, faults)?;
        Some(items.into_iter().filter_map(|item| item.text(faults)).collect())
    }

    /// A map of text to text. Numbers and booleans are taken as their text, as Marathon 0.7 took them.
    pub fn text_map(&self, name: &str, faults: &mut Faults) -> Option<BTreeMap<String, String>> {
        let object = self.object(name, faults)?;
        let mut map = BTreeMap::new();
        for (key, value) in object.fields {
            match value {
                Value::String(text) => drop(map.insert(key.clone(), text.clone())),
                Value::Number(_) | Value::Bool(_) => drop(map.insert(key.clone(), value.to_string())),
                Value::Null => {}
                Value::Object(inner) if inner.contains_key("secret") => {
                    faults.value(object.path(key), "secrets are not supported");
                }
                _ => faults.type_error(object.path(key), "error.expected.jsstring"),
            }
        }
        Some(map)
    }
}

impl<'a> Item<'a> {
    pub fn text(&self, faults: &mut Faults) -> Option<String> {
        let text = self.value.as_str().map(str::to_owned);
        if text.is_none() {
            faults.type_error(self.path.clone(), "error.expected.jsstring");
        }
        text
    }

    pub fn number(&self, bounds: RangeInclusive<f64>, faults: &mut Faults) -> Option<f64> {
        let Some(number) = self.value.as_f64() else {
            faults.type_error(self.path.clone(), "error.expected.jsnumber");
            return None;
        };
        if number < *bounds.start() {
            faults.value(self.path.clone(), format!("got {number}, expected {} or more", bounds.start()));
            return None;
        }
        if number > *bounds.end() {
            faults.value(self.path.clone(), format!("got {number}, expected {} or less", bounds.end()));
            return None;
        }
        Some(number)
    }

    pub fn integer(&self, bounds: RangeInclusive<u32>, faults: &mut Faults) -> Option<u32> {
        let number = self.number(f64::from(*bounds.start())..=f64::from(*bounds.end()), faults)?;
        if number.fract() != 0.0 {
            faults.type_error(self.path.clone(), "error.expected.int");
            return None;
        }
        Some(number as u32)
    }

    pub fn port(&self, faults: &mut Faults) -> Option<u16> {
        self.integer(0..=u32::from(u16::MAX), faults).and_then(|port| u16::try_from(port).ok())
    }

    pub fn list(&self, faults: &mut Faults) -> Option<Vec<Item<'a>>> {
        let Some(list) = self.value.as_array() else {
            faults.type_error(self.path.clone(), "error.expected.jsarray");
            return None;
        };
        let item = |(index, value)| Item { path: format!("{}({index})", self.path), value };
        Some(list.iter().enumerate().map(item).collect())
    }

    pub fn object(&self, faults: &mut Faults) -> Option<Object<'a>> {
        let Some(fields) = self.value.as_object() else {
            faults.type_error(self.path.clone(), "error.expected.jsobject");
            return None;
        };
        Some(Object { path: self.path.clone(), fields })
    }
}
