//! The flags a member is run with. Debian's 3.4 takes them all, and so do 3.5 and 3.6.

use crate::Config;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

/// Members are on one network, so a leader that is silent for half a second is gone (etcd's own: 100 ms and 1 s). It also
/// is what lets leases live for one second: etcd's floor is one and a half election timeouts, rounded up to seconds.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(50);
pub const ELECTION_TIMEOUT: Duration = Duration::from_millis(500);
/// The name that a member's certificate has: no other certificate of the cluster makes a peer.
pub const PEER_COMMON_NAME: &str = "store";

/// Clients may probe their connections this often (etcd's own: 5 s).
const CLIENT_PROBE_MIN: Duration = Duration::from_millis(500);
/// The past that can still be read, and watched from. Watchers of quiet keys hear of progress every ten minutes, and must
/// still find what came after it.
const HISTORY: Duration = Duration::from_secs(60 * 60);
/// Entries of the log that are kept for followers which lag; each costs memory (etcd's own before 3.6: 100 000).
const SNAPSHOT_ENTRIES: u32 = 10_000;
/// A database that is larger takes no more writes (etcd's own limit).
const QUOTA_BYTES: u64 = 2 << 30;

pub fn of(config: &Config) -> Vec<OsString> {
    let url = |address: &SocketAddr| format!("https://{address}");
    let client_listen: Vec<_> = config.client_listen.iter().map(url).collect();
    let initial_cluster: Vec<_> = config.initial_cluster.iter().map(|(name, url)| format!("{name}={url}")).collect();
    let state = if config.existing { "existing" } else { "new" };
    let mut arguments = Vec::new();
    let mut flag = |name: &str, value: OsString| {
        let mut argument = OsString::from(format!("--{name}="));
        argument.push(value);
        arguments.push(argument);
    };
    flag("name", config.name.clone().into());
    flag("data-dir", config.data.clone().into());

    flag("listen-client-urls", client_listen.join(",").into());
    flag("advertise-client-urls", url(&config.client_advertise).into());
    flag("listen-peer-urls", url(&config.peer_listen).into());
    flag("initial-advertise-peer-urls", url(&config.peer_advertise).into());
    flag("initial-cluster", initial_cluster.join(",").into());
    flag("initial-cluster-state", state.into());
    flag("initial-cluster-token", config.token.clone().into());

    for prefix in ["", "peer-"] {
        flag(&format!("{prefix}trusted-ca-file"), config.authority.clone().into());
        flag(&format!("{prefix}cert-file"), config.certificate.clone().into());
        flag(&format!("{prefix}key-file"), config.key.clone().into());
        flag(&format!("{prefix}client-cert-auth"), "true".into());
    }
    // Not for peers: etcd knows who was removed by itself, and tells it, which it could not over TLS that is refused.
    flag("client-crl-file", config.revoked.clone().into());
    flag("peer-cert-allowed-cn", PEER_COMMON_NAME.into());

    flag("heartbeat-interval", HEARTBEAT_INTERVAL.as_millis().to_string().into());
    flag("election-timeout", ELECTION_TIMEOUT.as_millis().to_string().into());
    // A member that was cut off does not depose the leader when it comes back.
    flag("pre-vote", "true".into());
    flag("auto-compaction-mode", "periodic".into());
    flag("auto-compaction-retention", format!("{}s", HISTORY.as_secs()).into());
    flag("snapshot-count", SNAPSHOT_ENTRIES.to_string().into());
    flag("quota-backend-bytes", QUOTA_BYTES.to_string().into());
    flag("grpc-keepalive-min-time", format!("{}ms", CLIENT_PROBE_MIN.as_millis()).into());
    // A second way to the same keys that nobody here goes.
    flag("enable-grpc-gateway", "false".into());
    flag("logger", "zap".into());
    flag("log-outputs", "stderr".into());
    arguments
}

/// The machine as Go names it: elsewhere than on amd64, 3.4 wants to be told that it may run.
pub fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let address = |port| SocketAddr::from(([10, 0, 0, 2], port));
        Config {
            binary: "etcd".into(),
            name: "two".into(),
            data: "/data/etcd".into(),
            client_listen: vec![address(2379), "[::1]:2379".parse().unwrap()],
            client_advertise: address(2379),
            peer_listen: address(2380),
            peer_advertise: address(2380),
            initial_cluster: vec![
                ("one".into(), "https://10.0.0.1:2380".into()),
                ("two".into(), "https://10.0.0.2:2380".into()),
            ],
            existing: true,
            authority: "/data/ca.pem".into(),
            certificate: "/data/store.pem".into(),
            key: "/data/store.key".into(),
            revoked: "/data/revoked.crl".into(),
            token: "t".into(),
        }
    }

    #[test]
    fn a_member_is_told_who_it_is_and_whom_it_joins() {
        let arguments = of(&config());
        for expected in [
            "--name=two",
            "--data-dir=/data/etcd",
            "--listen-client-urls=https://10.0.0.2:2379,https://[::1]:2379",
            "--initial-cluster=one=https://10.0.0.1:2380,two=https://10.0.0.2:2380",
            "--initial-cluster-state=existing",
        ] {
            assert!(arguments.iter().any(|argument| argument == expected), "{expected} is not in {arguments:?}");
        }
    }

    #[test]
    fn nobody_without_a_certificate_is_a_client_or_a_peer() {
        let arguments = of(&config());
        for expected in [
            "--client-cert-auth=true",
            "--peer-client-cert-auth=true",
            "--peer-cert-allowed-cn=store",
            "--trusted-ca-file=/data/ca.pem",
            "--peer-trusted-ca-file=/data/ca.pem",
            "--client-crl-file=/data/revoked.crl",
        ] {
            assert!(arguments.iter().any(|argument| argument == expected), "{expected} is not in {arguments:?}");
        }
        assert!(!arguments.iter().any(|argument| argument.to_string_lossy().contains("http://")));
    }

    /// etcd: `ceil(3 * election ticks / 2 * heartbeat)` seconds.
    #[test]
    fn a_lease_may_live_for_one_second() {
        let ticks = ELECTION_TIMEOUT.as_millis() / HEARTBEAT_INTERVAL.as_millis();
        let floor = 3 * ticks / 2 * HEARTBEAT_INTERVAL.as_millis();
        assert!(floor <= 1000);
    }
}
