//! A deployment: the steps from one set of definitions to another.

use crate::{App, AppId, DeploymentId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Stored while it runs; deleted when it has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub version: Timestamp,
    /// The definitions before, for the inverse deployment; `None`: the app did not exist.
    pub original: BTreeMap<AppId, Option<App>>,
    /// The definitions after; `None`: the app is removed.
    pub target: BTreeMap<AppId, Option<App>>,
    pub steps: Vec<Step>,
    /// Index into `steps` of the one that runs; equal to their number when all have ended.
    pub current_step: usize,
}

impl Deployment {
    /// The apps that are locked while it runs.
    pub fn affected(&self) -> BTreeSet<&AppId> {
        self.target.keys().collect()
    }

    pub fn current(&self) -> Option<&Step> {
        self.steps.get(self.current_step)
    }
}

/// Actions that run in parallel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub actions: Vec<Action>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub kind: ActionKind,
    pub app: AppId,
}

/// Marathon's names of what a deployment does to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionKind {
    StartApplication,
    StopApplication,
    ScaleApplication,
    RestartApplication,
}

impl ActionKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::StartApplication => "StartApplication",
            Self::StopApplication => "StopApplication",
            Self::ScaleApplication => "ScaleApplication",
            Self::RestartApplication => "RestartApplication",
        }
    }
}
