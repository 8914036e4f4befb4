//! Files without names that threads of their own open, write, read and close: whoever asks never waits for the disk. A body
//! asks for one thing at a time, and its place goes with what it asked for: so what waits to be done is bounded by the number of
//! places, also where nobody waits for it any more.

use super::share::Place;
use crate::limits::BUFFERED_DISK_THREADS;
use crate::servers::lock;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::thread;
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// The threads; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Disk {
    directory: PathBuf,
    jobs: Sender<Job>,
}

/// Closed by one of the threads: that of a large file frees its blocks, which takes its time.
#[derive(Debug)]
pub(super) struct DiskFile {
    disk: Arc<Disk>,
    /// Until it is closed.
    file: Option<File>,
    place: Arc<Place>,
}

/// What somebody was asked to do.
pub(super) struct Asked<T>(oneshot::Receiver<io::Result<T>>);

impl Disk {
    pub fn start(directory: PathBuf) -> io::Result<Arc<Self>> {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 0..BUFFERED_DISK_THREADS {
            let waiting = waiting.clone();
            thread::Builder::new().name(format!("edge-disk-{number}")).spawn(move || work(&waiting))?;
        }
        Ok(Arc::new(Self { directory, jobs }))
    }

    /// Writes a piece into a file, which is made if there is none yet.
    pub fn write(
        self: &Arc<Self>,
        file: Option<Arc<DiskFile>>,
        place: &Arc<Place>,
        at: u64,
        piece: Vec<u8>,
    ) -> Asked<Arc<DiskFile>> {
        let (disk, place) = (self.clone(), place.clone());
        self.ask(move || {
            let file = match file {
                Some(file) => file,
                None => Arc::new(DiskFile { file: Some(tempfile::tempfile_in(&disk.directory)?), disk, place }),
            };
            file.open()?.write_all_at(&piece, at)?;
            Ok(file)
        })
    }

    pub fn ask<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Asked<T> {
        let (done, asked) = oneshot::channel();
        // Without threads it is dropped, which whoever asked will hear of; nobody may want to know it any more.
        let _ended = self.jobs.send(Box::new(move || drop(done.send(work()))));
        Asked(asked)
    }
}

fn work(waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = lock(waiting).recv();
        let Ok(job) = job else { return };
        job();
    }
}

impl DiskFile {
    /// Reads at most so many bytes, and at least one, into `room`.
    pub fn read(self: &Arc<Self>, at: u64, bytes_max: usize, mut room: Vec<u8>) -> Asked<Vec<u8>> {
        let file = self.clone();
        self.disk.ask(move || {
            room.resize(bytes_max, 0);
            let count = loop {
                match file.open()?.read_at(&mut room, at) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            room.truncate(count);
            Ok(room)
        })
    }

    fn open(&self) -> io::Result<&File> {
        self.file.as_ref().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl Drop for DiskFile {
    fn drop(&mut self) {
        let (file, place) = (self.file.take(), self.place.clone());
        let close = move || {
            drop(file);
            drop(place);
        };
        let _closing = self.disk.jobs.send(Box::new(close));
    }
}

impl<T> Asked<T> {
    /// Ready when it was done.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let done = ready!(Pin::new(&mut self.0).poll(context));
        Poll::Ready(done.unwrap_or_else(|_| Err(ErrorKind::BrokenPipe.into())))
    }
}
