//! Typed ids: one kind cannot be passed for another.

use serde::{Deserialize, Deserializer, Serialize, de::Error};
use std::fmt;
use std::str::FromStr;

/// Characters an app id may have (a label of DNS, a key of the store and a directory must hold it).
pub const APP_ID_CHARS_MAX: usize = 255;

/// An app's absolute path, `/a/b`: segments of lower-case letters, digits, hyphens and inner dots (Marathon's PathId).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AppId(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("path contains invalid characters (allowed: lowercase letters, digits, hyphens, \".\", \"..\")")]
    Characters,
    #[error("an app id has at least one segment")]
    Empty,
    #[error("an app id has at most {APP_ID_CHARS_MAX} characters")]
    Long,
}

impl AppId {
    /// Reads an absolute or relative path (relative to the root); slashes at the ends and doubled ones do not count.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let mut segments: Vec<&str> = Vec::new();
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            match segment {
                "." => {}
                ".." => drop(segments.pop()),
                valid if segment_is_valid(valid) => segments.push(valid),
                _ => return Err(IdError::Characters),
            }
        }
        if segments.is_empty() {
            return Err(IdError::Empty);
        }
        let path = format!("/{}", segments.join("/"));
        if path.len() > APP_ID_CHARS_MAX {
            return Err(IdError::Long);
        }
        Ok(Self(path))
    }

    /// `/a/b`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0[1..].split('/')
    }

    /// `a_b`: the first part of a task id.
    pub fn safe_path(&self) -> String {
        self.0[1..].replace('/', "_")
    }

    /// `b.a`: the name in DNS and in the edge's routes, below the domain.
    pub fn host_label(&self) -> String {
        self.segments().rev().collect::<Vec<_>>().join(".")
    }
}

/// `[a-z0-9]`, inner hyphens, labels joined by single dots.
fn segment_is_valid(segment: &str) -> bool {
    segment.split('.').all(|label| {
        let bytes = label.as_bytes();
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
    })
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AppId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for AppId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// `<safe path>.<uuid v1>`, as Marathon 0.7 to 1.3 made them.
    TaskId
);
text_id!(NodeId);
text_id!(
    /// A UUID.
    DeploymentId
);

impl TaskId {
    /// `unique` is a UUID (version 1, as Marathon's).
    pub fn of(app: &AppId, unique: &str) -> Self {
        Self(format!("{}.{unique}", app.safe_path()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_do_not_count() {
        for text in ["s3pics", "/s3pics", "//s3pics/", "/./s3pics", "/x/../s3pics"] {
            assert_eq!(AppId::parse(text).unwrap().as_str(), "/s3pics", "{text}");
        }
        assert_eq!(AppId::parse("/a//b").unwrap().host_label(), "b.a");
        assert_eq!(AppId::parse("/a/b").unwrap().safe_path(), "a_b");
    }

    #[test]
    fn other_characters_are_refused() {
        for text in ["A", "a_b", "-a", "a-", "a..b", "é", "a b", "a%2fb"] {
            assert_eq!(AppId::parse(text), Err(IdError::Characters), "{text}");
        }
        assert_eq!(AppId::parse("/"), Err(IdError::Empty));
        assert_eq!(AppId::parse(&"a/".repeat(200)), Err(IdError::Long));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics_and_is_stable(text in ".{0,64}") {
            if let Ok(id) = AppId::parse(&text) {
                proptest::prop_assert_eq!(AppId::parse(id.as_str()), Ok(id.clone()));
            }
        }
    }
}
