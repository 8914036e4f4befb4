//! Lists: repositories, tags, referrers.

use super::{Call, OCI_FILTERS_APPLIED, json};
use crate::error::{Code, RegistryError, with_header};
use crate::keys;
use axum::response::Response;
use http::header::{CONTENT_TYPE, LINK};
use oci::{AnyManifest, Descriptor, Digest, Repository, media_type};
use serde_json::json;

/// Names on one page, however many are asked for.
const PAGE_NAMES_MAX: usize = 10_000;
/// Names on one page when nobody says.
const PAGE_NAMES_DEFAULT: usize = 1_000;
/// Referrers of one subject that are listed: each one's manifest is read for its annotations.
const REFERRERS_MAX: usize = 1_000;

pub async fn catalog(call: &Call) -> Result<Response, RegistryError> {
    let page = page(call, keys::CATALOG, "/v2/_catalog").await?;
    Ok(linked(json(json!({ "repositories": page.names }).to_string()), page.next))
}

pub async fn tags(call: &Call, repository: &Repository) -> Result<Response, RegistryError> {
    if call.registry.store.get(&keys::catalog(repository)).await?.is_none() {
        return Err(RegistryError::refused(Code::NameUnknown, format!("there is no repository {repository}")));
    }
    let page = page(call, &keys::tags(repository), &format!("/v2/{repository}/tags/list")).await?;
    Ok(linked(json(json!({ "name": repository, "tags": page.names }).to_string()), page.next))
}

struct Page {
    names: Vec<String>,
    next: Option<String>,
}

/// Names after `last`, at most `n`, in ASCII order: the order of the store's keys.
async fn page(call: &Call, prefix: &str, path: &str) -> Result<Page, RegistryError> {
    let count = match call.query.get("n") {
        None => PAGE_NAMES_DEFAULT,
        Some(text) => {
            let invalid = || RegistryError::refused(Code::SizeInvalid, "n is not a number");
            text.parse::<usize>().map_err(|_| invalid())?.min(PAGE_NAMES_MAX)
        }
    };
    if count == 0 {
        return Ok(Page { names: Vec::new(), next: None });
    }
    let last = call.query.get("last").unwrap_or_default();
    let (names, more) = call.registry.names(prefix, last, count).await?;
    let encode = |name: &String| form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>();
    let next = names.last().filter(|_| more).map(|name| format!("{path}?n={count}&last={}", encode(name)));
    Ok(Page { names, next })
}

fn linked(response: Response, next: Option<String>) -> Response {
    match next {
        Some(next) => with_header(response, LINK, &format!("<{next}>; rel=\"next\"")),
        None => response,
    }
}

/// The manifests whose subject this is. Never 404: a subject nobody refers to, or that is not there, has an empty list.
pub async fn referrers(call: &Call, repository: &Repository, subject: &Digest) -> Result<Response, RegistryError> {
    let wanted = call.query.get("artifactType").filter(|wanted| !wanted.is_empty());
    let (names, _) = call.registry.names(&keys::referrers(repository, subject), "", REFERRERS_MAX).await?;
    let mut manifests = Vec::new();
    for digest in names.iter().filter_map(|name| name.parse::<Digest>().ok()) {
        let Some(descriptor) = describe(call, repository, &digest).await? else { continue };
        if wanted.is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted)) {
            manifests.push(descriptor);
        }
    }
    let index = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": manifests });
    let mut response = with_header(json(index.to_string()), CONTENT_TYPE, media_type::OCI_INDEX);
    if wanted.is_some() {
        response = with_header(response, OCI_FILTERS_APPLIED, "artifactType");
    }
    Ok(response)
}

/// A referrer as its subject's list shows it; `None` when it was removed meanwhile.
async fn describe(call: &Call, repository: &Repository, digest: &Digest) -> Result<Option<Descriptor>, RegistryError> {
    let Some(record) = call.registry.manifest_record(repository, digest).await? else { return Ok(None) };
    let bytes = call.registry.manifest_bytes(digest, &record.object).await?;
    let Ok(manifest) = AnyManifest::parse(&bytes, Some(&record.media_type)) else { return Ok(None) };
    Ok(Some(Descriptor {
        artifact_type: manifest.artifact_type().map(str::to_owned),
        annotations: manifest.annotations().cloned(),
        ..Descriptor::new(record.media_type, digest.clone(), record.bytes)
    }))
}
