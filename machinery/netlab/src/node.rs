//! One node: a network namespace with a link to the switch.

use crate::tools::{ip, netns_directory, tc};
use crate::{Error, processes};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use std::ffi::OsStr;
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The node's link, as its programs see it.
pub const INTERFACE: &str = "eth0";

/// SIGKILL takes effect at once; only a process in an uninterruptible wait takes longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
const KILL_POLL: Duration = Duration::from_millis(5);

/// A node of a [`Lab`](crate::Lab), which owns it: a clone names the same one.
#[derive(Clone, Debug)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: String,
    namespace: String,
    port: Port,
    address: IpAddr,
}

/// The node's end of the link at the switch.
#[derive(Debug)]
pub(crate) struct Port {
    pub switch: String,
    pub name: String,
}

impl Node {
    pub(crate) fn new(name: &str, namespace: String, port: Port, address: (IpAddr, u8)) -> Self {
        Self(Arc::new(Inner { name: name.to_owned(), namespace, port, address: address.0 }))
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The address the node was made with.
    pub fn address(&self) -> IpAddr {
        self.0.address
    }

    /// The name of the namespace, as `ip netns` lists it.
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// A program that will run inside the node. `kill_on_drop` and everything else is the caller's.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut option = std::ffi::OsString::from("--net=");
        option.push(self.path());
        let mut command = Command::new("nsenter");
        // It becomes the program: the child's id is the program's.
        command.arg(option).arg("--").arg(program);
        command
    }

    /// Moves the calling thread into the node for the rest of its life: sockets it opens and processes it starts are the
    /// node's. For threads of one's own, such as the workers of a runtime that lives inside the node.
    pub fn enter(&self) -> Result<(), Error> {
        let namespace = File::open(self.path()).map_err(Error::io(format!("open the namespace of {}", self.0.name)))?;
        setns(namespace, CloneFlags::CLONE_NEWNET)
            .map_err(std::io::Error::from)
            .map_err(Error::io(format!("enter the namespace of {}", self.0.name)))
    }

    /// Runs a function on a thread inside the node.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let (done, result) = oneshot::channel();
        let node = self.clone();
        let thread = move || {
            // Nobody waits for it any more: the result is not wanted.
            let _unwanted = done.send(node.enter().map(|()| work()));
        };
        let what = || format!("run a thread inside {}", self.0.name);
        std::thread::Builder::new().name(format!("in-{}", self.0.name)).spawn(thread).map_err(Error::io(what()))?;
        result.await.map_err(|_panicked| Error::io(what())(std::io::Error::other("the thread panicked")))?
    }

    /// Every address on [`INTERFACE`] now.
    pub async fn addresses(&self) -> Result<Vec<IpAddr>, Error> {
        let found = self.run(|| {
            let of_interface = nix::ifaddrs::getifaddrs()?.filter(|found| found.interface_name == INTERFACE);
            Ok(of_interface.filter_map(|found| found.address.as_ref().and_then(ip_address)).collect())
        });
        let failed = |error: nix::Error| Error::io(format!("list the addresses of {}", self.0.name))(error.into());
        found.await?.map_err(failed)
    }

    /// Adds an address beside the first.
    pub async fn add_address(&self, (address, prefix_length): (IpAddr, u8)) -> Result<(), Error> {
        let address = format!("{address}/{prefix_length}");
        // The lab knows that nobody else has it.
        let no_detection: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        let arguments = ["-n", &self.0.namespace, "address", "add", &address, "dev", INTERFACE];
        ip(&[&arguments, no_detection].concat()).await.map(drop)
    }

    /// Pulls the cable: nothing comes or goes, and both ends see the carrier go.
    pub async fn cut(&self) -> Result<(), Error> {
        self.port_set("down").await
    }

    /// From now on nothing reaches the node, silently; what it sends arrives.
    pub async fn cut_incoming(&self) -> Result<(), Error> {
        self.drop_at_port("egress").await
    }

    /// From now on nothing the node sends arrives, silently; it hears everything.
    pub async fn cut_outgoing(&self) -> Result<(), Error> {
        self.drop_at_port("ingress").await
    }

    /// Undoes every cut.
    pub async fn heal(&self) -> Result<(), Error> {
        for direction in ["ingress", "egress"] {
            tc(&["-n", &self.0.port.switch, "filter", "del", "dev", &self.0.port.name, direction]).await?;
        }
        self.port_set("up").await
    }

    /// The node's processes: those inside it and all they started; never the calling process.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        processes::of_namespace(&self.path()).map_err(Error::io(format!("list the processes of {}", self.0.name)))
    }

    /// Stops every process of the node (SIGSTOP) until [`Node::resume`].
    pub fn pause(&self) -> Result<(), Error> {
        self.signal(Signal::SIGSTOP)
    }

    pub fn resume(&self) -> Result<(), Error> {
        self.signal(Signal::SIGCONT)
    }

    /// Sends a signal to every process of the node.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        processes::signal_all(&self.pids()?, signal);
        Ok(())
    }

    /// SIGKILL to every process of the node, until none is left: what is started meanwhile dies, too.
    pub async fn kill(&self) -> Result<(), Error> {
        let deadline = Instant::now() + KILL_TIMEOUT;
        loop {
            let pids = self.pids()?;
            if pids.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Error::Unkillable { node: self.0.name.clone(), pids });
            }
            processes::signal_all(&pids, Signal::SIGKILL);
            tokio::time::sleep(KILL_POLL).await;
        }
    }

    /// Makes the namespace and its link.
    pub(crate) async fn plug(&self, bridge: &str) -> Result<(), Error> {
        let Inner { namespace, port, .. } = &*self.0;
        ip(&["netns", "add", namespace]).await?;
        // No wait for other holders of an IPv6 address: the lab knows that there are none.
        self.run(|| std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0"))
            .await?
            .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
            .map_err(Error::io("turn duplicate address detection off"))?;
        ip(&["-n", namespace, "link", "set", "lo", "up"]).await?;
        // Both ends are born where they belong: no name can meet another in the machine's own namespace.
        let ends = ["type", "veth", "peer", "name", INTERFACE, "netns", namespace];
        ip(&[&["link", "add", &port.name, "netns", &port.switch], &ends[..]].concat()).await?;
        ip(&["-n", &port.switch, "link", "set", &port.name, "master", bridge, "up"]).await?;
        tc(&["-n", &port.switch, "qdisc", "add", "dev", &port.name, "clsact"]).await?;
        ip(&["-n", namespace, "link", "set", INTERFACE, "up"]).await.map(drop)
    }

    async fn port_set(&self, state: &str) -> Result<(), Error> {
        ip(&["-n", &self.0.port.switch, "link", "set", &self.0.port.name, state]).await.map(drop)
    }

    /// Everything that passes the port in this direction goes to the switch's loopback, which is down. (The plain action
    /// `drop` is a kernel module that small kernels lack.)
    async fn drop_at_port(&self, direction: &str) -> Result<(), Error> {
        let Port { switch, name } = &self.0.port;
        let everything = ["protocol", "all", "prio", "1", "u32", "match", "u32", "0", "0"];
        let nowhere = ["action", "mirred", "egress", "redirect", "dev", "lo"];
        let filter = ["-n", switch, "filter", "replace", "dev", name, direction];
        tc(&[&filter, &everything[..], &nowhere[..]].concat()).await.map(drop)
    }

    fn path(&self) -> PathBuf {
        netns_directory().join(&self.0.namespace)
    }
}

fn ip_address(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
}
