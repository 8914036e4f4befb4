//! The lab on the real kernel. Root is needed.

use netlab::{Lab, Node};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

/// What travels arrives within this time; what was cut does not.
const ARRIVES_WITHIN: Duration = Duration::from_millis(300);
const TRIES: usize = 10;

const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));

async fn lab() -> (Lab, Node, Node) {
    let lab = Lab::new("test").await.expect("root, ip, tc and nsenter");
    let a = lab.node("a", (A, 24)).await.unwrap();
    let b = lab.node("b", (B, 24)).await.unwrap();
    (lab, a, b)
}

/// Sends a datagram and waits until it is seen at the other end; a few tries, as addresses are resolved first.
async fn arrives(from: &Node, to: &Node, tries: usize) -> bool {
    let address = to.address();
    let receiver = to.run(move || UdpSocket::bind((address, 0))).await.unwrap().unwrap();
    let target = receiver.local_addr().unwrap();
    receiver.set_read_timeout(Some(ARRIVES_WITHIN)).unwrap();
    let sender = from.run(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).await.unwrap().unwrap();
    for _ in 0..tries {
        // A link that is down may refuse at once.
        let sent = sender.send_to(b"x", target);
        if sent.is_ok() && receiver.recv(&mut [0; 8]).is_ok() {
            return true;
        }
    }
    false
}

/// A shell inside the node with a child; both are seen alive.
async fn shell(node: &Node) -> Child {
    let mut command = node.command("sh");
    command.args(["-c", "sleep 1000 & echo started; wait"]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("started"));
    child
}

fn names_of(node: &Node) -> Vec<String> {
    let name = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    let mut names: Vec<String> = node.pids().unwrap().into_iter().map(name).collect();
    names.sort();
    names
}

#[tokio::test]
async fn nodes_reach_each_other_until_a_cable_is_pulled() {
    let (lab, a, b) = lab().await;
    assert!(arrives(&a, &b, TRIES).await && arrives(&b, &a, TRIES).await);
    b.cut().await.unwrap();
    assert!(!arrives(&a, &b, 2).await && !arrives(&b, &a, 2).await);
    b.heal().await.unwrap();
    assert!(arrives(&a, &b, TRIES).await && arrives(&b, &a, TRIES).await);
    lab.remove().await.unwrap();
}

#[tokio::test]
async fn a_link_can_be_cut_one_way() {
    let (lab, a, b) = lab().await;
    assert!(arrives(&a, &b, TRIES).await && arrives(&b, &a, TRIES).await);
    b.cut_incoming().await.unwrap();
    b.cut_incoming().await.unwrap();
    assert!(!arrives(&a, &b, 2).await && arrives(&b, &a, TRIES).await);
    b.heal().await.unwrap();
    b.cut_outgoing().await.unwrap();
    assert!(arrives(&a, &b, TRIES).await && !arrives(&b, &a, 2).await);
    b.heal().await.unwrap();
    assert!(arrives(&a, &b, TRIES).await && arrives(&b, &a, TRIES).await);
    lab.remove().await.unwrap();
}

#[tokio::test]
async fn streams_work_and_loopback_is_each_nodes_own() {
    let (lab, a, b) = lab().await;
    let listen = |address: SocketAddr| move || TcpListener::bind(address);
    let at_b = b.run(listen((Ipv4Addr::UNSPECIFIED, 8181).into())).await.unwrap().unwrap();
    a.run(listen((Ipv4Addr::LOCALHOST, 8181).into())).await.unwrap().expect("another node's port is free here");
    let answer = std::thread::spawn(move || at_b.accept().unwrap().0.write_all(b"b").unwrap());
    let mut stream = a.run(|| TcpStream::connect((B, 8181))).await.unwrap().unwrap();
    let mut read = String::new();
    stream.read_to_string(&mut read).unwrap();
    assert_eq!(read, "b");
    answer.join().unwrap();
    assert!(b.run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, 8182))).await.unwrap().is_err());
    lab.remove().await.unwrap();
}

#[tokio::test]
async fn a_nodes_processes_are_paused_resumed_and_killed_together() {
    let (lab, a, b) = lab().await;
    let (mut first, _second) = (shell(&a).await, shell(&b).await);
    assert_eq!(names_of(&a), ["sh", "sleep"]);
    let states = |node: &Node| -> Vec<char> {
        let state = |pid: i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
        };
        node.pids().unwrap().into_iter().map(state).collect()
    };
    let until = async |what: &str, holds: &dyn Fn() -> bool| {
        let looking = async {
            while !holds() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), looking).await.unwrap_or_else(|_| panic!("{what}"));
    };
    a.pause().unwrap();
    until("all of a stopped", &|| states(&a) == ['T', 'T']).await;
    assert!(states(&b).iter().all(|state| *state != 'T'), "b goes on");
    a.resume().unwrap();
    until("all of a go on", &|| states(&a).iter().all(|state| *state != 'T')).await;
    a.kill().await.unwrap();
    assert_eq!(names_of(&b), ["sh", "sleep"]);
    assert!(!first.wait().await.unwrap().success());
    lab.remove().await.unwrap();
}

#[tokio::test]
async fn control_groups_stay_reachable_inside() {
    let (lab, a, _b) = lab().await;
    let outside = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let inside = a.command("cat").arg("/proc/self/mounts").output().await.unwrap();
    assert_eq!(outside, String::from_utf8_lossy(&inside.stdout));
    lab.remove().await.unwrap();
}

#[tokio::test]
async fn addresses_are_read_from_the_kernel() {
    let (lab, a, _b) = lab().await;
    let floating: IpAddr = "10.77.0.100".parse().unwrap();
    let six: IpAddr = "fd00::1".parse().unwrap();
    a.add_address((floating, 24)).await.unwrap();
    a.add_address((six, 64)).await.unwrap();
    let found = a.addresses().await.unwrap();
    assert!([A, floating, six].iter().all(|address| found.contains(address)), "{found:?}");
    lab.remove().await.unwrap();
}

#[tokio::test]
async fn nothing_is_left_after_remove_nor_after_drop() {
    let (lab, a, b) = lab().await;
    let mut child = shell(&a).await;
    let paths = [&a, &b].map(|node| Path::new("/run/netns").join(node.namespace()));
    assert!(paths.iter().all(|path| path.exists()));
    lab.remove().await.unwrap();
    assert!(!paths.iter().any(|path| path.exists()));
    assert!(!child.wait().await.unwrap().success());

    let lab = Lab::new("test").await.unwrap();
    let a = lab.node("a", (A, 24)).await.unwrap();
    let mut child = shell(&a).await;
    let path = Path::new("/run/netns").join(a.namespace());
    drop(lab);
    assert!(!path.exists());
    assert!(!child.wait().await.unwrap().success());
}

#[tokio::test]
async fn what_a_killed_owner_left_is_removed_by_the_next_lab() {
    let (lab, a, _b) = lab().await;
    // The name of a lab whose owner (our id, at another time) is no more.
    let pid = std::process::id();
    let dead = format!("netlab-test-{pid}-1-0-a");
    let made = std::process::Command::new("ip").args(["netns", "add", &dead]).status().unwrap();
    assert!(made.success());
    let another = Lab::new("test").await.unwrap();
    assert!(!Path::new("/run/netns").join(&dead).exists());
    assert!(Path::new("/run/netns").join(a.namespace()).exists(), "a living lab stays");
    another.remove().await.unwrap();
    lab.remove().await.unwrap();
}
