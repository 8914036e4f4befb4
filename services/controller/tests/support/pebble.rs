//! A certificate authority on loopback: Debian's pebble, and the DNS it asks.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::collections::BTreeSet;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub struct Pebble {
    child: Child,
    directory: PathBuf,
    management: SocketAddr,
}

/// Where the parts of the authority will listen; the controller is told before it runs.
pub struct Addresses {
    pub acme: SocketAddr,
    pub management: SocketAddr,
}

impl Addresses {
    pub fn free() -> Self {
        Self { acme: free(), management: free() }
    }

    pub fn directory_url(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.acme.port())
    }
}

/// A port that nobody has now: pebble takes none by itself.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The authority's own certificate, and who vouches for it.
pub struct Vouched {
    pub ca_pem: String,
    certificate_pem: String,
    key_pem: String,
}

impl Vouched {
    pub fn new() -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
        ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca_params.self_signed(&ca_key).unwrap().pem();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let certificate_pem = params.signed_by(&key, &Issuer::new(ca_params, ca_key)).unwrap().pem();
        Self { ca_pem, certificate_pem, key_pem: key.serialize_pem() }
    }
}

impl Pebble {
    /// Looks at names on these ports, and signs for so many seconds.
    pub fn start(
        directory: &Path,
        vouched: &Vouched,
        addresses: &Addresses,
        dns: &Dns,
        (http_port, tls_port): (u16, u16),
        lifetime_s: u64,
    ) -> Self {
        let path = |name: &str| directory.join(name);
        std::fs::write(path("cert.pem"), &vouched.certificate_pem).unwrap();
        std::fs::write(path("key.pem"), &vouched.key_pem).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": addresses.acme.to_string(),
            "managementListenAddress": addresses.management.to_string(),
            "certificate": path("cert.pem"), "privateKey": path("key.pem"),
            "httpPort": http_port, "tlsPort": tls_port, "ocspResponderURL": "",
            "externalAccountBindingRequired": false, "certificateValidityPeriod": lifetime_s,
        }});
        std::fs::write(path("config.json"), config.to_string()).unwrap();
        let log = File::create(path("pebble.log")).unwrap();
        let child = Command::new("pebble")
            .arg("-config")
            .arg(path("config.json"))
            .args(["-dnsserver", &dns.address.to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("pebble is installed (cargo xtask setup)");
        let (directory, management) = (directory.to_owned(), addresses.management);
        Self { child, directory, management }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("pebble.log")).unwrap_or_default()
    }

    /// Who vouches for what it signs.
    pub async fn root_pem(&self, client: &web::Client) -> String {
        let response = client.get(&format!("https://{}/roots/0", self.management)).await.unwrap();
        String::from_utf8(response.body().to_vec()).unwrap()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}

/// Answers 127.0.0.1 for the names it knows, over UDP.
pub struct Dns {
    pub address: SocketAddr,
    names: Arc<Mutex<BTreeSet<String>>>,
    stops: Arc<AtomicBool>,
}

impl Dns {
    pub fn start(names: &[&str]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let address = socket.local_addr().unwrap();
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let (names, stops) = (Arc::new(Mutex::new(names)), Arc::new(AtomicBool::new(false)));
        let (known, stopped) = (names.clone(), stops.clone());
        std::thread::spawn(move || {
            let mut query = [0; 1024];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                if let Some(answer) = answer(&query[..length], &known.lock().unwrap()) {
                    let _lost = socket.send_to(&answer, from);
                }
            }
        });
        Self { address, names, stops }
    }

    pub fn learn(&self, name: &str) {
        self.names.lock().unwrap().insert(name.to_owned());
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
    }
}

/// RFC 1035, section 4: the question comes back, with one address if it is asked for one.
fn answer(query: &[u8], names: &BTreeSet<String>) -> Option<Vec<u8>> {
    let (mut name, mut place) = (String::new(), 12);
    loop {
        let length = usize::from(*query.get(place)?);
        if length == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(std::str::from_utf8(query.get(place + 1..place + 1 + length)?).ok()?);
        place += 1 + length;
    }
    let end = place + 5;
    let is_known = names.contains(&name.to_ascii_lowercase());
    let is_address = *query.get(place + 2)? == 1;
    let answers = u8::from(is_known && is_address);
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, if is_known { 0x80 } else { 0x83 }, 0, 1, 0, answers, 0, 0, 0, 0]);
    answer.extend_from_slice(query.get(12..end)?);
    if answers == 1 {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}
