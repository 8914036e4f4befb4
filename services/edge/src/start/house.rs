//! What the threads share.

use crate::challenges::Challenges;
use crate::current::Current;
use crate::engine::House;
use crate::health::CheckMetrics;
use crate::metrics::Metrics;
use crate::mirror::{CopyCounts, CopyMetrics};
use crate::observation::Observer;
use crate::outside::Outside;
use crate::quiesce::Quiesce;
use crate::ready::Probe;
use crate::spool::{Spool, SpoolMetrics};
use crate::succession::Sockets;
use crate::{Config, Error};
use lifecycle::Stop;
use std::env::temp_dir;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) fn new(
    config: &Config,
    sockets: Arc<Sockets>,
    probe: Probe,
    accepts: watch::Receiver<bool>,
    stop: &Stop,
) -> Result<House, Error> {
    let current = Arc::new(Current::ordered(config.vulcand.order));
    // Without a data directory what does not fit into memory goes where temporary files do.
    let spool = Spool::start(config.data.clone().unwrap_or_else(temp_dir)).map_err(Error::Thread)?;
    let copies = Arc::<CopyCounts>::default();
    let mut metrics = Metrics::new(current.servers.clone());
    metrics.collect(SpoolMetrics(spool.clone()));
    metrics.collect(CopyMetrics(copies.clone()));
    metrics.collect(CheckMetrics(current.checks.clone()));
    let metrics = Arc::new(metrics);
    let observer = Arc::new(Observer::start(config.observation.clone(), &config.edge_id)?);
    observer.show_dropped(&metrics);
    Ok(House {
        current,
        challenges: Arc::new(Challenges::new(config.seal_key.clone())),
        quiesce: Quiesce::new(metrics.clone()),
        metrics,
        edge_id: config.edge_id.clone(),
        probe: Arc::new(probe),
        outside: Outside::start().map_err(Error::Random)?,
        observer,
        client_times: config.client_times,
        accepts,
        sockets,
        spool,
        copies,
        stop: stop.clone(),
    })
}
