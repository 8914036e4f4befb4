//! The platform's own routes: S3 is served as `s3.<domain>` and `*.s3.<domain>`, Host and raw path untouched.

use anyhow::Context;
use identity::Token;
use routing::document::{ROUTES_PREFIX, RouteDocument, RouteServer};
use std::net::SocketAddr;
use store::{ClientCredentials, EtcdClient, Operation, Store, TxnRequest};

/// Ids of the platform's routes start with this; an app's never do.
const ID_PREFIX: &str = "platform-";

pub async fn write(store: SocketAddr, token: &Token, domain: &str, objects: SocketAddr) -> anyhow::Result<()> {
    let endpoint = format!("http://{store}");
    let client = EtcdClient::connect(&[endpoint], ClientCredentials::Token(token.clone()))?;
    let mut puts = Vec::new();
    for (name, rule) in rules(domain) {
        let document = RouteDocument {
            v: 0,
            rule,
            priority: None,
            servers: vec![RouteServer { id: "objects".into(), url: format!("http://{objects}"), weight: 1 }],
            pass_host_header: true,
            failover_predicate: String::new(),
            app: None,
            middlewares: Vec::new(),
        };
        let value = serde_json::to_vec(&document).context("encode a route")?;
        puts.push(Operation::put(format!("{ROUTES_PREFIX}{ID_PREFIX}{name}"), value));
    }
    client.txn(TxnRequest { success: puts, ..TxnRequest::default() }).await.context("write the route of S3")?;
    Ok(())
}

fn rules(domain: &str) -> [(&'static str, String); 2] {
    let escaped = domain.replace('.', "\\.");
    [("s3", format!("Host(`s3.{domain}`)")), ("s3-buckets", format!("HostRegexp(`^.+\\.s3\\.{escaped}$`)"))]
}
