//! A runtime whose threads are inside a node: what it dials and binds is the node's network.

use anyhow::Context;
use netlab::Node;
use tokio::runtime::{Builder, Handle, Runtime};

pub struct Inside {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    handle: Handle,
}

impl Inside {
    pub async fn of(node: &Node, threads: usize) -> anyhow::Result<Self> {
        // Whatever keeps a thread out is seen here, where it can be told.
        node.run(|| ()).await?;
        let entered = node.clone();
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(format!("in-{}", node.name()))
            .on_thread_start(move || entered.enter().expect("a namespace that was entered before is there"))
            .enable_all()
            .build()
            .with_context(|| format!("start threads inside {}", node.name()))?;
        let handle = runtime.handle().clone();
        Ok(Self { runtime: Some(runtime), handle })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped by another runtime's thread, which must not wait.
            runtime.shutdown_background();
        }
    }
}
