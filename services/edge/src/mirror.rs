//! A route's mirror: who gets copies of its requests, of how many, and how many may be on their way. The engine sends them
//! (`engine::copies`).

use crate::limits::MIRRORED_AT_ONCE_MAX;
use crate::servers::{Server, Servers, lock};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use routing::{Ask, Balance, Balancer, MirrorTo, Route, ServerUrl, Standing};
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// In every copy, so that who gets it can tell; a request that has it is not copied again.
pub(crate) const MIRROR_HEADER: &str = "X-Roadstead-Mirror";

#[derive(Debug)]
pub(crate) struct Mirror {
    pub to: To,
    percent: u64,
    /// Hundredths of copies that were due, ever.
    due: AtomicU64,
    on_the_way: AtomicUsize,
}

#[derive(Debug)]
pub(crate) enum To {
    /// By turns.
    Servers { turns: Box<Mutex<Balancer>>, servers: Vec<Arc<Server>> },
    /// Those of the route with this id.
    Route(String),
}

impl Mirror {
    pub fn of(route: &Route, known: &Servers) -> Option<Self> {
        let spec = route.balance.mirror()?;
        let to = match &spec.to {
            MirrorTo::Route(id) => To::Route(id.clone()),
            MirrorTo::Servers(servers) => {
                let read = |server: &routing::document::RouteServer| {
                    // The route was checked when it was compiled.
                    let url = ServerUrl::parse(&server.url).ok()?;
                    Some(routing::Server { id: server.id.clone(), url, weight: server.weight, is_canary: false })
                };
                let specs: Vec<routing::Server> = servers.iter().filter_map(read).collect();
                let servers = specs.iter().map(|server| known.get(&server.url)).collect();
                let turns = Balancer::new(&Balance::default(), specs, None, Duration::ZERO);
                To::Servers { turns: Box::new(Mutex::new(turns)), servers }
            }
        };
        let (due, on_the_way) = (AtomicU64::new(0), AtomicUsize::new(0));
        Some(Self { to, percent: spec.percent.into(), due, on_the_way })
    }

    /// Whether this request is one of those that are copied: evenly, at 5 percent every twentieth.
    pub fn is_due(&self) -> bool {
        let before = self.due.fetch_add(self.percent, Relaxed);
        before.wrapping_add(self.percent) / 100 != before / 100
    }

    /// Counts a copy in, for [`Mirror::leave`]; whether there is room for it.
    pub fn enter(&self) -> bool {
        let more = |count| (count < MIRRORED_AT_ONCE_MAX).then_some(count + 1);
        self.on_the_way.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub fn leave(&self) {
        self.on_the_way.fetch_sub(1, Relaxed);
    }

    /// Its own servers.
    pub fn servers(&self) -> &[Arc<Server>] {
        match &self.to {
            To::Servers { servers, .. } => servers,
            To::Route(_) => &[],
        }
    }
}

impl To {
    /// The next of its own servers.
    pub fn next(&self) -> Option<Arc<Server>> {
        let Self::Servers { turns, servers } = self else { return None };
        let picked = lock(turns).pick(&Ask::default(), |_| Standing::Good, |_| 0)?;
        Some(servers[picked.position].clone())
    }
}

/// What became of copies, over all routes.
#[derive(Debug, Default)]
pub(crate) struct CopyCounts {
    pub answered: AtomicU64,
    pub failed: AtomicU64,
    /// There was no server, or no room.
    pub dropped: AtomicU64,
}

/// For `/metrics`.
#[derive(Debug)]
pub(crate) struct CopyMetrics(pub Arc<CopyCounts>);

impl Collector for CopyMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let CopyCounts { answered, failed, dropped } = &*self.0;
        let help = "Copies of requests for mirrors, by what became of them";
        let mut counter = encoder.encode_descriptor("edge_mirrored_requests", help, None, MetricType::Counter)?;
        for (outcome, count) in [("answered", answered), ("failed", failed), ("dropped", dropped)] {
            let labels = [("outcome", outcome)];
            counter.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count.load(Relaxed), None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use routing::{BalanceSpec, RouteSpec};

    fn mirror(json: &str) -> Mirror {
        let balance: BalanceSpec = serde_json::from_str(json).unwrap();
        let spec = RouteSpec { id: "a".into(), rule: "Host(`a`)".into(), balance, ..RouteSpec::default() };
        Mirror::of(&Route::compile(spec).unwrap(), &Servers::default()).unwrap()
    }

    #[test]
    fn copies_are_a_share_in_turn_and_bounded() {
        let mirror =
            mirror(r#"{"mirror":{"to":[{"id":"1","url":"http://a:1"},{"id":"2","url":"http://a:2"}],"percent":5}}"#);
        let due: Vec<usize> = (1..=100).filter(|_| mirror.is_due()).collect();
        assert_eq!(due, [20, 40, 60, 80, 100]);
        let ports: Vec<u16> = (0..4).map(|_| mirror.to.next().unwrap().url.port()).collect();
        assert_eq!(ports, [1, 2, 1, 2]);
        assert_eq!((0..1000).filter(|_| mirror.enter()).count(), MIRRORED_AT_ONCE_MAX);
        mirror.leave();
        assert!(mirror.enter() && !mirror.enter());
    }

    #[test]
    fn a_route_by_its_id_has_no_servers_of_its_own() {
        let mirror = mirror(r#"{"mirror":{"to":"b"}}"#);
        assert!(mirror.servers().is_empty() && mirror.to.next().is_none() && mirror.is_due());
    }
}
