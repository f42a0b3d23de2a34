//! One suite on one proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::case::{Case, OneOrMany, Op, Script, Suite};
use crate::client1::{self, After, Outcome, Plan};
use crate::client2;
use crate::observe::{Message, Observed};
use crate::proxy::{Proxy, Subject};
use crate::world::{Ports, World};

/// Runs all cases, those of a lane one after the other.
pub(crate) async fn run(subject: Subject, suite: &Arc<Suite>) -> Result<Vec<Observed>> {
    let lanes = suite.cases.lanes.max(1);
    let tasks: Vec<_> = (0..lanes).map(|lane| tokio::spawn(run_lane(subject, Arc::clone(suite), lane))).collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    let place = |observed: &Observed| suite.cases.cases.iter().position(|case| case.name == observed.name);
    all.sort_by_key(place);
    Ok(all)
}

async fn run_lane(subject: Subject, suite: Arc<Suite>, lane: usize) -> Result<Vec<Observed>> {
    let world = World::new(&suite)?;
    let _proxy = Proxy::start(subject, &suite.config, &world.ports).await?;
    let mut ends = Vec::new();
    for case in suite.cases.cases.iter().skip(lane).step_by(suite.cases.lanes.max(1)) {
        world.upstreams.begin(case);
        let mut observed = Observed { name: case.name.clone(), ..Observed::default() };
        if let Some(times) = case.repeat {
            observed.after = spread(&world, case, times).await?;
            ends.push((case, observed, None));
            continue;
        }
        let Outcome { messages, after } = exchange(&world, case).await?;
        if messages.iter().all(|message| message.line.is_empty()) {
            // Without an answer nothing says that the upstreams have seen all of it.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        observed.client = messages;
        observed.upstream = world.upstreams.settle().await;
        ends.push((case, observed, Some(after)));
    }
    // What becomes of the connections takes its time, so it is awaited for all of them together.
    let mut all = Vec::new();
    for (case, mut observed, after) in ends {
        if let Some(after) = after {
            let After { state, extra } = after.await?;
            observed.after = state;
            if !extra.is_empty() {
                observed.client.push(Message { body: extra, end: "extra".to_owned(), ..Message::default() });
            }
        }
        observed.normalise(&world.ports, &case.racy);
        all.push(observed);
    }
    Ok(all)
}

async fn exchange(world: &World, case: &Case) -> Result<Outcome> {
    let port = world.ports.listener(&case.listener)?;
    let linger = case.linger.map_or(client1::LINGER, Duration::from_millis);
    let plan = Plan { port, upstreams: Arc::clone(&world.upstreams), linger };
    let ops = |script: &Script| script.ops().into_iter().map(|op| show(op, &world.ports)).collect::<Vec<_>>();
    if let Some(script) = &case.send {
        return client1::http(&plan, ops(script), case.responses).await;
    }
    match (&case.h2, &case.tcp) {
        (Some(OneOrMany::One(one)), _) => client2::http(&plan, vec![ops(one)]).await,
        (Some(OneOrMany::Many(many)), _) => client2::http(&plan, many.iter().map(ops).collect()).await,
        (None, Some(script)) => client1::tcp(&plan, ops(script)).await,
        (None, None) => bail!("nothing to send"),
    }
}

/// Sends the same case many times and compares the share of each answer with its weight.
async fn spread(world: &World, case: &Case, times: usize) -> Result<String> {
    let mut counts: BTreeMap<String, f64> = case.spread.keys().map(|body| (body.clone(), 0.0)).collect();
    for _ in 0..times {
        let outcome = exchange(world, case).await?;
        outcome.after.abort();
        let body = outcome.messages.last().map(|message| message.body.clone()).unwrap_or_default();
        *counts.entry(body).or_default() += 1.0;
    }
    let total: f64 = case.spread.values().map(|weight| f64::from(*weight)).sum();
    let mut chi_square = 0.0;
    for (body, count) in &counts {
        match f64::from(case.spread.get(body).copied().unwrap_or(0)) * times as f64 / total {
            0.0 if *count > 0.0 => return Ok(format!("unexpected answer {body:?}")),
            0.0 => {}
            expected => chi_square += (count - expected).powi(2) / expected,
        }
    }
    // One run in a hundred thousand of a fair proxy is beyond this, with up to four answers.
    const MOST: f64 = 25.9;
    Ok(if chi_square < MOST { "spread as weighted".to_owned() } else { format!("spread {counts:?}") })
}

fn show(op: Op, ports: &Ports) -> Op {
    match op {
        Op::Head(text) => Op::Head(ports.show(&text)),
        Op::Raw(text) => Op::Raw(ports.show(&text)),
        other => other,
    }
}
