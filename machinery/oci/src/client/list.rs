//! Lists: the tags of a repository, the repositories of a registry. Pages are followed by their `Link`.

use super::call::{self, retried};
use super::{ClientError, RegistryClient};
use crate::Repository;
use http::header::{LINK, LOCATION};
use http::{HeaderMap, Method};
use serde::Deserialize;

/// Pages of one list: at the usual hundred names each, a hundred thousand names.
const PAGES_MAX: usize = 1000;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl RegistryClient {
    /// The tags of a repository, in the registry's (lexical) order.
    pub async fn tags(&self, registry: &str, repository: &Repository) -> Result<Vec<String>, ClientError> {
        self.pages(registry, format!("http://{registry}/v2/{repository}/tags/list")).await
    }

    /// The repositories of a registry. `_catalog` is no part of the specification, but most registries have it.
    pub async fn catalog(&self, registry: &str) -> Result<Vec<String>, ClientError> {
        self.pages(registry, format!("http://{registry}/v2/_catalog")).await
    }

    async fn pages(&self, registry: &str, first: String) -> Result<Vec<String>, ClientError> {
        let mut names = Vec::new();
        let mut next = Some(first.clone());
        for _ in 0..PAGES_MAX {
            let Some(url) = next.take() else { return Ok(names) };
            let (url, response) = retried(|| self.read(registry, Method::GET, &url, "application/json")).await?;
            next = next_page(&url, response.headers())?;
            let body = call::collect(&url, response).await?;
            let page: Page = serde_json::from_slice(&body).map_err(|source| ClientError::Json { url, source })?;
            names.extend(page.tags.or(page.repositories).unwrap_or_default());
        }
        match next {
            None => Ok(names),
            Some(_) => Err(ClientError::Pages { url: first, pages_max: PAGES_MAX }),
        }
    }
}

/// `Link: </v2/_catalog?n=100&last=x>; rel="next"` (RFC 8288).
fn next_page(url: &str, headers: &HeaderMap) -> Result<Option<String>, ClientError> {
    let link = headers.get(LINK).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let target = link.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let Some((target, parameters)) = target else { return Ok(None) };
    if !parameters.contains("next") {
        return Ok(None);
    }
    let mut location = HeaderMap::new();
    if let Ok(target) = target.parse() {
        location.insert(LOCATION, target);
    }
    call::resolve(url, &location).map(Some)
}
