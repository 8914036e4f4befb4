//! The controller's own document of certificates for apps' names: `/v1/certificates`.

use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Certificates {
    pub certificates: Vec<Certificate>,
    /// How it stands with each name that an app asks one for.
    pub names: Vec<CertifiedName>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Certificate {
    pub id: String,
    pub names: Vec<String>,
    /// `acme` or `given`.
    pub issuer: String,
    /// Shown to clients that name no host.
    pub default: bool,
    /// RFC 3339, as every time here.
    pub not_after: String,
    pub renew_at: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertifiedName {
    pub name: String,
    /// `valid`, `failed`, `asked` or `waiting`.
    pub state: String,
    /// Why, in words.
    pub message: String,
    pub failures: u64,
    pub next_at: Option<String>,
    /// Which certificate it has.
    pub certificate: Option<String>,
}
