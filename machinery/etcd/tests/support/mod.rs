//! A cluster of real etcd on loopback addresses of its own, each member guarded by a process of its own.

use bytes::Bytes;
use identity::{
    CERTIFICATE_LIFETIME, Ca, CertificateFiles, Issued, Request, RevocationList, Role, Subject, Tls, Validity,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};
use store::{ClientCredentials, EtcdClient, MemberId, Members};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Nothing here takes longer.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct Cluster {
    ca: Ca,
    directory: tempfile::TempDir,
    pub members: Vec<Member>,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

pub struct Member {
    pub name: String,
    address: IpAddr,
    directory: PathBuf,
    guard: Option<Child>,
}

/// Times are measured: one cluster at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

impl Cluster {
    /// A cluster of three that asks for credentials.
    pub async fn start() -> Self {
        let mut cluster = Self::of(3).await;
        cluster.found().await;
        cluster
    }

    pub async fn found(&mut self) {
        let initial = self.initial(&[0, 1, 2]);
        for member in &mut self.members {
            member.spawn(&initial, false);
        }
        for member in &mut self.members {
            member.ready().await;
        }
        self.client(Role::Admin).enable_auth().await.unwrap();
    }

    /// Members with addresses and certificates, none of them started.
    pub async fn of(count: u8) -> Self {
        let alone = ALONE.lock().await;
        let directory = tempfile::tempdir().unwrap();
        let ca = Ca::create("test").unwrap();
        let mut random = [0; 2];
        getrandom::fill(&mut random).unwrap();
        // 127.0.0.1 is where the members call from; the rest of 127.0.0.0/8 is free for them to listen on.
        let net = [random[0] | 1, random[1]];
        let mut members = Vec::new();
        for number in 1..=count {
            let address = IpAddr::from(Ipv4Addr::new(127, net[0], net[1], number));
            let name = format!("node{number}");
            let directory = directory.path().join(&name);
            std::fs::create_dir(&directory).unwrap();
            for role in Role::ALL {
                install(&ca, &directory.join("identity"), role, &name, address, CERTIFICATE_LIFETIME);
            }
            RevocationList::prepare(&directory.join("identity"), &ca).unwrap();
            members.push(Member { name, address, directory, guard: None });
        }
        Self { ca, directory, members, _alone: alone }
    }

    pub fn initial(&self, members: &[usize]) -> Vec<(String, String)> {
        members.iter().map(|index| (self.members[*index].name.clone(), self.members[*index].peer_url())).collect()
    }

    /// The first machine's certificate of a role, and every member's endpoint.
    pub fn client(&self, role: Role) -> EtcdClient {
        self.client_of(role, &self.endpoints())
    }

    pub fn client_of(&self, role: Role, endpoints: &[String]) -> EtcdClient {
        let tls = Tls::open(&self.members[0].directory.join("identity"), role).unwrap();
        EtcdClient::connect(endpoints, ClientCredentials::None, Some(tls.client(Some(Role::Store)))).unwrap()
    }

    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(Member::endpoint).collect()
    }

    /// The index of the member that leads.
    pub async fn leader(&self) -> usize {
        let client = self.client(Role::Admin);
        let deadline = Instant::now() + DEADLINE;
        loop {
            for (index, member) in self.members.iter().enumerate() {
                if let Ok(status) = client.status(&member.endpoint()).await
                    && status.leader == status.member_id
                {
                    return index;
                }
            }
            assert!(Instant::now() < deadline, "no member leads");
        }
    }

    pub async fn id(&self, index: usize) -> MemberId {
        self.client(Role::Admin).status(&self.members[index].endpoint()).await.unwrap().member_id
    }

    /// New certificates for every member, in the place of the old ones.
    pub fn certify_members(&self, lifetime: Duration) {
        for member in &self.members {
            let identity = member.directory.join("identity");
            install(&self.ca, &identity, Role::Store, &member.name, member.address, lifetime);
        }
    }

    /// A client with a certificate of another machine than the members', and what is known of that.
    pub fn worker(&self, name: &str, role: Role) -> (EtcdClient, Issued) {
        let identity = self.directory.path().join(name);
        install(&self.ca, &identity, role, name, self.members[0].address, CERTIFICATE_LIFETIME);
        let tls = Tls::open(&identity, role).unwrap();
        let issued = Issued::of_pem(&std::fs::read_to_string(&tls.files().certificate).unwrap()).unwrap();
        let tls = tls.client(Some(Role::Store));
        (EtcdClient::connect(&self.endpoints(), ClientCredentials::None, Some(tls)).unwrap(), issued)
    }

    /// The same certificate, with no connection open yet.
    pub fn worker_again(&self, name: &str, role: Role) -> EtcdClient {
        let tls = Tls::open(&self.directory.path().join(name), role).unwrap().client(Some(Role::Store));
        EtcdClient::connect(&self.endpoints(), ClientCredentials::None, Some(tls)).unwrap()
    }

    /// A list, signed at a time, installed at every member as its machine's controller does.
    pub fn revoke(&self, certificates: &[Issued], at: SystemTime) {
        let list = self.ca.revoke(certificates, 1, at).unwrap();
        for member in &self.members {
            let tls = Tls::open(&member.directory.join("identity"), Role::Controller).unwrap();
            tls.install_revoked(&list).unwrap();
        }
    }

    pub fn lose_lists(&self) {
        for member in &self.members {
            std::fs::remove_file(RevocationList::path(&member.directory.join("identity"))).unwrap();
        }
    }

    /// What the first machine's certificate of a role is answered where members meet.
    pub async fn ask_as_peer(&self, role: Role) -> Result<Bytes, web::ClientError> {
        let tls = Tls::open(&self.members[0].directory.join("identity"), role).unwrap();
        let client = web::Client::new(web::Credentials::None).with_tls(tls.client(Some(Role::Store)));
        client.get(&format!("{}/version", self.members[0].peer_url())).await.map(|response| response.into_body())
    }

    /// A certificate of this role for the first machine, signed by another authority.
    pub fn forged(&self, role: Role) -> EtcdClient {
        let member = &self.members[0];
        let directory = self.directory.path().join("forged");
        let ca = Ca::create("test").unwrap();
        install(&ca, &directory, role, &member.name, member.address, CERTIFICATE_LIFETIME);
        // It trusts the real authority: only what it shows is false.
        std::fs::write(directory.join("ca.pem"), self.ca.certificate_pem()).unwrap();
        let tls = Tls::open(&directory, role).unwrap();
        EtcdClient::connect(&self.endpoints(), ClientCredentials::None, Some(tls.client(Some(Role::Store)))).unwrap()
    }
}

fn install(ca: &Ca, identity: &Path, role: Role, node: &str, address: IpAddr, lifetime: Duration) {
    std::fs::create_dir_all(identity).unwrap();
    let request = Request::generate().unwrap();
    let subject = Subject { role, node: node.into(), addresses: vec![address] };
    let validity = Validity::lasting(SystemTime::now(), lifetime);
    let certificate = ca.sign_for(&request.csr_pem, &subject, validity).unwrap();
    let files = CertificateFiles::of(identity, role);
    files.install(ca.certificate_pem(), &certificate, &request.key_pem).unwrap();
}

impl Member {
    pub fn endpoint(&self) -> String {
        format!("https://{}", SocketAddr::new(self.address, 2379))
    }

    pub fn peer_url(&self) -> String {
        format!("https://{}", SocketAddr::new(self.address, 2380))
    }

    pub fn spawn(&mut self, initial_cluster: &[(String, String)], existing: bool) {
        let settings = serde_json::json!({
            "name": self.name,
            "data": self.directory.join("etcd"),
            "client": SocketAddr::new(self.address, 2379),
            "peer": SocketAddr::new(self.address, 2380),
            "initial_cluster": initial_cluster,
            "existing": existing,
            "identity": self.directory.join("identity"),
        });
        let path = self.directory.join("settings.json");
        std::fs::write(&path, settings.to_string()).unwrap();
        self.spawn_again(&path);
    }

    fn spawn_again(&mut self, settings: &Path) {
        let guard = Command::new(env!("CARGO_BIN_EXE_etcd-guard-harness"))
            .arg(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.complaints()).unwrap())
            .kill_on_drop(true)
            .spawn();
        self.guard = Some(guard.unwrap());
    }

    /// Starts it once more, with what it has on disk.
    pub async fn restart(&mut self) {
        self.spawn_again(&self.directory.join("settings.json"));
        self.ready().await;
    }

    pub async fn ready(&mut self) {
        let guard = self.guard.as_mut().expect("it was spawned");
        let mut lines = BufReader::new(guard.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(DEADLINE, lines.next_line()).await.expect("etcd is ready in time").unwrap();
        assert_eq!(line.as_deref(), Some("ready"), "{}", self.name);
    }

    /// Kills the guard, and so its etcd, as `kill -9` does. Returns once both are gone.
    pub async fn kill(&mut self) {
        let etcd = self.etcd();
        let mut guard = self.guard.take().expect("it runs");
        guard.kill().await.unwrap();
        gone(etcd).await;
    }

    /// Asks the guard to stop; returns once it has.
    pub async fn stop(&mut self) {
        let mut guard = self.guard.take().expect("it runs");
        drop(guard.stdin.take());
        let status = tokio::time::timeout(DEADLINE, guard.wait()).await.expect("it stops in time").unwrap();
        assert!(status.success(), "{status}");
    }

    fn complaints(&self) -> PathBuf {
        self.directory.join("complaints")
    }

    /// Waits until the guard has ended by itself, and fails if it did so without a complaint. Returns what it said.
    pub async fn ended(&mut self) -> String {
        let guard = self.guard.as_mut().expect("it was spawned");
        // Waiting would close it, which asks the guard to stop.
        let _open = guard.stdin.take();
        let status = tokio::time::timeout(DEADLINE, guard.wait()).await.expect("it ends in time").unwrap();
        let complaints = std::fs::read_to_string(self.complaints()).unwrap();
        assert!(!status.success(), "{complaints}");
        complaints
    }

    pub fn pause(&self) {
        kill(self.etcd(), Signal::SIGSTOP).unwrap();
    }

    pub fn resume(&self) {
        kill(self.etcd(), Signal::SIGCONT).unwrap();
    }

    /// The one child of the guard.
    pub fn etcd(&self) -> Pid {
        let guard = self.guard.as_ref().and_then(Child::id).expect("it runs");
        let tasks = std::fs::read_dir(format!("/proc/{guard}/task")).unwrap();
        // Children are listed by the thread that made them.
        let children = tasks.flat_map(|task| {
            let children = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
            children.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()
        });
        match children.collect::<Vec<_>>()[..] {
            [etcd] => Pid::from_raw(etcd),
            ref other => panic!("the guard {guard} has the children {other:?}"),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.guard.as_ref().is_some_and(|guard| guard.id().is_some()) {
            // A paused etcd dies of its guard's death too, but not of anything less.
            self.resume();
        }
    }
}

/// Waits until a process is no more.
pub async fn gone(process: Pid) {
    let deadline = Instant::now() + DEADLINE;
    while !has_ended(process) {
        assert!(Instant::now() < deadline, "{process} still runs");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Gone, or a zombie that nobody has reaped yet: its new parent may take its time.
fn has_ended(process: Pid) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return true };
    status.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
