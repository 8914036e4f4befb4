//! Trie patterns: exact text with holes. `<name>` takes everything up to the separator, `<int:name>` digits,
//! `<path:name>` all that is left. A hole may be empty (as in vulcand: `/<a>` matches `/`). Nothing is extracted.
//!
//! Each hole takes as much as it can and gives nothing back, so text right after a `<name>` that is not the separator
//! could never match. vulcand accepts such a pattern in silence; here it is an error.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
    separator: Separator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Name,
    Integer,
    Rest,
}

/// Bytes one pattern may have. Patterns become the depth of a tree.
pub(crate) const PATTERN_BYTES_MAX: usize = 1024;
/// Holes one pattern may have.
pub(crate) const HOLES_MAX: usize = 32;

/// What ends a `<name>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Separator(pub char);

impl Pattern {
    /// The error says what is wrong and at which character of `text` (from 0).
    pub fn parse(text: &str, separator: Separator) -> Result<Self, (usize, String)> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err((0, format!("a pattern has at most {PATTERN_BYTES_MAX} bytes, this one has {}", text.len())));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let at = || text[..text.len() - rest.len()].chars().count();
            let part = match rest.strip_prefix('<') {
                Some(hole) => {
                    let end = hole.find('>').ok_or_else(|| (at(), "`<` has no closing `>`".to_owned()))?;
                    let part = hole_kind(&hole[..end]).map_err(|message| (at(), message))?;
                    rest = &hole[end + 1..];
                    part
                }
                None => {
                    let end = rest.find('<').unwrap_or(rest.len());
                    let literal = rest[..end].to_owned();
                    rest = &rest[end..];
                    Part::Literal(literal)
                }
            };
            if let Some(message) = parts.last().and_then(|before| never_matches(before, &part, separator)) {
                let length = text.len() - rest.len();
                return Err((text[..length].chars().count().saturating_sub(1), message));
            }
            parts.push(part);
        }
        let holes = parts.iter().filter(|part| !matches!(part, Part::Literal(_))).count();
        if holes > HOLES_MAX {
            return Err((0, format!("a pattern has at most {HOLES_MAX} holes, this one has {holes}")));
        }
        Ok(Self { parts, separator })
    }

    /// What begins like the pattern.
    pub fn prefix(text: &str, separator: Separator) -> Result<Self, (usize, String)> {
        let mut pattern = Self::parse(text, separator)?;
        if !pattern.is_open() {
            pattern.parts.push(Part::Rest);
        }
        Ok(pattern)
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Whether anything may follow what it begins with.
    pub fn is_open(&self) -> bool {
        self.parts.last() == Some(&Part::Rest)
    }

    /// The text itself, when there is no hole.
    pub fn exact(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }

    pub fn literal_bytes(&self) -> usize {
        self.parts.iter().map(|part| if let Part::Literal(text) = part { text.len() } else { 0 }).sum()
    }

    pub fn matches(&self, text: &str) -> bool {
        let mut rest = text;
        for part in &self.parts {
            rest = match part {
                Part::Literal(literal) => match rest.strip_prefix(literal.as_str()) {
                    Some(rest) => rest,
                    None => return false,
                },
                Part::Name => &rest[rest.find(self.separator.0).unwrap_or(rest.len())..],
                Part::Integer => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
                Part::Rest => "",
            };
        }
        rest.is_empty()
    }
}

fn hole_kind(text: &str) -> Result<Part, String> {
    let (kind, name) = text.split_once(':').unwrap_or(("string", text));
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err(format!("`<{text}>` needs a name of letters, digits, `_` or `-`"));
    }
    match kind {
        "string" => Ok(Part::Name),
        "int" => Ok(Part::Integer),
        "path" => Ok(Part::Rest),
        other => Err(format!("unknown kind `{other}` in `<{text}>`: it is string, int or path")),
    }
}

fn never_matches(before: &Part, part: &Part, separator: Separator) -> Option<String> {
    let starts_with_separator = matches!(part, Part::Literal(text) if text.starts_with(separator.0));
    match before {
        Part::Rest => Some("nothing can follow a `<path:...>`, which takes all that is left".to_owned()),
        Part::Name if !starts_with_separator => {
            let separator = separator.0;
            Some(format!("a `<name>` runs up to {separator:?}, so only {separator:?} can follow it"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Pattern {
        Pattern::parse(text, Separator('/')).unwrap()
    }

    #[test]
    fn exact_text_is_exact() {
        assert!(path("/foo").matches("/foo"));
        assert!(!path("/foo").matches("/foo/"));
        assert!(!path("/foo").matches("/fo"));
        assert_eq!(path("/foo").exact(), Some("/foo"));
        assert_eq!(path("/<a>").exact(), None);
    }

    #[test]
    fn a_name_runs_up_to_the_separator_and_may_be_empty() {
        assert!(path("/<a>").matches("/x"));
        assert!(path("/<a>").matches("/"));
        assert!(!path("/<a>").matches("/x/y"));
        assert!(path("/<a>/<string:b>").matches("/x/y"));
        let host = Pattern::parse("<bucket>.s3.localhost", Separator('.')).unwrap();
        assert!(host.matches("pictures.s3.localhost"));
        assert!(!host.matches("a.b.s3.localhost"));
    }

    #[test]
    fn integers_and_paths() {
        assert!(path("/v<int:major>.json").matches("/v2.json"));
        assert!(!path("/v<int:major>").matches("/vx"));
        assert!(path("/path/<path:x>").matches("/path/a/b"));
        assert!(path("/path/<path:x>").matches("/path/"));
        assert!(!path("/path/<path:x>").matches("/pat"));
    }

    #[test]
    fn what_can_never_match_is_refused() {
        for text in ["/<a", "/<>", "/<float:a>", "/<a b>", "/<path:a>/b", "/<a>.json"] {
            assert!(Pattern::parse(text, Separator('/')).is_err(), "{text}");
        }
    }
}
