//! What the client says to a server that behaves, as it is on the wire.

use std::time::Duration;

use harness::ads::Ads;
use harness::ads::message::{CDS, DeltaRequest, EDS, Request};
use harness::config::own_address;
use harness::scratch::Scratch;
use mesh_agent::model::management::Token;
use mesh_agent::model::resource::ResourceKind;
use mesh_agent::model::tls::DataSource;
use mesh_agent::xds::delivery::{News, Reply, Want, Wish};
use mesh_agent::xds::session::{Fault, Missing, Why};

use crate::rig::{Rig, Talk, WAIT, said, send, server};

#[test]
fn a_stream_begins_with_the_node_and_what_is_wanted() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let Talk { rig: _rig, stream, ads: _ads, .. } = Talk::open(incremental)?;
        let method = if incremental { "DeltaAggregatedResources" } else { "StreamAggregatedResources" };
        assert_eq!(stream.method, format!("/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}"));
        let first = said(&stream)?;
        assert_eq!((first.type_url.as_str(), first.node.as_deref(), first.nonce.as_str()), (CDS, Some("node"), ""));
        assert!(first.names.is_empty() && first.error.is_none());
    }
    Ok(())
}

#[test]
fn an_ack_follows_when_the_update_is_live_and_not_before() -> anyhow::Result<()> {
    for talk in Talk::both() {
        let Talk { incremental, mut rig, stream, ads: _ads } = talk?;
        send(&stream, CDS, "1", &["a=x"], &[]);
        let delivery = rig.next()?;
        let early = match incremental {
            true => stream.poll::<DeltaRequest>(Duration::from_millis(50))?.is_some(),
            false => stream.poll::<Request>(Duration::from_millis(50))?.is_some(),
        };
        assert!(!early, "nothing is said while it is not decided");
        let _ = delivery.reply.send(Reply::default());
        let ack = said(&stream)?;
        assert_eq!((ack.nonce.as_str(), ack.error, ack.node), ("nonce 1", None, None));
        assert_eq!(rig.client.status().view().kinds[&ResourceKind::Cluster].held, 1);
    }
    Ok(())
}

#[test]
fn a_nack_names_the_resource_and_its_siblings_go_live() -> anyhow::Result<()> {
    for talk in Talk::both() {
        let Talk { incremental, mut rig, stream, ads: _ads } = talk?;
        send(&stream, CDS, "1", &["a=good", "b=good"], &[]);
        rig.take()?;
        said(&stream)?;
        send(&stream, CDS, "2", &["a=bad", "b=better", "c=late"], &[]);
        let delivery = rig.next()?;
        let News::Update { changed, .. } = &delivery.news else { panic!("{:?}", delivery.news) };
        assert_eq!(changed.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["b", "c"]);
        let late = Fault { name: Some("c".into()), text: "\"c\": its address is taken".to_owned() };
        let _ = delivery.reply.send(Reply { refused: vec![late], ..Reply::default() });
        let nack = said(&stream)?;
        assert_eq!(nack.nonce, "nonce 2");
        let text = nack.error.expect("a reason");
        assert!(text.contains("lb_policy") && text.contains("bad") && text.contains("address is taken"), "{text}");
        if !incremental {
            assert_eq!(nack.has, ["1"], "the last good version");
        }
        let view = rig.client.status().view().kinds[&ResourceKind::Cluster].clone();
        assert!(view.refusal.as_ref().is_some_and(|why| why.contains("lb_policy")), "{view:?}");
        assert_eq!((view.held, view.updates, view.refused), (2, 2, 1));
    }
    Ok(())
}

#[test]
fn what_an_update_needs_is_asked_for_with_it() -> anyhow::Result<()> {
    for talk in Talk::both() {
        let Talk { mut rig, stream, ads: _ads, .. } = talk?;
        send(&stream, CDS, "1", &["a=x"], &[]);
        let one = Want::One { kind: ResourceKind::Endpoints, name: "e".into(), patience: None };
        let _ = rig.next()?.reply.send(Reply { wishes: vec![Wish::For(one)], ..Reply::default() });
        assert_eq!(said(&stream)?.type_url, CDS, "first the ACK");
        let asked = said(&stream)?;
        assert_eq!((asked.type_url.as_str(), asked.names.as_slice()), (EDS, &["e".to_owned()][..]));
        send(&stream, EDS, "1", &["e=x"], &[]);
        assert_eq!(rig.take()?.0, ["e"]);
    }
    Ok(())
}

#[test]
fn what_is_needed_between_updates_is_asked_for_at_once_and_wishes_keep_their_order() -> anyhow::Result<()> {
    for talk in Talk::both() {
        let Talk { incremental, ads, mut rig, stream } = talk?;
        let wish =
            |name: &str| Wish::For(Want::One { kind: ResourceKind::Endpoints, name: name.into(), patience: None });
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        rig.client.wish(vec![wish("a")]);
        let asked = said(&stream)?;
        assert_eq!((asked.type_url.as_str(), asked.names), (EDS, names(&["a"])));
        // While a response is judged: with the reply, and before what that says itself.
        send(&stream, CDS, "1", &["a=x"], &[]);
        let delivery = rig.next()?;
        rig.client.wish(vec![wish("b"), wish("c")]);
        let without = Wish::Without(ResourceKind::Endpoints, "b".into());
        rig.client.reply(delivery.reply, Reply { wishes: vec![without], ..Reply::default() });
        assert_eq!(said(&stream)?.type_url, CDS, "first the ACK");
        let asked = said(&stream)?;
        let news = if incremental { names(&["c"]) } else { names(&["a", "c"]) };
        assert_eq!((asked.type_url.as_str(), asked.names), (EDS, news));
        // And while there is no stream: with the next one.
        stream.reset();
        rig.client.wish(vec![wish("d")]);
        let stream = ads.stream(WAIT)?;
        assert_eq!(said(&stream)?.type_url, CDS);
        assert_eq!(said(&stream)?.names, names(&["a", "c", "d"]));
    }
    Ok(())
}

#[test]
fn after_a_break_the_client_says_what_it_has() -> anyhow::Result<()> {
    for talk in Talk::both() {
        let Talk { incremental, ads, mut rig, stream } = talk?;
        send(&stream, CDS, "7", &["a=x"], &[]);
        rig.take()?;
        said(&stream)?;
        stream.reset();
        let stream = ads.stream(WAIT)?;
        let again = said(&stream)?;
        assert_eq!(again.has, [if incremental { "a@7" } else { "7" }]);
        assert_eq!((again.nonce.as_str(), again.node.as_deref()), ("", Some("node")));
        assert!(rig.is_quiet(Duration::from_millis(50)), "what is live stays, and nobody hears of it");
        send(&stream, CDS, "8", if incremental { &[] } else { &["b=x"] }, &["a"]);
        assert_eq!(rig.take()?.1, ["a"]);
    }
    Ok(())
}

#[test]
fn what_never_comes_is_said_and_what_comes_late_is_taken() -> anyhow::Result<()> {
    for incremental in [false, true] {
        let ads = Ads::start(own_address(0))?;
        let one = |name: &str, patience| Want::One { kind: ResourceKind::Endpoints, name: name.into(), patience };
        let wants = [one("soon", Some(Duration::from_millis(100))), one("ever", None)];
        let mut rig = Rig::start(incremental, vec![server(ads.address())], &wants)?;
        let stream = ads.stream(WAIT)?;
        said(&stream)?;
        let delivery = rig.next()?;
        let News::Missing(missing) = &delivery.news else { panic!("{:?}", delivery.news) };
        let expected = Missing { kind: ResourceKind::Endpoints, name: "soon".into(), why: Why::NeverCame };
        assert_eq!(missing.as_slice(), [expected]);
        let _ = delivery.reply.send(Reply::default());
        send(&stream, EDS, "1", &["soon=x"], &[]);
        assert_eq!(rig.take()?.0, ["soon"]);
    }
    Ok(())
}

#[test]
fn the_next_server_is_tried_when_one_cannot_be_reached() -> anyhow::Result<()> {
    let ads = Ads::start(own_address(0))?;
    let nobody = own_address(1);
    let mut first = server(nobody);
    first.places.push((own_address(2).ip().to_string(), 2));
    let servers = vec![first, server(ads.address())];
    let rig = Rig::start(true, servers, &[Want::All(ResourceKind::Cluster)])?;
    let stream = ads.stream(Duration::from_secs(2))?;
    said(&stream)?;
    let view = rig.client.status().view();
    assert_eq!((view.failures, view.streams), (2, 1));
    assert!(view.server.expect("a server").contains(&ads.address().to_string()));
    Ok(())
}

#[test]
fn metadata_and_a_token_go_with_every_stream_and_the_token_is_read_anew() -> anyhow::Result<()> {
    let ads = Ads::start(own_address(0))?;
    let scratch = Scratch::new()?;
    let path = scratch.write("token", "first\n")?;
    let mut server = server(ads.address());
    server.metadata = vec![("x-team".to_owned(), "mesh".to_owned())];
    let (header, prefix) = ("authorization".to_owned(), "Bearer ".to_owned());
    server.token = Some(Token { header, prefix, kept: DataSource::File(path) });
    let _rig = Rig::start(true, vec![server], &[Want::All(ResourceKind::Cluster)])?;
    let stream = ads.stream(WAIT)?;
    assert_eq!(
        (&stream.metadata["authorization"], &stream.metadata["x-team"]),
        (&"Bearer first".parse()?, &"mesh".parse()?)
    );
    scratch.write("token", "second")?;
    stream.end(16, "who are you");
    assert_eq!(ads.stream(WAIT)?.metadata["authorization"], "Bearer second");
    Ok(())
}

#[test]
fn a_token_that_is_not_there_is_told_and_awaited() -> anyhow::Result<()> {
    let ads = Ads::start(own_address(0))?;
    let scratch = Scratch::new()?;
    let mut server = server(ads.address());
    let kept = DataSource::File(scratch.path().join("token"));
    server.token = Some(Token { header: "authorization".to_owned(), prefix: String::new(), kept });
    let rig = Rig::start(true, vec![server], &[Want::All(ResourceKind::Cluster)])?;
    assert!(ads.stream(Duration::from_millis(300)).is_err(), "nothing is opened without it");
    let failure = rig.client.status().view().last_failure.expect("a failure");
    assert!(failure.contains("no token from") && failure.contains("No such file"), "{failure}");
    scratch.write("token", "here")?;
    assert_eq!(ads.stream(WAIT)?.metadata["authorization"], "here");
    Ok(())
}
