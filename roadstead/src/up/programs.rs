//! The command line of each process, on a machine alone and in a cluster. In a cluster a process reads what it must know of
//! the others from the data directory (see [`crate::cluster`]).

use super::child::{Listener, Program};
use crate::acme::HMAC_VARIABLE;
use crate::cluster::{Membership, Others, seal_key_path};
use crate::config::{Config, IpNetwork};
use identity::{Identity, Role};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// How the processes of one machine are put together.
pub struct Programs<'a> {
    pub config: &'a Config,
    pub membership: Option<&'a Membership>,
}

/// What `up` and `data` read the keys of an S3 elsewhere from.
pub(super) const ACCESS_KEY_VARIABLE: &str = "ROADSTEAD_S3_ACCESS_KEY";
pub(super) const SECRET_KEY_VARIABLE: &str = "ROADSTEAD_S3_SECRET_KEY";

const FREE_ON_LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl Programs<'_> {
    /// The member of the state's cluster.
    pub fn etcd_member(&self, membership: &Membership) -> Program {
        let ports = membership.ports;
        let listeners = vec![
            listener("--client", "etcd", membership.at(ports.etcd)),
            listener("--peer", "etcd.peer", membership.at(ports.etcd_peer)),
        ];
        // Only what a founder writes into its new state must wait: its one member is ready by itself.
        let is_awaited = membership.etcd.as_ref().is_some_and(|etcd| !etcd.existing);
        Program { is_awaited, ..self.program("etcd-member", self.data(), listeners) }
    }

    /// Store, controller and console; in a cluster the store is etcd.
    pub fn state(&self) -> Program {
        let config = self.config;
        let mut arguments = self.common();
        if config.edge.listen.port() != 0 {
            arguments.extend(["--edge-port".into(), config.edge.listen.port().to_string()]);
        }
        let https = config.edge.https.map(|https| https.port()).filter(|port| *port != 0);
        if let Some(port) = config.edge.https_port.or(https) {
            arguments.extend(["--https-port".into(), port.to_string()]);
        }
        if !config.controller.drain {
            arguments.push("--no-drain".into());
        }
        let acme = &config.acme;
        arguments.extend(acme.arguments());
        let secrets = acme.eab_hmac.iter().map(|hmac| (HMAC_VARIABLE, hmac.reveal().to_owned())).collect();
        let mut listeners = vec![
            listener("--controller", "controller", config.controller.listen),
            listener("--console", "console", config.console.listen),
        ];
        match self.membership {
            None => listeners.extend([
                listener("--store", "store", config.store.listen),
                listener("--sessions", "controller.sessions", config.controller.sessions),
            ]),
            Some(membership) => {
                let peers = membership.at(membership.ports.peers);
                listeners.push(listener("--peers", "controller.peers", peers));
            }
        }
        Program { secrets, ..self.program("state", arguments, listeners) }
    }

    /// Objects and registry; on machines that hold no objects, the way to them.
    pub fn data_process(&self, store: Option<SocketAddr>) -> Program {
        let mut arguments = self.common();
        if let Some(store) = store {
            arguments.extend(["--etcd".into(), format!("http://{store}")]);
        }
        let mut listeners = vec![
            listener("--objects", "objects", self.config.objects.listen),
            listener("--registry", "registry", self.config.registry.listen),
        ];
        let objects = &self.config.objects;
        let secrets = match &objects.elsewhere {
            None => Vec::new(),
            Some(url) => {
                arguments.extend(["--s3".into(), url.clone()]);
                vec![
                    (ACCESS_KEY_VARIABLE, objects.access_key.clone()),
                    (SECRET_KEY_VARIABLE, objects.secret_key.reveal().to_owned()),
                ]
            }
        };
        let holder = self.membership.filter(|membership| membership.holds_objects() && objects.elsewhere.is_none());
        if let Some(membership) = holder {
            listeners.push(listener("--tunnel", "tunnel", membership.at(membership.ports.tunnel)));
        }
        Program { secrets, ..self.program("data", arguments, listeners) }
    }

    pub fn edge(&self, alone: Option<(SocketAddr, SocketAddr)>) -> Program {
        let mut arguments = self.credentials(Role::Edge);
        if let Some((store, sessions)) = alone {
            arguments.extend(["--etcd".into(), format!("http://{store}")]);
            arguments.extend(["--controller".into(), format!("http://{sessions}")]);
        }
        arguments.extend(["--data".into(), self.config.data.join("edge").display().to_string()]);
        arguments.extend(self.config.edge.arguments());
        arguments.push("--take-over".into());
        let seal_key = seal_key_path(&self.config.data);
        if seal_key.exists() {
            arguments.extend(["--seal-key".into(), seal_key.display().to_string()]);
        }
        let mut listeners = vec![
            listener("--listen", "edge", self.hearing_cluster(self.config.edge.listen)),
            listener("--api", "edge.api", self.config.edge.api),
        ];
        if let Some(https) = self.config.edge.https {
            listeners.push(listener("--listen-tls", "edge.https", self.hearing_cluster(https)));
        }
        Program { stays: true, ..self.program("edge", arguments, listeners) }
    }

    fn hearing_cluster(&self, listen: SocketAddr) -> SocketAddr {
        let of_cluster = self.membership.into_iter().flat_map(|membership| {
            let vips = membership.settings.vips.iter().filter_map(|vip| vip.parse::<IpNetwork>().ok());
            vips.map(|vip| vip.address).chain([membership.address])
        });
        hearing(listen, of_cluster)
    }

    /// The floating addresses of a cluster.
    pub fn vip(&self, membership: &Membership, edge_api: SocketAddr) -> Program {
        let mut arguments = self.credentials(Role::Vip);
        for vip in &membership.settings.vips {
            arguments.extend(["--address".into(), vip.clone()]);
        }
        arguments.extend(["--own".into(), membership.address.to_string()]);
        arguments.extend(["--advert".into(), format!("{}ms", membership.settings.vip_advert_ms)]);
        arguments.extend(["--spread-after".into(), format!("{}ms", membership.settings.vip_spread_after_ms)]);
        arguments.extend(["--vrid".into(), membership.settings.vip_vrid.to_string()]);
        arguments.extend(["--vrrp".into(), membership.settings.vip_vrrp.to_string()]);
        for peer in &membership.settings.vip_peers {
            arguments.extend(["--peer".into(), peer.to_string()]);
        }
        arguments.extend(["--ready".into(), format!("http://{edge_api}/ready")]);
        let listeners = vec![listener("--listen", "vip", self.config.cluster.vip_api)];
        self.program("vip", arguments, listeners)
    }

    pub fn agent(&self, sessions: Option<SocketAddr>, registry: SocketAddr) -> Program {
        let agent = &self.config.agent;
        let mut arguments = self.credentials(Role::Agent);
        if let Some(sessions) = sessions {
            arguments.extend(["--controller".into(), format!("http://{sessions}")]);
        }
        arguments.extend(["--data".into(), self.config.data.join("node").display().to_string()]);
        arguments.extend(["--runtime".into(), agent.runtime.clone()]);
        arguments.extend(["--registry".into(), registry.to_string()]);
        if !agent.tasks_outlive {
            arguments.push("--end-tasks".into());
        }
        let address = self.membership.map_or(agent.address.clone(), |membership| membership.address.to_string());
        arguments.extend(["--address".into(), address]);
        if !agent.resources.is_empty() {
            arguments.extend(["--resources".into(), agent.resources.clone()]);
        }
        self.program("agent", arguments, vec![listener("--listen", "agent", FREE_ON_LOOPBACK)])
    }

    fn program(&self, name: &'static str, arguments: Vec<String>, listeners: Vec<Listener>) -> Program {
        Program {
            name,
            arguments,
            secrets: Vec::new(),
            log: self.config.log.clone(),
            listeners,
            stays: false,
            is_awaited: true,
        }
    }

    fn data(&self) -> Vec<String> {
        vec!["--data".into(), self.config.data.display().to_string()]
    }

    fn common(&self) -> Vec<String> {
        let mut arguments = self.data();
        arguments.extend(["--domain".into(), self.domain().to_owned()]);
        if self.config.open {
            arguments.push("--open".into());
        }
        arguments
    }

    fn domain(&self) -> &str {
        self.membership.map_or(&self.config.domain, |membership| &membership.settings.domain)
    }

    /// What a role shows and accepts: tokens, and in a cluster its certificate and where the others are.
    fn credentials(&self, role: Role) -> Vec<String> {
        let path = |path: PathBuf| path.display().to_string();
        if self.config.open {
            return vec!["--open".into()];
        }
        let data = &self.config.data;
        let mut arguments = vec!["--identity".into(), path(Identity::path(data, role))];
        if let Some(membership) = self.membership {
            arguments.extend(["--certificates".into(), path(data.join("identity"))]);
            arguments.extend(["--others".into(), path(Others::path(data))]);
            arguments.extend(["--node".into(), membership.name.clone()]);
        }
        arguments
    }
}

fn listener(flag: &'static str, ready: &'static str, address: SocketAddr) -> Listener {
    Listener { flag, ready, address: address.to_string() }
}

/// Where "every address" (`0.0.0.0`) is listened on and some of the cluster's are IPv6, `[::]` hears both.
fn hearing(listen: SocketAddr, mut addresses: impl Iterator<Item = IpAddr>) -> SocketAddr {
    match listen.ip() == Ipv4Addr::UNSPECIFIED && addresses.any(|address| address.is_ipv6()) {
        true => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), listen.port()),
        false => listen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_hears_every_address_of_the_cluster() {
        let [v4, v6]: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let everywhere: SocketAddr = "0.0.0.0:8181".parse().unwrap();
        assert_eq!(hearing(everywhere, [v4].into_iter()), everywhere);
        assert_eq!(hearing(everywhere, [v4, v6].into_iter()).to_string(), "[::]:8181");
        let asked_for: SocketAddr = "10.0.0.1:80".parse().unwrap();
        assert_eq!(hearing(asked_for, [v6].into_iter()), asked_for);
    }
}
