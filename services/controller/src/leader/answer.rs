//! What users ask: decided on the world as it is, answered once it is durable.

use super::{FORGOTTEN_MAX, Leader, LeaderError};
use crate::desk::{Answer, Ask, LogRefusal, LogRequest, Refusal, Request};
use model::{NodeId, TaskId};
use scheduler::{Change, submit};
use store::StoreError;
use tokio::sync::mpsc;

impl Leader {
    pub(super) async fn answer(&mut self, request: Request) -> Result<(), LeaderError> {
        let Request { ask, reply } = request;
        let answer = self.decide(ask).await?;
        self.publish();
        // A caller that has gone does not read the answer.
        let _caller = reply.send(answer);
        Ok(())
    }

    async fn decide(&mut self, ask: Ask) -> Result<Result<Answer, Refusal>, LeaderError> {
        if self.doubtful && !self.reload().await {
            let message = "the controller's last write was not answered".to_owned();
            return Ok(Err(Refusal::Store(StoreError::Unavailable { message })));
        }
        let (world, now, uuids) = (&self.world, self.clock.now(), &mut self.uuids);
        let make_uuid = &mut || uuids.next();
        let removed = match &ask {
            Ask::RemoveNode { node } => Some(node.clone()),
            _ => None,
        };
        let submitted = match ask {
            Ask::Create { app, force } => submit::create(world, *app, force, now, make_uuid),
            Ask::Put { apps, force } => submit::put(world, apps, force, now, make_uuid),
            Ask::Remove { app, force } => submit::remove(world, &app, force, now, make_uuid),
            Ask::Restart { app, force } => submit::restart(world, &app, force, now, make_uuid),
            Ask::KillTasks { tasks, scale, force } => {
                submit::kill(world, &tasks, scale, force, now, &self.settings.policy, make_uuid)
            }
            Ask::CancelDeployment { id, force } => submit::cancel(world, &id, force, now, make_uuid),
            Ask::ResetDelay { app } => submit::reset_delay(world, &app, now),
            Ask::DrainNode { node, on } => submit::drain_node(world, &node, on, now),
            Ask::RemoveNode { node } => submit::remove_node(world, &node, now),
        };
        let submitted = match submitted {
            Ok(submitted) => submitted,
            Err(refused) => return Ok(Err(refused.into())),
        };
        let deployment = submitted.deployment.map(|deployment| deployment.id.clone());
        let answer = Answer { version: submitted.version, deployment };
        let committed = self.commit(submitted.changes).await?;
        if committed.is_ok()
            && let Some(node) = removed
        {
            // Its session ends with the link.
            self.agents.remove(&node);
        }
        Ok(committed.map(|()| answer).map_err(Refusal::Store))
    }

    /// Before a task is forgotten: who asks why it failed wants to read what it wrote.
    pub(super) fn remember_node(&mut self, change: &Change) {
        let (Change::Forget(task) | Change::Lose { task, .. }) = change else { return };
        let Some(record) = self.world.tasks.get(task) else { return };
        self.forgotten.push_back((task.clone(), record.task.node.clone()));
        if self.forgotten.len() > FORGOTTEN_MAX {
            self.forgotten.pop_front();
        }
    }

    /// Where a task runs or, if it ended not long ago, ran.
    fn node_of(&self, task: &TaskId) -> Option<NodeId> {
        let running = self.world.tasks.get(task).map(|record| &record.task.node);
        let forgotten = || self.forgotten.iter().find(|(forgotten, _)| forgotten == task).map(|(_, node)| node);
        running.or_else(forgotten).cloned()
    }

    pub(super) fn pass_on(&self, request: LogRequest) {
        let Some(node) = self.node_of(&request.task) else {
            let refusal = LogRefusal::NoTask(request.task);
            let _caller = request.reply.send(Err(refusal));
            return;
        };
        let Some(agent) = self.agents.get(&node) else {
            let _caller = request.reply.send(Err(LogRefusal::Away(node)));
            return;
        };
        if let Err(error) = agent.link.logs.try_send(request) {
            let (mpsc::error::TrySendError::Full(request) | mpsc::error::TrySendError::Closed(request)) = error;
            let _caller = request.reply.send(Err(LogRefusal::Away(node)));
        }
    }
}

impl From<submit::Refused> for Refusal {
    fn from(refused: submit::Refused) -> Self {
        match refused {
            submit::Refused::NoApp(app) => Self::NoApp(app),
            submit::Refused::Exists(app) => Self::Exists(app),
            submit::Refused::NoTask(task) => Self::NoTask(task),
            submit::Refused::NoDeployment(deployment) => Self::NoDeployment(deployment),
            submit::Refused::NoNode(node) => Self::NoNode(node),
            submit::Refused::Locked(deployments) => Self::Locked(deployments),
            invalid @ (submit::Refused::Cyclic(_) | submit::Refused::ServicePorts) => {
                Self::Invalid(invalid.to_string())
            }
        }
    }
}
