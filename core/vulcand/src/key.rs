//! The layout of vulcand's keys.

use std::fmt;

/// What vulcand's documentation and tools use.
pub const PREFIX: &str = "/vulcand/";
/// What vulcand uses with etcd v3 when nothing is said (`-etcdKey` defaults to `vulcand`).
pub const BARE_PREFIX: &str = "vulcand/";
/// Bytes one id may have.
const ID_BYTES_MAX: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Prefix {
    Slash,
    Bare,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub prefix: Prefix,
    pub kind: Kind,
}

/// What a key holds. Ids come from the key; those in the values do not count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Host { name: String },
    Listener { id: String },
    Backend { id: String },
    Server { backend: String, id: String },
    Frontend { id: String },
    Middleware { frontend: String, id: String },
}

impl Prefix {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slash => PREFIX,
            Self::Bare => BARE_PREFIX,
        }
    }
}

impl Key {
    /// `None` for a key vulcand takes no notice of. `/backends/b` is `/backends/b/backend`, as in vulcand.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        let (prefix, path) = match key.strip_prefix(PREFIX) {
            Some(path) => (Prefix::Slash, path),
            None => (Prefix::Bare, key.strip_prefix(BARE_PREFIX)?),
        };
        let segments: Vec<&str> = path.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty() || segment.len() > ID_BYTES_MAX) {
            return None;
        }
        let own = str::to_owned;
        let kind = match segments.as_slice() {
            ["hosts", name] | ["hosts", name, "host"] => Kind::Host { name: own(name) },
            ["listeners", id] => Kind::Listener { id: own(id) },
            ["backends", id] | ["backends", id, "backend"] => Kind::Backend { id: own(id) },
            ["backends", backend, "servers", id] => Kind::Server { backend: own(backend), id: own(id) },
            ["frontends", id] | ["frontends", id, "frontend"] => Kind::Frontend { id: own(id) },
            ["frontends", frontend, "middlewares", id] => Kind::Middleware { frontend: own(frontend), id: own(id) },
            _ => return None,
        };
        Some(Self { prefix, kind })
    }

    pub fn backend(id: &str) -> Self {
        Self { prefix: Prefix::Slash, kind: Kind::Backend { id: id.to_owned() } }
    }

    pub fn server(backend: &str, id: &str) -> Self {
        Self { prefix: Prefix::Slash, kind: Kind::Server { backend: backend.to_owned(), id: id.to_owned() } }
    }

    pub fn frontend(id: &str) -> Self {
        Self { prefix: Prefix::Slash, kind: Kind::Frontend { id: id.to_owned() } }
    }

    /// The prefix of all servers of a backend, e.g. to list them.
    pub fn servers_prefix(backend: &str) -> String {
        format!("{PREFIX}backends/{backend}/servers/")
    }
}

/// As vulcand writes it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix.as_str())?;
        match &self.kind {
            Kind::Host { name } => write!(f, "hosts/{name}/host"),
            Kind::Listener { id } => write!(f, "listeners/{id}"),
            Kind::Backend { id } => write!(f, "backends/{id}/backend"),
            Kind::Server { backend, id } => write!(f, "backends/{backend}/servers/{id}"),
            Kind::Frontend { id } => write!(f, "frontends/{id}/frontend"),
            Kind::Middleware { frontend, id } => write!(f, "frontends/{frontend}/middlewares/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        for text in [
            "/vulcand/hosts/example.com/host",
            "/vulcand/listeners/ls1",
            "vulcand/backends/b1/backend",
            "/vulcand/backends/b1/servers/srv-1",
            "/vulcand/frontends/f1/frontend",
            "vulcand/frontends/f1/middlewares/rl1",
        ] {
            assert_eq!(Key::parse(text.as_bytes()).unwrap().to_string(), text);
        }
        assert_eq!(Key::parse(b"/vulcand/backends/b1"), Some(Key::backend("b1")));
        assert_eq!(Key::server("b1", "s").to_string(), "/vulcand/backends/b1/servers/s");
        assert!(Key::server("b1", "s").to_string().starts_with(&Key::servers_prefix("b1")));
    }

    #[test]
    fn other_keys_are_not_ours() {
        for text in ["/vulcand/", "/vulcand/backends/", "/vulcand/x/y", "/other", "/vulcand/backends/b/servers/"] {
            assert_eq!(Key::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Key::parse(b"/vulcand/backends/\xff"), None);
    }
}
