//! Secrets from the management server: clusters wait for them, connections follow them, and bad ones change nothing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::ads::message::{CDS, LDS, SDS};
use harness::ads::plane::Plane;
use harness::agent::{Agent, Options};
use harness::ca::{Authority, Identity};
use harness::config::{all_to, cluster, http, listener, own_address, secured, with};
use harness::echo::HttpServer;
use harness::secure::Tls;
use serde_json::{Value, json};

use crate::agent::{eventually, get, set};
use crate::beside::load::Load;
use crate::setup::{ads, bootstrap};

const SHOP: &str = "spiffe://cluster.local/ns/default/sa/shop";

/// A server that wants certificates, an agent before it, and who sends it what it needs.
struct Mesh {
    authority: Authority,
    tls: Tls,
    upstream: HttpServer,
    plane: Plane,
    agent: Agent,
    address: SocketAddr,
}

impl Mesh {
    /// Everything is there but the secrets `default` and `ROOTCA`, which are waited for so long; for ever if `0s`.
    fn start(incremental: bool, patience: &str) -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let tls = Tls::new(authority.server(&authority.issue(&[SHOP])?, true)?, &[]);
        let upstream = HttpServer::secure("secure", &tls)?;
        let (plane, address) = (Plane::start(own_address(0))?, own_address(10000));
        set(&plane, CDS, &[secure(cluster("a", &[upstream.address()]), patience)])?;
        set(&plane, LDS, &[with(listener(address, http(all_to("a"))), json!({ "name": "l" }))])?;
        let agent = Options::no_kernel().begin(bootstrap("test", incremental, plane.address()))?;
        Ok(Self { authority, tls, upstream, plane, agent, address })
    }

    /// The same with secrets, ready.
    fn ready(incremental: bool) -> anyhow::Result<(Self, Identity)> {
        let mesh = Self::start(incremental, "0s")?;
        let identity = mesh.authority.issue(&["client"])?;
        set(&mesh.plane, SDS, &[own("default", &identity), trust("ROOTCA", &[&mesh.authority])])?;
        eventually("the agent is ready", || mesh.agent.admin().is_ready());
        Ok((mesh, identity))
    }

    /// Pushes secrets; why they are refused, if they are.
    fn push(&self, secrets: &[Value]) -> anyhow::Result<Option<String>> {
        let version = set(&self.plane, SDS, secrets)?;
        self.plane.answer(SDS, version)
    }

    /// A request on a connection of its own to the agent, and from there: status and text.
    fn ask(&self) -> anyhow::Result<(u16, String)> {
        let response = get(self.address)?;
        Ok((response.status, response.text()))
    }

    /// Whose certificate was shown last.
    fn shown(&self) -> Option<Vec<u8>> {
        self.tls.seen().pop().and_then(|it| it.certificate)
    }

    /// Clusters in this state of a dump.
    fn clusters(&self, state: &str) -> Vec<String> {
        let dump = self.agent.admin().json("/config_dump").unwrap_or_default();
        let all = dump["configs"][1][state].as_array().cloned().unwrap_or_default();
        all.iter().filter_map(|it| it["cluster"]["name"].as_str().map(str::to_owned)).collect()
    }
}

/// A cluster whose certificate and authorities come by themselves, and whose names are written down, as Istio has it.
fn secure(cluster: Value, patience: &str) -> Value {
    let source = with(ads(), json!({ "initial_fetch_timeout": patience }));
    let secret = |name: &str| json!({ "name": name, "sds_config": source });
    let names = json!([{ "san_type": "URI", "matcher": { "exact": SHOP } }]);
    let common = json!({
        "tls_certificate_sds_secret_configs": [secret("default")],
        "combined_validation_context": {
            "default_validation_context": { "match_typed_subject_alt_names": names },
            "validation_context_sds_secret_config": secret("ROOTCA"),
        },
    });
    secured(cluster, json!({}), common)
}

fn inline(text: &str) -> Value {
    json!({ "inline_string": text })
}

fn own(name: &str, identity: &Identity) -> Value {
    json!({ "name": name, "tls_certificate": {
        "certificate_chain": inline(&identity.chain), "private_key": inline(&identity.key) } })
}

fn trust(name: &str, authorities: &[&Authority]) -> Value {
    let bundle: String = authorities.iter().map(|it| it.certificate.as_str()).collect();
    json!({ "name": name, "validation_context": { "trusted_ca": inline(&bundle) } })
}

#[test]
fn a_cluster_waits_for_its_secrets() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental, "0s")?;
        eventually("both are asked for", || mesh.plane.subscribed(SDS) == ["ROOTCA", "default"]);
        // Over delta the server says at once that there are none, and the cluster does without until they come.
        let state = if incremental { "dynamic_active_clusters" } else { "dynamic_warming_clusters" };
        eventually("it waits, or does without", || mesh.clusters(state) == ["a"]);
        assert_eq!(mesh.push(&[trust("ROOTCA", &[&mesh.authority])])?, None);
        assert_eq!(mesh.clusters(state), ["a"], "one of two");
        let identity = mesh.authority.issue(&["client"])?;
        assert_eq!(mesh.push(&[own("default", &identity)])?, None, "an ACK means live");
        assert_eq!(mesh.clusters("dynamic_active_clusters"), ["a"]);
        eventually("the agent is ready", || mesh.agent.admin().is_ready());
        assert_eq!(mesh.ask()?.0, 200);
        assert_eq!(mesh.shown(), Some(identity.der()?));
        // Nobody asks for them any longer.
        let version = mesh.plane.remove(CDS, &["a"]);
        assert_eq!(mesh.plane.answer(CDS, version)?, None);
        eventually("nothing is asked for", || mesh.plane.subscribed(SDS).is_empty());
    }
    Ok(())
}

#[test]
fn secrets_are_replaced_under_load_and_no_request_fails() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let (mesh, _) = Mesh::ready(incremental)?;
        let load = Load::start(mesh.address)?;
        let fresh = |what: &str, expected: &Identity| -> anyhow::Result<()> {
            // Among all handshakes, since the last one may be the load's, and begun before. Each certificate is new.
            let expected = expected.der()?;
            let is_shown = || mesh.tls.seen().iter().any(|it| it.certificate.as_ref() == Some(&expected));
            // Connections that are open may serve for a few seconds more.
            eventually(what, || mesh.ask().is_ok_and(|(status, _)| status == 200) && is_shown());
            load.check()
        };
        for round in 0..10 {
            let identity = mesh.authority.issue(&["client"])?;
            assert_eq!(mesh.push(&[own("default", &identity)])?, None);
            std::thread::sleep(Duration::from_millis(50));
            fresh(&format!("certificate {round} is shown"), &identity)?;
        }
        // Another authority: first it is trusted too, then it vouches, then the old one is not trusted any more.
        let next = Authority::new()?;
        assert_eq!(mesh.push(&[trust("ROOTCA", &[&mesh.authority, &next])])?, None);
        let both = mesh.authority.issue(&["client"])?;
        let server = next.issue(&[SHOP])?;
        mesh.tls.become_other(mesh.authority.server(&server, true)?);
        assert_eq!(mesh.push(&[own("default", &both), trust("ROOTCA", &[&next])])?, None);
        fresh("the next authority is trusted alone", &both)?;
        let requests = load.stop()?;
        ensure!(requests > 100, "{requests} requests");
        mesh.tls.become_other(mesh.authority.server(&mesh.authority.issue(&[SHOP])?, true)?);
        assert_eq!(mesh.push(&[own("default", &mesh.authority.issue(&["client"])?)])?, None);
        eventually("the old authority is not trusted", || mesh.ask().is_ok_and(|(status, _)| status == 503));
    }
    Ok(())
}

#[test]
fn a_bad_secret_is_refused_by_name_and_the_last_good_one_stays() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let (mesh, good) = Mesh::ready(incremental)?;
        let (one, two) = (mesh.authority.issue(&["one"])?, mesh.authority.issue(&["two"])?);
        let mixed = Identity { chain: one.chain.clone(), key: two.key.clone() };
        let no_key = Identity { chain: one.chain.clone(), key: "no key".to_owned() };
        let no_chain = Identity { chain: "no chain".to_owned(), key: one.key.clone() };
        let generic = json!({ "name": "default", "generic_secret": { "secret": inline("x") } });
        let one_line = Identity { chain: one.chain.clone(), key: one.key.replace('\n', "\\n") };
        let anybody =
            json!({ "name": "ROOTCA", "validation_context": { "trust_chain_verification": "ACCEPT_UNTRUSTED" } });
        let nobody = json!({ "name": "ROOTCA", "validation_context": {} });
        let cases = [
            (own("default", &mixed), "secret \"default\": the configuration: keys may not be consistent"),
            (own("default", &no_key), "secret \"default\": the configuration: no items found"),
            (own("default", &no_chain), "secret \"default\": the configuration: there is no certificate in it"),
            (trust("default", &[&mesh.authority]), "secret \"default\": cluster \"a\" asks for it as tls_certificate"),
            (own("ROOTCA", &one), "secret \"ROOTCA\": cluster \"a\" asks for it as validation_context"),
            (own("default", &one_line), "have its newlines been lost?"),
            (anybody, "secret \"ROOTCA\": cluster \"a\" says otherwise: with ACCEPT_UNTRUSTED nobody looks"),
            (generic, "secret \"default\": generic_secret: not supported"),
            (nobody, "secret \"ROOTCA\": validation_context.trusted_ca: required"),
        ];
        for (secret, why) in cases {
            let refusal = mesh.push(&[secret])?.with_context(|| format!("taken: {why}"))?;
            ensure!(refusal.contains(why), "{refusal}");
            for secret in [&one.key, &two.key, &good.key] {
                let line = secret.lines().nth(1).context("a line of a key")?;
                ensure!(!refusal.contains(line), "{refusal}");
            }
        }
        assert_eq!(mesh.ask()?.0, 200);
        assert_eq!(mesh.shown(), Some(good.der()?));
        // A good one among bad ones is taken.
        let refusal = mesh.push(&[own("default", &one), own("ROOTCA", &one)])?.context("one is bad")?;
        ensure!(refusal.contains("ROOTCA") && !refusal.contains("\"default\""), "{refusal}");
        eventually("the good one is used", || {
            mesh.ask().is_ok_and(|(status, _)| status == 200) && mesh.shown() == one.der().ok()
        });
        // No key was told to anybody.
        let told = [
            mesh.agent.log(),
            mesh.agent.admin().get("/config_dump")?.text(),
            mesh.agent.admin().get("/config")?.text(),
        ];
        for key in [&one.key, &two.key, &good.key] {
            let line = key.lines().nth(1).context("a line of a key")?;
            ensure!(told.iter().all(|text| !text.contains(line) && !text.contains("PRIVATE KEY")), "{told:?}");
        }
    }
    Ok(())
}

#[test]
fn what_never_comes_fails_connections_and_what_comes_late_is_used() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let mesh = Mesh::start(incremental, "0.3s")?;
        assert_eq!(mesh.push(&[trust("ROOTCA", &[&mesh.authority])])?, None);
        eventually("it is done without", || mesh.clusters("dynamic_active_clusters").contains(&"a".to_owned()));
        eventually("the agent is ready", || mesh.agent.admin().is_ready());
        let (status, text) = mesh.ask()?;
        assert_eq!(status, 503);
        ensure!(text.contains("TLS_error:secret \"default\" is not there"), "{text}");
        assert!(mesh.upstream.clients().is_empty(), "nobody was even connected to");
        assert_eq!(mesh.push(&[own("default", &mesh.authority.issue(&["client"])?)])?, None);
        assert_eq!(mesh.ask()?.0, 200);
    }
    Ok(())
}

#[test]
fn who_is_not_who_it_should_be_is_not_believed_by_a_secret_either() -> anyhow::Result<()> {
    let (mesh, _) = Mesh::ready(true)?;
    assert_eq!(mesh.ask()?.0, 200);
    let cases = [
        (mesh.authority.issue_expired(&[SHOP])?, "certificate expired"),
        (mesh.authority.issue(&["spiffe://cluster.local/ns/x/sa/y"])?, "ApplicationVerificationFailure"),
        (Authority::new()?.issue(&[SHOP])?, "BadSignature"),
    ];
    for (server, why) in cases {
        mesh.tls.become_other(mesh.authority.server(&server, true)?);
        // Another certificate of ours, so that no connection of before serves.
        assert_eq!(mesh.push(&[own("default", &mesh.authority.issue(&["client"])?)])?, None);
        let (status, text) = mesh.ask()?;
        ensure!(status == 503 && text.contains(why), "{status} {text}");
    }
    mesh.tls.become_other(mesh.authority.server(&mesh.authority.issue(&[SHOP])?, true)?);
    assert_eq!(mesh.ask()?.0, 200);
    Ok(())
}

#[test]
fn a_server_does_not_bring_its_own_secrets() -> anyhow::Result<()> {
    let plane = own_address(1);
    let mut config = bootstrap("test", true, plane);
    let server = secure(config["static_resources"]["clusters"][0].clone(), "1s");
    config["static_resources"]["clusters"] = json!([server]);
    let output = Options::no_kernel().refuse(config)?;
    let said = output.lines.join("\n");
    ensure!(said.contains("what the server is known by has to be there before it"), "{said}");
    Ok(())
}

#[test]
fn a_secret_may_name_files_which_are_read_when_it_comes() -> anyhow::Result<()> {
    let (mesh, _) = Mesh::ready(true)?;
    let scratch = harness::scratch::Scratch::new()?;
    let identity = mesh.authority.issue(&["client"])?;
    let file = |name: &str, text: &str| anyhow::Ok(json!({ "filename": scratch.write(name, text)? }));
    let secret = json!({ "name": "default", "tls_certificate": {
        "certificate_chain": file("chain.pem", &identity.chain)?, "private_key": file("key.pem", &identity.key)? } });
    assert_eq!(mesh.push(std::slice::from_ref(&secret))?, None);
    assert_eq!(mesh.ask()?.0, 200);
    assert_eq!(mesh.shown(), Some(identity.der()?));
    // The same again is no news, whatever the files hold by now; other files are.
    let next = mesh.authority.issue(&["client"])?;
    file("chain.pem", &next.chain)?;
    file("key.pem", &next.key)?;
    assert_eq!(mesh.push(std::slice::from_ref(&secret))?, None);
    assert_eq!(mesh.ask()?.0, 200);
    assert_eq!(mesh.shown(), Some(identity.der()?));
    let mut other = secret;
    other["tls_certificate"] =
        json!({ "certificate_chain": file("chain2.pem", &next.chain)?, "private_key": file("key2.pem", &next.key)? });
    assert_eq!(mesh.push(std::slice::from_ref(&other))?, None);
    assert_eq!(mesh.ask()?.0, 200);
    assert_eq!(mesh.shown(), Some(next.der()?));
    // Another one, whose file is not there.
    other["tls_certificate"]["private_key"] = json!({ "filename": scratch.path().join("none.pem") });
    let refusal = mesh.push(&[other])?.context("taken")?;
    ensure!(refusal.contains("secret \"default\": cannot read ") && refusal.contains("none.pem"), "{refusal}");
    assert_eq!(mesh.ask()?.0, 200);
    Ok(())
}

#[test]
fn secrets_may_come_from_a_file_that_is_watched() -> anyhow::Result<()> {
    let (mesh, _) = Mesh::ready(true)?;
    let scratch = harness::scratch::Scratch::new()?;
    let write = |identity: &Identity| -> anyhow::Result<()> {
        let secret = with(own("mine", identity), json!({ "@type": SDS }));
        let next = scratch.write("next.yaml", &json!({ "resources": [secret] }).to_string())?;
        Ok(std::fs::rename(next, scratch.path().join("secrets.yaml"))?)
    };
    let first = mesh.authority.issue(&["client"])?;
    write(&first)?;
    let mut config = secure(cluster("a", &[mesh.upstream.address()]), "0s");
    let common = &mut config["transport_socket"]["typed_config"]["common_tls_context"];
    let path = json!({ "path": scratch.path().join("secrets.yaml") });
    common["tls_certificate_sds_secret_configs"] =
        json!([{ "name": "mine", "sds_config": { "path_config_source": path, "resource_api_version": "V3" } }]);
    let version = set(&mesh.plane, CDS, &[config])?;
    assert_eq!(mesh.plane.answer(CDS, version)?, None);
    let shows = |identity: &Identity| {
        mesh.ask().is_ok_and(|(status, _)| status == 200)
            && mesh.shown().is_some()
            && mesh.shown() == identity.der().ok()
    };
    eventually("the file's certificate is shown", || shows(&first));
    assert_eq!(mesh.plane.subscribed(SDS), ["ROOTCA"], "the server is not asked for the other any longer");
    let second = mesh.authority.issue(&["client"])?;
    write(&second)?;
    eventually("the file's next certificate is shown", || shows(&second));
    Ok(())
}
