//! The platform's own routes: S3 is served as `s3.<domain>` and `*.s3.<domain>`, Host and raw path untouched.

use routing::BalanceSpec;
use routing::document::{ROUTES_PREFIX, RouteDocument, RouteServer};
use std::net::SocketAddr;
use store::Operation;

/// Ids of the platform's routes start with this; an app's never do.
const ID_PREFIX: &str = "platform-";

/// Writes the routes of S3. In a cluster the address is the same on every machine: each edge asks its own.
pub fn operations(domain: &str, objects: SocketAddr) -> Vec<Operation> {
    let put = |(name, rule)| {
        let document = RouteDocument {
            v: 0,
            rule,
            priority: None,
            servers: vec![RouteServer { id: "objects".into(), url: format!("http://{objects}"), weight: 1 }],
            pass_host_header: true,
            failover_predicate: String::new(),
            app: None,
            middlewares: Vec::new(),
            balance: BalanceSpec::default(),
            server_tls: routing::ServerTls::default(),
            tcp: None,
            send_proxy: None,
        };
        let value = serde_json::to_vec(&document).expect("a document of strings and numbers is always JSON");
        Operation::put(format!("{ROUTES_PREFIX}{ID_PREFIX}{name}"), value)
    };
    rules(domain).into_iter().map(put).collect()
}

fn rules(domain: &str) -> [(&'static str, String); 2] {
    let escaped = domain.replace('.', "\\.");
    [("s3", format!("Host(`s3.{domain}`)")), ("s3-buckets", format!("HostRegexp(`^.+\\.s3\\.{escaped}$`)"))]
}
