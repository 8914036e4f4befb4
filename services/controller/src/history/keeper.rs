//! Watches what people own of the routes, for as long as this controller leads, and keeps each change.

use super::record::{Change, PREFIXES};
use super::store::{History, Position, Sizes, WriteError};
use ::store::{Event, KeyRange, Revision, StoreError, WatchBatch, WatchRequest};
use futures::StreamExt;
use futures::stream::{SelectAll, select_all};
use lifecycle::{ErrorChain, Stop};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A store that is away is asked again after this time.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);
/// Where nothing changes, the position follows the store this far behind, so that a later leader needs nothing the store has
/// forgotten.
const POSITION_LAG_MAX: Revision = 1_000;
/// …or so long.
const POSITION_AGE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the store ended a watch")]
    Watch,
    #[error("a watch")]
    Failed { place: usize, source: StoreError },
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Until the term ends.
pub(crate) async fn keep(history: Arc<History>, stop: Stop) {
    loop {
        match stop.or(follow(&history)).await {
            None | Some(Err(Ended::Write(WriteError::Superseded))) => return,
            Some(Err(error)) => tracing::warn!(error = %ErrorChain(&error), "keeping the routes' history"),
            Some(Ok(())) => {}
        }
        if stop.or(tokio::time::sleep(RETRY_INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// Ends with an error, or to begin anew.
async fn follow(history: &History) -> Result<(), Ended> {
    let (mut position, mut sizes) = history.resume().await?;
    let ended = watch(history, &mut position, &mut sizes).await;
    match ended {
        Err(Ended::Failed { place, source: StoreError::Compacted { compact_revision } }) => {
            let after = position.seen[place];
            tracing::warn!(
                prefix = PREFIXES[place],
                after,
                until = compact_revision,
                "changes of routes were not seen"
            );
            position.seen[place] = compact_revision.saturating_sub(1);
            Ok(history.keep_gap(after, compact_revision, &mut position, &mut sizes).await?)
        }
        ended => ended,
    }
}

async fn watch(history: &History, position: &mut Position, sizes: &mut Sizes) -> Result<(), Ended> {
    let mut batches: SelectAll<_> = select_all(Vec::new());
    for (place, prefix) in PREFIXES.into_iter().enumerate() {
        let range = KeyRange::prefix(prefix);
        let request = WatchRequest { range, start_revision: position.seen[place] + 1, prev_kv: true };
        let stream = history.store().watch(request).await;
        let stream = stream.map_err(|source| Ended::Failed { place, source })?;
        // One that ends is told, rather than left out.
        let ended = futures::stream::once(async { None });
        batches.push(stream.map(Some).chain(ended).map(move |batch| (place, batch)).boxed());
    }
    let (mut written, mut written_at) = (position.clone(), Instant::now());
    while let Some((place, batch)) = batches.next().await {
        let WatchBatch { revision, events } =
            batch.ok_or(Ended::Watch)?.map_err(|source| Ended::Failed { place, source })?;
        for (at, changes) in by_revision(&events) {
            // Should this end here, the rest of the revision is seen again.
            position.seen[place] = at;
            history.keep(at, changes, position, sizes).await?;
            (written, written_at) = (position.clone(), Instant::now());
        }
        position.seen[place] = position.seen[place].max(revision);
        history.saw(place, position.seen[place]);
        let lag = position.seen[place] - written.seen[place];
        if lag > POSITION_LAG_MAX || (lag > 0 && written_at.elapsed() >= POSITION_AGE_MAX) {
            history.keep_position(position).await?;
            (written, written_at) = (position.clone(), Instant::now());
        }
    }
    Ok(())
}

fn by_revision(events: &[Event]) -> BTreeMap<Revision, Vec<Change>> {
    let mut all = BTreeMap::<Revision, Vec<Change>>::new();
    for event in events {
        let revision = match event {
            Event::Put { kv, .. } => kv.mod_revision,
            Event::Delete { mod_revision, .. } => *mod_revision,
        };
        if let Some(change) = Change::of(event) {
            all.entry(revision).or_default().push(change);
        }
    }
    all
}
