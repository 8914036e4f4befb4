//! A server under measurement: started, found ready, its CPU time read, ended with its guard.

use crate::process;
use anyhow::{Context, bail, ensure};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const READY_TIMEOUT: Duration = Duration::from_secs(20);

pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    /// Starts a program and waits until its address takes connections.
    pub async fn start(mut command: Command, address: String) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Self { child: child.with_context(|| format!("start {command:?}"))?, address };
        let reached = tokio::time::timeout(READY_TIMEOUT, async {
            while tokio::net::TcpStream::connect(&server.address).await.is_err() {
                if let Ok(Some(status)) = server.child.try_wait() {
                    bail!("{command:?} ended with {status}");
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        });
        reached.await.with_context(|| format!("{command:?} was not ready within {READY_TIMEOUT:?}"))??;
        Ok(server)
    }

    /// User and system time the process has used.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.child.id())
    }

    /// Of the process and its children.
    pub fn cpu_seconds_of_all(&self) -> anyhow::Result<f64> {
        process::cpu_seconds_of_all(self.child.id())
    }

    pub fn memory_mib(&self) -> anyhow::Result<f64> {
        Ok(process::memory_bytes_of_all(self.child.id())? as f64 / f64::from(1 << 20))
    }

    /// `signal` as kill(1) takes it.
    pub fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        ensure!(status.success(), "kill {signal} ended with {status}");
        Ok(())
    }

    /// Asks it and its children to end, and waits until they have.
    pub async fn end(mut self) -> anyhow::Result<()> {
        for pid in process::with_children(self.child.id())?.into_iter().rev() {
            let _ended_already = Command::new("kill").args(["-TERM", &pid.to_string()]).status();
        }
        let ended = async {
            while self.child.try_wait()?.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(READY_TIMEOUT, ended).await.context("it does not end")?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Workers of a master that is killed live on.
        let all = process::with_children(self.child.id()).unwrap_or_default();
        for pid in all.into_iter().filter(|pid| *pid != self.child.id()) {
            let _ended_already = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        let _ended_already = self.child.kill();
        let _ended_already = self.child.wait();
    }
}
