//! The binary of each machine of a cluster is replaced in turn, under a stream of requests through the floating address.
//! Root, etcd, python3.

#[path = "../../services/vip/tests/support/client.rs"]
mod client;
mod machines;
mod support;

use client::{Ask, Clients};
use machines::{Cluster, Machine, VIP, run_alone};
use netlab::Node;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;
use support::until;
use tokio::sync::oneshot;

const PONG: &str = "/pong";
const HOST: &str = "pong.localhost";
/// What is said through a tunnel comes back within this time, if at all.
const ECHO_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers, and sends back what comes through a tunnel.
const SERVER: &str = r#"
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    disable_nagle_algorithm = True
    def log_message(self, *words): pass
    def do_GET(self):
        if not self.headers.get('Upgrade'):
            self.send_response(200)
            self.send_header('Content-Length', '4')
            self.end_headers()
            self.wfile.write(b'pong')
            return
        self.send_response(101)
        self.send_header('Connection', 'upgrade')
        self.send_header('Upgrade', 'echo')
        self.end_headers()
        self.close_connection = True
        while data := self.connection.recv(4096):
            self.connection.sendall(data)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(('0.0.0.0', int(os.environ['PORT0'])), Handler).serve_forever()
"#;

#[test]
fn the_binaries_of_a_cluster_are_replaced_one_by_one_and_no_request_through_the_floating_address_fails() {
    run_alone(upgrade_each_machine());
}

async fn upgrade_each_machine() {
    let cluster = Cluster::begin("upgrade").await;
    let directory = tempfile::tempdir().unwrap();
    deploy(&cluster, directory.path());
    let client = cluster.lab.node("client", ([10, 89, 0, 50].into(), 24)).await.unwrap();
    let to = SocketAddr::new(VIP.parse().unwrap(), 8181);
    let clients = Clients::start(&client, [Ask { to, host: HOST, answer: "http/1.1 200" }].into_iter());
    for _ in &cluster.machines {
        upgrade_the_holder(&cluster, &client, to).await;
    }
    let tally = clients.end().await;
    println!("{} answered, {} repeated, the slowest after {:?}", tally.answered, tally.repeated, tally.slowest);
    assert_eq!(tally.failed, Vec::<String>::new());
    // One that was accepted in the moment in which the edge became quiet may be closed unused.
    assert!(tally.repeated <= cluster.machines.len() as u64, "{tally:?}");
    assert!(tally.answered > 1_000 && tally.slowest < Duration::from_secs(3), "{tally:?}");
    cluster.end().await;
}

/// An app with a server on each machine.
fn deploy(cluster: &Cluster, directory: &Path) {
    let script = directory.join("server.py");
    std::fs::write(&script, SERVER).unwrap();
    let cmd = format!("exec python3 {}", script.display());
    let run = ["app", "run", PONG, "--cmd", &cmd, "--health", "/", "--cpus", "0.1", "--mem", "32", "--instances", "3"];
    cluster.ask(&run).expect("the app is deployed");
    until("the app is healthy", || {
        let app = cluster.ask(&["app", "show", PONG])?;
        (app["tasksHealthy"] == 3).then_some(())
    });
}

/// The address moves, politely, and the machine is ready again; tasks have stayed.
async fn upgrade_the_holder(cluster: &Cluster, client: &Node, to: SocketAddr) {
    let (holder, _) = until("somebody holds the address", || holder(cluster));
    let name = holder.node.name();
    let tasks = until("the tasks are told", || tasks(cluster));
    let tunnel = Tunnel::open(client, to).await;
    let beside = Tunnel::open(client, SocketAddr::new(holder.node.address(), to.port())).await;
    let upgraded = holder.try_ask(&["upgrade"]).unwrap_or_else(|| panic!("{name}: {}", holder.log()));
    assert_eq!(upgraded["pid"], holder.process.as_ref().expect("it runs").id(), "it is the same process");
    let (_, cause) = until(&format!("another one than {name} holds the address"), || {
        self::holder(cluster).filter(|(other, _)| other.node.name() != name)
    });
    assert!(cause.contains("gave the address up"), "it was told, and did not find out: {cause}");
    let error = tunnel.echoed().await.expect_err("the machine that has the address now knows nothing of it");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    beside.echoed().await.expect("by the machine's own address it stays with the old edge");
    holder.until_ready();
    until("all machines are well", || {
        let nodes = cluster.ask(&["node", "list"])?;
        let well = nodes.as_array()?.iter().filter(|node| node["state"] == "connected" && node["etcd"] == "voter");
        (well.count() == 3).then_some(())
    });
    assert_eq!(until("the tasks are told", || self::tasks(cluster)), tasks, "tasks stay");
}

/// Who holds the address, and why.
fn holder(cluster: &Cluster) -> Option<(&Machine, String)> {
    let held = |machine: &Machine| {
        let status = machine.try_ask_inside(&["vip", "status"])?;
        let router = status["routers"].as_array()?.iter().find(|router| router["state"] == "active")?.clone();
        Some(router["cause"].as_str()?.to_owned())
    };
    let mut holders = cluster.machines.iter().filter_map(|machine| Some((machine, held(machine)?)));
    let holder = holders.next()?;
    holders.next().is_none().then_some(holder)
}

fn tasks(cluster: &Cluster) -> Option<BTreeSet<String>> {
    let app = cluster.ask(&["app", "show", PONG])?;
    let id = |task: &Value| Some(task["id"].as_str()?.to_owned());
    app["tasks"].as_array()?.iter().map(id).collect()
}

/// A connection through the floating address that has become another protocol's.
struct Tunnel {
    stream: TcpStream,
}

impl Tunnel {
    async fn open(client: &Node, to: SocketAddr) -> Self {
        let opened = client.run(move || {
            let mut stream = TcpStream::connect(to)?;
            stream.set_read_timeout(Some(ECHO_TIMEOUT))?;
            write!(stream, "GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n")?;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                head.extend(byte);
            }
            let mut tunnel = Self { stream };
            tunnel.echo()?;
            Ok::<_, io::Error>(tunnel)
        });
        opened.await.unwrap().expect("a tunnel is opened")
    }

    fn echo(&mut self) -> io::Result<()> {
        let mut byte = [0];
        self.stream.write_all(b"x")?;
        self.stream.read_exact(&mut byte)
    }

    /// Whether it still is one.
    async fn echoed(mut self) -> io::Result<()> {
        let (done, outcome) = oneshot::channel();
        std::thread::spawn(move || done.send(self.echo()));
        outcome.await.expect("the thread ends")
    }
}
