//! Routes of TCP connections: by the address that is connected to, and by the name in the TLS handshake, if routes of that
//! address ask for names. No HTTP request takes such a route, and it has no rule.
//!
//! Of an exact name, a wildcard and no name the first that there is takes a connection. `*.a.example` stands for one label, as
//! in certificates (RFC 9525, section 6.3). Of two routes that ask for the same the one with the lesser id has it.

use crate::balance::{BalanceSpec, HashOn};
use crate::route::Route;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// Names one route may ask for.
const NAMES_MAX: usize = 256;
/// Bytes of a host name (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// The field `tcp` of a route document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TcpSpec {
    /// `:5432` or `IP:5432`.
    pub listen: String,
    /// Names in the TLS handshake that it takes, `db.example` or `*.example`; none: every connection that no other takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sni: Vec<String>,
}

/// A checked [`TcpSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpRule {
    pub listen: SocketAddr,
    /// Lower-case.
    names: Vec<String>,
    spec: TcpSpec,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TcpError {
    #[error("listen {text:?}: expected :PORT or IP:PORT")]
    Listen { text: String },
    #[error("sni {name:?}: expected a host name or *.NAME, of at most {NAME_BYTES_MAX} bytes")]
    Name { name: String },
    #[error("{count} names: a route may have {NAMES_MAX}")]
    TooManyNames { count: usize },
    #[error("a TCP route has no {field}: there are no requests to look at")]
    NeedsRequests { field: &'static str },
}

/// The TCP routes of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpTable {
    doors: BTreeMap<SocketAddr, Door>,
    /// The route's position, and what another one has.
    taken: Vec<(usize, String)>,
}

/// Those of one address, by their positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Door {
    /// The one by which the address is known, for who reports what is wrong with it.
    first: usize,
    /// Exact names, and wildcards from their dot on.
    by_name: HashMap<String, usize>,
    default: Option<usize>,
}

impl TcpRule {
    pub fn compile(spec: TcpSpec) -> Result<Self, TcpError> {
        if spec.sni.len() > NAMES_MAX {
            return Err(TcpError::TooManyNames { count: spec.sni.len() });
        }
        let listen = listen(&spec.listen).ok_or_else(|| TcpError::Listen { text: spec.listen.clone() })?;
        let names = spec.sni.iter().map(|name| checked(name).ok_or_else(|| TcpError::Name { name: name.clone() }));
        Ok(Self { listen, names: names.collect::<Result<_, _>>()?, spec })
    }

    pub fn spec(&self) -> &TcpSpec {
        &self.spec
    }

    /// For people.
    pub fn describe(&self) -> String {
        match self.names.as_slice() {
            [] => format!("TCP on {}", self.listen),
            names => format!("TCP on {}, for {}", self.listen, names.join(", ")),
        }
    }
}

/// What of a balance asks for a request.
pub(crate) fn check_balance(balance: &BalanceSpec) -> Result<(), TcpError> {
    let needs = |field| Err(TcpError::NeedsRequests { field });
    match &balance.hash_on {
        _ if balance.sticky.is_some() => needs("balance.sticky"),
        _ if balance.canary.is_some() => needs("balance.canary"),
        _ if balance.buffer.is_some() => needs("balance.buffer"),
        _ if balance.mirror.is_some() => needs("balance.mirror"),
        _ if balance.retry.is_some() => needs("balance.retry"),
        None | Some(HashOn::ClientIp) => Ok(()),
        Some(_) => needs("balance.hash_on but client_ip"),
    }
}

/// An empty host is every address, as in vulcand's listeners.
fn listen(text: &str) -> Option<SocketAddr> {
    let address = match text.strip_prefix(':') {
        Some(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.parse().ok()?),
        None => text.parse().ok()?,
    };
    (address.port() != 0).then_some(address)
}

fn checked(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let labels = name.strip_prefix("*.").unwrap_or(&name);
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(known);
    (name.len() <= NAME_BYTES_MAX && labels.split('.').all(is_label)).then_some(name)
}

impl TcpTable {
    /// Of the routes at these positions.
    pub fn new(routes: &[Arc<Route>], positions: impl IntoIterator<Item = usize>) -> Self {
        let mut positions: Vec<usize> = positions.into_iter().collect();
        positions.sort_by(|a, b| routes[*a].id.cmp(&routes[*b].id));
        let mut table = Self::default();
        for position in positions {
            let Some(rule) = &routes[position].tcp else { continue };
            let door = table.doors.entry(rule.listen).or_insert_with(|| Door { first: position, ..Door::default() });
            let mut taken = Vec::new();
            if rule.names.is_empty() && *door.default.get_or_insert(position) != position {
                taken.push("all connections that name nobody else's".to_owned());
            }
            for name in &rule.names {
                let key = name.strip_prefix('*').unwrap_or(name);
                if *door.by_name.entry(key.to_owned()).or_insert(position) != position {
                    taken.push(name.clone());
                }
            }
            table.taken.extend(taken.into_iter().map(|what| (position, what)));
        }
        table
    }

    /// Where connections are taken, each with the position of a route that asks for it.
    pub fn addresses(&self) -> impl Iterator<Item = (SocketAddr, usize)> {
        self.doors.iter().map(|(address, door)| (*address, door.first))
    }

    /// Which routes do not get what they ask for, since another one has it: position, and what.
    pub fn taken(&self) -> &[(usize, String)] {
        &self.taken
    }

    /// Whether the name that a client gives decides anything here.
    pub fn asks_for_names(&self, address: SocketAddr) -> bool {
        self.doors.get(&address).is_some_and(|door| !door.by_name.is_empty())
    }

    /// The position of the route that takes a connection to `address`; `name` is what its handshake names.
    pub fn find(&self, address: SocketAddr, name: Option<&str>) -> Option<usize> {
        let door = self.doors.get(&address)?;
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let name = name.strip_suffix('.').unwrap_or(&name);
            let wildcard = || door.by_name.get(&name[name.find('.')?..]);
            // A name that began with a dot would be found as a wildcard.
            door.by_name.get(name).filter(|_| !name.starts_with('.')).or_else(wildcard).copied()
        });
        named.or(door.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::RouteSpec;
    use proptest::prelude::*;

    fn route(id: &str, listen: &str, sni: &[&str]) -> Arc<Route> {
        let sni = sni.iter().map(|name| (*name).to_owned()).collect();
        let tcp = Some(TcpSpec { listen: listen.to_owned(), sni });
        Arc::new(Route::compile(RouteSpec { id: id.to_owned(), tcp, ..RouteSpec::default() }).unwrap())
    }

    #[test]
    fn a_name_is_found_exactly_then_by_wildcard_then_by_nobody_elses() {
        let routes = [
            route("rest", ":5432", &[]),
            route("exact", ":5432", &["DB.example"]),
            route("wild", ":5432", &["*.example", "*.b.example"]),
            route("other", "127.0.0.1:5433", &["db.example"]),
        ];
        let table = TcpTable::new(&routes, 0..routes.len());
        let [here, there] = ["0.0.0.0:5432", "127.0.0.1:5433"].map(|text| text.parse::<SocketAddr>().unwrap());
        let found = |address, name| table.find(address, name).map(|position| routes[position].id.as_str());
        for (name, expected) in [
            (Some("db.example"), "exact"),
            (Some("Db.Example."), "exact"),
            (Some("x.example"), "wild"),
            (Some("y.b.example"), "wild"),
            (Some("x.y.example"), "rest"),
            (Some(".example"), "wild"),
            (Some("example"), "rest"),
            (Some(""), "rest"),
            (None, "rest"),
        ] {
            assert_eq!(found(here, name), Some(expected), "{name:?}");
        }
        assert_eq!((found(there, Some("db.example")), found(there, None)), (Some("other"), None));
        assert!(table.asks_for_names(here) && table.taken().is_empty());
        assert_eq!(table.addresses().count(), 2);
    }

    #[test]
    fn of_two_that_ask_for_the_same_the_lesser_id_has_it() {
        let routes =
            [route("b", ":1", &["x", "y"]), route("a", ":1", &["x"]), route("d", ":1", &[]), route("c", ":1", &[])];
        let table = TcpTable::new(&routes, 0..routes.len());
        let address = "0.0.0.0:1".parse().unwrap();
        assert_eq!(
            [table.find(address, Some("x")), table.find(address, Some("y")), table.find(address, None)],
            [Some(1), Some(0), Some(3)]
        );
        let taken: Vec<usize> = table.taken().iter().map(|(position, _)| *position).collect();
        assert_eq!(taken, [0, 2]);
    }

    #[test]
    fn what_cannot_be_listened_for_is_refused() {
        let compile = |listen: &str, name: &str| {
            TcpRule::compile(TcpSpec { listen: listen.to_owned(), sni: vec![name.to_owned()] })
        };
        for listen in ["", ":", ":0", "5432", "example:1", ":65536", "1.2.3.4"] {
            assert!(matches!(compile(listen, "a"), Err(TcpError::Listen { .. })), "{listen}");
        }
        for name in ["", "*", "*.", "a..b", "a b", "*a.b", "a.*.b", "é.example", &"a".repeat(254)] {
            assert!(matches!(compile(":1", name), Err(TcpError::Name { .. })), "{name}");
        }
        assert_eq!(compile("[::]:1", "a_1.b-2").unwrap().describe(), "TCP on [::]:1, for a_1.b-2");
    }

    proptest! {
        #[test]
        fn no_name_panics(name in ".{0,20}") {
            let routes = [route("a", ":1", &["*.x"])];
            let table = TcpTable::new(&routes, [0]);
            let _found = table.find("0.0.0.0:1".parse().unwrap(), Some(&name));
        }
    }
}
