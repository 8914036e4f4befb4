//! What a form on the app's page or the nodes' asks for. Pure.

use crate::controller::Call;
use serde::Deserialize;

/// The fields that the forms of the app's page send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct AppForm {
    #[serde(default)]
    pub action: String,
    pub instances: Option<String>,
    pub version: Option<String>,
    pub force: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppAction {
    Scale { instances: u32 },
    Suspend,
    Restart,
    Destroy,
    RollBack { version: String },
}

/// The fields that the forms of the nodes' page send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct NodeForm {
    #[serde(default)]
    pub action: String,
    #[serde(default)]
    pub node: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeAction {
    Drain,
    Restore,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    #[error("{given:?} is not an action; the actions are scale, suspend, restart, destroy and rollback")]
    Action { given: String },
    #[error("{given:?} is not an action; the actions are drain and restore")]
    NodeAction { given: String },
    #[error("which node is missing")]
    Node,
    #[error("{given:?} is not a number of instances")]
    Instances { given: String },
    #[error("a rollback needs a version")]
    Version,
}

impl AppForm {
    pub fn parse(&self) -> Result<AppAction, FormError> {
        match self.action.as_str() {
            "scale" => {
                let given = self.instances.clone().unwrap_or_default();
                let instances = given.trim().parse().map_err(|_| FormError::Instances { given })?;
                Ok(AppAction::Scale { instances })
            }
            "suspend" => Ok(AppAction::Suspend),
            "restart" => Ok(AppAction::Restart),
            "destroy" => Ok(AppAction::Destroy),
            "rollback" => match &self.version {
                Some(version) if !version.is_empty() => Ok(AppAction::RollBack { version: version.clone() }),
                _ => Err(FormError::Version),
            },
            _ => Err(FormError::Action { given: self.action.clone() }),
        }
    }

    pub fn forced(&self) -> bool {
        self.force.as_deref() == Some("true")
    }
}

impl AppAction {
    pub fn call(&self, id: &str, force: bool) -> Call {
        match self {
            Self::Scale { instances } => Call::scale(id, *instances, force),
            Self::Suspend => Call::scale(id, 0, force),
            Self::Restart => Call::restart(id, force),
            Self::Destroy => Call::destroy(id, force),
            Self::RollBack { version } => Call::roll_back(id, version, force),
        }
    }

    /// What is about to happen, for the confirmation page.
    pub fn question(&self, id: &str) -> String {
        match self {
            Self::Scale { instances } => format!("Scale {id} to {instances} instances?"),
            Self::Suspend => format!("Suspend {id}?"),
            Self::Restart => format!("Restart {id}?"),
            Self::Destroy => format!("Destroy {id}?"),
            Self::RollBack { version } => format!("Roll {id} back to {version}?"),
        }
    }

    pub fn consequence(&self) -> &'static str {
        match self {
            Self::Scale { .. } => "Tasks are started or drained and stopped until the number is reached.",
            Self::Suspend => "All of its tasks are drained and stopped; the app stays, with 0 instances.",
            Self::Restart => "Every task is replaced by a new one, as the app's upgrade strategy says.",
            Self::Destroy => {
                "All of its tasks are stopped, and the app and its versions are deleted. This cannot be undone."
            }
            Self::RollBack { .. } => "The app gets the configuration of that version, and its tasks are replaced.",
        }
    }

    pub fn verb(&self) -> &'static str {
        match self {
            Self::Scale { .. } => "Scale",
            Self::Suspend => "Suspend",
            Self::Restart => "Restart",
            Self::Destroy => "Destroy",
            Self::RollBack { .. } => "Roll back",
        }
    }
}

impl NodeForm {
    pub fn parse(&self) -> Result<NodeAction, FormError> {
        match self.action.as_str() {
            "drain" | "restore" if self.node.is_empty() => Err(FormError::Node),
            "drain" => Ok(NodeAction::Drain),
            "restore" => Ok(NodeAction::Restore),
            _ => Err(FormError::NodeAction { given: self.action.clone() }),
        }
    }
}

impl NodeAction {
    pub fn call(self, node: &str) -> Call {
        match self {
            Self::Drain => Call::drain(node),
            Self::Restore => Call::restore(node),
        }
    }

    pub fn consequence(self) -> &'static str {
        match self {
            Self::Drain => {
                "Its tasks are started elsewhere, the edges finish with them, and floating addresses move. It takes no \
                 task until it is restored."
            }
            Self::Restore => "It takes tasks again. Those that were started elsewhere stay there.",
        }
    }

    pub fn verb(self) -> &'static str {
        match self {
            Self::Drain => "Drain",
            Self::Restore => "Restore",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn form(action: &str) -> AppForm {
        AppForm { action: action.into(), ..AppForm::default() }
    }

    #[test]
    fn each_form_becomes_its_call() {
        let scale = AppForm { instances: Some(" 20 ".into()), ..form("scale") };
        let call = scale.parse().unwrap().call("/s3pics", false);
        assert_eq!((call.method.as_str(), call.path.as_str()), ("PUT", "/v2/apps/s3pics?force=false"));
        assert_eq!(call.body, Some(json!({"instances": 20})));
        assert_eq!(form("suspend").parse().unwrap().call("/a", true).body, Some(json!({"instances": 0})));
        let restart = form("restart").parse().unwrap().call("/a/b", true);
        assert_eq!((restart.method.as_str(), restart.path.as_str()), ("POST", "/v2/apps/a/b/restart?force=true"));
        assert_eq!(form("destroy").parse().unwrap().call("/a", false).method.as_str(), "DELETE");
        let rollback = AppForm { version: Some("v1".into()), ..form("rollback") };
        assert_eq!(rollback.parse().unwrap().call("/a", false).body, Some(json!({"version": "v1"})));
    }

    #[test]
    fn a_form_that_asks_for_nothing_known_is_refused() {
        assert_eq!(form("explode").parse(), Err(FormError::Action { given: "explode".into() }));
        assert_eq!(form("scale").parse(), Err(FormError::Instances { given: "".into() }));
        let negative = AppForm { instances: Some("-1".into()), ..form("scale") };
        assert_eq!(negative.parse(), Err(FormError::Instances { given: "-1".into() }));
        assert_eq!(form("rollback").parse(), Err(FormError::Version));
    }

    #[test]
    fn a_nodes_form_names_its_node_without_a_way_out() {
        let form = |action: &str, node: &str| NodeForm { action: action.into(), node: node.into() };
        let call = form("drain", "n1").parse().unwrap().call("a/../b?x");
        assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/v1/nodes/a%2F..%2Fb%3Fx/drain"));
        assert_eq!(form("restore", "n1").parse().unwrap().call("n1").path, "/v1/nodes/n1/restore");
        assert_eq!(form("drain", "").parse(), Err(FormError::Node));
        assert_eq!(form("remove", "n1").parse(), Err(FormError::NodeAction { given: "remove".into() }));
    }
}
