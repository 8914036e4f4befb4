use super::*;
use crate::{How, PreparedImage};
use lifecycle::BoxError;
use record::{Phase, ProcessId, StatusFile};

/// No task of these tests has an image.
struct NoImages;

#[async_trait]
impl ImageSource for NoImages {
    async fn prepare(&self, reference: &str, _force_pull: bool) -> Result<PreparedImage, BoxError> {
        Err(format!("no such image: {reference}").into())
    }

    async fn collect(&self, _in_use: &BTreeSet<PathBuf>) -> Result<(), BoxError> {
        Ok(())
    }
}

/// As [`ProcessRuntime::open`] leaves it, on a machine without namespaces and control groups.
fn runtime(data: &Path) -> ProcessRuntime {
    let tasks = data.join("tasks");
    make_directory(&tasks).unwrap();
    let config = ProcessConfig::new(data.to_owned(), IpAddr::from([127, 0, 0, 1]));
    let lock = File::create(data.join("runtime.lock")).unwrap();
    ProcessRuntime { config, tasks, images: Arc::new(NoImages), cgroups: Cgroups::default(), _lock: lock }
}

#[tokio::test]
async fn an_unreadable_record_is_a_lost_task_and_the_others_are_taken_back() {
    let data = tempfile::tempdir().unwrap();
    let runtime = runtime(data.path());
    for id in ["torn", "foreign", "whole"] {
        make_directory(&runtime.tasks.join(id)).unwrap();
    }
    fs::write(runtime.tasks.join("torn/status.json"), b"{\"phase\":").unwrap();
    fs::create_dir(runtime.tasks.join("foreign/status.json")).unwrap();
    fs::write(runtime.tasks.join("file"), b"not a task").unwrap();
    let exit = Exit { how: How::Code(3), message: String::new(), started_at_ms: 5 };
    let shim = ProcessId::of(std::process::id() as i32).unwrap();
    let status = StatusFile { phase: Phase::Ended(exit.clone()), shim, init: None };
    TaskDir::new(runtime.tasks.join("whole")).write_status(&status).unwrap();

    let mut found = runtime.list().await.unwrap();
    found.sort_by(|one, other| one.id.cmp(&other.id));
    let ids: Vec<&str> = found.iter().map(|found| found.id.as_str()).collect();
    assert_eq!(ids, ["foreign", "torn", "whole"]);
    for lost in &found[..2] {
        assert!(matches!(&lost.status, Status::Ended(Exit { how: How::Lost, .. })), "{lost:?}");
        // As for any lost task: it can be cleared away and started again.
        runtime.remove(&lost.id).await.unwrap();
        assert!(!runtime.tasks.join(&lost.id).exists());
    }
    assert_eq!(found[2].status, Status::Ended(exit));
}
