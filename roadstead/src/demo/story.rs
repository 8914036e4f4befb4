//! The article, step by step. Each step ends when its outcome was seen through a public interface.

use super::Mutant;
use super::load::Load;
use super::narrator::{Narrator, Telling};
use super::report::Report;
use super::stage::{APP_HOST, BUCKET, Stage, until};
use super::{kill, picture};
use anyhow::{Context, ensure};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Patience with one step; the figures in the report tell how long it really took.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);
/// The article's number.
const INSTANCES: u64 = 20;
/// Load goes on this long on a state that does not change, so that every instance is seen.
const REQUESTS_BETWEEN: u64 = 250;
/// What may reach the app while a picture is uploaded: signatures, and pages under load.
const APP_BYTES_MAX: u64 = 64 << 10;

pub async fn tell(
    stage: &Stage,
    mutant: Option<Mutant>,
    narrator: &mut Narrator,
    report: &mut Report,
) -> anyhow::Result<()> {
    let image =
        narrator.step("image", "pack s3pics:2.0 and push it", async |telling| push(stage, telling).await).await?;
    narrator.step("registry", "its layers are objects in S3", async |_| layers_are_objects(stage).await).await?;
    let what = "deploy the article's app until it answers at s3pics.localhost";
    report.seconds_to_routed = narrator.step("deploy", what, async |_| deploy(stage, &image).await).await?;
    report.runtime = narrator.step("runtime", "see what runs it", async |_| runtime(stage).await).await?;
    let what = "upload a 12 MiB picture straight to object storage";
    narrator.step("picture", what, async |_| upload(stage, mutant, report).await).await?;

    let load = stage.load();
    let told = stage.watching_route(under_load(stage, narrator, report, &load)).await;
    report.instances_routed_max = stage.routed_max();
    let tally = load.end().await;
    report.requests = tally.requests;
    report.failed_requests = tally.failed;
    report.host_names_seen = tally.host_names.len() as u64;
    told?;
    narrator
        .step("load", "no request failed, many instances answered", async |_| {
            ensure!(tally.failed == 0, "{} of {} requests failed: {:?}", tally.failed, tally.requests, tally.failures);
            ensure!(tally.host_names.len() >= 10, "only {} instances answered", tally.host_names.len());
            Ok(())
        })
        .await
}

async fn under_load(stage: &Stage, narrator: &mut Narrator, report: &mut Report, load: &Load) -> anyhow::Result<()> {
    let what = "scale to 20";
    report.seconds_to_scaled =
        narrator.step("scale", what, async |telling| scale(stage, telling, INSTANCES).await).await?;
    narrator.step("spread", "refresh shows changing host names", async |telling| spread(load, telling).await).await?;
    narrator.step("roll", "roll to a new version", async |telling| roll(stage, telling).await).await?;
    narrator.step("kill", "kill one instance with SIGKILL", async |_| kill_one(stage, load).await).await?;
    narrator.step("shrink", "scale to 1", async |telling| scale(stage, telling, 1).await).await?;
    report.instances_final = stage.routed().await?;
    let what = "one instance goes on serving";
    narrator.step("after", what, async |telling| more_requests(load, telling).await).await
}

/// Packs this very binary as `/s3pics/s3pics` with `/bin/sh` beside it; Marathon runs `cmd` by `/bin/sh -c`.
async fn push(stage: &Stage, telling: &Telling) -> anyhow::Result<String> {
    let reference = format!("{}/s3pics:2.0", stage.addresses().registry);
    let binary = std::env::current_exe().context("find this binary")?;
    telling.says("pack");
    let packed = crate::cli::pack_pics(&binary).await?;
    telling.says("push");
    let (registry, target) = (stage.registry_client(), reference.parse()?);
    let digest = stage.at_platform(async move { Ok(registry.push(&target, &packed.local()).await?) }).await?;
    telling.says(digest.to_string());
    Ok(reference)
}

/// The layers' bytes are seen through S3, as objects of the registry's bucket.
async fn layers_are_objects(stage: &Stage) -> anyhow::Result<()> {
    let s3 = stage.s3()?;
    let list = async move { Ok(s3.list(crate::role::REGISTRY_BUCKET, "", None, None).await?.objects) };
    let objects = stage.at_platform(list).await?;
    let largest = objects.iter().map(|object| object.bytes).max().unwrap_or(0);
    ensure!(objects.len() >= 2, "the registry's bucket holds {} objects", objects.len());
    ensure!(largest > 1 << 20, "the largest object of the registry has {largest} bytes: no layer");
    Ok(())
}

/// The article's JSON, changed only in image and in the arguments of `cmd`.
fn definition(stage: &Stage, image: &str) -> anyhow::Result<Value> {
    let key = stage.authority().access_key("pics").context("the authority has keys for pics")?;
    let cmd = format!(
        "cd /s3pics; ./s3pics -AccessKey={} -SecretKey={} -EndPoint=http://s3.localhost:{} -Namespace=s3 --bucket {BUCKET}",
        key.access_key,
        key.secret_key.reveal(),
        stage.public_port(),
    );
    Ok(json!({
        "id": "s3pics",
        "cmd": cmd,
        "cpus": 0.1,
        "mem": 64.0,
        "instances": 1,
        "container": {
            "type": "DOCKER",
            "docker": {
                "image": image,
                "network": "BRIDGE",
                "portMappings": [{ "containerPort": 8080, "hostPort": 0, "protocol": "tcp" }]
            }
        },
        "healthChecks": [{
            "protocol": "HTTP",
            "portIndex": 0,
            "path": "/",
            "gracePeriodSeconds": 10,
            "intervalSeconds": 20,
            "maxConsecutiveFailures": 3
        }]
    }))
}

/// Seconds from the POST to the first answer of the app through the edge.
async fn deploy(stage: &Stage, image: &str) -> anyhow::Result<f64> {
    let s3 = stage.s3()?;
    stage.at_platform(async move { crate::cli::make_pictures_bucket(&s3, BUCKET).await }).await?;
    let start = Instant::now();
    stage.marathon(Method::POST, "/v2/apps", Some(&definition(stage, image)?)).await?;
    until("the app answers through the edge", STEP_TIMEOUT, async || {
        let response = stage.visit(APP_HOST, Request::get("/").body(web::empty_body())?).await?;
        let page = String::from_utf8_lossy(response.body());
        Ok((response.status() == StatusCode::OK && page.contains("Application running on")).then_some(()))
    })
    .await?;
    let seconds = start.elapsed().as_secs_f64();
    settled(stage).await?;
    Ok(seconds)
}

async fn runtime(stage: &Stage) -> anyhow::Result<String> {
    let nodes = stage.marathon(Method::GET, "/v1/nodes", None).await?;
    nodes[0]["runtime"].as_str().map(str::to_owned).context("the node names its runtime")
}

async fn upload(stage: &Stage, mutant: Option<Mutant>, report: &mut Report) -> anyhow::Result<()> {
    let before = stage.edge_metrics().await?;
    picture::upload(stage, picture::draw()?, mutant).await?;
    let after = stage.edge_metrics().await?;
    report.object_bytes_in = after.request_bytes("platform-s3") - before.request_bytes("platform-s3");
    report.app_bytes_in = after.request_bytes("s3pics") - before.request_bytes("s3pics");
    ensure!(
        report.object_bytes_in >= picture::PICTURE_BYTES as u64,
        "only {} bytes of the picture went to object storage",
        report.object_bytes_in
    );
    ensure!(report.app_bytes_in < APP_BYTES_MAX, "{} bytes went through the app", report.app_bytes_in);
    Ok(())
}

/// Seconds from the request until the edge routes so many servers.
pub async fn scale(stage: &Stage, telling: &Telling, instances: u64) -> anyhow::Result<f64> {
    let start = Instant::now();
    stage.marathon(Method::PUT, "/v2/apps/s3pics", Some(&json!({ "instances": instances }))).await?;
    until(&format!("{instances} servers are routed"), STEP_TIMEOUT, async || {
        let routed = stage.routed().await?;
        telling.says(format!("{routed} routed"));
        Ok((routed == instances).then_some(()))
    })
    .await?;
    let seconds = start.elapsed().as_secs_f64();
    settled(stage).await?;
    Ok(seconds)
}

async fn spread(load: &Load, telling: &Telling) -> anyhow::Result<()> {
    let before = load.tally().host_names.len() as u64;
    until("every instance has answered", STEP_TIMEOUT, async || {
        let seen = load.tally().host_names.len() as u64;
        telling.says(format!("{seen} host names"));
        Ok((seen >= INSTANCES.max(before)).then_some(()))
    })
    .await
}

/// A new version by a variable that no version had before; every task of the old one is replaced.
pub async fn roll(stage: &Stage, telling: &Telling) -> anyhow::Result<()> {
    let old = task_ids(stage).await?;
    let release = format!("{:?}", std::time::SystemTime::now());
    let change = json!({ "env": { "RELEASE": release } });
    stage.marathon(Method::PUT, "/v2/apps/s3pics", Some(&change)).await?;
    until("every task is of the new version", STEP_TIMEOUT, async || {
        let now = task_ids(stage).await?;
        let replaced = now.iter().filter(|task| !old.contains(task)).count();
        telling.says(format!("{replaced} new"));
        let deployments = stage.marathon(Method::GET, "/v2/deployments", None).await?;
        let idle = deployments.as_array().is_some_and(Vec::is_empty);
        Ok((idle && replaced == old.len() && now.len() == old.len()).then_some(()))
    })
    .await
}

/// Kills an instance under load. GETs must not be lost; POSTs pause, since nobody may send one twice.
async fn kill_one(stage: &Stage, load: &Load) -> anyhow::Result<()> {
    let _posts_paused = load.pause_posts().await;
    let before = task_ids(stage).await?;
    let victim = before.first().context("the app has tasks")?.clone();
    kill::task(&victim)?;
    until("another task has taken its place", STEP_TIMEOUT, async || {
        let now = task_ids(stage).await?;
        let replaced = !now.contains(&victim) && now.len() == before.len();
        Ok((replaced && stage.routed().await? == before.len() as u64).then_some(()))
    })
    .await
}

async fn more_requests(load: &Load, telling: &Telling) -> anyhow::Result<()> {
    let enough = load.tally().requests + REQUESTS_BETWEEN;
    until("the load goes on", STEP_TIMEOUT, async || {
        let requests = load.tally().requests;
        telling.says(format!("{requests} requests"));
        Ok((requests >= enough).then_some(()))
    })
    .await
}

/// No deployment runs, and the app has exactly the tasks it asks for.
async fn settled(stage: &Stage) -> anyhow::Result<()> {
    until("the deployment has ended", STEP_TIMEOUT, async || {
        let deployments = stage.marathon(Method::GET, "/v2/deployments", None).await?;
        let app = stage.marathon_app("/s3pics").await?;
        let tasks = app["tasks"].as_array().map_or(0, Vec::len) as u64;
        let idle = deployments.as_array().is_some_and(Vec::is_empty);
        Ok((idle && Some(tasks) == app["instances"].as_u64()).then_some(()))
    })
    .await
}

async fn task_ids(stage: &Stage) -> anyhow::Result<Vec<String>> {
    let app = stage.marathon_app("/s3pics").await?;
    let tasks = app["tasks"].as_array().context("an app has tasks")?;
    Ok(tasks.iter().filter_map(|task| task["id"].as_str().map(str::to_owned)).collect())
}
