//! `--check`: the demo without a spectator. Every claim it makes is asserted, down to what is left when it has gone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use harness::client::{Client, Version};
use harness::footprint::Footprint;
use harness::world::Pod;
use serde_json::Value;

use crate::gateway::Gateway;
use crate::rules::Rules;
use crate::stage::Stage;

/// Sets the stage, drives traffic, asserts, takes all down again.
pub(crate) async fn run(port: u16) -> anyhow::Result<()> {
    let rules = Rules::host()?;
    let stage = Stage::set(port)?;
    let gateway = Gateway::new(port);
    let played = play(&stage, &gateway, &rules).await;
    if played.is_err() {
        eprintln!("the agent's log:\n{}", stage.agent().log());
    }
    played?;
    leave(stage)?;
    println!("demo: ok ({} requests, 0 errors)", gateway.sent());
    Ok(())
}

async fn play(stage: &Stage, gateway: &Gateway, rules: &Rules) -> anyhow::Result<()> {
    page(gateway).await.context("the page")?;
    split(gateway).await.context("the split of reviews")?;
    jason(gateway).await.context("the route for jason")?;
    redis(stage, gateway).await.context("the way to Redis")?;
    families(stage).await.context("service addresses")?;
    Rules::check(rules, stage.world())?;
    no_errors(stage)
}

async fn page(gateway: &Gateway) -> anyhow::Result<()> {
    let page = gateway.get("/productpage", None).await?;
    let html = String::from_utf8_lossy(&page.body);
    ensure!(page.status == 200, "{}: {html}", page.status);
    for part in ["The Comedy of Errors", "William Shakespeare", "Reviewer2", "Sign in"] {
        ensure!(html.contains(part), "no {part:?} in it:\n{html}");
    }
    let home = gateway.get("/", None).await?;
    ensure!(home.status == 302 && home.header("location").ends_with("/productpage"), "/: {home:?}");
    let health = gateway.get("/healthz", None).await?;
    ensure!(health.status == 200 && health.body == "ok\n", "/healthz: {health:?}");
    Ok(())
}

/// Each anonymous view is v1 or v3 with even chances, so the count of v1 is binomial.
async fn split(gateway: &Gateway) -> anyhow::Result<()> {
    let mut count = BTreeMap::<String, u32>::new();
    for _ in 0..VIEWS {
        let version = product(gateway, None).await?["reviews"]["version"].as_str().unwrap_or_default().to_owned();
        *count.entry(version).or_default() += 1;
    }
    let deviation = (f64::from(VIEWS) * 0.5 * 0.5).sqrt();
    let v1 = f64::from(count.get("v1").copied().unwrap_or_default());
    let v3 = f64::from(count.get("v3").copied().unwrap_or_default());
    ensure!(v1 + v3 == f64::from(VIEWS), "{count:?}: only v1 and v3 were expected");
    // Five deviations: wrong once in two million runs.
    ensure!((v1 - f64::from(VIEWS) / 2.0).abs() < 5.0 * deviation, "{count:?} isn't half and half");
    println!("reviews: {v1} times v1, {v3} times v3");
    Ok(())
}

async fn jason(gateway: &Gateway) -> anyhow::Result<()> {
    for _ in 0..VIEWS / 4 {
        let product = product(gateway, Some("jason")).await?;
        ensure!(product["reviews"]["version"] == "v2", "{product}");
        ensure!(product["reviews"]["reviews"][0]["rating"]["color"] == "black", "{product}");
    }
    println!("reviews for jason: {} times v2", VIEWS / 4);
    Ok(())
}

/// What is written on Redis's own command line shows up on the page.
async fn redis(stage: &Stage, gateway: &Gateway) -> anyhow::Result<()> {
    let pod = stage.world().pod("redis");
    for stars in [1, 5] {
        let set = pod.run("redis-cli", &["hset", "ratings:0", "Reviewer1", &stars.to_string()])?;
        ensure!(set.status.success(), "redis-cli: {}", set.text());
        let product = product(gateway, Some("jason")).await?;
        ensure!(product["reviews"]["reviews"][0]["rating"]["stars"] == stars, "{stars} stars: {product}");
    }
    // Nobody else in this world asks for a service that needs no agent.
    let metrics = stage.agent().admin().metrics()?;
    let direct = metrics.sum("bowline_kernel_direct_total", &[]);
    let connections = metrics.sum("bowline_tcp_connections_total", &[("source", "ratings")]);
    ensure!(connections >= 2.0, "{connections} connections from ratings to redis were counted");
    ensure!(direct >= connections, "{connections} connections to redis, only {direct} sent to it by the kernel");
    println!("redis: {connections} connections, sent to it by the kernel");
    Ok(())
}

/// Every HTTP service, by its IPv4 and by its IPv6 address, from a pod.
async fn families(stage: &Stage) -> anyhow::Result<()> {
    let pod = stage.world().pod("productpage");
    let services = [("details", 10, "author"), ("reviews", 11, "reviews"), ("ratings", 12, "ratings")];
    for (service, n, field) in services {
        for address in [format!("10.96.0.{n}:9080"), format!("[fd00:96::{n}]:9080")] {
            let answer = from_pod(pod, &address, service).with_context(|| format!("{service} at {address}"))?;
            ensure!(!answer[field].is_null(), "{service} at {address}: {answer}");
        }
    }
    println!("service addresses: IPv4 and IPv6 answer");
    Ok(())
}

fn from_pod(pod: &Pod, address: &str, service: &str) -> anyhow::Result<Value> {
    let address = address.parse()?;
    pod.block_on(async move {
        let mut client = Client::connect(address, Version::Http1).await?;
        let answer = client.get(&format!("http://{service}:9080/{service}/0")).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.json())
    })
}

fn no_errors(stage: &Stage) -> anyhow::Result<()> {
    let metrics = stage.agent().admin().metrics()?;
    let mut errors = metrics.named("bowline_errors_total").chain(metrics.named("bowline_connect_failures_total"));
    if let Some(error) = errors.find(|sample| sample.value > 0.0) {
        bail!("the agent counted errors: {error:?}");
    }
    Ok(())
}

async fn product(gateway: &Gateway, user: Option<&str>) -> anyhow::Result<Value> {
    let answer = gateway.get("/api/v1/products/0", user).await?;
    ensure!(answer.status == 200, "{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
    Ok(answer.json())
}

/// Takes the stage down and looks for what is left.
fn leave(stage: Stage) -> anyhow::Result<()> {
    let held = Footprint::of(stage.agent().pid())?;
    let (tag, pins) = (stage.world().tag().to_owned(), stage.world().pin_path());
    // The agent and its programs, then, with the world, what they were pinned by.
    stage.strike()?;
    ensure!(!pins.exists(), "{} is left", pins.display());
    // The kernel frees what was held some time after its last holder ended.
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let left = held.still_loaded()?;
        if left.is_empty() {
            break;
        }
        ensure!(Instant::now() < deadline, "BPF objects are left: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    for folder in ["/run/netns".into(), "/etc/netns".into(), harness::world::cgroup_mount()?] {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        if let Some(name) = names.find(|name| name.starts_with(&tag)) {
            bail!("{} is left", folder.join(name).display());
        }
    }
    Ok(())
}

const VIEWS: u32 = 400;
