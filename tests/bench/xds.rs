//! A management server's clusters, and changes of single endpoints: what they cost the agent and Envoy, fed by the same server with the
//! same bytes.
//!
//! All is live when the endpoints of every cluster are acknowledged, the listeners that are sent only then are too, and the last
//! cluster is reached. An update is in effect when a request reaches the endpoint that is new; in the kernel ([`kernel`]), a
//! connection. Each proxy is started for its turn, on a CPU of its own; server, client and backend share the other.

mod backend;
mod catalogue;
mod feed;
mod kernel;
mod proxy;
mod turn;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use harness::config::own_address;
use harness::wire::Wire;

use crate::pods;
use backend::Backend;
use catalogue::{Catalogue, Place};
use feed::Feed;
use proxy::Subject;
use turn::{Client, Turn};

/// How long, where, and how much of it.
#[derive(Clone, Debug, clap::Args)]
// The flattened one has a group of the same name.
#[group(skip)]
pub(crate) struct Args {
    #[command(flatten)]
    common: pods::Args,
    /// Seconds of load, without updates and with
    #[arg(long)]
    seconds: u32,
    /// Envoy's program; without it the agent is alone
    #[arg(long)]
    envoy: Option<PathBuf>,
    /// How many clusters; may be repeated
    #[arg(long, required = true)]
    clusters: Vec<u32>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    // So are the threads that are started from here on.
    pods::pin(args.common.client_cpu)?;
    for &clusters in &args.clusters {
        let range = catalogue::SOME..catalogue::MOST;
        ensure!(range.contains(&clusters), "{clusters} clusters: from {} to {} it can be", range.start, range.end - 1);
        requests(args, clusters)?;
        kernel::run(args, clusters)?;
    }
    Ok(())
}

/// Rounds of HTTP through so many clusters.
fn requests(args: &Args, clusters: u32) -> Result<()> {
    let backend = Backend::start()?;
    let address = own_address(10000);
    let catalogue = Catalogue::routes(clusters, address, Place::Here(backend.port()))?;
    let subjects = [Some(Subject::Agent), args.envoy.clone().map(Subject::Envoy)];
    for _ in 0..args.common.runs {
        for subject in subjects.iter().flatten() {
            let server = Feed::start()?;
            let proxy = subject.start(server.address(), args.common.agent_cpu)?;
            let turn = Turn { subject: subject.name(), proxy, catalogue: &catalogue, case: clusters.to_string() };
            let take = || {
                let (mut live, mut client) = turn.start(&server, || Requests::connect(address))?;
                turn.time_updates(&mut live, &mut client)?;
                turn.count_updates(&mut live)?;
                turn.hold_the_rate(&mut live, &mut client, args.seconds)
            };
            let told = || format!("{} with {clusters} clusters; its log:\n{}", subject.name(), turn.proxy.log());
            take().with_context(told)?;
        }
    }
    Ok(())
}

/// One connection to a proxy's listener.
struct Requests(Wire);

impl Requests {
    fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self(Wire::connect(address).with_context(|| address.to_string())?))
    }
}

impl Client for Requests {
    fn reach(&mut self, cluster: u32) -> Result<Option<SocketAddr>> {
        self.0.send(format!("GET {} HTTP/1.1\r\nhost: bench\r\n\r\n", catalogue::path(cluster)))?;
        let response = self.0.response()?;
        Ok((response.status == 200).then(|| backend::reached(&response.body)).flatten())
    }
}
