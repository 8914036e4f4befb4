//! Writes a tree as one gzipped tar, the same bytes every time.

use super::tree::{Node, Tree};
use super::{PackError, PackedLayer};
use crate::digest::Hasher;
use crate::{Algorithm, Descriptor, media_type};
use flate2::{Compression, GzBuilder};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use tar::{Builder, EntryType, Header};
use tempfile::NamedTempFile;

/// zlib's default level; part of what makes the digest, so it is written down.
const COMPRESSION: Compression = Compression::new(6);

pub fn write(tree: &Tree, spool: &Path) -> Result<PackedLayer, PackError> {
    let failed = |source| PackError::Layer { source };
    let file = NamedTempFile::new_in(spool).map_err(failed)?;
    let compressed = HashingWriter::new(BufWriter::new(file));
    let tar = HashingWriter::new(GzBuilder::new().write(compressed, COMPRESSION));
    let mut builder = Builder::new(tar);
    for (path, node) in &tree.nodes {
        append(&mut builder, path, node)?;
    }
    let tar = builder.into_inner().map_err(failed)?;
    let (gzip, diff_id, _) = tar.finish();
    let (file, digest, bytes) = gzip.finish().map_err(failed)?.finish();
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    let descriptor = Descriptor::new(media_type::OCI_LAYER_GZIP, digest, bytes);
    Ok(PackedLayer { descriptor, diff_id, file: file.into_temp_path() })
}

fn append(builder: &mut Builder<impl Write>, path: &Path, node: &Node) -> Result<(), PackError> {
    let failed = |source| PackError::Layer { source };
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match node {
        Node::Directory { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            builder.append_data(&mut header, path.join(""), io::empty()).map_err(failed)
        }
        Node::SymbolicLink { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            builder.append_link(&mut header, path, target).map_err(failed)
        }
        Node::File { source, bytes, mode } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(*bytes);
            let read = |error| PackError::File { action: "read", path: source.clone(), source: error };
            let file = BufReader::new(File::open(source).map_err(read)?);
            let mut exact = ExactReader { inner: file, left: *bytes };
            match builder.append_data(&mut header, path, &mut exact) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Err(PackError::Changed { path: source.clone() })
                }
                other => other.map_err(failed),
            }
        }
    }
}

/// Reads as many bytes as the header promised; fewer are an error, more are left.
struct ExactReader<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for ExactReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..want])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

struct HashingWriter<W> {
    inner: W,
    hasher: Hasher,
    bytes: u64,
}

impl<W: Write> HashingWriter<W> {
    fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::new(Algorithm::Sha256), bytes: 0 }
    }

    fn finish(self) -> (W, crate::Digest, u64) {
        (self.inner, self.hasher.finish(), self.bytes)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
