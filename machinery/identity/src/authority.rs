//! The maker and keeper of tokens on one machine.

use crate::{Accepted, Role, Token, Verifier};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// All tokens and S3 keys of one data directory, in `identity/authority.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    tokens: BTreeMap<Role, Token>,
    access_keys: BTreeMap<String, AccessKey>,
}

/// What one role is handed: its own token, and what it accepts of others. As a file: TOML, mode 0600.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    pub role: Role,
    pub token: Token,
    #[serde(default)]
    pub accepts: Vec<Accepted>,
}

/// A pair of S3 keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    pub access_key: String,
    pub secret_key: Token,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error("{action} {}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not a valid identity file", path.display())]
    Parse { path: PathBuf, source: Box<toml::de::Error> },
    #[error("encode {}", path.display())]
    Encode { path: PathBuf, source: toml::ser::Error },
    #[error("draw random bits")]
    Random { source: getrandom::Error },
}

/// The S3 users every platform has: the administrator, the registry, and `pics`.
const S3_USERS: [&str; 3] = ["admin", "registry", "pics"];

impl Authority {
    /// Fresh tokens, kept nowhere yet.
    pub fn generate() -> Result<Self, AuthorityError> {
        let random = |source| AuthorityError::Random { source };
        let mut authority = Self { tokens: BTreeMap::new(), access_keys: BTreeMap::new() };
        for role in Role::ALL {
            authority.tokens.insert(role, Token::generate().map_err(random)?);
        }
        for user in S3_USERS {
            let secret_key = Token::generate().map_err(random)?;
            authority.access_keys.insert(user.into(), AccessKey { access_key: user.into(), secret_key });
        }
        Ok(authority)
    }

    /// Reads the authority of a data directory, making it (and one identity file per role) when it is not there.
    pub fn load_or_create(data: &Path) -> Result<Self, AuthorityError> {
        let path = Self::path(data);
        let authority = match fs::read_to_string(&path) {
            Ok(text) => parse(&path, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let authority = Self::generate()?;
                make_private_dir(&data.join("identity"))?;
                write_private(&path, &authority)?;
                authority
            }
            Err(source) => return Err(AuthorityError::File { action: "read", path, source }),
        };
        for role in Role::ALL {
            write_private(&Identity::path(data, role), &authority.identity(role))?;
        }
        Ok(authority)
    }

    /// Reads the authority of a data directory; changes nothing.
    pub fn load(data: &Path) -> Result<Self, AuthorityError> {
        let path = Self::path(data);
        let text = fs::read_to_string(&path);
        parse(&path, &text.map_err(|source| AuthorityError::File { action: "read", path: path.clone(), source })?)
    }

    pub fn path(data: &Path) -> PathBuf {
        data.join("identity/authority.toml")
    }

    pub fn token(&self, role: Role) -> &Token {
        &self.tokens[&role]
    }

    /// The S3 keys of `admin`, `registry` or `pics`.
    pub fn access_key(&self, user: &str) -> Option<&AccessKey> {
        self.access_keys.get(user)
    }

    pub fn identity(&self, role: Role) -> Identity {
        let accepts = self.tokens.iter().map(|(role, token)| token.accepted_as(*role)).collect();
        Identity { role, token: self.token(role).clone(), accepts }
    }
}

impl Identity {
    pub fn path(data: &Path, role: Role) -> PathBuf {
        data.join(format!("identity/{role}.toml"))
    }

    pub fn read(path: &Path) -> Result<Self, AuthorityError> {
        let file = |source| AuthorityError::File { action: "read", path: path.to_owned(), source };
        parse(path, &fs::read_to_string(path).map_err(file)?)
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::Tokens(self.accepts.clone())
    }
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, AuthorityError> {
    toml::from_str(text).map_err(|source| AuthorityError::Parse { path: path.to_owned(), source: Box::new(source) })
}

fn make_private_dir(path: &Path) -> Result<(), AuthorityError> {
    let file = |source| AuthorityError::File { action: "make", path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(file)
}

/// Written beside and renamed, so that a reader sees the old file or the new one.
fn write_private(path: &Path, value: &impl Serialize) -> Result<(), AuthorityError> {
    let text = toml::to_string(value).map_err(|source| AuthorityError::Encode { path: path.to_owned(), source })?;
    let beside = path.with_extension("toml.new");
    let write = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|source| AuthorityError::File { action: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn an_authority_is_made_once_and_read_again() {
        let data = tempfile::tempdir().unwrap();
        let first = Authority::load_or_create(data.path()).unwrap();
        let again = Authority::load_or_create(data.path()).unwrap();
        assert_eq!(first.token(Role::Admin), again.token(Role::Admin));
        let path = Identity::path(data.path(), Role::Edge);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let edge = Identity::read(&path).unwrap();
        assert_eq!(edge.verifier().role_of(first.token(Role::Admin).reveal()), Some(Role::Admin));
    }
}
