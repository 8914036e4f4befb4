//! Where the controller's state lives in the store. Every value is JSON: the serde form of a type of `model`.
//!
//! | key | value |
//! |---|---|
//! | `/roadstead/apps/<id>` | the app's current definition |
//! | `/roadstead/versions/<id>/<version>` | a kept version of it, the current one among them |
//! | `/roadstead/tasks/<task id>` | a task with its node, ports and intent |
//! | `/roadstead/deployments/<id>` | a running deployment |
//! | `/roadstead/nodes/<node id>` | what a node's agent said of it last |
//! | `/roadstead/routes/app.<safe path>[~n]` | an app's route (`routing::document`) |
//! | `/roadstead/routes/platform.<name>` | a route of the platform itself |
//! | `/roadstead/history/…` | what was changed of the routes ([`crate::history`]) |
//! | `/roadstead/controller` | who leads (`election::Record`), in a cluster on a lease: every transaction compares its revision |
//! | `/roadstead/controller/framework` | the platform's name of itself towards Marathon's clients |
//! | `/roadstead/members/<name>` | a machine of the cluster (`cluster::Member`) |
//! | `/roadstead/join-tokens/<id>` | what is known of a join token: never its secret |
//! | `/roadstead/cluster` | the cluster's settings (`cluster::Settings`) |
//! | `/roadstead/issued/<name>/<serial>` | certificates that a machine was given (`identity::Issued`) |
//! | `/roadstead/revoked` | those that are refused though they have not ended (`cluster::revocation`) |
//! | `/roadstead/acme/account` · `/roadstead/acme/settings` | the account at the certificate authority, and how it is asked |
//! | `/roadstead/acme/orders/<name>` | what was tried for a name (`acme::record`) |
//! | `/roadstead/acme/challenges/…` | what edges answer the authority (`routing::challenge`): not JSON |
//! | `/roadstead/certificates/<id>` | a certificate and its sealed key (`routing::certificate`) |
//! | `/roadstead/revoked.crl` | the list of them, signed by the authority: DER, not JSON |

use model::{App, AppId, DeploymentId, NodeId, TaskId, Timestamp};

pub(crate) const APPS_PREFIX: &str = "/roadstead/apps/";
pub(crate) const VERSIONS_PREFIX: &str = "/roadstead/versions/";
pub(crate) const TASKS_PREFIX: &str = "/roadstead/tasks/";
pub(crate) const DEPLOYMENTS_PREFIX: &str = "/roadstead/deployments/";
pub(crate) const NODES_PREFIX: &str = "/roadstead/nodes/";
pub(crate) const LEADER: &str = "/roadstead/controller";
pub(crate) const FRAMEWORK: &str = "/roadstead/controller/framework";
pub(crate) const MEMBERS_PREFIX: &str = "/roadstead/members/";
pub(crate) const JOIN_TOKENS_PREFIX: &str = "/roadstead/join-tokens/";
pub(crate) const CLUSTER: &str = "/roadstead/cluster";
pub(crate) const ISSUED_PREFIX: &str = "/roadstead/issued/";
pub(crate) const ACME_ACCOUNT: &str = "/roadstead/acme/account";
pub(crate) const ACME_SETTINGS: &str = "/roadstead/acme/settings";
pub(crate) const ACME_ORDERS_PREFIX: &str = "/roadstead/acme/orders/";
pub(crate) const REVOKED: &str = "/roadstead/revoked";
pub(crate) const REVOKED_LIST: &str = "/roadstead/revoked.crl";

/// `id` begins with a slash.
pub(crate) fn app(id: &AppId) -> String {
    format!("/roadstead/apps{id}")
}

pub(crate) fn version(id: &AppId, version: Timestamp) -> String {
    format!("/roadstead/versions{id}/{version}")
}

pub(crate) fn version_of(app: &App) -> String {
    version(&app.id, app.version)
}

pub(crate) fn task(id: &TaskId) -> String {
    format!("{TASKS_PREFIX}{id}")
}

pub(crate) fn deployment(id: &DeploymentId) -> String {
    format!("{DEPLOYMENTS_PREFIX}{id}")
}

pub(crate) fn node(id: &NodeId) -> String {
    format!("{NODES_PREFIX}{id}")
}

pub(crate) fn member(name: &str) -> String {
    format!("{MEMBERS_PREFIX}{name}")
}

/// With no serial: what every issue to the machine begins with.
pub(crate) fn issued(name: &str, serial: &str) -> String {
    format!("{ISSUED_PREFIX}{name}/{serial}")
}

pub(crate) fn join_token(id: &str) -> String {
    format!("{JOIN_TOKENS_PREFIX}{id}")
}

pub(crate) fn acme_order(name: &str) -> String {
    format!("{ACME_ORDERS_PREFIX}{name}")
}

pub(crate) fn certificate(id: &str) -> String {
    format!("{}{id}", routing::certificate::CERTIFICATES_PREFIX)
}

pub(crate) fn route(id: &str) -> String {
    format!("{}{id}", routing::document::ROUTES_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::{Access, Role};

    #[test]
    fn the_stores_rights_are_enough_for_every_key() {
        let (app, time) = (AppId::parse("/a/b").unwrap(), Timestamp::EPOCH);
        let task_id = TaskId::of(&app, "1");
        let keys = [
            super::app(&app),
            version(&app, time),
            task(&task_id),
            deployment(&DeploymentId::new("d")),
            node(&NodeId::new("n")),
            route("app.b"),
            member("n"),
            join_token("t"),
            acme_order("a.example"),
            certificate("acme.a.example"),
            ACME_ACCOUNT.to_owned(),
            ACME_SETTINGS.to_owned(),
            format!("{}t", routing::challenge::HTTP_CHALLENGES_PREFIX),
            CLUSTER.to_owned(),
            FRAMEWORK.to_owned(),
            LEADER.to_owned(),
        ];
        assert!(keys.iter().all(|key| Role::Controller.may_touch(key.as_bytes(), b"", Access::Write)), "{keys:?}");
    }
}
