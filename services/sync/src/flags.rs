//! The command line, in the style of the author's tool: Go's flags, with one or two hyphens, `-name=value` or `-name value`.

/// What `--help` prints.
pub const USAGE: &str = "\
Keeps the servers of vulcand's backends in etcd in step with the tasks of Marathon's apps.

  -MarathonEndPoint=http://IP:8080/v2/apps   the Marathon to read
  -EtcdEndPoint=http://IP:4001/v2            etcd, by its v2 API
  --etcd=http://IP:2379[,…]                  etcd (or `roadstead store`), by its v3 API
  -EtcdRootKey=/mesos-vulcan                 where <app>/frontend and <app>/backend are (default /mesos-vulcan)
  --watch                                    go on, following Marathon's events
  --dry-run                                  change nothing; print what would change as a diff
  --token=TOKEN                              shown to Marathon, and to etcd unless --etcd-token is given
  --etcd-token=TOKEN                         shown to etcd";

const ROOT_KEY_DEFAULT: &str = "/mesos-vulcan";

const NAMES: [&str; 9] =
    ["MarathonEndPoint", "EtcdEndPoint", "EtcdRootKey", "etcd", "watch", "dry-run", "token", "etcd-token", "help"];

#[derive(Clone, PartialEq, Eq)]
pub struct Flags {
    /// `http://IP:8080/v2/apps`, without a slash at its end.
    pub marathon: String,
    pub etcd: EtcdFlag,
    /// `/mesos-vulcan`, without a slash at its end.
    pub root_key: String,
    pub watch: bool,
    pub dry_run: bool,
    pub token: Option<String>,
    pub etcd_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdFlag {
    /// `http://IP:4001/v2`, without a slash at its end.
    V2(String),
    V3(Vec<String>),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlagError {
    #[error("help was asked for")]
    Help,
    #[error("{0} is not a flag; the nearest one is -{1}")]
    Unknown(String, &'static str),
    #[error("flag -{0} needs a value")]
    NoValue(&'static str),
    #[error("-{name}={value} is neither true nor false")]
    NotBoolean { name: &'static str, value: String },
    #[error("flag -{0} is needed")]
    Missing(&'static str),
    #[error("give -EtcdEndPoint (v2) or --etcd (v3), not both")]
    TwoStores,
    #[error("-{name}={value} is not an http:// address")]
    Address { name: &'static str, value: String },
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Flags")
            .field("marathon", &self.marathon)
            .field("etcd", &self.etcd)
            .field("root_key", &self.root_key)
            .finish_non_exhaustive()
    }
}

impl Flags {
    /// Reads the arguments after the program's name.
    pub fn parse<I: IntoIterator<Item = T>, T: Into<String>>(arguments: I) -> Result<Self, FlagError> {
        let mut arguments = arguments.into_iter().map(Into::into).peekable();
        let (mut marathon, mut v2, mut v3, mut root_key) = (None, None, None, None);
        let (mut watch, mut dry_run, mut token, mut etcd_token) = (false, false, None, None);
        while let Some(argument) = arguments.next() {
            if argument == "-h" {
                return Err(FlagError::Help);
            }
            let (given, mut value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let name = given.strip_prefix("--").or_else(|| given.strip_prefix('-')).unwrap_or_default();
            let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
                return Err(FlagError::Unknown(given.to_owned(), nearest(given.trim_start_matches('-'))));
            };
            if name == "help" {
                return Err(FlagError::Help);
            }
            if name == "watch" || name == "dry-run" {
                let on = boolean(name, value)?;
                *if name == "watch" { &mut watch } else { &mut dry_run } = on;
                continue;
            }
            if value.is_none() {
                value = arguments.next_if(|next| !next.starts_with('-'));
            }
            let value = value.filter(|value| !value.is_empty()).ok_or(FlagError::NoValue(name))?;
            match name {
                "MarathonEndPoint" => marathon = Some(address(name, value)?),
                "EtcdEndPoint" => v2 = Some(address(name, value)?),
                "etcd" => {
                    let endpoints = value.split(',').map(|endpoint| address(name, endpoint.trim().to_owned()));
                    v3 = Some(endpoints.collect::<Result<Vec<_>, _>>()?);
                }
                "EtcdRootKey" => root_key = Some(value),
                "etcd-token" => etcd_token = Some(value),
                _ => token = Some(value),
            }
        }
        let etcd = match (v2, v3) {
            (Some(_), Some(_)) => return Err(FlagError::TwoStores),
            (Some(endpoint), None) => EtcdFlag::V2(with_path(endpoint, "/v2")),
            (None, Some(endpoints)) => EtcdFlag::V3(endpoints),
            (None, None) => return Err(FlagError::Missing("EtcdEndPoint")),
        };
        let marathon = with_path(marathon.ok_or(FlagError::Missing("MarathonEndPoint"))?, "/v2/apps");
        let root_key = format!("/{}", root_key.as_deref().unwrap_or(ROOT_KEY_DEFAULT).trim_matches('/'));
        Ok(Self { marathon, etcd, root_key, watch, dry_run, token, etcd_token })
    }
}

fn boolean(name: &'static str, value: Option<String>) -> Result<bool, FlagError> {
    match value.as_deref() {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(value) => Err(FlagError::NotBoolean { name, value: value.to_owned() }),
    }
}

fn address(name: &'static str, value: String) -> Result<String, FlagError> {
    let is_http = value.strip_prefix("http://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if is_http && value.parse::<http::Uri>().is_ok() {
        Ok(value.trim_end_matches('/').to_owned())
    } else {
        Err(FlagError::Address { name, value })
    }
}

/// An address alone gets the path its API has.
fn with_path(address: String, path: &str) -> String {
    let has_path = address.strip_prefix("http://").is_some_and(|rest| rest.contains('/'));
    if has_path { address } else { format!("{address}{path}") }
}

fn nearest(name: &str) -> &'static str {
    NAMES.into_iter().min_by_key(|known| strsim::damerau_levenshtein(known, name)).unwrap_or("help")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORS: [&str; 3] = [
        "-MarathonEndPoint=http://10.64.231.45:8080/v2/apps",
        "-EtcdEndPoint=http://10.64.231.45:4001/v2",
        "-EtcdRootKey=/mesos-vulcan",
    ];

    #[test]
    fn the_authors_command_line_is_read() {
        let flags = Flags::parse(AUTHORS).unwrap();
        assert_eq!(flags.marathon, "http://10.64.231.45:8080/v2/apps");
        assert_eq!(flags.etcd, EtcdFlag::V2("http://10.64.231.45:4001/v2".into()));
        assert_eq!((flags.root_key.as_str(), flags.watch, flags.dry_run), ("/mesos-vulcan", false, false));
    }

    #[test]
    fn ours_are_read_in_every_style_of_go() {
        let flags =
            ["--MarathonEndPoint", "http://m:8080/", "-etcd=http://a:2379,http://b:2379", "-watch", "--dry-run=true"];
        let flags = Flags::parse(flags.into_iter().chain(["--token", "t"])).unwrap();
        assert_eq!(flags.marathon, "http://m:8080/v2/apps");
        assert_eq!(flags.etcd, EtcdFlag::V3(vec!["http://a:2379".into(), "http://b:2379".into()]));
        assert!(flags.watch && flags.dry_run);
        assert_eq!(flags.token.as_deref(), Some("t"));
        assert!(!format!("{flags:?}").contains("\"t\""), "a token is never printed");
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let refused = |more: &[&str]| Flags::parse(AUTHORS.into_iter().chain(more.iter().copied())).unwrap_err();
        assert_eq!(refused(&["--dryrun"]), FlagError::Unknown("--dryrun".into(), "dry-run"));
        assert_eq!(refused(&["-token"]), FlagError::NoValue("token"));
        assert_eq!(refused(&["--etcd=http://x:1"]), FlagError::TwoStores);
        assert_eq!(refused(&["-help"]), FlagError::Help);
        assert_eq!(
            refused(&["-MarathonEndPoint=ftp://x"]).to_string(),
            "-MarathonEndPoint=ftp://x is not an http:// address"
        );
        assert_eq!(Flags::parse(AUTHORS[1..].iter().copied()).unwrap_err(), FlagError::Missing("MarathonEndPoint"));
        assert_eq!(Flags::parse(AUTHORS[..1].iter().copied()).unwrap_err(), FlagError::Missing("EtcdEndPoint"));
    }
}
