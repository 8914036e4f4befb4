//! Debian's etcd on free loopback ports, with a directory of its own.

use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use store::{ClientCredentials, EtcdClient, KeyRange, RangeRequest, Store};

const READY_WITHIN: Duration = Duration::from_secs(20);

pub struct Etcd {
    process: Child,
    pub endpoint: String,
    _data: tempfile::TempDir,
}

impl Etcd {
    pub async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (client, peer) = (free_address(), free_address());
        let endpoint = format!("http://{client}");
        let peer = format!("http://{peer}");
        let process = Command::new("etcd")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("ETCD_UNSUPPORTED_ARCH", std::env::consts::ARCH)
            .args(["--name", "peer", "--data-dir"])
            .arg(data.path())
            .args(["--listen-client-urls", &endpoint, "--advertise-client-urls", &endpoint])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("peer={peer}"), "--log-level", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd is installed (Debian: etcd-server)");
        let etcd = Self { process, endpoint, _data: data };
        let probe = RangeRequest::of(KeyRange::one("/ready"));
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match etcd.client().range(probe.clone()).await {
                Ok(_) => return etcd,
                Err(error) if Instant::now() > deadline => panic!("etcd is not ready: {error}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub fn client(&self) -> EtcdClient {
        EtcdClient::connect(std::slice::from_ref(&self.endpoint), ClientCredentials::None, None).unwrap()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _already_gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Free when it was looked for; etcd cannot be handed a bound socket.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
