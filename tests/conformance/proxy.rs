//! The two proxies, as child processes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::agent::{Agent, Options};
use harness::envoy::{self, Envoy};

use crate::world::Ports;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Envoy,
    Agent,
}

/// A running proxy. Ends, with its files, when dropped.
#[derive(Debug)]
#[expect(dead_code, reason = "held for their Drop")]
pub(crate) enum Proxy {
    Envoy(Envoy),
    Agent(Box<Agent>),
}

impl Proxy {
    /// Starts a proxy and waits until it listens on all of its ports.
    pub(crate) async fn start(subject: Subject, config: &str, ports: &Ports) -> Result<Self> {
        let (config, ports) = (ports.show(config), ports.listeners().collect::<Vec<_>>());
        let start = move || match subject {
            Subject::Envoy => envoy(&config, &ports),
            Subject::Agent => {
                let options = Options::new().arg("--no-kernel").arg("--workers").arg("1");
                Ok(Self::Agent(Box::new(options.start(&config)?)))
            }
        };
        tokio::task::spawn_blocking(start).await?.with_context(|| format!("{subject:?}"))
    }
}

fn envoy(config: &str, ports: &[u16]) -> Result<Proxy> {
    let mut envoy = Envoy::begin(config)?;
    let deadline = Instant::now() + Duration::from_secs(15);
    let listening = || -> Result<bool> {
        let bound = envoy::listening()?;
        Ok(ports.iter().all(|port| bound.contains(port)))
    };
    while !listening()? {
        if !envoy.is_running() || Instant::now() > deadline {
            bail!("does not listen:\n{}", envoy.log());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Proxy::Envoy(envoy))
}
