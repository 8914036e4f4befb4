//! What the configuration says of the edge, as its flags.

use super::{ConfigError, Edge};
use routing::{Network, Order};
use vulcand::Alias;

impl Edge {
    pub fn check(&self) -> Result<(), ConfigError> {
        for proxy in &self.accept_proxy {
            Network::parse(proxy)
                .map_err(|error| ConfigError::Usage(format!("edge.accept_proxy: `{proxy}`: {error}")))?;
        }
        for alias in &self.aliases {
            alias.parse::<Alias>().map_err(|error| ConfigError::Usage(format!("edge.aliases: `{alias}`: {error}")))?;
        }
        self.observation.check()
    }

    /// Beside its addresses.
    pub fn arguments(&self) -> Vec<String> {
        let proxies = self.accept_proxy.iter().map(|proxy| ("--accept-proxy", proxy.clone()));
        let aliases = self.aliases.iter().map(|alias| ("--alias", alias.clone()));
        let order = (self.route_order == Order::Vulcand).then(|| ("--route-order", "vulcand".to_owned()));
        let usual = Self::default();
        let times = [
            ("--drain", self.drain_ms, usual.drain_ms),
            ("--drain-tunnels", self.drain_tunnels_ms, usual.drain_tunnels_ms),
        ];
        let times = times.into_iter().filter(|(_, time, usual)| time != usual);
        let times = times.map(|(flag, time, _)| (flag, format!("{time}ms")));
        let flags = proxies.chain(aliases).chain(order).chain(times).flat_map(|(flag, value)| [flag.to_owned(), value]);
        flags.chain(self.observation.arguments()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn what_the_edge_is_told_becomes_flags_of_it() {
        let text = "[edge]\naccept_proxy = [\"10.0.0.0/8\", \"fd99::1\"]\naliases = [\"a.local=a.example\"]\n\
                    route_order = \"vulcand\"\ndrain_tunnels_ms = 3000\n[edge.observation]\nrequest_id = \"forward\"\n";
        let config = Config::parse(text).unwrap();
        config.check().unwrap();
        let expected = "--accept-proxy 10.0.0.0/8 --accept-proxy fd99::1 --alias a.local=a.example --route-order vulcand \
                        --drain-tunnels 3000ms --request-id forward";
        assert_eq!(config.edge.arguments().join(" "), expected);
        assert!(Config::default().edge.arguments().is_empty());
        for (wrong, told) in [
            ("accept_proxy = [\"10.0.0.0/33\"]", "edge.accept_proxy: `10.0.0.0/33`: "),
            ("aliases = [\"a\"]", "edge.aliases: `a`: "),
        ] {
            let error = Config::parse(&format!("[edge]\n{wrong}\n")).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
        let error = Config::parse("[edge]\nroute_order = \"random\"\n").unwrap_err();
        assert!(error.contains("expected `specific` or `vulcand`"), "{error}");
    }
}
