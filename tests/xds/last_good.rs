//! `mesh.last_good`: an agent that starts while no server answers serves with what was sent to the one before, and a server that comes
//! back takes over.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::ads::Ads;
use harness::ads::message::{CDS, EDS, LDS, RDS};
use harness::ads::plane::Plane;
use harness::agent::{Agent, Options};
use harness::config::{all_to, own_address, with};
use harness::echo::HttpServer;
use harness::scratch::Scratch;
use mesh_agent::model::management::Keep;
use mesh_agent::model::resource::ResourceKind;
use mesh_agent::xds::delivery::{News, Want};
use serde_json::{Value, json};

use crate::agent::{eventually, set, who};
use crate::beside::load::Load;
use crate::rig::{Rig, WAIT, said, send, server};
use crate::setup::{bootstrap, eds_cluster, endpoints, rds_listener, routes};

/// Where a server may be, what agents keep, and two servers behind them.
struct World {
    incremental: bool,
    at: SocketAddr,
    scratch: Scratch,
    address: SocketAddr,
    extra: SocketAddr,
    one: HttpServer,
    two: HttpServer,
}

impl World {
    fn new(incremental: bool) -> anyhow::Result<Self> {
        let (one, two) = (HttpServer::local("one")?, HttpServer::local("two")?);
        let (address, extra) = (own_address(10000), own_address(10001));
        Ok(Self { incremental, at: own_address(7000), scratch: Scratch::new()?, address, extra, one, two })
    }

    /// A server that has two listeners with the same routes, to one.
    fn plane(&self) -> anyhow::Result<Plane> {
        let plane = Plane::start(self.at)?;
        set(&plane, CDS, &[eds_cluster("a")])?;
        set(&plane, EDS, &[endpoints("a", &[self.one.address()])])?;
        set(&plane, LDS, &[rds_listener("l", self.address, "r"), rds_listener("x", self.extra, "r")])?;
        set(&plane, RDS, &[routes("r", all_to("a"))])?;
        Ok(plane)
    }

    fn folder(&self) -> PathBuf {
        self.scratch.path().join("kept")
    }

    fn config(&self) -> Value {
        let kept = json!({ "mesh": { "last_good": { "path": self.folder() } } });
        with(bootstrap("test", self.incremental, self.at), kept)
    }

    fn start(&self) -> anyhow::Result<Agent> {
        Options::no_kernel().start(self.config())
    }

    fn who(&self) -> anyhow::Result<String> {
        who(self.address)
    }
}

pub(crate) fn last_good(agent: &Agent) -> Value {
    agent.admin().json("/config").expect("an answer")["last_good"].take()
}

/// Ended without a chance to do anything about it.
pub(crate) fn kill(mut agent: Agent) -> anyhow::Result<()> {
    agent.kill();
    agent.wait(Duration::from_secs(10)).map(drop)
}

/// Waits until so many resources are kept.
pub(crate) fn keeps(agent: &Agent, count: usize) {
    eventually("it is kept", || last_good(agent)["resources"] == count);
}

fn file(folder: &Path) -> PathBuf {
    folder.join("00000001.journal")
}

#[test]
fn without_a_server_what_was_kept_serves_and_the_server_takes_over_later() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let world = World::new(incremental)?;
        let plane = world.plane()?;
        let agent = world.start()?;
        set(&plane, EDS, &[endpoints("a", &[world.two.address()])])?;
        eventually("two answers", || world.who().is_ok_and(|who| who == "two"));
        keeps(&agent, 5);
        assert_eq!((&last_good(&agent)["serving"], &last_good(&agent)["failure"]), (&Value::Null, &Value::Null));
        drop(plane);
        kill(agent)?;

        let agent = world.start()?;
        assert_eq!((world.who()?, who(world.extra)?), ("two".to_owned(), "two".to_owned()), "the last there was");
        let ready = agent.admin().get("/readyz")?.text();
        assert!(ready.starts_with("ok, with what \"plane") && ready.ends_with("no server answers\n"), "{ready}");
        let view = last_good(&agent);
        assert!(view["serving"].as_str().is_some_and(|server| server.starts_with("plane")), "{view}");
        assert!(view["age_ms"].as_u64().is_some_and(|age| age < 600_000), "{view}");
        assert_eq!(agent.admin().metrics()?.sum("bowline_last_good_serving", &[]), 1.0);
        // It goes on as it was, also for those who come again.
        kill(agent)?;
        let agent = world.start()?;

        let load = Load::start(world.address)?;
        let plane = Plane::start(world.at)?;
        // Another server has other versions.
        for kind in [CDS, EDS, LDS, RDS] {
            for _ in 0..20 {
                plane.remove(kind, &["nothing"]);
            }
        }
        plane.hold(LDS, true);
        set(&plane, CDS, &[eds_cluster("b")])?;
        set(&plane, EDS, &[endpoints("b", &[world.one.address()])])?;
        set(&plane, RDS, &[routes("r", all_to("b"))])?;
        set(&plane, LDS, &[rds_listener("l", world.address, "r")])?;
        plane.hold(LDS, false);
        eventually("one answers", || world.who().is_ok_and(|who| who == "one"));
        eventually("what the server does not name is gone", || who(world.extra).is_err());
        eventually("nor is it kept", || last_good(&agent)["resources"] == 4 && last_good(&agent)["serving"].is_null());
        assert_eq!(agent.admin().get("/readyz")?.text(), "ok\n");
        eventually("its cluster goes last", || {
            agent.admin().get("/clusters").is_ok_and(|answer| !answer.text().contains("a::"))
        });
        load.stop().with_context(|| agent.log())?;
        drop(plane);
        kill(agent)?;
        let mut agent = world.start()?;
        assert_eq!((world.who()?, who(world.extra).is_err()), ("one".to_owned(), true));
        agent.stop()?;
    }
    Ok(())
}

#[test]
fn a_server_that_answers_is_asked_first() -> anyhow::Result<()> {
    let world = World::new(true)?;
    let plane = world.plane()?;
    let agent = world.start()?;
    keeps(&agent, 5);
    set(&plane, EDS, &[endpoints("a", &[world.two.address()])])?;
    kill(agent)?;
    let mut agent = world.start()?;
    assert_eq!((world.who()?, &last_good(&agent)["serving"]), ("two".to_owned(), &Value::Null));
    agent.stop()?;
    assert!(!agent.log().contains("what was kept"), "{}", agent.log());
    Ok(())
}

#[test]
fn a_server_that_says_nothing_is_waited_for_no_longer_than_one_that_is_not_there() -> anyhow::Result<()> {
    let world = World::new(true)?;
    let plane = world.plane()?;
    let agent = world.start()?;
    keeps(&agent, 5);
    drop(plane);
    kill(agent)?;
    let mut mute = None;
    eventually("the server's place is free", || {
        mute = TcpListener::bind(world.at).ok();
        mute.is_some()
    });
    let agent = Options::no_kernel().begin(world.config())?;
    eventually("it serves", || world.who().is_ok_and(|who| who == "one"));
    eventually("it is ready", || agent.admin().is_ready());
    drop(mute);
    let plane = world.plane()?;
    set(&plane, EDS, &[endpoints("a", &[world.two.address()])])?;
    plane.remove(LDS, &["x"]);
    eventually("it has taken over", || world.who().is_ok_and(|who| who == "two") && who(world.extra).is_err());
    Ok(())
}

#[test]
fn what_is_asked_for_on_demand_is_kept_too() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let world = World::new(incremental)?;
        let plane = world.plane()?;
        set(&plane, CDS, &[eds_cluster("a"), eds_cluster("unused")])?;
        let mut config = world.config();
        config["mesh"]["on_demand"] = json!(true);
        let agent = Options::no_kernel().start(&config)?;
        assert_eq!(world.who()?, "one");
        keeps(&agent, 5);
        drop(plane);
        kill(agent)?;
        let agent = Options::no_kernel().start(&config)?;
        assert_eq!(world.who()?, "one", "asked for, and had from the disk");
        assert!(last_good(&agent)["serving"].is_string());
        let plane = world.plane()?;
        set(&plane, EDS, &[endpoints("a", &[world.two.address()])])?;
        eventually("it has taken over", || world.who().is_ok_and(|who| who == "two"));
    }
    Ok(())
}

#[test]
fn what_is_damaged_is_set_aside_by_name_and_what_is_torn_is_cut() -> anyhow::Result<()> {
    let world = World::new(true)?;
    let plane = world.plane()?;
    let agent = world.start()?;
    keeps(&agent, 5);
    drop(plane);
    kill(agent)?;
    let path = file(&world.folder());
    let whole = fs::read(&path)?;
    // The end of the last record is not there.
    fs::write(&path, &whole[..whole.len() - 3])?;
    let agent = Options::no_kernel().begin(world.config())?;
    eventually("it is told", || agent.log().contains("the last record that was kept is not whole"));
    kill(agent)?;

    let mut damaged = whole;
    damaged[100] ^= 1;
    fs::write(&path, damaged)?;
    let agent = Options::no_kernel().begin(world.config())?;
    let named = format!("{} is damaged at byte", path.display());
    eventually("it is told", || agent.log().contains(&named) && agent.log().contains("set aside"));
    assert!(!agent.admin().is_ready() && path.with_extension("damaged").exists());
    let _plane = world.plane()?;
    eventually("it is ready", || agent.admin().is_ready());
    assert_eq!(world.who()?, "one");
    keeps(&agent, 5);
    Ok(())
}

#[test]
fn a_disk_that_cannot_be_written_stops_nobody() -> anyhow::Result<()> {
    let world = World::new(true)?;
    let _plane = world.plane()?;
    let mut config = world.config();
    config["mesh"]["last_good"]["path"] = json!("/proc/no/such");
    let mut agent = Options::no_kernel().start(config)?;
    assert_eq!(world.who()?, "one");
    assert!(last_good(&agent)["failure"].as_str().is_some_and(|why| why.contains("/proc/no/such")));
    assert_eq!(agent.admin().metrics()?.sum("bowline_last_good_failing", &[]), 1.0);
    agent.stop()
}

#[test]
fn nothing_to_keep_is_refused() -> anyhow::Result<()> {
    let said = Options::no_kernel().refuse(json!({ "mesh": { "last_good": { "path": "relative" } } }))?.text();
    assert!(said.contains("mesh.last_good.path: must be an absolute path"), "{said}");
    assert!(said.contains("there is nothing to be kept"), "{said}");
    Ok(())
}

/// Clients by themselves: what they say of what they have from the disk.
#[test]
fn only_what_is_held_is_said_to_be_held() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let scratch = Scratch::new()?;
        let ads = Ads::start(own_address(0))?;
        let keep = || Some(Keep { folder: scratch.path().join("kept"), settle: Duration::ZERO });
        let wants = [Want::All(ResourceKind::Cluster)];
        let mut rig = Rig::keeping(incremental, vec![server(ads.address())], &wants, keep())?;
        let stream = ads.stream(WAIT)?;
        said(&stream)?;
        send(&stream, CDS, "1", &["a=x", "b=x"], &[]);
        assert_eq!(rig.take()?.0, ["a", "b"]);
        said(&stream)?;
        let at = ads.address();
        drop((rig, stream, ads));

        // Nobody is there. One of the two cannot go live.
        let mut rig = Rig::keeping(incremental, vec![server(at)], &wants, keep())?;
        let delivery = rig.next()?;
        let News::Update { changed, version, .. } = &delivery.news else { anyhow::bail!("{delivery:?}") };
        ensure!(version == "kept" && changed.len() == 2, "{delivery:?}");
        let refused = mesh_agent::xds::session::Fault { name: Some("b".into()), text: "no".into() };
        let reply = mesh_agent::xds::delivery::Reply { refused: vec![refused], wishes: Vec::new() };
        let _ = delivery.reply.send(reply);
        let ads = Ads::start(at)?;
        let stream = ads.stream(WAIT)?;
        let first = said(&stream)?;
        // SotW has one version for all, which is not that of what was kept.
        assert_eq!(first.has, if incremental { vec!["a@1"] } else { vec![""] });
        // What is the same is not news.
        send(&stream, CDS, "2", &["a=x", "b=y"], &[]);
        assert_eq!(rig.take()?, (vec!["b".to_owned()], vec![]));
    }
    Ok(())
}
