//! `roadstead sync`: the article's tool. It reads the apps of a Marathon and keeps the servers of vulcand's backends in etcd
//! in step with their tasks, on the keys, by the mapping and with the words of `mesos-vulcan`.
//!
//! The operator maps apps by hand: `<root>/<app>/frontend` and `<root>/<app>/backend` name what vulcand already has. Only
//! servers are written: `/vulcand/backends/<backend>/servers/<host>-<port>`.
//!
//! A pass reads everything ([`read`](mod@read)), plans without any I/O ([`plan`](mod@plan)), and carries the plan out. What it does better
//! than the original:
//! * **Only what is known is removed.** An app answered with `instances` 0 is believed at once; an app that is missing
//!   from a well-formed list, or that has no task although it wants some, must be seen so twice in a row; anything
//!   else (5xx, garbage, nobody there) removes nothing. The original emptied the backend on one answer 500.
//! * Tasks become servers once they are healthy, or run without checks; tasks without ports are passed over.
//! * Groups (`/a/b`) work, and several apps may share a backend.
//! * New servers are written before old ones are deleted; on etcd v3 both in one transaction.
//!
//! Once, every server is written anew and told, as the original did; with `--watch` only what changes.

mod flags;
mod keys;
mod plan;
mod read;
mod tell;
mod watch;

pub use flags::{EtcdFlag, FlagError, Flags, USAGE};
pub use keys::KeysError;
pub use read::MarathonError;

use keys::{Keys, V2, V3};
use lifecycle::Stop;
use plan::{Plan, Planner};
use read::Marathon;
use std::io::{self, Write};
use std::time::Duration;
use tell::Loudness;
use web::{Client, Credentials};

/// Between the two reads that must agree that an app is gone.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(1);
/// A watching pass runs at least this often, also when no event was told.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Passes of a run that does not watch: the second one confirms what the first one doubted.
const PASSES_ONCE_MAX: u32 = 2;

/// What was done (or, with `--dry-run`, would have been).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Servers written that were not there so before.
    pub added: usize,
    pub removed: usize,
    pub failed: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("etcd")]
    Connect(#[from] store::ConnectError),
    #[error("read the mapping and the servers")]
    Keys(#[from] KeysError),
    #[error("read Marathon's apps")]
    Marathon(#[from] MarathonError),
    #[error("print")]
    Print(#[from] io::Error),
    #[error("{0} keys could not be written or deleted")]
    Incomplete(usize),
}

/// Runs until the work is done, or with `--watch` until the stop is requested.
pub async fn run(flags: Flags, output: &mut dyn Write, stop: Stop) -> Result<Summary, Error> {
    let credentials = |token: &Option<String>| token.clone().map_or(Credentials::None, Credentials::Bearer);
    let marathon = Marathon::new(&flags.marathon, Client::new(credentials(&flags.token)));
    let etcd_token = flags.etcd_token.clone().or_else(|| flags.token.clone());
    let keys: Box<dyn Keys> = match &flags.etcd {
        EtcdFlag::V2(endpoint) => Box::new(V2::new(endpoint, credentials(&etcd_token))),
        EtcdFlag::V3(endpoints) => Box::new(V3::connect(endpoints, etcd_token)?),
    };
    let mut pass = Pass { marathon, keys, flags, planner: Planner::default(), total: Summary::default() };
    if pass.flags.watch { pass.watch(output, &stop).await } else { pass.once(output, &stop).await }
}

struct Pass {
    marathon: Marathon,
    keys: Box<dyn Keys>,
    flags: Flags,
    planner: Planner,
    total: Summary,
}

impl Pass {
    async fn once(&mut self, output: &mut dyn Write, stop: &Stop) -> Result<Summary, Error> {
        let mut loudness = Loudness::Everything;
        for pass in 1..=PASSES_ONCE_MAX {
            let plan = self.plan().await?;
            let is_last = !plan.is_in_doubt || pass == PASSES_ONCE_MAX;
            // A dry run writes nothing: its last plan holds what the earlier ones held.
            if is_last || !self.flags.dry_run {
                self.carry_out(&plan, output, loudness).await?;
            }
            if is_last || stop.or(tokio::time::sleep(CONFIRM_INTERVAL)).await.is_none() {
                break;
            }
            loudness = Loudness::Changes;
        }
        if self.total.failed > 0 { Err(Error::Incomplete(self.total.failed)) } else { Ok(self.total) }
    }

    /// What fails is tried again with the next pass.
    async fn watch(&mut self, output: &mut dyn Write, stop: &Stop) -> Result<Summary, Error> {
        let events = watch::Events::listen(&self.marathon, stop);
        while !stop.is_requested() {
            let pause = match stop.or(self.pass(output, Loudness::Changes)).await {
                None => break,
                Some(Ok(true)) => CONFIRM_INTERVAL,
                Some(Ok(false)) => POLL_INTERVAL,
                Some(Err(Error::Print(error))) => return Err(Error::Print(error)),
                Some(Err(error)) => {
                    tracing::warn!(error = %lifecycle::ErrorChain(&error), "nothing was changed; trying again");
                    POLL_INTERVAL
                }
            };
            let nudged = tokio::time::timeout(pause, events.nudged());
            if stop.or(nudged).await.is_none() {
                break;
            }
        }
        Ok(self.total)
    }

    /// One pass; true when something is in doubt that a further read can settle.
    async fn pass(&mut self, output: &mut dyn Write, loudness: Loudness) -> Result<bool, Error> {
        let plan = self.plan().await?;
        self.carry_out(&plan, output, loudness).await?;
        Ok(plan.is_in_doubt)
    }

    async fn plan(&mut self) -> Result<Plan, Error> {
        let seen = read::everything(&self.marathon, self.keys.as_ref(), &self.flags.root_key).await?;
        Ok(self.planner.plan(&seen))
    }

    async fn carry_out(&mut self, plan: &Plan, output: &mut dyn Write, loudness: Loudness) -> Result<(), Error> {
        let summary = if self.flags.dry_run {
            tell::diff(plan, output)?
        } else {
            let is_written = |step: &plan::Step| loudness == Loudness::Everything || step.is_change();
            let outcomes = keys::carry_out(self.keys.as_ref(), plan, is_written).await;
            tell::steps(plan, &outcomes, loudness, output)?
        };
        output.flush()?;
        self.total.added += summary.added;
        self.total.removed += summary.removed;
        self.total.failed += summary.failed;
        Ok(())
    }
}
