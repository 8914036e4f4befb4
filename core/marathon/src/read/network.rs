//! Network and ports, which Marathon moved twice.
//!
//! | since | network | mapped ports | other ports |
//! |---|---|---|---|
//! | 0.7 | `container.docker.network` | `container.docker.portMappings` | `ports` |
//! | 1.0 | | | `portDefinitions` |
//! | 1.5 | `networks[0].mode` | `container.portMappings` | |
//!
//! With a bridge the mappings are the ports; a bare number in `ports` is then a service port. Without one the ports are
//! the host's.

use super::fields::{Item, Object};
use crate::rejection::Faults;
use model::{App, Network, PortMapping};
use std::collections::BTreeSet;

/// Ports one app may have.
const PORTS_MAX: usize = 256;

/// 0.8: an app that says nothing about ports gets one.
const PORTS_DEFAULT: [u16; 1] = [0];

pub fn fill(app: &mut App, existing: Option<&App>, object: &Object<'_>, faults: &mut Faults) {
    let container = object.object("container", &mut Faults::default());
    let docker = container.as_ref().and_then(|container| container.object("docker", &mut Faults::default()));
    let require_ports = object.boolean("requirePorts", faults);
    app.require_ports = require_ports.unwrap_or(app.require_ports);
    let mappings = mappings(container.as_ref(), docker.as_ref(), faults);
    let declared = declared(object, faults);
    let named = network(object, docker.as_ref(), faults);
    let was = existing.map(|existing| existing.network);

    app.network = match (named, was) {
        (Some(network), _) => network,
        (None, Some(was)) if container.is_none() => was,
        (None, _) if mappings.as_ref().is_some_and(|mappings| !mappings.is_empty()) => Network::Bridge,
        (None, _) => Network::Host,
    };
    let moved = was.is_some_and(|was| was != app.network);
    match app.network {
        Network::Bridge => {
            if let Some(mappings) = mappings {
                app.ports = mappings;
                give_service_ports(&mut app.ports, declared.as_deref());
            } else if existing.is_none() || container.is_some() || moved {
                app.ports = declared.unwrap_or_else(|| host_ports(&PORTS_DEFAULT));
            } else {
                give_service_ports(&mut app.ports, declared.as_deref());
            }
        }
        Network::Host => {
            if let Some(declared) = declared {
                app.ports = declared;
            } else if existing.is_none() {
                app.ports = host_ports(&PORTS_DEFAULT);
            }
            if existing.is_none()
                || moved
                || require_ports.is_some()
                || object.has("ports")
                || object.has("portDefinitions")
            {
                for port in &mut app.ports {
                    port.container_port = 0;
                    port.host_port = if app.require_ports { port.service_port } else { 0 };
                }
            }
        }
    }
    if let Some(existing) = existing {
        for (port, before) in app.ports.iter_mut().zip(&existing.ports) {
            if port.service_port == 0 {
                port.service_port = before.service_port;
            }
        }
    }
    check(app, object, faults);
}

/// What the document says the network is.
fn network(object: &Object<'_>, docker: Option<&Object<'_>>, faults: &mut Faults) -> Option<Network> {
    if let Some(networks) = object.objects("networks", faults)
        && let Some(first) = networks.first()
    {
        if networks.len() > 1 {
            faults.value(object.path("networks"), "one network is supported");
        }
        return match first.text("mode", faults).as_deref() {
            Some("host") => Some(Network::Host),
            Some("container/bridge") => Some(Network::Bridge),
            _ => {
                faults.value(first.path("mode"), "must be host or container/bridge");
                None
            }
        };
    }
    let docker = docker?;
    match docker.text("network", faults).as_deref() {
        None => None,
        Some("HOST") => Some(Network::Host),
        Some("BRIDGE") => Some(Network::Bridge),
        Some(_) => {
            faults.value(docker.path("network"), "must be HOST or BRIDGE");
            None
        }
    }
}

fn mappings(
    container: Option<&Object<'_>>,
    docker: Option<&Object<'_>>,
    faults: &mut Faults,
) -> Option<Vec<PortMapping>> {
    let entries = container.and_then(|container| container.objects("portMappings", faults));
    let entries = entries.or_else(|| docker.and_then(|docker| docker.objects("portMappings", faults)))?;
    Some(entries.iter().map(|entry| mapping(entry, faults)).collect())
}

/// `portDefinitions`, or `ports`; both may be given when they say the same.
fn declared(object: &Object<'_>, faults: &mut Faults) -> Option<Vec<PortMapping>> {
    let definitions = object.objects("portDefinitions", faults).map(|entries| {
        let definition = |entry: &Object<'_>| {
            let mut definition = mapping(entry, faults);
            definition.container_port = 0;
            definition.service_port = entry.port("port", faults).unwrap_or(0);
            definition
        };
        entries.iter().map(definition).collect::<Vec<_>>()
    });
    let ports = object.list("ports", faults).map(|items| {
        let number = |item: &Item<'_>| item.port(faults);
        items.iter().filter_map(number).collect::<Vec<_>>()
    });
    match (definitions, ports) {
        // marathon-python sends an empty list of the one it does not know.
        (Some(definitions), Some(ports)) if definitions.is_empty() => Some(host_ports(&ports)),
        (Some(definitions), Some(ports)) if ports.is_empty() => Some(definitions),
        (Some(definitions), Some(ports)) => {
            if !definitions.iter().map(|definition| definition.service_port).eq(ports) {
                faults.value(object.path("portDefinitions"), "You cannot specify both ports and port definitions");
            }
            Some(definitions)
        }
        (Some(definitions), None) => Some(definitions),
        (None, Some(ports)) => Some(host_ports(&ports)),
        (None, None) => None,
    }
}

fn mapping(entry: &Object<'_>, faults: &mut Faults) -> PortMapping {
    let protocol = entry.text("protocol", faults).unwrap_or_else(|| "tcp".into());
    let protocol = match protocol.as_str() {
        "tcp" | "udp" | "udp,tcp" => protocol,
        "tcp,udp" => "udp,tcp".into(),
        _ => {
            faults.value(entry.path("protocol"), "must be tcp, udp or udp,tcp");
            protocol
        }
    };
    let name = entry.text("name", faults).filter(|name| !name.is_empty());
    if name.as_deref().is_some_and(|name| !name_is_valid(name)) {
        faults.value(entry.path("name"), "must match regular expression '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'");
    }
    PortMapping {
        container_port: entry.port("containerPort", faults).unwrap_or(0),
        host_port: entry.port("hostPort", faults).unwrap_or(0),
        service_port: entry.port("servicePort", faults).unwrap_or(0),
        protocol,
        name,
        labels: entry.text_map("labels", faults).unwrap_or_default(),
    }
}

fn name_is_valid(name: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = name.as_bytes();
    bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

fn host_ports(ports: &[u16]) -> Vec<PortMapping> {
    let mapping = |port: &u16| PortMapping {
        container_port: 0,
        host_port: 0,
        service_port: *port,
        protocol: "tcp".into(),
        name: None,
        labels: std::collections::BTreeMap::new(),
    };
    ports.iter().map(mapping).collect()
}

/// Numbers in `ports` beside mappings: the service ports of those mappings that have none.
fn give_service_ports(mappings: &mut [PortMapping], declared: Option<&[PortMapping]>) {
    for (mapping, declared) in mappings.iter_mut().zip(declared.unwrap_or_default()) {
        if mapping.service_port == 0 {
            mapping.service_port = declared.service_port;
        }
    }
}

fn check(app: &App, object: &Object<'_>, faults: &mut Faults) {
    if app.ports.len() > PORTS_MAX {
        faults.value(object.path("ports"), format!("an app has at most {PORTS_MAX} ports"));
    }
    let is_unique = |numbers: &mut dyn Iterator<Item = u16>| {
        let mut seen = BTreeSet::new();
        numbers.filter(|number| *number != 0).all(|number| seen.insert(number))
    };
    if !is_unique(&mut app.ports.iter().map(|port| port.service_port)) {
        faults.value(object.path("ports"), "Elements must be unique");
    }
    if !is_unique(&mut app.ports.iter().map(|port| port.host_port)) {
        faults.value(object.path("ports"), "Host ports must be unique");
    }
    let mut names = BTreeSet::new();
    if !app.ports.iter().filter_map(|port| port.name.as_ref()).all(|name| names.insert(name)) {
        faults.value(object.path("ports"), "Port names must be unique.");
    }
}
