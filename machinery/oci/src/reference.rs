//! Names of images: `[host[:port]/]repository[:tag][@digest]`.
//!
//! The grammar of repositories and tags is the distribution specification's. Whether the first component is a host is
//! decided as Docker decides it: it holds a `.` or a `:`, or is `localhost`.

use crate::digest::{Digest, DigestError, excerpt};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The most characters a repository may have (Docker's limit; the specification leaves it open).
const REPOSITORY_CHARACTERS_MAX: usize = 255;
/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` (distribution specification, "Pulling manifests").
const TAG_CHARACTERS_MAX: usize = 128;
/// What a reference without tag and digest means.
const TAG_DEFAULT: &str = "latest";

/// A repository's name, such as `library/alpine`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(String);

/// A tag, such as `2.0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(String);

/// An image's name. At least one of tag and digest is there; when both are, the digest decides.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// `host` or `host:port` of the registry; without one, it is the reader's to choose.
    pub registry: Option<String>,
    pub repository: Repository,
    pub tag: Option<Tag>,
    pub digest: Option<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("registry {text:?} is not HOST[:PORT]")]
    Registry { text: String },
    #[error("repository {text:?} is not lower-case words joined by '/', '.', '_', '__' or '-'")]
    Repository { text: String },
    #[error("tag {text:?} is not a letter, digit or '_' and up to 127 more of these, '.' and '-'")]
    Tag { text: String },
    #[error("read the digest of an image's name")]
    Digest { source: DigestError },
}

impl Repository {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*`
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.len() > REPOSITORY_CHARACTERS_MAX || !text.split('/').all(is_component) {
            return Err(ReferenceError::Repository { text: excerpt(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

/// Words of letters and digits, with one separator between each two: `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(is_word) || !bytes.last().is_some_and(is_word) {
        return false;
    }
    let separators = bytes.split(is_word).filter(|separator| !separator.is_empty());
    separators.into_iter().all(|s| matches!(s, b"." | b"_" | b"__") || s.iter().all(|byte| *byte == b'-'))
}

impl Tag {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = text.as_bytes();
        let good = bytes.len() <= TAG_CHARACTERS_MAX
            && bytes.first().is_some_and(|byte| is_word(*byte))
            && bytes.iter().all(|byte| is_word(*byte) || matches!(byte, b'.' | b'-'));
        if !good {
            return Err(ReferenceError::Tag { text: excerpt(text) });
        }
        Ok(Self(text.to_owned()))
    }
}

impl Reference {
    /// What a registry is asked for: the digest when there is one, else the tag.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.to_string(),
            (None, None) => TAG_DEFAULT.to_owned(),
        }
    }

    /// The same image, asked of `registry` when the name holds no registry.
    pub fn or_registry(mut self, registry: &str) -> Self {
        self.registry.get_or_insert_with(|| registry.to_owned());
        self
    }

    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|source| ReferenceError::Digest { source })?)),
            None => (text, None),
        };
        let (registry, rest) = match rest.split_once('/') {
            Some((host, rest)) if is_registry(host) => (Some(parse_registry(host)?), rest),
            _ => (None, rest),
        };
        // A tag's colon is after the last slash: one before it would belong to a port.
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.parse()?)),
            _ => (rest, None),
        };
        let repository = repository.parse()?;
        let tag = match (&tag, &digest) {
            (None, None) => Some(Tag(TAG_DEFAULT.to_owned())),
            _ => tag,
        };
        Ok(Self { registry, repository, tag, digest })
    }
}

fn is_registry(component: &str) -> bool {
    component.contains(['.', ':']) || component == "localhost"
}

fn parse_registry(text: &str) -> Result<String, ReferenceError> {
    let good = text.parse::<http::uri::Authority>().is_ok_and(|authority| {
        let port_is_number =
            text.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']') || port.parse::<u16>().is_ok());
        let starts_well = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
        starts_well && !text.contains('@') && !authority.host().is_empty() && port_is_number
    });
    if good { Ok(text.to_owned()) } else { Err(ReferenceError::Registry { text: excerpt(text) }) }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Names travel as their text.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Repository, Tag, Reference);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_parts_of_a_name() {
        let article = parse("10.64.231.45:5000/s3pics:2.0");
        assert_eq!(article.registry.as_deref(), Some("10.64.231.45:5000"));
        assert_eq!(article.repository.as_str(), "s3pics");
        assert_eq!(article.version(), "2.0");
        let short = parse("library/alpine");
        assert_eq!((short.registry.as_deref(), short.version().as_str()), (None, "latest"));
        assert_eq!(parse("localhost/a/b:c").registry.as_deref(), Some("localhost"));
        assert_eq!(parse("[::1]:5000/a").registry.as_deref(), Some("[::1]:5000"));
        let digest = Digest::sha256(b"x");
        let both = parse(&format!("r.example/a/b:1@{digest}"));
        assert_eq!((both.tag.unwrap().as_str(), both.digest), ("1", Some(digest.clone())));
        assert_eq!(parse(&format!("a@{digest}")).tag, None);
        assert_eq!(parse("a").or_registry("h:1").to_string(), "h:1/a:latest");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(256);
        for text in [
            "",
            "/",
            "A",
            "a//b",
            "a/",
            "-a",
            "a-",
            "a___b",
            "a..b",
            "a._b",
            "a:",
            "a:b c",
            "a@sha256:x",
            "h:x/a",
            "../a",
            &long,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert!("x".repeat(128).parse::<Tag>().is_ok());
        assert!("x".repeat(129).parse::<Tag>().is_err());
        assert!(".x".parse::<Tag>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,300}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
            }
        }

        #[test]
        fn every_repository_of_the_grammar_is_accepted(
            name in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}){0,3}",
            tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}",
        ) {
            prop_assert!(name.parse::<Repository>().is_ok());
            let text = format!("host.example:5000/{name}:{tag}");
            prop_assert_eq!(parse(&text).to_string(), text);
        }
    }
}
