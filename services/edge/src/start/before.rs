//! The process before this one, if there is one.

use crate::Error;
use crate::engine::House;
use crate::listeners::Listeners;
use crate::ready::Probe;
use crate::succession::{self, Predecessors, Sockets, Taken};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

pub(super) struct Before {
    /// What it has given.
    pub taken: Option<Taken>,
    /// It serves no more, and will speak to this one.
    pub somebody_remains: bool,
    pub sockets: Arc<Sockets>,
    pub probe: Probe,
}

impl Before {
    /// Whoever runs with the same `data`.
    pub async fn ask(data: Option<&Path>, take_over: bool) -> Result<Self, Error> {
        let taken = match data {
            Some(data) if take_over => succession::take(data).await?,
            _ => None,
        };
        let somebody_remains = taken.is_none() && data.is_some_and(succession::somebody_drains);
        let (sockets, probe) = match &taken {
            Some(taken) => (taken.sockets.clone(), Probe::inherited(taken.probe.clone())),
            None => (Sockets::new(data.is_some()), Probe::new().map_err(Error::Random)?),
        };
        Ok(Self { taken, somebody_remains, sockets, probe })
    }
}

/// From here on this process serves, and that one does not.
pub(super) async fn take_over(
    mut taken: Taken,
    house: &House,
    listeners: &mut Listeners,
    predecessors: &Predecessors,
    accept: &watch::Sender<bool>,
) -> Result<(), Error> {
    let told = taken.settle(&house.current).await?;
    listeners.follow(&house.current.load()).await;
    taken.serving(told, predecessors).await?;
    accept.send_replace(true);
    listeners.widen().await;
    house.sockets.close_inherited();
    tracing::info!("took over from the process before this one");
    Ok(())
}
