//! A lab on one machine: nodes are network namespaces, each with one link to a switch (a bridge in a namespace of its own).
//!
//! Links are cut at the switch: [`Node::cut`] as if the cable were pulled (the node sees its carrier go),
//! [`Node::cut_incoming`] and [`Node::cut_outgoing`] silently and one way only. A node's processes are those that were
//! started inside it and all they started, in whatever namespaces these are now; they can be paused and killed together.
//!
//! Only the network is the node's own. Mounts stay the machine's, so that control groups work: `ip netns exec` would
//! mount a new `/sys`, without them; programs are started by `nsenter --net` instead.
//!
//! Nothing is left behind: [`Lab::remove`] waits until everything is gone, dropping a [`Lab`] does the same without
//! waiting, and each new lab removes what a killed owner has left (names carry the owner's process id and start time).
//! Root is needed, and the programs `ip`, `tc` and `nsenter`; their absence is an [`Error`] that says what to install.

mod error;
mod names;
mod node;
mod processes;
mod tools;

pub use error::Error;
pub use node::{INTERFACE, Node};

use names::Names;
use node::Port;
use std::net::IpAddr;
use std::sync::Mutex;
use tools::{ip, netns_directory};

/// The bridge, inside the switch's namespace.
const BRIDGE: &str = "br0";
/// The name of the switch's own namespace; no node may be called so.
const SWITCH: &str = "switch";

/// A switch and its nodes.
#[derive(Debug)]
pub struct Lab {
    names: Names,
    nodes: Mutex<Vec<Node>>,
}

impl Lab {
    /// An empty lab. `prefix` says in `ip netns` whose it is: lower-case letters and digits.
    pub async fn new(prefix: &str) -> Result<Self, Error> {
        tools::require_root_and_programs()?;
        let names = Names::of_this_process(prefix)?;
        for name in names::left_by_the_dead(&netns_directory()) {
            tracing::info!(name, "remove a namespace whose owner is gone");
            remove_now(&name);
        }
        let lab = Self { names, nodes: Mutex::default() };
        let switch = lab.switch();
        ip(&["netns", "add", &switch]).await?;
        // Without a querier snooping floods anyhow; off, it cannot surprise.
        ip(&["-n", &switch, "link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0"]).await?;
        ip(&["-n", &switch, "link", "set", BRIDGE, "up"]).await?;
        Ok(lab)
    }

    /// Adds a node with this address and prefix length on [`INTERFACE`]. `name`: lower-case letters and digits.
    pub async fn node(&self, name: &str, address: (IpAddr, u8)) -> Result<Node, Error> {
        if name == SWITCH {
            return Err(Error::Name { name: name.to_owned() });
        }
        let namespace = self.names.namespace(name)?;
        let index = self.lock_nodes().len();
        let port = Port { switch: self.switch(), name: format!("p{index}") };
        let node = Node::new(name, namespace, port, address);
        self.lock_nodes().push(node.clone());
        node.plug(BRIDGE).await?;
        node.add_address(address).await?;
        Ok(node)
    }

    /// Kills what runs in the nodes, removes every namespace, and waits until both are gone.
    pub async fn remove(self) -> Result<(), Error> {
        let nodes = std::mem::take(&mut *self.lock_nodes());
        for node in &nodes {
            node.kill().await?;
        }
        for namespace in nodes.iter().map(Node::namespace).chain([self.switch().as_str()]) {
            ip(&["netns", "del", namespace]).await?;
        }
        Ok(())
    }

    fn switch(&self) -> String {
        self.names.namespace(SWITCH).expect("the switch's name is letters")
    }

    fn lock_nodes(&self) -> std::sync::MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().expect("nobody panics while holding the list of nodes")
    }
}

impl Drop for Lab {
    /// What [`Lab::remove`] has removed is not there any more; else all of it goes now.
    fn drop(&mut self) {
        for namespace in self.names.existing(&netns_directory()) {
            remove_now(&namespace);
        }
    }
}

/// Kills the processes of a namespace and removes its name; the kernel frees the rest when the last of them has ended.
fn remove_now(namespace: &str) {
    if let Ok(pids) = processes::of_namespace(&netns_directory().join(namespace)) {
        processes::signal_all(&pids, nix::sys::signal::Signal::SIGKILL);
    }
    if let Err(error) = tools::ip_blocking(&["netns", "del", namespace]) {
        tracing::warn!(namespace, %error, "remove a namespace");
    }
}
