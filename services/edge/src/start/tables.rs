//! What is known before the store answers.

use crate::certificates::{Certificates, Keeper};
use crate::engine::House;
use crate::kept::Kept;
use crate::secure::TicketKeys;
use crate::sources::Source;
use crate::{Config, Error};
use std::mem;
use std::sync::Arc;

pub(super) struct Tables {
    pub certificates: Arc<Certificates>,
    pub tickets: TicketKeys,
    pub keeper: Keeper,
    /// Where the table that serves is kept.
    pub kept: Option<Kept>,
    /// Which sources had keys when it was.
    pub held: [bool; Source::ALL.len()],
}

impl Tables {
    /// What was kept serves.
    pub fn restored(config: &Config, house: &House) -> Result<Self, Error> {
        let kept = match &config.data {
            Some(data) => {
                let kept = Kept::open(data);
                Some(kept.map_err(|source| Error::Data { path: data.clone(), source })?)
            }
            None => None,
        };
        let certificates = Arc::<Certificates>::default();
        let tickets = TicketKeys::new(config.seal_key.as_ref()).map_err(Error::Tickets)?;
        let (mut keeper, mut held) = (Keeper::new(config.seal_key.clone()), Default::default());
        if let Some(mut table) = kept.as_ref().and_then(Kept::read) {
            held = table.held;
            keeper.restore(mem::take(&mut table.certificates));
            certificates.publish(keeper.names());
            house.current.publish(table.into_draft(), |route| house.metrics.of_route(route));
            let revision = house.current.load().revision();
            tracing::info!(revision, "the kept table serves until the store answers");
        }
        Ok(Self { certificates, tickets, keeper, kept, held })
    }
}
