//! The agent's own life: start, what it tells, refusal of bad configurations, draining, ending.

use std::time::{Duration, Instant};

use harness::agent::{Agent, Options};
use harness::config::{all_to, bootstrap, cluster, http, listener, own_address, with};
use harness::wire::Wire;
use serde_json::json;

use crate::proxy::Proxy;

#[test]
fn the_admin_interface_answers() -> anyhow::Result<()> {
    let proxy = Proxy::start()?;
    assert_eq!(proxy.ask("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?.status, 200);
    let admin = proxy.agent.admin();
    for path in ["/livez", "/readyz", "/config_dump", "/metrics", "/clusters"] {
        assert_eq!(admin.get(path)?.status, 200, "{path}");
    }
    assert_eq!(admin.get("/nonsense")?.status, 404);
    assert_eq!(admin.get("/drain")?.status, 405, "draining takes a POST");
    // The client has its answer a moment before it is counted.
    let deadline = Instant::now() + Duration::from_secs(5);
    while admin.metrics()?.sum("bowline_requests_total", &[("destination", "echo"), ("class", "2xx")]) != 1.0 {
        assert!(Instant::now() < deadline, "the request is counted");
    }
    Ok(())
}

#[test]
fn sigterm_finishes_what_runs() -> anyhow::Result<()> {
    let mut proxy = Proxy::start()?;
    let mut busy = proxy.wire()?;
    let mut idle = proxy.wire()?;
    idle.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    idle.response()?;
    busy.send("GET /slow?ms=800 HTTP/1.1\r\nhost: a\r\n\r\n")?;
    std::thread::sleep(Duration::from_millis(100));
    proxy.agent.terminate();
    assert!(idle.closes_within(Duration::from_millis(600)), "an idle connection is not waited for");
    let deadline = Instant::now() + Duration::from_millis(500);
    while Wire::connect(proxy.address).is_ok() {
        assert!(Instant::now() < deadline, "no new connections");
    }
    assert_eq!(busy.response()?.status, 200, "the request that ran is answered");
    assert!(proxy.agent.wait(Duration::from_secs(3))?.success());
    Ok(())
}

#[test]
fn a_second_sigterm_ends_it_now() -> anyhow::Result<()> {
    let mut proxy = Proxy::start()?;
    let mut busy = proxy.wire()?;
    busy.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n")?;
    std::thread::sleep(Duration::from_millis(100));
    proxy.agent.terminate();
    std::thread::sleep(Duration::from_millis(200));
    assert!(proxy.agent.is_running(), "it waits for the request");
    let began = Instant::now();
    proxy.agent.terminate();
    proxy.agent.wait(Duration::from_secs(2))?;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    Ok(())
}

#[test]
fn draining_has_a_deadline() -> anyhow::Result<()> {
    let upstream = harness::echo::HttpServer::local("echo")?;
    let address = own_address(10000);
    let config = bootstrap(&[listener(address, http(all_to("echo")))], &[cluster("echo", &[upstream.address()])]);
    let mut agent = Options::no_kernel().arg("--drain-timeout").arg("500ms").start(config)?;
    let mut busy = Wire::connect(address)?;
    busy.send("GET /hang HTTP/1.1\r\nhost: a\r\n\r\n")?;
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    agent.terminate();
    agent.wait(Duration::from_secs(5))?;
    let took = began.elapsed();
    assert!(took > Duration::from_millis(400) && took < Duration::from_secs(2), "{took:?}");
    Ok(())
}

#[test]
fn every_error_of_a_configuration_is_told_at_once() -> anyhow::Result<()> {
    let address = own_address(10000);
    let good = listener(address, http(all_to("echo")));
    let bad = bootstrap(
        &[
            with(good.clone(), json!({ "no_such_field": 1 })),
            listener(
                own_address(0),
                http(json!([{ "match": { "safe_regex": { "regex": "(" } }, "route": { "cluster": "echo" } }])),
            ),
            with(good, json!({ "name": "dangling", "filter_chains": [{ "filters": [http(all_to("nowhere"))] }] })),
        ],
        &[
            cluster("echo", &[own_address(9)]),
            cluster("echo", &[own_address(9)]),
            with(cluster("odd", &[]), json!({ "type": "ORIGINAL_DST" })),
        ],
    );
    let output = Options::no_kernel().refuse(&bad)?;
    let text = output.text();
    assert_eq!(output.status.code(), Some(2), "{text}");
    for word in ["config.yaml", "no_such_field", "port_value", "regex", "nowhere", "echo", "clusters[2].type"] {
        assert!(text.contains(word), "no {word} in:\n{text}");
    }
    Ok(())
}

#[test]
fn an_address_that_is_taken_is_told() -> anyhow::Result<()> {
    let taken = std::net::TcpListener::bind(own_address(0))?;
    let config = bootstrap(&[listener(taken.local_addr()?, http(all_to("a")))], &[cluster("a", &[own_address(9)])]);
    let output = Options::no_kernel().refuse(config)?;
    assert_ne!(output.status.code(), Some(0));
    assert!(output.text().contains(&taken.local_addr()?.to_string()), "{}", output.text());
    Ok(())
}

#[test]
fn an_agent_without_kernel_needs_no_privilege() -> anyhow::Result<()> {
    if !harness::world::is_root() {
        // Then every other test of this file shows it.
        return Ok(());
    }
    let upstream = harness::echo::HttpServer::local("echo")?;
    let address = own_address(10000);
    let config = bootstrap(&[listener(address, http(all_to("echo")))], &[cluster("echo", &[upstream.address()])]);
    let powerless = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
    let _agent = Options::no_kernel().under(&powerless).start(config)?;
    let mut client = Wire::connect(address)?;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    assert_eq!(client.response()?.status, 200);
    Ok(())
}

#[test]
fn a_log_that_nobody_takes_is_lost_and_nothing_else() -> anyhow::Result<()> {
    let upstream = harness::echo::HttpServer::local("echo")?;
    let address = own_address(10000);
    let config = bootstrap(&[listener(address, http(all_to("echo")))], &[cluster("echo", &[upstream.address()])]);
    let options = Options::no_kernel().env("MESH_LOG", "debug").under(&["sh", "-c", "exec \"$0\" \"$@\" 2>/dev/full"]);
    let mut agent = options.start(config)?;
    let mut client = Wire::connect(address)?;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    assert_eq!(client.response()?.status, 200);
    agent.stop()?;
    assert_eq!(options.refuse(json!({ "bogus": 1 }))?.status.code(), Some(2));
    Ok(())
}

#[test]
fn descriptors_that_ran_out_are_told_once_and_survived() -> anyhow::Result<()> {
    let upstream = harness::echo::HttpServer::local("echo")?;
    let address = own_address(10000);
    let config = bootstrap(&[listener(address, http(all_to("echo")))], &[cluster("echo", &[upstream.address()])]);
    let mut agent = Options::no_kernel().under(&["prlimit", "--nofile=64:64"]).start(config)?;
    let held = (0..200).map(|_| Wire::connect(address)).collect::<Result<Vec<_>, _>>()?;
    let told = |agent: &Agent| agent.log().lines().filter(|line| line.contains("cannot accept connections")).count();
    let deadline = Instant::now() + Duration::from_secs(10);
    while told(&agent) == 0 {
        assert!(Instant::now() < deadline, "nothing was said: {}", agent.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    // Some twenty attempts of each thread, which all fail.
    std::thread::sleep(Duration::from_millis(400));
    assert!(told(&agent) <= 2, "once for each thread: {}", agent.log());
    drop(held);
    let mut client = Wire::connect(address)?;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
    assert_eq!(client.response()?.status, 200);
    agent.stop()
}

#[test]
fn an_empty_configuration_is_no_error_but_is_told() -> anyhow::Result<()> {
    let mut agent = Options::no_kernel().start("")?;
    agent.stop()?;
    assert!(agent.log().contains("nothing to serve"), "{}", agent.log());
    Ok(())
}
