//! The same numbers for Prometheus. The real-time threads only count atoms; what Prometheus reads is made of them when it
//! asks.

use crate::status::Status;
use crate::vitals::{LATENESS_BOUNDS, Lateness};
use lifecycle::metrics::Registry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRouter {
    vrid: u8,
    interface: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfClass {
    vrid: u8,
    interface: String,
    /// At most this many milliseconds, and more than the class before; `more` has no bound.
    up_to_ms: String,
}

pub(crate) fn text(status: &Status) -> String {
    let mut registry = Registry::with_prefix("roadstead_vip");
    let label = |index: usize| {
        let settings = &status.routers[index].settings;
        OfRouter { vrid: settings.vrid, interface: settings.interface.clone() }
    };
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(usize) -> i64| {
        let family = Family::<OfRouter, Gauge>::default();
        for index in 0..status.routers.len() {
            family.get_or_create(&label(index)).set(value(index));
        }
        registry.register(name, help, family);
    };
    let routers = &status.routers;
    gauge("active", "1 while this node holds the addresses", &|index| i64::from(routers[index].is_active()));
    gauge("priority", "The priority of the moment", &|index| {
        routers[index].vitals.priority.load(std::sync::atomic::Ordering::Relaxed).into()
    });
    gauge("expected_failover_milliseconds", "The longest the addresses are gone when a holder dies", &|index| {
        let worst = routers[index].failover_worst().unwrap_or_default();
        i64::try_from(worst.as_millis()).unwrap_or(i64::MAX)
    });
    let mut counter = |name: &str, help: &str, value: &dyn Fn(usize) -> u64| {
        let family = Family::<OfRouter, Counter>::default();
        for index in 0..status.routers.len() {
            family.get_or_create(&label(index)).inc_by(value(index));
        }
        registry.register(name, help, family);
    };
    counter("transitions", "Changes of state", &|index| routers[index].transitions_total());
    counter("adverts_sent", "Advertisements sent", &|index| routers[index].vitals.adverts_sent.get());
    counter("adverts_received", "Advertisements taken", &|index| routers[index].vitals.adverts_received.get());
    counter("adverts_refused", "Advertisements not taken", &|index| routers[index].vitals.adverts_refused.get());
    counter("sends_failed", "Advertisements that could not be sent", &|index| routers[index].vitals.sends_failed.get());
    counter("announcements", "Gratuitous ARPs and neighbour advertisements sent", &|index| {
        routers[index].vitals.announcements.get()
    });
    counter("restored", "Addresses put back that somebody removed", &|index| routers[index].vitals.restored.get());

    let mut lateness = |name: &str, help: &str, of: &dyn Fn(usize) -> [u64; LATENESS_BOUNDS.len() + 1]| {
        let family = Family::<OfClass, Counter>::default();
        for index in 0..status.routers.len() {
            let OfRouter { vrid, interface } = label(index);
            for (class, count) in of(index).into_iter().enumerate() {
                let bound = LATENESS_BOUNDS.get(class).map(|bound| (bound.as_secs_f64() * 1e3).to_string());
                let up_to_ms = bound.unwrap_or_else(|| "more".to_owned());
                family.get_or_create(&OfClass { vrid, interface: interface.clone(), up_to_ms }).inc_by(count);
            }
        }
        registry.register(name, help, family);
    };
    let own = |index: usize| Lateness::classes(&routers[index].vitals.own_lateness);
    lateness("spoke_late", "Advertisements by how late they were sent", &own);
    let heard = |index: usize| Lateness::classes(&routers[index].vitals.heard_lateness);
    lateness("heard_late", "Advertisements by how late they were heard", &heard);

    let lost = Counter::<u64>::default();
    lost.inc_by(status.lost.get());
    registry.register("reports_lost", "Reports of the threads that nobody read in time", lost);
    lifecycle::metrics::render(&registry)
}
