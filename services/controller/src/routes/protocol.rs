//! What an app's label says of how its servers are spoken to.

use super::BadLabel;
use model::App;
use routing::{Scheme, ServerUrl};

/// `http1` (or nothing), or `h2c`: HTTP/2 without TLS, which gRPC needs (docs/http2.md).
const LABEL: &str = "roadstead.protocol";

/// Whether edges speak what the label asks for.
pub(super) fn check(app: &App) -> Result<(), BadLabel> {
    read(app).map(drop).map_err(|message| BadLabel { label: LABEL, message })
}

/// A server's URL as a route document has it. A label that makes no sense, which an app of an earlier version may have,
/// says nothing.
pub(super) fn url(app: &App, url: String) -> String {
    match read(app) {
        Ok(Scheme::Http) | Err(_) => url,
        Ok(scheme) => ServerUrl::parse(&url).map_or(url, |url| url.with_scheme(scheme).to_string()),
    }
}

/// An edge names a server as its route does; everybody else, by where it is.
pub(crate) fn place(url: String) -> String {
    ServerUrl::parse(&url).map_or(url, |url| url.with_scheme(Scheme::Http).to_string())
}

fn read(app: &App) -> Result<Scheme, String> {
    match app.labels.get(LABEL).map(String::as_str) {
        None | Some("http1") => Ok(Scheme::Http),
        Some("h2c") => Ok(Scheme::H2c),
        Some(other) => Err(format!("{other:?} is neither http1 nor h2c")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_world;

    fn labelled(text: &str) -> App {
        let mut app = test_world::app("a", 1);
        app.labels.insert(LABEL.to_owned(), text.to_owned());
        app
    }

    #[test]
    fn a_label_makes_an_apps_servers_speak_http2_and_they_are_the_same_places() {
        let h2c = url(&labelled("h2c"), "http://[::1]:31000".to_owned());
        assert_eq!(h2c, "h2c://[::1]:31000");
        assert_eq!(place(h2c), "http://[::1]:31000");
        assert_eq!(url(&labelled("http1"), "http://a:1".to_owned()), "http://a:1");
        assert_eq!(url(&test_world::app("b", 1), "http://a:1".to_owned()), "http://a:1");
        let bad = check(&labelled("h3")).unwrap_err();
        assert_eq!((bad.label, bad.message.as_str()), (LABEL, "\"h3\" is neither http1 nor h2c"));
        assert_eq!(url(&labelled("h3"), "http://a:1".to_owned()), "http://a:1");
    }
}
