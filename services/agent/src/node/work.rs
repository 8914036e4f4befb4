//! What the node does outside of its loop, each in a task of its own: launch, wait, check.

use super::{Event, now_ms};
use crate::checks::{CheckState, Prober};
use crate::spec;
use lifecycle::{ErrorChain, Stop};
use protocol::TaskSpec;
use runtime::{Exit, How, Runtime, Status};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

/// When waiting for a container fails (the daemon restarts, say) it is asked again after this time.
const WAIT_AGAIN: Duration = Duration::from_millis(500);

/// Prepares the image and starts; answers when it started.
pub(super) async fn launch(
    runtime: Arc<dyn Runtime>,
    launches: &Semaphore,
    task: &TaskSpec,
    again: bool,
    given_up: &Stop,
) -> Result<i64, runtime::Error> {
    let container = spec::container(task)?;
    let (puller, wanted) = (runtime.clone(), container.clone());
    // Fetching an image may take minutes and must not keep others from starting. Others may wait for this very image: a
    // fetch that was begun goes on even when its task is given up.
    let pull = tokio::spawn(async move { puller.prepare(&wanted).await });
    let ready = async {
        pull.await.map_err(|_panicked| not_started(task, "its image was not fetched"))??;
        launches.acquire().await.map_err(|_closed| not_started(task, "the node is stopping"))
    };
    let Some(slot) = given_up.or(ready).await else {
        return Err(not_started(task, "told to stop before it was started"));
    };
    let _slot = slot?;
    if again {
        runtime.remove(&task.task_id).await?;
    }
    runtime.start(&container).await?;
    Ok(match runtime.find(&task.task_id).await? {
        Some(Status::Running { started_at_ms }) => started_at_ms,
        Some(Status::Ended(exit)) => exit.started_at_ms,
        None => 0,
    })
}

fn not_started(task: &TaskSpec, why: &str) -> runtime::Error {
    runtime::Error::Start { id: task.task_id.clone(), why: why.to_owned() }
}

/// Until it has ended. A runtime that cannot tell is asked again; one that does not know the container has lost it.
pub(super) async fn wait(runtime: &dyn Runtime, task_id: &str) -> Exit {
    loop {
        match runtime.wait(task_id).await {
            Ok(exit) => return exit,
            Err(runtime::Error::Unknown { .. }) => {
                return Exit { how: How::Lost, message: "the runtime does not know it".to_owned(), started_at_ms: 0 };
            }
            Err(error) => {
                tracing::warn!(task = task_id, error = %ErrorChain(&error), "wait");
                tokio::time::sleep(WAIT_AGAIN).await;
            }
        }
    }
}

/// Probe after probe, until the node has ended or the check is aborted.
pub(super) async fn keep_checking(
    prober: Prober,
    events: mpsc::Sender<Event>,
    task_id: String,
    index: usize,
    mut state: CheckState,
) {
    loop {
        let begun = Instant::now();
        let outcome = prober.probe(&task_id, state.check(), state.timeout()).await;
        let now_ms = now_ms();
        let before = state.report().clone();
        state.conclude(outcome, now_ms);
        if *state.report() != before {
            let event = Event::Checked { task_id: task_id.clone(), index, report: state.report().clone() };
            if events.send(event).await.is_err() {
                return;
            }
        }
        tokio::time::sleep_until(begun + state.interval(now_ms)).await;
    }
}
