//! Digests, manifests, references, layers; packing images and the distribution client
