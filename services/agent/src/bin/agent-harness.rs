//! For tests: an agent as a process of its own, that can be killed. Arguments: the controller, the data directory.

use agent::{Config, RuntimeKind, TasksOnStop};
use std::collections::BTreeMap;

fn main() -> Result<(), lifecycle::BoxError> {
    runtime::shim::run_if_shim();
    let mut arguments = std::env::args().skip(1);
    let (Some(controller), Some(data)) = (arguments.next(), arguments.next()) else {
        return Err("expected the controller and the data directory".into());
    };
    lifecycle::logs::install(lifecycle::logs::Format::Text, "warn");
    let config = Config {
        controllers: vec![controller],
        tls: None,
        data: data.into(),
        runtime: RuntimeKind::Process,
        node_id: None,
        hostname: "node".to_owned(),
        address: "127.0.0.1".to_owned(),
        resources: agent::default_resources(),
        attributes: BTreeMap::new(),
        registry: None,
        registry_credentials: web::Credentials::None,
        credentials: web::Credentials::None,
        listen: None,
        verifier: identity::Verifier::Open,
        tasks_on_stop: TasksOnStop::Keep,
        shim: "/proc/self/exe".into(),
        version: "harness".to_owned(),
    };
    tokio::runtime::Runtime::new()?.block_on(async {
        let stop = lifecycle::Stop::new();
        stop.on_signals()?;
        agent::start(config, stop).await?.finished().await
    })
}
