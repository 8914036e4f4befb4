//! The article's command line: Go's flags (`-AccessKey=…`), parsed here because clap knows no long flag with one dash.
//!
//! As in Go's `flag` package: one dash or two, the value after `=` or as the next argument, the last of a repeated flag
//! wins (`--bucket` collects), and parsing is exact about case.

use crate::Config;
use crate::endpoint::{BucketError, BucketName, Endpoint, EndpointError};
use crate::signer::{SignatureVersion, SignatureVersionError};
use s3sign::{Credentials, InvalidCredentials};
use std::net::{AddrParseError, SocketAddr};

/// What the program prints for `-help`.
pub const USAGE: &str = "\
Usage of s3pics:
  -AccessKey KEY          S3 access key that signs (required)
  -SecretKey SECRET       its secret (required)
  -EndPoint URL           S3 endpoint, http://HOST[:PORT] (required)
  -Namespace NAME         put before the endpoint's host name, unless it is there already
  -public-endpoint URL    S3 endpoint as browsers reach it (default: EndPoint)
  -bucket NAME            bucket to offer; may be repeated (default: bucket1)
  -listen ADDRESS         where the page is served (default: 0.0.0.0:8080)
  -signature v4|v2        signature version (default: v4)
";

/// The article's bucket.
const BUCKET_DEFAULT: &str = "bucket1";
/// The article's port, in every interface of the container.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8080);
/// Buckets one page offers.
const BUCKETS_MAX: usize = 64;
/// A name this close (Jaro-Winkler, 0 to 1) to a flag is taken for a slip of it.
const NEAREST_SIMILARITY_MIN: f64 = 0.7;

/// A parsed command line.
#[derive(Clone, Debug)]
pub struct Flags {
    pub credentials: Credentials,
    /// `-EndPoint` with the namespace in its host.
    pub endpoint: Endpoint,
    pub public_endpoint: Option<Endpoint>,
    pub buckets: Vec<BucketName>,
    pub listen: SocketAddr,
    pub signature: SignatureVersion,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum FlagError {
    #[error("help requested")]
    Help,
    #[error("unknown flag {given}{}", did_you_mean(*nearest))]
    Unknown { given: String, nearest: Option<&'static str> },
    #[error("unexpected argument {given:?}: every value follows its flag")]
    Argument { given: String },
    #[error("flag -{flag} needs a value")]
    Value { flag: &'static str },
    #[error("flag -{flag} is required")]
    Missing { flag: &'static str },
    #[error("flags -AccessKey and -SecretKey")]
    Credentials { source: InvalidCredentials },
    #[error("flag -{flag}")]
    Endpoint { flag: &'static str, source: EndpointError },
    #[error("flag -bucket")]
    Bucket { source: BucketError },
    #[error("flag -bucket: more than {BUCKETS_MAX} buckets")]
    BucketCount,
    #[error("flag -listen: {given:?}")]
    Listen { given: String, source: AddrParseError },
    #[error("flag -signature")]
    Signature { source: SignatureVersionError },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |nearest| format!("; did you mean -{nearest}?"))
}

/// Every flag's name as it is written.
const NAMES: [&str; 8] =
    ["AccessKey", "SecretKey", "EndPoint", "Namespace", "public-endpoint", "bucket", "listen", "signature"];

#[derive(Default)]
struct Values {
    access_key: Option<String>,
    secret_key: Option<String>,
    endpoint: Option<String>,
    namespace: Option<String>,
    public_endpoint: Option<String>,
    buckets: Vec<String>,
    listen: Option<String>,
    signature: Option<String>,
}

impl Flags {
    /// Parses the arguments after the program's name.
    pub fn parse<I>(arguments: I) -> Result<Self, FlagError>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Values::collect(arguments.into_iter().map(Into::into))?.check()
    }
}

impl From<Flags> for Config {
    fn from(flags: Flags) -> Self {
        Self {
            listen: flags.listen,
            endpoint: flags.public_endpoint.unwrap_or(flags.endpoint),
            credentials: flags.credentials,
            buckets: flags.buckets,
            signature: flags.signature,
        }
    }
}

impl Values {
    fn collect(mut arguments: impl Iterator<Item = String>) -> Result<Self, FlagError> {
        let mut values = Self::default();
        while let Some(argument) = arguments.next() {
            let Some(body) = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')) else {
                return Err(FlagError::Argument { given: argument });
            };
            let (given, inline) = match body.split_once('=') {
                Some((given, value)) => (given, Some(value.to_owned())),
                None => (body, None),
            };
            let flag = known(given)?;
            let value = inline.or_else(|| arguments.next()).ok_or(FlagError::Value { flag })?;
            values.set(flag, value);
        }
        Ok(values)
    }

    fn set(&mut self, flag: &'static str, value: String) {
        let slot = match flag {
            "AccessKey" => &mut self.access_key,
            "SecretKey" => &mut self.secret_key,
            "EndPoint" => &mut self.endpoint,
            "Namespace" => &mut self.namespace,
            "public-endpoint" => &mut self.public_endpoint,
            "listen" => &mut self.listen,
            "signature" => &mut self.signature,
            _ => return self.buckets.push(value),
        };
        *slot = Some(value);
    }

    fn check(self) -> Result<Flags, FlagError> {
        let access_key = required("AccessKey", self.access_key)?;
        let secret_key = required("SecretKey", self.secret_key)?;
        let credentials =
            Credentials::new(access_key, secret_key).map_err(|source| FlagError::Credentials { source })?;
        let endpoint = endpoint("EndPoint", &required("EndPoint", self.endpoint)?)?;
        let endpoint = match self.namespace.filter(|namespace| !namespace.is_empty()) {
            None => endpoint,
            Some(namespace) => endpoint
                .with_namespace(&namespace)
                .map_err(|source| FlagError::Endpoint { flag: "Namespace", source })?,
        };
        let public_endpoint = match self.public_endpoint {
            None => None,
            Some(text) => Some(self::endpoint("public-endpoint", &text)?),
        };
        let listen = match self.listen {
            None => LISTEN_DEFAULT,
            Some(given) => given.parse().map_err(|source| FlagError::Listen { given, source })?,
        };
        let signature = match self.signature {
            None => SignatureVersion::default(),
            Some(text) => text.parse().map_err(|source| FlagError::Signature { source })?,
        };
        let buckets = buckets(self.buckets)?;
        Ok(Flags { credentials, endpoint, public_endpoint, buckets, listen, signature })
    }
}

/// The flag of this exact name.
fn known(given: &str) -> Result<&'static str, FlagError> {
    if given == "help" || given == "h" {
        return Err(FlagError::Help);
    }
    if let Some(name) = NAMES.into_iter().find(|name| *name == given) {
        return Ok(name);
    }
    let similarity = |name: &str| strsim::jaro_winkler(&name.to_lowercase(), &given.to_lowercase());
    let nearest = NAMES
        .into_iter()
        .filter(|name| similarity(name) >= NEAREST_SIMILARITY_MIN)
        .max_by(|one, other| similarity(one).total_cmp(&similarity(other)));
    Err(FlagError::Unknown { given: format!("-{given}"), nearest })
}

fn required(flag: &'static str, value: Option<String>) -> Result<String, FlagError> {
    value.filter(|value| !value.is_empty()).ok_or(FlagError::Missing { flag })
}

fn endpoint(flag: &'static str, text: &str) -> Result<Endpoint, FlagError> {
    text.parse().map_err(|source| FlagError::Endpoint { flag, source })
}

/// In the order given, each once.
fn buckets(given: Vec<String>) -> Result<Vec<BucketName>, FlagError> {
    if given.len() > BUCKETS_MAX {
        return Err(FlagError::BucketCount);
    }
    let given = if given.is_empty() { vec![BUCKET_DEFAULT.to_owned()] } else { given };
    let mut buckets = Vec::with_capacity(given.len());
    for text in given {
        let bucket: BucketName = text.parse().map_err(|source| FlagError::Bucket { source })?;
        if !buckets.contains(&bucket) {
            buckets.push(bucket);
        }
    }
    Ok(buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARTICLE: [&str; 4] = [
        "-AccessKey=denis@ad.forest",
        "-SecretKey=xxxx",
        "-EndPoint=http://denisnamespace.ns.viprds.ad.forest",
        "-Namespace=denisnamespace",
    ];

    #[test]
    fn the_articles_command_line_is_understood() {
        let flags = Flags::parse(ARTICLE).unwrap();
        assert_eq!(flags.credentials.access_key(), "denis@ad.forest");
        assert_eq!(flags.credentials.secret_key(), "xxxx");
        assert_eq!(flags.endpoint.to_string(), "http://denisnamespace.ns.viprds.ad.forest");
        assert_eq!(flags.buckets, ["bucket1".parse().unwrap()]);
        assert_eq!(flags.listen.to_string(), "0.0.0.0:8080");
        assert_eq!(flags.signature, SignatureVersion::V4);
        assert!(!format!("{flags:?}").contains("xxxx"), "the secret is not printed");
    }

    #[test]
    fn a_value_follows_an_equals_sign_or_its_flag_after_one_dash_or_two() {
        let more =
            ["--listen", "127.0.0.1:0", "--signature=v2", "-bucket", "photos", "--bucket=holiday", "--bucket=photos"];
        let public = ["--public-endpoint", "http://s3.localhost:8181"];
        let flags = Flags::parse(ARTICLE.into_iter().chain(more).chain(public)).unwrap();
        assert_eq!(flags.listen.to_string(), "127.0.0.1:0");
        assert_eq!(flags.signature, SignatureVersion::V2);
        let buckets: Vec<String> = flags.buckets.iter().map(ToString::to_string).collect();
        assert_eq!(buckets, ["photos", "holiday"]);
        assert_eq!(Config::from(flags).endpoint.to_string(), "http://s3.localhost:8181");
    }

    #[test]
    fn the_last_of_a_repeated_flag_wins_and_values_may_hold_equals_signs() {
        let flags = Flags::parse(ARTICLE.into_iter().chain(["-SecretKey=a=b=="])).unwrap();
        assert_eq!(flags.credentials.secret_key(), "a=b==");
    }

    #[test]
    fn errors_name_the_flag_and_the_nearest_one() {
        let message = |arguments: &[&str]| {
            let error = Flags::parse(arguments.iter().copied()).unwrap_err();
            lifecycle::ErrorChain(&error).to_string()
        };
        assert_eq!(message(&["-AcessKey=x"]), "unknown flag -AcessKey; did you mean -AccessKey?");
        assert_eq!(message(&["--endpoint=x"]), "unknown flag -endpoint; did you mean -EndPoint?");
        assert_eq!(message(&["-zzz"]), "unknown flag -zzz");
        assert_eq!(message(&["-bucket"]), "flag -bucket needs a value");
        assert_eq!(message(&["photos"]), "unexpected argument \"photos\": every value follows its flag");
        assert_eq!(message(&[]), "flag -AccessKey is required");
        assert_eq!(message(&["-AccessKey=a", "-SecretKey="]), "flag -SecretKey is required");
        let with = |last: &'static str| message(&[&ARTICLE[..], &[last]].concat());
        assert_eq!(with("-listen=here"), "flag -listen: \"here\": invalid socket address syntax");
        assert_eq!(with("-signature=v3"), "flag -signature: \"v3\" is neither v4 nor v2");
        assert!(with("-bucket=No").starts_with("flag -bucket: bucket name \"No\""));
        assert!(with("-public-endpoint=ftp://x").starts_with("flag -public-endpoint: "));
        assert_eq!(Flags::parse(["-help"]).unwrap_err(), FlagError::Help);
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_panics(arguments: Vec<String>, value: String) {
            let _any = Flags::parse(arguments);
            for name in NAMES {
                let given = ARTICLE.map(str::to_owned).into_iter().chain([format!("-{name}={value}")]);
                let _any = Flags::parse(given);
            }
        }
    }
}
