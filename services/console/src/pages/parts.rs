//! Pieces that several pages use.

use crate::controller::encoded;
use crate::status::{Health, HealthBar, Status};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{Markup, html};

/// `/apps/a/b` for the app `/a/b`.
pub fn app_link(id: &str) -> String {
    let segments: Vec<String> = id.split('/').filter(|segment| !segment.is_empty()).map(encoded).collect();
    format!("/apps/{}", segments.join("/"))
}

/// A node's id in a query.
pub fn node_query(id: &str) -> String {
    form_urlencoded::byte_serialize(id.as_bytes()).collect()
}

pub fn status(status: Status) -> Markup {
    html! { span class={ "status " (status.name().to_lowercase()) } { (status.name()) } }
}

pub fn health_dot(health: Health) -> Markup {
    let name = health.name();
    html! { span class={ "dot " (name.to_lowercase()) } role="img" aria-label=(name) title=(name) {} }
}

/// A bar whose parts are as wide as their counts; drawn as SVG because the policy allows no inline style.
pub fn health_bar(bar: HealthBar) -> Markup {
    let total: u64 = bar.parts().iter().map(|(_, count)| count).sum();
    let parts = bar.parts().into_iter().scan(0, |begin, (name, count)| {
        let part = (name, *begin, count);
        *begin += count;
        Some(part)
    });
    html! {
        svg.bar viewBox={ "0 0 " (total.max(1)) " 1" } preserveAspectRatio="none" role="img" aria-label=(bar.describe()) {
            title { (bar.describe()) }
            @for (name, begin, count) in parts.filter(|(_, _, count)| *count > 0) {
                rect class=(name) x=(begin) y="0" width=(count) height="1" {}
            }
        }
    }
}

/// A time as the controller wrote it, made readable: `2015-01-11 12:44:39`, UTC.
pub fn time(text: &str) -> Markup {
    match text.parse::<Timestamp>() {
        Ok(time) => {
            let readable = time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%S").to_string();
            html! { time datetime=(text) title={ (text) " (UTC)" } { (readable) } }
        }
        Err(_) => html! { (text) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable_and_what_is_none_is_shown_as_it_is() {
        assert!(time("2015-01-11T12:44:39.123Z").into_string().ends_with(">2015-01-11 12:44:39</time>"));
        assert_eq!(time("<soon>").into_string(), "&lt;soon&gt;");
    }

    #[test]
    fn a_bars_parts_follow_each_other() {
        let bar = HealthBar { healthy: 3, unhealthy: 1, ..HealthBar::default() };
        let drawn = health_bar(bar).into_string();
        assert!(drawn.contains(r#"viewBox="0 0 4 1""#), "{drawn}");
        assert!(drawn.contains(r#"class="healthy" x="0" y="0" width="3""#), "{drawn}");
        assert!(drawn.contains(r#"class="unhealthy" x="3" y="0" width="1""#), "{drawn}");
    }

    #[test]
    fn links_keep_to_their_page() {
        assert_eq!(app_link("/a/b"), "/apps/a/b");
        assert_eq!(app_link("/a?x#y"), "/apps/a%3Fx%23y");
    }
}
