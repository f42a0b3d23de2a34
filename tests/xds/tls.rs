//! TLS to the server: who is believed, who is not, and what happens when certificates are replaced.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::ads::Ads;
use harness::agent::Options;
use harness::ca::{Authority, Identity};
use harness::config::{http2_cluster, own_address, with};
use harness::scratch::Scratch;
use mesh_agent::model::management::Server;
use mesh_agent::model::matcher::{StringMatch, StringMatchKind};
use mesh_agent::model::resource::ResourceKind;
use mesh_agent::model::tls::{Certificate, ClientTls, DataSource, SubjectName};
use mesh_agent::xds::delivery::Want;
use serde_json::{Value, json};

use crate::rig::{Rig, WAIT, server};

const ISTIOD: &str = "spiffe://cluster.local/ns/istio-system/sa/istiod";

/// What a client of `ads` is told: whom to trust, in the configuration itself.
fn trusting(ads: &Ads, authority: &Authority) -> Server {
    let trusted = DataSource::Inline(authority.certificate.as_str().into());
    Server {
        tls: Some(ClientTls { sni: None, trusted, names: Vec::new(), certificate: None }),
        ..server(ads.address())
    }
}

/// A server known by its address and by `names`.
fn secure(authority: &Authority, names: &[&str], mutual: bool) -> anyhow::Result<Ads> {
    let address = own_address(0);
    let own = address.ip().to_string();
    let names = [&[own.as_str()][..], names].concat();
    Ads::start_secure(address, authority.server(&authority.issue(&names)?, mutual)?)
}

fn exactly(name: &str) -> StringMatch {
    StringMatch { kind: StringMatchKind::Exact(name.to_owned()), ignore_case: false }
}

fn start(server: Server) -> anyhow::Result<Rig> {
    Rig::start(true, vec![server], &[Want::All(ResourceKind::Cluster)])
}

/// No stream is opened to `ads`, for a reason with all of `parts` in it.
fn refused(ads: &Ads, server: Server, parts: &[&str]) -> anyhow::Result<()> {
    let rig = start(server)?;
    fails(&rig, parts)?;
    ensure!(ads.stream(Duration::ZERO).is_err(), "a stream was opened");
    Ok(())
}

/// Waits until the client has failed for a reason with all of `parts` in it.
fn fails(rig: &Rig, parts: &[&str]) -> anyhow::Result<()> {
    let deadline = Instant::now() + WAIT;
    loop {
        let why = rig.client.status().view().last_failure.unwrap_or_default();
        if !why.is_empty() && parts.iter().all(|part| why.contains(part)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "not because of {parts:?}: {why}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_server_is_believed_that_someone_trusted_vouches_for() -> anyhow::Result<()> {
    let authority = Authority::new()?;
    let ads = secure(&authority, &["xds.test", ISTIOD], false)?;
    for (sni, names) in [
        (None, vec![]),
        (Some("xds.test"), vec![]),
        (None, vec![SubjectName::Uri(exactly(ISTIOD))]),
        (Some("any.thing"), vec![SubjectName::Dns(exactly("other.test")), SubjectName::Dns(exactly("xds.test"))]),
        (None, vec![SubjectName::Ip(ads.address().ip())]),
    ] {
        let mut server = trusting(&ads, &authority);
        let tls = server.tls.as_mut().expect("given");
        (tls.sni, tls.names) = (sni.map(str::to_owned), names);
        let _rig = start(server)?;
        ads.stream(WAIT)?;
    }
    Ok(())
}

#[test]
fn a_server_that_could_be_anybody_is_not_talked_to() -> anyhow::Result<()> {
    let (authority, other) = (Authority::new()?, Authority::new()?);
    let ads = secure(&authority, &[ISTIOD], false)?;
    // Both authorities go by the same name, so it is the signature that is wrong.
    refused(&ads, trusting(&ads, &other), &["invalid peer certificate", "BadSignature"])?;

    let mut server = trusting(&ads, &authority);
    server.tls.as_mut().expect("given").sni = Some("xds.test".to_owned());
    refused(&ads, server, &["not valid for name", "xds.test"])?;

    let mut server = trusting(&ads, &authority);
    server.tls.as_mut().expect("given").names = vec![SubjectName::Uri(exactly("spiffe://cluster.local/ns/x/sa/y"))];
    refused(&ads, server, &["ApplicationVerificationFailure"])?;

    let mut server = trusting(&ads, &authority);
    let address = ads.address().ip().to_string();
    server.tls.as_mut().expect("given").names = vec![SubjectName::Dns(exactly(&address))];
    refused(&ads, server, &["ApplicationVerificationFailure"])?;

    let plain = Ads::start(own_address(0))?;
    refused(&plain, trusting(&plain, &authority), &["cannot connect"])
}

#[test]
fn certificates_of_ours_are_shown_and_read_anew_for_every_stream() -> anyhow::Result<()> {
    let (authority, stranger) = (Authority::new()?, Authority::new()?);
    let ads = secure(&authority, &[], true)?;
    refused(&ads, trusting(&ads, &authority), &["CertificateRequired"])?;

    let scratch = Scratch::new()?;
    let write = |identity: &Identity| -> anyhow::Result<Certificate> {
        let chain = DataSource::File(scratch.write("chain.pem", &identity.chain)?);
        Ok(Certificate { chain, key: DataSource::File(scratch.write("key.pem", &identity.key)?) })
    };
    let mut server = trusting(&ads, &authority);
    server.tls.as_mut().expect("given").certificate = Some(write(&stranger.issue(&["client"])?)?);
    let rig = start(server)?;
    // The same: whoever the stranger's certificate is from cannot be known.
    fails(&rig, &["received fatal alert"])?;
    ensure!(ads.stream(Duration::ZERO).is_err(), "a stranger opened a stream");
    write(&authority.issue(&["client"])?)?;
    let stream = ads.stream(WAIT)?;
    assert!(rig.client.status().view().server.is_some());

    // A file that is gone is told, and awaited.
    std::fs::remove_file(scratch.path().join("key.pem"))?;
    stream.end(14, "restarting");
    fails(&rig, &["cannot read", "key.pem", "No such file"])?;
    write(&authority.issue(&["client"])?)?;
    ads.stream(WAIT)?;
    Ok(())
}

#[test]
fn both_forms_of_a_configuration_lead_to_tls() -> anyhow::Result<()> {
    let (authority, scratch) = (Authority::new()?, Scratch::new()?);
    let ads = secure(&authority, &[], true)?;
    let client = authority.issue(&["client"])?;
    let file = |name: &str, content: &str| -> anyhow::Result<Value> {
        Ok(json!({ "filename": scratch.write(name, content)? }))
    };
    let trusted = file("ca.pem", &authority.certificate)?;
    let (chain, key) = (file("chain.pem", &client.chain)?, file("key.pem", &client.key)?);
    let context = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [{ "certificate_chain": chain, "private_key": key }],
            "validation_context": {
                "trusted_ca": trusted,
                "match_typed_subject_alt_names": [{ "san_type": "IP_ADDRESS", "matcher": { "exact": ads.address().ip().to_string() } }],
            },
        },
    });
    let socket = json!({ "name": "envoy.transport_sockets.tls", "typed_config": context });
    let cluster = with(http2_cluster("plane", &[ads.address()]), json!({ "transport_socket": socket }));
    let credentials = json!({ "root_certs": trusted, "cert_chain": chain, "private_key": key });
    let target = json!({
        "target_uri": ads.address().to_string(),
        "stat_prefix": "xds",
        "channel_credentials": { "ssl_credentials": credentials },
    });
    for (service, clusters) in [
        (json!({ "envoy_grpc": { "cluster_name": "plane" } }), json!([cluster])),
        (json!({ "google_grpc": target }), json!([])),
    ] {
        let config = json!({
            "node": { "id": "test", "cluster": "test" },
            "static_resources": { "clusters": clusters },
            "dynamic_resources": {
                "ads_config": { "api_type": "GRPC", "transport_api_version": "V3", "grpc_services": [service] },
                "cds_config": { "ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0.1s" },
            },
        });
        let _agent = Options::no_kernel().start(config)?;
        ads.stream(WAIT)?;
    }
    Ok(())
}
