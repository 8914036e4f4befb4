//! Three machines on Debian's etcd: the second and third join the first with a token, etcd's members follow, and any one
//! of the three may be killed, controller and etcd at once.

use controller::Config;
use controller::cluster::{Cluster, JoinAnswer, JoinCredential, JoinRequest, Settings};
use http::{Method, StatusCode};
use identity::{
    Authority, Ca, CertificateFiles, JoinToken, Request, RevocationList, Role, Subject, Tls, pinned_client,
};
use lifecycle::{Started, Stop};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{ClientCredentials, EtcdClient, Store, StoreError};
use tokio::runtime::Runtime;

const DEADLINE: Duration = Duration::from_secs(60);
/// With the machine both the leader of the controllers and, often, that of etcd is gone. etcd elects within 1.5 s, mostly.
const TAKEOVER_MAX: Duration = Duration::from_secs(5);
const MACHINES: [&str; 3] = ["a", "b", "c"];

/// One machine's certificates and addresses.
struct Place {
    name: &'static str,
    address: IpAddr,
    directory: PathBuf,
}

struct Machine {
    place: Place,
    api: SocketAddr,
    store: Arc<EtcdClient>,
    members: Arc<EtcdClient>,
    _stop: Stop,
    runtime: Option<Runtime>,
}

impl Place {
    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    fn url(&self, port: u16) -> String {
        format!("https://{}", self.at(port))
    }

    fn identity(&self) -> PathBuf {
        self.directory.join("identity")
    }

    fn install(&self, ca_pem: &str, certificates: &BTreeMap<Role, String>, requests: &BTreeMap<Role, Request>) {
        for (role, certificate) in certificates {
            let files = CertificateFiles::of(&self.identity(), *role);
            files.install(ca_pem, certificate, &requests[role].key_pem).unwrap();
        }
    }

    fn client(&self, role: Role, endpoints: &[String]) -> Arc<EtcdClient> {
        let tls = Tls::open(&self.identity(), role).unwrap().client(Some(Role::Store));
        Arc::new(EtcdClient::connect(endpoints, ClientCredentials::None, Some(tls)).unwrap())
    }

    fn etcd(&self, initial_cluster: Vec<(String, String)>, existing: bool) -> etcd::Config {
        let files = CertificateFiles::of(&self.identity(), Role::Store);
        etcd::Config {
            binary: "etcd".into(),
            name: self.name.into(),
            data: self.directory.join("etcd"),
            client_listen: vec![self.at(2379)],
            client_advertise: self.at(2379),
            peer_listen: self.at(2380),
            peer_advertise: self.at(2380),
            initial_cluster,
            existing,
            authority: files.ca,
            certificate: files.certificate,
            key: files.key,
            revoked: files.revoked,
            token: "test".into(),
        }
    }
}

impl Machine {
    /// Starts etcd, then a controller, both in a runtime of the machine's own.
    async fn start(place: Place, etcd: etcd::Config, endpoints: &[String], ca: Arc<Ca>, authority: Authority) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (stop, founding) = (Stop::new(), !etcd.existing);
        let endpoints = endpoints.to_vec();
        RevocationList::prepare(&place.identity(), &ca).unwrap();
        let starting = {
            let stop = stop.clone();
            runtime.spawn(async move {
                let etcd = etcd::start(etcd, stop.clone()).await.unwrap();
                let members = place.client(Role::Admin, &endpoints);
                if founding {
                    members.enable_auth().await.unwrap();
                }
                let store = place.client(Role::Controller, &endpoints);
                let cluster = Cluster {
                    node: place.name.into(),
                    address: place.address,
                    peers_listen: place.at(8081),
                    advertise: place.at(8081).to_string(),
                    tls: Tls::open(&place.identity(), Role::Controller).unwrap(),
                    candidate: true,
                    ca: Some(ca),
                    authority: Some(authority.clone()),
                    members: members.clone(),
                    etcd_peer_url: place.url(2380),
                    etcd_client_url: place.url(2379),
                    settings: Settings { name: "test".into(), ..Settings::default() },
                    version: "1".into(),
                };
                let verifier = authority.identity(Role::Controller).verifier();
                let config = Config { cluster: Some(cluster), ..Config::new(store.clone(), verifier) };
                let started = controller::start(config, stop).await.unwrap();
                (place, etcd, started, store, members)
            })
        };
        let (place, etcd, started, store, members): (_, Started, _, _, _) = starting.await.unwrap();
        let api = started.address("").unwrap();
        // Both go on until the machine dies.
        runtime.spawn(async move { tokio::join!(etcd.finished(), started.finished()) });
        Self { place, api, store, members, _stop: stop, runtime: Some(runtime) }
    }

    /// Controller and etcd end at once.
    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            if let Some(etcd) = etcd_process(&self.place.directory) {
                kill(etcd, Signal::SIGKILL).unwrap();
            }
            runtime.shutdown_background();
        }
    }

    async fn call(&self, admin: &web::Client, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let body = body.map_or_else(web::empty_body, |body| web::full_body(body.to_string()));
        let uri = format!("http://{}{path}", self.api);
        let response = admin.call(method, &uri, Some("application/json"), body).await.unwrap();
        (response.status(), serde_json::from_slice(response.body()).unwrap_or_default())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The one with this data directory among its arguments.
fn etcd_process(directory: &Path) -> Option<Pid> {
    let wanted = directory.join("etcd").display().to_string();
    let is_wanted = |pid: &i32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).split('\0').any(|argument| argument.ends_with(&wanted))
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.into_iter().find(is_wanted).map(Pid::from_raw)
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < DEADLINE, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}

fn requests() -> BTreeMap<Role, Request> {
    let roles = [Role::Controller, Role::Store, Role::Admin, Role::Node, Role::Agent];
    roles.map(|role| (role, Request::generate().unwrap())).into()
}

fn app(id: &str) -> Option<Value> {
    Some(json!({ "id": id, "cmd": "serve", "instances": 0 }))
}

async fn join(place: &Place, token: &JoinToken) -> JoinAnswer {
    let requests = requests();
    let request = JoinRequest {
        token: JoinCredential { id: token.id.clone(), secret: token.secret.clone() },
        name: place.name.into(),
        address: place.address,
        csrs: requests.iter().map(|(role, request)| (*role, request.csr_pem.clone())).collect(),
        peers: None,
        etcd_peer_url: None,
        etcd_client_url: None,
        version: "1".into(),
    };
    let client = web::Client::default().with_tls(pinned_client(&token.ca_fingerprint));
    let uri = format!("https://{}/v1/join", token.addresses[0]);
    let answer: JoinAnswer = client.send_json(Method::POST, &uri, &request).await.unwrap();
    place.install(&answer.ca, &answer.certificates, &requests);
    answer
}

async fn cluster(data: &Path) -> (web::Client, Vec<Machine>) {
    let mut random = [0; 2];
    getrandom::fill(&mut random).unwrap();
    let places = MACHINES.iter().zip(1..).map(|(name, number)| Place {
        name,
        address: Ipv4Addr::new(127, random[0] | 1, random[1], number).into(),
        directory: data.join(name),
    });
    let mut places: Vec<Place> = places.collect();
    let (ca, authority) = (Ca::create("test").unwrap(), Authority::generate().unwrap());
    let admin = web::Client::new(web::Credentials::Bearer(authority.token(Role::Admin).reveal().to_owned()));

    let founder = places.remove(0);
    let requests = requests();
    let sign = |(role, request): (&Role, &Request)| {
        let subject = Subject { role: *role, node: founder.name.into(), addresses: vec![founder.address] };
        (*role, ca.sign(&request.csr_pem, &subject).unwrap())
    };
    let certificates: BTreeMap<Role, String> = requests.iter().map(sign).collect();
    founder.install(ca.certificate_pem(), &certificates, &requests);
    let etcd = founder.etcd(vec![(founder.name.into(), founder.url(2380))], false);
    let endpoints = [founder.url(2379)];
    let mut machines = vec![Machine::start(founder, etcd, &endpoints, Arc::new(ca), authority).await];

    until("the founder leads", async || {
        machines[0].call(&admin, Method::GET, "/v2/apps", None).await.0 == StatusCode::OK
    })
    .await;
    let mut issued = (StatusCode::OK, Value::Null);
    until("it makes a token", async || {
        issued = machines[0].call(&admin, Method::POST, "/v1/join-tokens", Some(json!({}))).await;
        issued.0 == StatusCode::CREATED
    })
    .await;
    let token: JoinToken = issued.1["token"].as_str().unwrap().parse().unwrap();
    for place in places {
        let answer = join(&place, &token).await;
        let etcd = place.etcd(answer.etcd.clone().unwrap().initial_cluster, true);
        let ca = Arc::new(Ca::from_pem(&answer.ca, answer.ca_key.as_deref().unwrap()).unwrap());
        let authority = Authority::from_toml(answer.authority.as_deref().unwrap()).unwrap();
        machines.push(Machine::start(place, etcd, &answer.etcd_endpoints, ca, authority).await);
    }
    until("all three vote", async || voters(&machines[2], &admin).await == 3).await;
    for machine in &machines {
        let mut endpoints: Vec<String> = machines.iter().map(|machine| machine.place.url(2379)).collect();
        endpoints.sort_by_key(|endpoint| *endpoint != machine.place.url(2379));
        machine.store.set_endpoints(&endpoints).unwrap();
        machine.members.set_endpoints(&endpoints).unwrap();
    }
    (admin, machines)
}

async fn voters(machine: &Machine, admin: &web::Client) -> usize {
    let (_, cluster) = machine.call(admin, Method::GET, "/v1/cluster", None).await;
    let members = cluster["etcd"]["members"].as_array().cloned().unwrap_or_default();
    members.iter().filter(|member| member["role"] == "voter" && member["healthy"] == true).count()
}

/// Times are measured: one cluster at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn the_death_of_etcds_leader_is_a_pause() {
    let _alone = ALONE.lock().await;
    let data = tempfile::tempdir().unwrap();
    let (admin, machines) = cluster(data.path()).await;
    let (status, _) = machines[0].call(&admin, Method::POST, "/v2/apps", app("before")).await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, cluster) = machines[0].call(&admin, Method::GET, "/v1/cluster", None).await;
    let members = cluster["etcd"]["members"].as_array().unwrap();
    let leading = members.iter().find(|member| member["leader"] == true).unwrap()["name"].as_str().unwrap();
    let leading = machines.iter().find(|machine| machine.place.name == leading).unwrap();
    kill(etcd_process(&leading.place.directory).expect("it runs"), Signal::SIGKILL).unwrap();
    let mut created = Vec::new();
    let took = until("a change is written", async || {
        let (status, _) = machines[1].call(&admin, Method::POST, "/v2/apps", app("after")).await;
        created.push(status);
        matches!(status, StatusCode::CREATED | StatusCode::CONFLICT)
    })
    .await;
    println!("etcd's leader killed, first write after {took:?}: {created:?}");
    assert!(took < TAKEOVER_MAX, "{took:?} {created:?}");
    for machine in &machines {
        for id in ["before", "after"] {
            let (status, body) = machine.call(&admin, Method::GET, &format!("/v2/apps/{id}"), None).await;
            assert_eq!(status, StatusCode::OK, "{id} through {}: {body}", machine.place.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_join_one_by_one_and_any_of_three_may_be_killed() {
    let _alone = ALONE.lock().await;
    let data = tempfile::tempdir().unwrap();
    let (admin, mut machines) = cluster(data.path()).await;
    for (machine, id) in machines.iter().zip(["x", "y", "z"]) {
        let (status, body) = machine.call(&admin, Method::POST, "/v2/apps", app(id)).await;
        assert_eq!(status, StatusCode::CREATED, "through {}: {body}", machine.place.name);
    }
    // The founder leads, in both.
    let (_, cluster) = machines[1].call(&admin, Method::GET, "/v1/cluster", None).await;
    let leading = cluster["leader"]["node"].as_str().unwrap();
    let leading = machines.iter().position(|machine| machine.place.name == leading).unwrap();
    machines.remove(leading).kill();
    let mut created = Vec::new();
    let took = until("a new leader writes", async || {
        let (status, _) = machines[0].call(&admin, Method::POST, "/v2/apps", app("w")).await;
        created.push(status);
        // What was written and whose answer was lost is there.
        matches!(status, StatusCode::CREATED | StatusCode::CONFLICT)
    })
    .await;
    println!("leader and etcd killed, first write after {took:?}: {created:?}");
    assert!(took < TAKEOVER_MAX, "{took:?} {created:?}");
    for machine in &machines {
        for id in ["w", "x", "y", "z"] {
            let (status, body) = machine.call(&admin, Method::GET, &format!("/v2/apps/{id}"), None).await;
            assert_eq!(status, StatusCode::OK, "{id} through {}: {body}", machine.place.name);
        }
    }
    // The dead machine is given up.
    let dead = MACHINES.iter().find(|name| machines.iter().all(|machine| machine.place.name != **name)).unwrap();
    let (status, body) = machines[0].call(&admin, Method::DELETE, &format!("/v1/nodes/{dead}"), None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    until("etcd has two members", async || {
        let (_, cluster) = machines[1].call(&admin, Method::GET, "/v1/cluster", None).await;
        cluster["etcd"]["members"].as_array().is_some_and(|members| members.len() == 2)
    })
    .await;
    assert_eq!(voters(&machines[0], &admin).await, 2);
}

/// What a certificate is answered by a controller before any question of rights.
async fn greet(place: &Place, role: Role, machine: &Machine) -> Result<(), String> {
    let tls = Tls::open(&place.identity(), role).unwrap();
    let client = web::Client::default().with_tls(tls.client(Some(Role::Controller)));
    match client.get(&format!("https://{}/v1/standing", machine.place.at(8081))).await {
        Ok(_) | Err(web::ClientError::Status { .. }) => Ok(()),
        Err(error) => Err(lifecycle::ErrorChain(&error).to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_machine_is_shut_out_of_every_controller_and_every_member_of_etcd() {
    let _alone = ALONE.lock().await;
    let data = tempfile::tempdir().unwrap();
    let (admin, machines) = cluster(data.path()).await;
    let octets = match machines[0].place.address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => panic!("these machines have IPv4"),
    };
    let mut workers = Vec::new();
    for (name, number) in [("d", 4), ("e", 5)] {
        let address = Ipv4Addr::new(octets[0], octets[1], octets[2], number).into();
        let place = Place { name, address, directory: data.path().join(name) };
        let (status, issued) = machines[0].call(&admin, Method::POST, "/v1/join-tokens", Some(json!({}))).await;
        assert_eq!(status, StatusCode::CREATED, "{issued}");
        let answer = join(&place, &issued["token"].as_str().unwrap().parse().unwrap()).await;
        assert!(!answer.state && answer.ca_key.is_none());
        workers.push(place);
    }
    let members: Vec<[String; 1]> = machines.iter().map(|machine| [machine.place.url(2379)]).collect();
    // It has no rights there, which it is told in words: it was let in.
    let is_let_in =
        async |client: &EtcdClient| matches!(client.get("/roadstead/members/a").await, Err(StoreError::Refused { .. }));
    let mut open = Vec::new();
    for place in &workers {
        for (machine, member) in machines.iter().zip(&members) {
            greet(place, Role::Agent, machine).await.unwrap();
            let client = place.client(Role::Agent, member);
            assert!(is_let_in(&client).await, "{}", place.name);
            open.push((place.name, client));
        }
    }

    let (status, body) = machines[1].call(&admin, Method::DELETE, "/v1/nodes/d", None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let took = until("it is shut out everywhere", async || {
        let mut is_out = true;
        for (machine, member) in machines.iter().zip(&members) {
            is_out &= greet(&workers[0], Role::Agent, machine).await.is_err();
            is_out &= !is_let_in(&workers[0].client(Role::Agent, member)).await;
        }
        for (name, client) in &open {
            is_out &= *name != "d" || !is_let_in(client).await;
        }
        is_out
    })
    .await;
    println!("removed, and shut out by all after {took:?}");
    // Whoever stays is let in as before, on new connections and on those from before: each member ends them once, at its
    // next look at the list, which the request in flight then feels.
    until("whoever stays is let in", async || {
        let mut is_in = true;
        for (machine, member) in machines.iter().zip(&members) {
            is_in &= greet(&workers[1], Role::Agent, machine).await.is_ok();
            is_in &= is_let_in(&workers[1].client(Role::Agent, member)).await;
        }
        for (_, client) in open.iter().filter(|(name, _)| *name == "e") {
            is_in &= is_let_in(client).await;
        }
        is_in
    })
    .await;
    until("the cluster goes on", async || {
        let (status, _) = machines[2].call(&admin, Method::POST, "/v2/apps", app("after")).await;
        // What was written and whose answer was lost is there.
        matches!(status, StatusCode::CREATED | StatusCode::CONFLICT)
    })
    .await;
}
