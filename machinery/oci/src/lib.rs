//! OCI images: their vocabulary, and what one does with them.
//!
//! The vocabulary is that of the image and distribution specifications (v1.1): a [`Reference`] names an image, a [`Digest`]
//! names bytes, a [`Manifest`] or [`Index`] ties them together, an [`ImageConfig`] says how to run them. Manifests are
//! handled byte-exact: types here *read* them, nobody writes a manifest back from its parsed form.
//!
//! The deeds: [`pack`] makes an image from files, without Docker; [`client`] moves images from and to registries;
//! [`store`] keeps pulled images on a node; [`unpack`] lays layers out as a root directory; [`layout`] is the image on disk.

mod config;
mod digest;
mod manifest;
pub mod media_type;
mod platform;
mod reference;

pub mod client;
pub mod layout;
pub mod pack;
pub mod store;
pub mod unpack;

pub use client::{ClientError, RegistryClient};
pub use config::{ImageConfig, ImageConfigError, RunConfig};
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use manifest::{AnyManifest, Descriptor, Index, Manifest, ManifestError};
pub use platform::{Platform, host_platform};
pub use reference::{Reference, ReferenceError, Repository, Tag};
pub use store::{ImageStore, PulledImage};

/// The most bytes a manifest may hold: what the distribution specification asks registries to accept at least.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;
/// The most bytes an image configuration may hold.
pub const CONFIG_BYTES_MAX: usize = 4 << 20;
