//! From the start to the end.

use crate::Config;
use crate::current::Current;
use crate::engine::House;
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::observation::Observer;
use crate::quiesce::Quiesce;
use crate::succession::{self, Drain, LAST_WORD_TIMEOUT, Reports};
use lifecycle::{BoxError, Stop};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// When what ends.
pub(super) struct Ends {
    /// The caller's: everything.
    pub end: Stop,
    /// Its child is requested as well when this process has drained after another one took over, and may have to speak on for
    /// the one before it.
    pub stop: Stop,
    /// What must not go on once another process serves.
    pub unretired: Stop,
    /// This process has drained, and so have those before it.
    pub over: Stop,
}

impl Ends {
    pub fn of(end: Stop) -> Self {
        let stop = end.child();
        Self { unretired: stop.child(), over: Stop::new(), end, stop }
    }
}

pub(super) struct Life {
    ends: Ends,
    current: Arc<Current>,
    quiesce: Arc<Quiesce>,
    metrics: Arc<Metrics>,
    observer: Arc<Observer>,
    drain: Drain,
    has_retired: watch::Receiver<bool>,
    reports: Reports,
}

impl Life {
    pub fn new(
        ends: Ends,
        house: &House,
        config: &Config,
        has_retired: watch::Receiver<bool>,
        reports: Reports,
    ) -> Self {
        Self {
            ends,
            current: house.current.clone(),
            quiesce: house.quiesce.clone(),
            metrics: house.metrics.clone(),
            observer: house.observer.clone(),
            drain: config.drain,
            has_retired,
            reports,
        }
    }

    pub fn unretired(&self) -> Stop {
        self.ends.unretired.clone()
    }

    pub async fn run(mut self, listeners: Listeners, mut background: JoinSet<()>) -> Result<(), BoxError> {
        let Ends { end, stop, unretired, over } = &self.ends;
        let engine = listeners.run(self.current, stop, self.has_retired.clone()).await;
        let is_retired = *self.has_retired.borrow_and_update();
        if is_retired {
            unretired.request();
            succession::retire(&engine, &self.quiesce, &self.metrics, self.drain, stop).await;
        }
        engine.ended().await;
        if is_retired {
            // The next one hears of the one before only through this one, whose table goes on so that it holds nothing up.
            end.or(self.reports.alone()).await;
            over.request();
            let told = async { while self.has_retired.changed().await.is_ok() {} };
            let _in_time = timeout(LAST_WORD_TIMEOUT, told).await;
        }
        // The session told the controller until now that requests were still in flight.
        background.shutdown().await;
        self.observer.finish().await;
        Ok(())
    }
}
