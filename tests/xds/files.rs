//! Resources from files: read, watched, refused, and gone.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use harness::ads::message::{CDS, EDS, LDS, RDS};
use harness::ads::plane::Plane;
use harness::agent::{Agent, Options};
use harness::config::{all_to, own_address, with};
use harness::echo::HttpServer;
use harness::scratch::Scratch;
use serde_json::{Value, json};

use crate::agent::{eventually, get, set, who};
use crate::beside::load::Load;
use crate::setup::{ads, bootstrap, eds_cluster, endpoints, rds_listener, routes};

/// Moves a file to its place, as editors and control planes do.
pub(crate) fn put(path: &Path, content: impl AsRef<[u8]>) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(&new, path).with_context(|| path.display().to_string())
}

/// What a file of resources holds.
pub(crate) fn response(version: &str, kind: &str, resources: &[Value]) -> String {
    let resources: Vec<_> = resources.iter().map(|it| with(it.clone(), json!({ "@type": kind }))).collect();
    json!({ "version_info": version, "resources": resources }).to_string()
}

/// A source of resources that come from `path`.
pub(crate) fn from(path: &Path) -> Value {
    json!({ "path_config_source": { "path": path }, "resource_api_version": "V3" })
}

pub(crate) fn with_eds(mut cluster: Value, source: Value) -> Value {
    if cluster["eds_cluster_config"]["eds_config"].is_object() {
        cluster["eds_cluster_config"]["eds_config"] = source;
    }
    cluster
}

pub(crate) fn with_rds(mut listener: Value, source: Value) -> Value {
    let rds = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["rds"];
    if rds.is_object() {
        rds["config_source"] = source;
    }
    listener
}

/// A node whose clusters and listeners come from files of `folder`.
pub(crate) fn node(id: &str, folder: &Path) -> Value {
    let dynamic = json!({ "cds_config": from(&folder.join("cds.yaml")), "lds_config": from(&folder.join("lds.yaml")) });
    json!({ "node": { "id": id, "cluster": "test" }, "dynamic_resources": dynamic })
}

/// Four files, two servers, and an agent's configuration.
struct Files {
    scratch: Scratch,
    address: SocketAddr,
    one: HttpServer,
    two: HttpServer,
}

impl Files {
    fn new() -> anyhow::Result<Self> {
        let (one, two) = (HttpServer::local("one")?, HttpServer::local("two")?);
        Ok(Self { scratch: Scratch::new()?, address: own_address(10000), one, two })
    }

    /// With an agent that everything is live in.
    fn start() -> anyhow::Result<(Self, Agent)> {
        let files = Self::new()?;
        files.write(files.scratch.path())?;
        let agent = Options::no_kernel().start(node("test", files.scratch.path()))?;
        ensure!(files.who()? == "one", "ready means live");
        Ok((files, agent))
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        put(&folder.join("eds.json"), self.endpoints("1", &self.one))?;
        put(&folder.join("rds.yaml"), response("1", RDS, &[routes("r", all_to("a"))]))?;
        put(&folder.join("cds.yaml"), response("1", CDS, &[self.cluster("a")]))?;
        put(&folder.join("lds.yaml"), response("1", LDS, &[self.listener(self.address)]))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn cluster(&self, name: &str) -> Value {
        with_eds(eds_cluster(name), from(&self.path("eds.json")))
    }

    fn listener(&self, address: SocketAddr) -> Value {
        with_rds(rds_listener("l", address, "r"), from(&self.path("rds.yaml")))
    }

    fn endpoints(&self, version: &str, server: &HttpServer) -> String {
        response(version, EDS, &[endpoints("a", &[server.address()])])
    }

    fn who(&self) -> anyhow::Result<String> {
        who(self.address)
    }

    fn becomes(&self, name: &str) {
        eventually(&format!("{name} answers"), || self.who().is_ok_and(|who| who == name));
    }
}

/// How a file stands, by its name.
fn standing(agent: &Agent, name: &str) -> Value {
    let view = agent.admin().json("/config").expect("an answer");
    let files = view["files"].as_array().cloned().unwrap_or_default();
    let is_it = |file: &&Value| file["path"].as_str().is_some_and(|path| path.ends_with(name));
    files.iter().find(is_it).cloned().unwrap_or_default()
}

#[test]
fn files_say_where_requests_go_and_each_change_counts() -> anyhow::Result<()> {
    let (files, mut agent) = Files::start()?;
    // Moved over the old one, and written in place.
    put(&files.path("eds.json"), files.endpoints("2", &files.two))?;
    files.becomes("two");
    fs::write(files.path("eds.json"), files.endpoints("3", &files.one))?;
    files.becomes("one");
    eventually("its version is told", || standing(&agent, "eds.json")["version"] == "3");
    // A second cluster with its own endpoints in the file of the first, and routes to it.
    let both = [endpoints("a", &[files.one.address()]), endpoints("b", &[files.two.address()])];
    put(&files.path("eds.json"), response("4", EDS, &both))?;
    put(&files.path("cds.yaml"), response("2", CDS, &[files.cluster("a"), files.cluster("b")]))?;
    put(&files.path("rds.yaml"), response("2", RDS, &[routes("r", all_to("b"))]))?;
    files.becomes("two");
    // Another address.
    let elsewhere = own_address(10000);
    put(&files.path("lds.yaml"), response("2", LDS, &[files.listener(elsewhere)]))?;
    eventually("the new address serves", || who(elsewhere).is_ok_and(|who| who == "two"));
    eventually("the old one is closed", || files.who().is_err());
    // What is not in the file is gone; endpoints and routes stay while they are used.
    put(&files.path("rds.yaml"), response("3", RDS, &[]))?;
    put(&files.path("cds.yaml"), response("3", CDS, &[files.cluster("b")]))?;
    eventually("one cluster is left", || standing(&agent, "cds.yaml")["resources"] == 1);
    assert_eq!(who(elsewhere)?, "two");
    put(&files.path("lds.yaml"), response("3", LDS, &[]))?;
    eventually("the listener is gone", || who(elsewhere).is_err());
    eventually("nobody asks for endpoints", || {
        put(&files.path("cds.yaml"), response("4", CDS, &[])).is_ok() && standing(&agent, "eds.json").is_null()
    });
    agent.stop()
}

#[test]
fn a_dump_says_what_came_from_files() -> anyhow::Result<()> {
    let (files, agent) = Files::start()?;
    let dump = agent.admin().json("/config_dump")?.to_string();
    let path = files.path("eds.json");
    assert!(dump.contains(&format!("\"path_config_source\":{{\"path\":{path:?}}}")), "{dump}");
    assert!(dump.contains("dynamic_active_clusters") && dump.contains("\"version_info\":\"1\""), "{dump}");
    Ok(())
}

#[test]
fn a_file_that_is_wrong_is_refused_with_its_place_and_what_is_live_stays() -> anyhow::Result<()> {
    let (files, agent) = Files::start()?;
    let bad = "version_info: '2'\nresources:\n- '@type': type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n  \
               cluster_name: a\n  endpoints:\n  - lb_endpoints: 5\n";
    let cases = [
        (bad, "eds.json:6:19: endpoints \"a\": endpoints[0].lb_endpoints: "),
        ("version_info: [", "eds.json:"),
        ("", "resources: required"),
        ("version_info: x\nresources: 7\n", "eds.json:2:12: resources: expected a list, found the number 7"),
        ("resources: [{}]\nstranger: 1\n", "stranger: not supported"),
        ("resources: [{ cluster_name: a }]", "endpoints \"a\": @type: required"),
        ("resources: [{ '@type': a/envoy.config.cluster.v3.Cluster }]", "envoy.config.cluster.v3.Cluster"),
        ("type_url: type.googleapis.com/envoy.config.cluster.v3.Cluster\nresources: []", "type_url"),
        ("resources: [{ '@type': a/envoy.service.discovery.v3.Resource, name: a }]", "write the resource itself"),
    ];
    let mut refused = 0;
    for (text, why) in cases {
        put(&files.path("eds.json"), text)?;
        refused += 1;
        eventually(why, || standing(&agent, "eds.json")["refused"] == refused);
        let told = standing(&agent, "eds.json")["refusal"].to_string().replace("\\\"", "\"");
        assert!(told.contains(why) && told.contains(&*files.path("eds.json").to_string_lossy()), "{told}, not {why}");
        eventually("it is logged", || agent.log().contains(why));
        assert_eq!(files.who()?, "one");
    }
    let metrics = agent.admin().metrics()?;
    let eds = [("kind", "EDS")];
    assert_eq!((metrics.sum("bowline_xds_files_bad", &eds), metrics.sum("bowline_xds_files_bad", &[])), (1.0, 1.0));
    assert_eq!(metrics.sum("bowline_xds_file_refused_total", &eds), f64::from(refused));
    // A sibling of a bad one goes live; a name that stands twice is nobody's.
    let (b, c) = (files.cluster("b"), files.cluster("c"));
    let bad = with(files.cluster("a"), json!({ "circuit_breakers": {} }));
    put(&files.path("cds.yaml"), response("2", CDS, &[bad, b, c.clone(), c]))?;
    let both = [endpoints("a", &[files.one.address()]), endpoints("b", &[files.two.address()])];
    put(&files.path("eds.json"), response("2", EDS, &both))?;
    put(&files.path("rds.yaml"), response("2", RDS, &[routes("r", all_to("b"))]))?;
    files.becomes("two");
    let cds = standing(&agent, "cds.yaml");
    let told = cds["refusal"].as_str().context("a refusal")?;
    assert!(told.contains("circuit_breakers") && told.contains("\"c\" stands more than once"), "{told}");
    assert_eq!((&cds["resources"], &standing(&agent, "eds.json")["refusal"]), (&json!(2), &Value::Null));
    Ok(())
}

#[test]
fn what_is_no_regular_file_is_refused_and_holds_nobody_up() -> anyhow::Result<()> {
    let (files, mut agent) = Files::start()?;
    let eds = files.path("eds.json");
    fs::remove_file(&eds)?;
    ensure!(std::process::Command::new("mkfifo").arg(files.path("pipe")).status()?.success());
    for (what, why) in [("/dev/zero", "not a regular file"), ("pipe", "not a regular file"), (".", "regular file")] {
        let link = files.path("link");
        symlink(files.path(what), &link)?;
        fs::rename(&link, &eds)?;
        eventually(what, || standing(&agent, "eds.json")["refusal"].as_str().is_some_and(|told| told.contains(why)));
        assert_eq!(files.who()?, "one");
    }
    agent.stop()
}

#[test]
fn a_file_that_is_not_there_is_waited_for_but_not_for_ever() -> anyhow::Result<()> {
    let files = Files::new()?;
    // Nor is its folder.
    let folder = files.path("to/come");
    let config = node("test", &folder);
    let agent = Options::no_kernel().begin(config)?;
    eventually("it tells", || agent.log().contains("No such file"));
    assert!(!agent.admin().is_ready());
    fs::create_dir(files.path("to"))?;
    assert!(!agent.admin().is_ready());
    let elsewhere = files.path("elsewhere");
    fs::create_dir(&elsewhere)?;
    files.write(&elsewhere)?;
    // Together with what it holds.
    for name in ["eds.json", "rds.yaml"] {
        fs::copy(elsewhere.join(name), files.path(name))?;
    }
    fs::rename(&elsewhere, &folder)?;
    eventually("it is ready", || agent.admin().is_ready());
    assert_eq!(files.who()?, "one");
    // The folder may go and come again.
    fs::rename(&folder, files.path("away"))?;
    fs::create_dir(&folder)?;
    put(&folder.join("lds.yaml"), response("2", LDS, &[]))?;
    eventually("the listener is gone", || files.who().is_err());

    let impatient = |mut source: Value| {
        source["initial_fetch_timeout"] = json!("0.3s");
        source
    };
    let mut config = node("test", &files.path("never"));
    for source in ["cds_config", "lds_config"] {
        config["dynamic_resources"][source] = impatient(config["dynamic_resources"][source].take());
    }
    let agent = Options::no_kernel().begin(config)?;
    eventually("it is ready", || agent.admin().is_ready());
    drop(agent);
    // A resource that the file does not hold.
    put(&files.path("rds.yaml"), response("1", RDS, &[routes("other", all_to("a"))]))?;
    let listener = with_rds(rds_listener("l", files.address, "r"), impatient(from(&files.path("rds.yaml"))));
    put(&files.path("lds.yaml"), response("1", LDS, &[listener]))?;
    put(&files.path("cds.yaml"), response("1", CDS, &[]))?;
    let _agent = Options::no_kernel().start(node("test", files.scratch.path()))?;
    assert_eq!(get(files.address)?.status, 404);
    put(&files.path("cds.yaml"), response("2", CDS, &[files.cluster("a")]))?;
    put(&files.path("rds.yaml"), response("2", RDS, &[routes("r", all_to("a"))]))?;
    files.becomes("one");
    Ok(())
}

#[test]
fn a_folder_behind_a_link_is_exchanged_as_a_whole_and_no_request_fails() -> anyhow::Result<()> {
    let files = Files::new()?;
    let mount = files.path("mount");
    fs::create_dir(&mount)?;
    let names = ["cds.yaml", "lds.yaml", "eds.json", "rds.yaml"];
    let source = |name: &str| {
        let mut source = from(&mount.join(name));
        source["path_config_source"]["watched_directory"] = json!({ "path": mount });
        source
    };
    let listener = with_rds(rds_listener("l", files.address, "r"), source("rds.yaml"));
    // As the kubelet does it.
    let exchange = |turn: usize| -> anyhow::Result<()> {
        let (cluster, server) = if turn.is_multiple_of(2) { ("a", &files.one) } else { ("b", &files.two) };
        let data = mount.join(format!("..{turn}"));
        fs::create_dir(&data)?;
        let version = turn.to_string();
        let write =
            |name: &str, kind: &str, resource: Value| fs::write(data.join(name), response(&version, kind, &[resource]));
        write("cds.yaml", CDS, with_eds(eds_cluster(cluster), source("eds.json")))?;
        write("eds.json", EDS, endpoints(cluster, &[server.address()]))?;
        write("rds.yaml", RDS, routes("r", all_to(cluster)))?;
        write("lds.yaml", LDS, listener.clone())?;
        symlink(format!("..{turn}"), mount.join("..new"))?;
        fs::rename(mount.join("..new"), mount.join("..data"))?;
        if let Some(before) = turn.checked_sub(1) {
            fs::remove_dir_all(mount.join(format!("..{before}")))?;
        }
        Ok(())
    };
    exchange(0)?;
    for name in names {
        symlink(Path::new("..data").join(name), mount.join(name))?;
    }
    let mut config = node("test", &mount);
    for (which, name) in [("cds_config", "cds.yaml"), ("lds_config", "lds.yaml")] {
        config["dynamic_resources"][which] = source(name);
    }
    let agent = Options::no_kernel().start(config)?;
    let load = Load::start(files.address)?;
    for turn in 1..=20 {
        exchange(turn)?;
        files.becomes(if turn.is_multiple_of(2) { "one" } else { "two" });
        // The cluster of before goes, when its routes have.
        eventually("one cluster is left", || {
            let cds = standing(&agent, "cds.yaml");
            (&cds["version"], &cds["resources"]) == (&json!(turn.to_string()), &json!(1))
        });
        load.check().with_context(|| agent.log())?;
    }
    load.stop().map(drop)
}

#[test]
fn a_server_and_files_have_a_part_each() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let files = Files::new()?;
        let plane = Plane::start(own_address(0))?;
        set(&plane, CDS, &[files.cluster("a")])?;
        set(&plane, RDS, &[routes("r", all_to("a"))])?;
        put(&files.path("eds.json"), files.endpoints("1", &files.one))?;
        put(&files.path("lds.yaml"), response("1", LDS, &[rds_listener("l", files.address, "r")]))?;
        let mut config = bootstrap("test", incremental, plane.address());
        config["dynamic_resources"]["lds_config"] = from(&files.path("lds.yaml"));
        let agent = Options::no_kernel().start(config)?;
        assert_eq!(files.who()?, "one");
        put(&files.path("eds.json"), files.endpoints("2", &files.two))?;
        files.becomes("two");
        // Endpoints that came by file come from the server from now on.
        set(&plane, EDS, &[endpoints("a", &[files.one.address()])])?;
        set(&plane, CDS, &[eds_cluster("a")])?;
        files.becomes("one");
        eventually("the file is not read any longer", || standing(&agent, "eds.json").is_null());
        // And the other way round for another.
        let refused = |kind, version| -> anyhow::Result<_> { Ok(plane.answer(kind, version)?.unwrap_or_default()) };
        let other =
            json!({ "eds_cluster_config": { "service_name": "a", "eds_config": from(&files.path("eds.json")) } });
        let version = set(&plane, CDS, &[eds_cluster("a"), with(eds_cluster("b"), other)])?;
        let why = refused(CDS, version)?;
        assert!(why.contains("cluster b: another cluster has endpoints a from another source"), "{why}");
        let listener = with_rds(rds_listener("x", own_address(10000), "r"), from(&files.path("rds.yaml")));
        put(&files.path("lds.yaml"), response("2", LDS, &[rds_listener("l", files.address, "r"), listener]))?;
        eventually("it is told", || {
            let refusal = standing(&agent, "lds.yaml")["refusal"].to_string();
            refusal.contains("listener x: route configuration r is wanted from two sources")
        });
        assert_eq!(files.who()?, "one");
    }
    Ok(())
}

#[test]
fn a_cluster_of_the_agents_own_file_may_have_its_endpoints_in_another() -> anyhow::Result<()> {
    let files = Files::new()?;
    put(&files.path("eds.json"), files.endpoints("1", &files.one))?;
    let listener = harness::config::listener(files.address, harness::config::http_with(all_to("a"), json!({})));
    let resources = json!({ "clusters": [files.cluster("a")], "listeners": [listener] });
    let agent = Options::no_kernel().start(json!({ "static_resources": resources }))?;
    assert_eq!(files.who()?, "one");
    put(&files.path("eds.json"), files.endpoints("2", &files.two))?;
    files.becomes("two");
    drop(agent);
    // Where nobody could be asked, the same is refused.
    let resources = json!({ "clusters": [with_eds(eds_cluster("a"), ads())] });
    let said = Options::no_kernel().refuse(json!({ "static_resources": resources }))?.text();
    assert!(said.contains("no management server is configured that has it"), "{said}");
    Ok(())
}
