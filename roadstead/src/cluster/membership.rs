//! What a machine knows of its cluster: `cluster.toml` in its data directory, written when it founds or joins one. The
//! processes of `up` read it; the supervisor keeps the lists of others up to date.

use anyhow::Context;
use controller::cluster::Settings;
use identity::{Token, private_file};
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Membership {
    /// Of this machine, unique in the cluster and in its certificates.
    pub name: String,
    pub address: IpAddr,
    /// It founded the cluster, whose state still lacks what a founder writes first (see [`super::state::settle`]). In files
    /// of before it was named after the objects, and stayed.
    #[serde(alias = "holds_objects")]
    pub unsettled: bool,
    pub ports: Ports,
    /// As of when it joined; the same on every machine.
    pub settings: Settings,
    /// Its controller may lead, and it has the authority's key.
    pub keeps_state: bool,
    /// Its member of the state's etcd; absent where the state is not kept, or is kept in an etcd of the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd: Option<Etcd>,
}

/// On the machine's address; the same on every machine.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    pub peers: u16,
    pub etcd: u16,
    pub etcd_peer: u16,
    pub tunnel: u16,
}

/// How this machine's member of the state starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Etcd {
    pub binary: PathBuf,
    /// Names the cluster, so that members of two never mix.
    pub token: String,
    /// It joins a cluster that is there already.
    pub existing: bool,
    /// Name and URL for other members, this one among them.
    pub initial_cluster: Vec<(String, String)>,
}

/// Where others can be reached; changes as machines come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Others {
    /// URLs of the state, this machine's first where it has one.
    pub etcd: Vec<String>,
    /// URLs of controllers.
    pub controllers: Vec<String>,
    /// The state is kept in an etcd of the user's: how it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<Outside>,
}

/// What an etcd of the user's asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Outside {
    /// `USER:PASSWORD`
    pub user: Option<Token>,
    /// PEM files, for `https://`.
    pub ca: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl Membership {
    pub fn path(data: &Path) -> PathBuf {
        data.join("cluster.toml")
    }

    /// `None`: the data directory is of a machine alone.
    pub fn read(data: &Path) -> anyhow::Result<Option<Self>> {
        let path = Self::path(data);
        let Some(text) = private_file::read_if_there(&path)? else { return Ok(None) };
        let membership = toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?;
        Ok(Some(membership))
    }

    /// Of a process that runs only in a cluster.
    pub fn of_process(data: &Path) -> anyhow::Result<Self> {
        Self::read(data)?.with_context(|| format!("there is no {}", Self::path(data).display()))
    }

    pub fn write(&self, data: &Path) -> anyhow::Result<()> {
        Ok(private_file::write(&Self::path(data), &toml::to_string(self)?)?)
    }

    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// The cluster's objects are here, unless an S3 elsewhere keeps them. Their keys are the authority's.
    pub fn holds_objects(&self) -> bool {
        self.keeps_state && self.settings.objects == self.at(self.ports.tunnel).to_string()
    }

    /// Of this machine's member of the state; empty where there is none.
    pub fn etcd_url(&self, port: u16) -> String {
        if self.etcd.is_some() { format!("https://{}", self.at(port)) } else { String::new() }
    }
}

impl Others {
    pub fn path(data: &Path) -> PathBuf {
        data.join("others.toml")
    }

    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = private_file::read(path)?;
        toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))
    }

    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        Ok(private_file::write(path, &toml::to_string(self)?)?)
    }
}

/// A data directory: what tasks write, and what objects hold, is nobody else's on this machine.
pub fn make_directory(data: &Path) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.with_context(|| format!("make {}", data.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership() -> Membership {
        Membership {
            name: "a".into(),
            address: "10.0.0.1".parse().unwrap(),
            unsettled: true,
            ports: Ports { peers: 8081, etcd: 2379, etcd_peer: 2380, tunnel: 9001 },
            settings: Settings { vips: vec!["10.0.0.100/24".into()], ..Settings::default() },
            keeps_state: true,
            etcd: Some(Etcd {
                binary: "etcd".into(),
                token: "t".into(),
                existing: false,
                initial_cluster: vec![("a".into(), "https://10.0.0.1:2380".into())],
            }),
        }
    }

    #[test]
    fn the_objects_are_where_the_cluster_says() {
        let mut machine = membership();
        assert!(!machine.holds_objects());
        machine.settings.objects = "10.0.0.1:9001".into();
        assert!(machine.holds_objects());
        machine.keeps_state = false;
        assert!(!machine.holds_objects(), "it has no keys to them");
    }

    #[test]
    fn a_membership_that_was_written_before_is_read() {
        let text = toml::to_string(&membership()).unwrap();
        let before = text.replace("unsettled = true", "holds_objects = true");
        assert_ne!(before, text);
        assert!(toml::from_str::<Membership>(&before).unwrap().unsettled);
    }

    #[test]
    fn a_data_directory_is_its_owners() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("a/b");
        make_directory(&data).unwrap();
        make_directory(&data).unwrap();
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_membership_is_read_as_it_was_written() {
        let data = tempfile::tempdir().unwrap();
        assert!(Membership::read(data.path()).unwrap().is_none());
        membership().write(data.path()).unwrap();
        let read = Membership::of_process(data.path()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", membership()));
        std::fs::write(Membership::path(data.path()), "name = 1").unwrap();
        assert!(format!("{:#}", Membership::read(data.path()).unwrap_err()).contains("cluster.toml is not valid"));
    }
}
