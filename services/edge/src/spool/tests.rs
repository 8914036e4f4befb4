use super::*;
use crate::limits::BUFFERED_DISK_THREADS;
use futures::FutureExt;
use http1::Framing;
use std::future::poll_fn;
use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

fn owner(client: u8, route: &str) -> Owner {
    Owner::new([10, 0, 0, client].into(), route)
}

async fn fill_for(
    spool: &Arc<Spool>,
    owner: Owner,
    memory_bytes: u32,
    pieces: &[&[u8]],
) -> Result<Rc<Stored>, SpoolError> {
    let mut filling = spool.begin(memory_bytes, owner);
    for piece in pieces {
        filling.put(piece)?;
        poll_fn(|context| filling.poll_write(context)).await?;
    }
    Ok(Rc::new(filling.finish(Body::new(Framing::None))))
}

async fn fill(spool: &Arc<Spool>, memory_bytes: u32, pieces: &[&[u8]]) -> Result<Rc<Stored>, SpoolError> {
    fill_for(spool, owner(1, "a"), memory_bytes, pieces).await
}

async fn read(stored: &Rc<Stored>, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut replay = Replay::new(stored.clone());
    let mut all = Vec::new();
    while !replay.is_done() && all.len() < bytes_max {
        all.extend(poll_fn(|context| replay.poll_piece(context).map_ok(<[u8]>::to_vec)).await?);
    }
    Ok(all)
}

fn used(spool: &Spool) -> (u64, u64, u64) {
    (spool.memory.used(), spool.shares.all.bytes.used(), spool.shares.all.files.used())
}

async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let held = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), held).await.expect(what);
}

/// Others close the files, and give their room back then.
async fn until_used(spool: &Spool, expected: (u64, u64, u64)) {
    eventually("what is gone has no room", || used(spool) == expected).await;
}

#[tokio::test]
async fn what_was_kept_is_read_again_and_again_from_its_beginning() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::start(directory.path().to_owned()).unwrap();
    let large: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
    for memory_bytes in [0, 10, 1000, 1 << 20] {
        let stored = fill(&spool, memory_bytes, &[b"begin", &large, b"end"]).await.unwrap();
        assert_eq!(stored.in_memory().is_some(), memory_bytes == 1 << 20);
        let expected = [b"begin", &large[..], b"end"].concat();
        // The first reader stops in the middle of it.
        assert!(expected.starts_with(&read(&stored, 100_000).await.unwrap()));
        for _ in 0..2 {
            assert!(read(&stored, usize::MAX).await.unwrap() == expected, "{memory_bytes}");
        }
    }
    until_used(&spool, (0, 0, 0)).await;
    assert_eq!(directory.path().read_dir().unwrap().count(), 0, "files have no names");
}

#[tokio::test]
async fn memory_that_is_full_leaves_the_disk_and_a_full_disk_refuses() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::with_room(directory.path().to_owned(), 1000, 5000, 100).unwrap();
    let first = fill(&spool, 1000, &[&[1; 800]]).await.unwrap();
    let second = fill(&spool, 1000, &[&[2; 800]]).await.unwrap();
    assert!(first.in_memory().is_some() && second.in_memory().is_none());
    assert_eq!(used(&spool), (800, 800, 1));
    let mut more = Vec::new();
    for client in 2..5 {
        more.push(fill_for(&spool, owner(client, &client.to_string()), 0, &[&[3; 1250]]).await.unwrap());
    }
    let last = fill_for(&spool, owner(5, "5"), 0, &[&[3; 400], &[3; 400]]).await;
    assert!(matches!(last, Err(SpoolError::Full)));
    until_used(&spool, (800, 4550, 4)).await;
    drop((first, second, more));
    until_used(&spool, (0, 0, 0)).await;
    drop(directory);
    assert!(matches!(fill(&spool, 0, &[b"x"]).await, Err(SpoolError::File(_))));
}

#[tokio::test]
async fn no_client_and_no_route_takes_all_of_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::with_room(directory.path().to_owned(), 0, 4000, 16).unwrap();
    let keep = |client, route: &'static str, bytes| {
        let spool = spool.clone();
        async move { fill_for(&spool, owner(client, route), 0, &[&vec![0; bytes]]).await }
    };
    let of_one = keep(1, "a", 1000).await.unwrap();
    assert!(matches!(keep(1, "b", 1).await, Err(SpoolError::ClientShare)), "whichever route it asks for");
    let of_another = keep(2, "a", 1000).await.unwrap();
    assert!(matches!(keep(3, "a", 1).await, Err(SpoolError::RouteShare)), "whoever asks");
    let elsewhere = keep(3, "b", 1000).await.unwrap();
    drop(of_one);
    until_used(&spool, (0, 2000, 2)).await;
    let again = keep(1, "b", 1000).await.unwrap();
    drop((of_another, elsewhere, again));
    until_used(&spool, (0, 0, 0)).await;

    // And as many files.
    let mut small = Vec::new();
    for _ in 0..4 {
        small.push(keep(1, "a", 1).await.unwrap());
    }
    assert!(matches!(keep(1, "a", 1).await, Err(SpoolError::ClientShare)));
    for client in 2..4 {
        small.push(keep(client, "a", 1).await.unwrap());
        small.push(keep(client, "a", 1).await.unwrap());
    }
    assert!(matches!(keep(4, "a", 1).await, Err(SpoolError::RouteShare)));
    drop(small);
    until_used(&spool, (0, 0, 0)).await;
    let networks = [1u128, 2, 1 << 64].map(|bits| Owner::new(IpAddr::from(bits.to_be_bytes()), "a").client);
    assert!(networks[0] == networks[1] && networks[0] != networks[2], "a network of IPv6 is one client");
}

/// Has all threads of the disk wait until what this returns is dropped.
fn stop_disk(spool: &Spool) -> Vec<Sender<()>> {
    let stop = |_| {
        let (go, goes) = channel::<()>();
        let _asked = spool.disk.ask(move || {
            let _gone = goes.recv();
            Ok(())
        });
        go
    };
    (0..BUFFERED_DISK_THREADS).map(stop).collect()
}

fn open_files(directory: &Path) -> usize {
    let files =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    files.filter(|file| file.starts_with(directory)).count()
}

#[tokio::test]
async fn who_serves_neither_opens_nor_writes_nor_reads_nor_closes_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::start(directory.path().to_owned()).unwrap();
    let mut filling = spool.begin(0, owner(1, "a"));
    let stopped = stop_disk(&spool);
    filling.put(&[7; 1000]).unwrap();
    assert!(poll_fn(|context| filling.poll_write(context)).now_or_never().is_none());
    assert_eq!(open_files(directory.path()), 0);
    drop(stopped);
    poll_fn(|context| filling.poll_write(context)).await.unwrap();
    assert_eq!(open_files(directory.path()), 1);

    let stopped = stop_disk(&spool);
    let stored = Rc::new(filling.finish(Body::new(Framing::None)));
    let mut replay = Replay::new(stored.clone());
    assert!(poll_fn(|context| replay.poll_piece(context).map_ok(<[u8]>::len)).now_or_never().is_none());
    drop((replay, stored));
    assert_eq!(open_files(directory.path()), 1, "it is closed by others");
    drop(stopped);
    eventually("it is closed in the end", || open_files(directory.path()) == 0).await;
}

/// Else clients that come and go would leave more and more behind on a disk that stands still.
#[tokio::test]
async fn who_gives_up_has_its_share_until_the_disk_is_done_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::with_room(directory.path().to_owned(), 0, 4000, 16).unwrap();
    let stopped = stop_disk(&spool);
    for _ in 0..4 {
        let mut given_up = spool.begin(0, owner(1, "a"));
        given_up.put(&[7; 250]).unwrap();
        assert!(poll_fn(|context| given_up.poll_write(context)).now_or_never().is_none());
    }
    assert_eq!(used(&spool), (0, 1000, 4));
    assert!(matches!(spool.begin(0, owner(1, "b")).put(&[7]), Err(SpoolError::ClientShare)));
    drop(stopped);
    until_used(&spool, (0, 0, 0)).await;
    spool.begin(0, owner(1, "b")).put(&[7]).unwrap();
}

/// Somebody cuts the file behind the edge's back; a disk that fails looks the same.
#[tokio::test]
async fn what_cannot_be_read_again_is_an_error_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::start(directory.path().to_owned()).unwrap();
    let stored = fill(&spool, 0, &[&[7; 1000]]).await.unwrap();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| Some(file.ok()?.path())) {
        if std::fs::read_link(&entry).is_ok_and(|file| file.starts_with(directory.path())) {
            std::fs::OpenOptions::new().write(true).truncate(true).open(&entry).unwrap();
        }
    }
    for lost in 1..3 {
        assert_eq!(read(&stored, usize::MAX).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(spool.lost.load(Relaxed), lost);
    }
}
