//! The maker and keeper of tokens: of one machine, or of a cluster, where every state node has the same.

use crate::private_file::{self, FileError};
use crate::{Accepted, Role, Token, Verifier};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} is not a valid identity file", path.display())]
    Read { path: PathBuf, source: Box<Self> },
    #[error("not the TOML of an identity")]
    Parse { source: Box<toml::de::Error> },
    #[error("write an identity as TOML")]
    Encode { source: toml::ser::Error },
    #[error("draw random bits")]
    Random { source: getrandom::Error },
}

/// The S3 users every platform has: the administrator, the registry, and `pics`.
const S3_USERS: [&str; 3] = ["admin", "registry", "pics"];

impl Authority {
    /// Fresh tokens, kept nowhere yet.
    pub fn generate() -> Result<Self, AuthorityError> {
        let mut authority = Self { tokens: BTreeMap::new(), access_keys: BTreeMap::new() };
        authority.complete()?;
        Ok(authority)
    }

    /// Reads the authority of a data directory, making it when it is not there, and one identity file per role. One that an
    /// older release wrote is given what it lacks; what it has stays.
    pub fn load_or_create(data: &Path) -> Result<Self, AuthorityError> {
        let path = Self::path(data);
        let (authority, changed) = match private_file::read_if_there(&path)? {
            Some(text) => Self::parse(&text).map_err(|source| read_error(&path, source))?,
            None => (Self::generate()?, true),
        };
        authority.write(data, changed)?;
        Ok(authority)
    }

    /// Reads the authority of a data directory; changes nothing there. Tokens that an older release did not make are made up:
    /// nobody accepts them.
    pub fn load(data: &Path) -> Result<Self, AuthorityError> {
        let path = Self::path(data);
        Self::from_toml(&private_file::read(&path)?).map_err(|source| read_error(&path, source))
    }

    /// Puts the authority and one identity file per role into a data directory, such as that of a further state node.
    pub fn save(&self, data: &Path) -> Result<(), AuthorityError> {
        self.write(data, true)
    }

    /// All of it as text, for a further state node: as secret as the file.
    pub fn to_toml(&self) -> Result<String, AuthorityError> {
        encode(self)
    }

    pub fn from_toml(text: &str) -> Result<Self, AuthorityError> {
        Self::parse(text).map(|(authority, _)| authority)
    }

    pub fn path(data: &Path) -> PathBuf {
        data.join("identity/authority.toml")
    }

    pub fn token(&self, role: Role) -> &Token {
        self.tokens.get(&role).expect("generated and read authorities are completed")
    }

    /// The S3 keys of `admin`, `registry` or `pics`.
    pub fn access_key(&self, user: &str) -> Option<&AccessKey> {
        self.access_keys.get(user)
    }

    pub fn identity(&self, role: Role) -> Identity {
        let accepts = self.tokens.iter().map(|(role, token)| token.accepted_as(*role)).collect();
        Identity { role, token: self.token(role).clone(), accepts }
    }

    /// Whether it lacked something is told, too.
    fn parse(text: &str) -> Result<(Self, bool), AuthorityError> {
        let mut authority: Self = decode(text)?;
        let changed = authority.complete()?;
        Ok((authority, changed))
    }

    /// Adds the tokens and keys that are missing; tells whether there were any.
    fn complete(&mut self) -> Result<bool, AuthorityError> {
        let generate = || Token::generate().map_err(|source| AuthorityError::Random { source });
        let before = (self.tokens.len(), self.access_keys.len());
        for role in Role::ALL {
            if let Entry::Vacant(place) = self.tokens.entry(role) {
                place.insert(generate()?);
            }
        }
        for user in S3_USERS {
            if let Entry::Vacant(place) = self.access_keys.entry(user.into()) {
                place.insert(AccessKey { access_key: user.into(), secret_key: generate()? });
            }
        }
        Ok((self.tokens.len(), self.access_keys.len()) != before)
    }

    fn write(&self, data: &Path, changed: bool) -> Result<(), AuthorityError> {
        if changed {
            private_file::write(&Self::path(data), &self.to_toml()?)?;
        }
        Role::ALL.into_iter().try_for_each(|role| self.identity(role).save(data))
    }
}

impl Identity {
    pub fn path(data: &Path, role: Role) -> PathBuf {
        data.join(format!("identity/{role}.toml"))
    }

    pub fn read(path: &Path) -> Result<Self, AuthorityError> {
        Self::from_toml(&private_file::read(path)?).map_err(|source| read_error(path, source))
    }

    /// Puts it where [`Identity::path`] says.
    pub fn save(&self, data: &Path) -> Result<(), AuthorityError> {
        Ok(private_file::write(&Self::path(data, self.role), &self.to_toml()?)?)
    }

    pub fn to_toml(&self) -> Result<String, AuthorityError> {
        encode(self)
    }

    pub fn from_toml(text: &str) -> Result<Self, AuthorityError> {
        decode(text)
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::Tokens(self.accepts.clone())
    }
}

fn read_error(path: &Path, source: AuthorityError) -> AuthorityError {
    AuthorityError::Read { path: path.to_owned(), source: Box::new(source) }
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T, AuthorityError> {
    toml::from_str(text).map_err(|source| AuthorityError::Parse { source: Box::new(source) })
}

fn encode(value: &impl Serialize) -> Result<String, AuthorityError> {
    toml::to_string(value).map_err(|source| AuthorityError::Encode { source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
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

    #[test]
    fn an_authority_of_an_older_release_is_given_the_roles_it_lacks() {
        let data = tempfile::tempdir().unwrap();
        let mut older = Authority::generate().unwrap();
        for role in [Role::Node, Role::Store, Role::Vip] {
            older.tokens.remove(&role);
        }
        older.access_keys.remove("pics");
        let text = older.to_toml().unwrap();
        private_file::write(&Authority::path(data.path()), &text).unwrap();

        assert_ne!(Authority::load(data.path()).unwrap().token(Role::Vip).reveal(), "");
        assert_eq!(fs::read_to_string(Authority::path(data.path())).unwrap(), text, "reading changes nothing");

        let newer = Authority::load_or_create(data.path()).unwrap();
        assert_eq!(newer.token(Role::Admin), older.token(Role::Admin));
        assert_eq!(newer.access_key("admin"), older.access_key("admin"));
        let again = Authority::load_or_create(data.path()).unwrap();
        for role in Role::ALL {
            assert_eq!(newer.token(role), again.token(role), "{role}");
        }
        assert_eq!(newer.access_key("pics"), again.access_key("pics"));
        let vip = Identity::read(&Identity::path(data.path(), Role::Vip)).unwrap();
        assert_eq!(vip.verifier().role_of(newer.token(Role::Node).reveal()), Some(Role::Node));
    }

    #[test]
    fn an_authority_is_handed_to_another_state_node() {
        let data = tempfile::tempdir().unwrap();
        let first = Authority::generate().unwrap();
        let second = Authority::from_toml(&first.to_toml().unwrap()).unwrap();
        second.save(data.path()).unwrap();
        let kept = Authority::load_or_create(data.path()).unwrap();
        for role in Role::ALL {
            assert_eq!(first.token(role), kept.token(role), "{role}");
        }
        assert!(Authority::from_toml("tokens = 1").is_err());
        assert!(Identity::from_toml("").is_err());
    }
}
