//! Media types of OCI (image specification v1.1) and of Docker (image manifest version 2, schema 2).

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What a client says it can read when it asks for a manifest.
pub const MANIFESTS_ACCEPTED: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST];

/// The part of a `Content-Type` before its parameters.
pub fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

pub fn is_image_manifest(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST)
}

pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | DOCKER_MANIFEST_LIST)
}

/// How a layer's tar is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// Of a layer's media type, OCI's or Docker's, distributable or not; `None` for a type that is no layer.
    pub fn of_layer(media_type: &str) -> Option<Self> {
        let media_type = essence(media_type);
        let oci = media_type
            .strip_prefix("application/vnd.oci.image.layer.v1.")
            .or_else(|| media_type.strip_prefix("application/vnd.oci.image.layer.nondistributable.v1."));
        let docker = media_type
            .strip_prefix("application/vnd.docker.image.rootfs.diff.")
            .or_else(|| media_type.strip_prefix("application/vnd.docker.image.rootfs.foreign.diff."));
        match (oci, docker) {
            (Some("tar"), _) | (_, Some("tar")) => Some(Self::None),
            (Some("tar+gzip"), _) | (_, Some("tar.gzip")) => Some(Self::Gzip),
            (Some("tar+zstd"), _) | (_, Some("tar.zstd")) => Some(Self::Zstd),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layers_type_tells_its_compression() {
        assert_eq!(Compression::of_layer("application/vnd.oci.image.layer.v1.tar"), Some(Compression::None));
        assert_eq!(Compression::of_layer(OCI_LAYER_GZIP), Some(Compression::Gzip));
        assert_eq!(Compression::of_layer("application/vnd.oci.image.layer.v1.tar+zstd"), Some(Compression::Zstd));
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        assert_eq!(Compression::of_layer(docker), Some(Compression::Gzip));
        assert_eq!(Compression::of_layer(OCI_CONFIG), None);
        assert_eq!(essence("application/json; charset=utf-8"), "application/json");
    }
}
