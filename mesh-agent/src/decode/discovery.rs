//! `envoy.service.discovery.v3.DiscoveryResponse` in a file: resources of one kind, each decoded and refused by itself.

use crate::decode::at::Context;
use crate::decode::fields::{Fields, decode_root};
use crate::decode::kind::Kind;
use crate::decode::node::{Node, Value};
use crate::decode::place::Place;
use crate::decode::problem::{ConfigError, Problem};
use crate::decode::resource::{self, Refusal};
use crate::model::resource::{Resource, ResourceKind};

const RESPONSE: &str = "envoy.service.discovery.v3.DiscoveryResponse";
/// What wraps a resource that has a time to live.
const WRAPPER: &str = "envoy.service.discovery.v3.Resource";
const TYPE: &str = "@type";

/// What a response says.
#[derive(Debug)]
pub struct Discovered {
    /// `version_info`.
    pub version: String,
    /// Each of its resources, or what is wrong with it.
    pub resources: Vec<Result<Resource, Refusal>>,
}

/// Decodes a response that is to hold resources of `kind`.
///
/// # Errors
/// What is wrong with the response itself: then nothing in it counts.
pub fn discovery(kind: ResourceKind, mut root: Node) -> Result<Discovered, Vec<ConfigError>> {
    let context = Context::default();
    let items = take_list(&mut root, "resources");
    let version = decode_root(&root, RESPONSE, &context, |fields| whole(fields, kind, items.is_some()));
    let problems = context.errors.into_inner();
    let Some(version) = version.filter(|_| problems.is_empty()) else { return Err(problems) };
    let resources = items.unwrap_or_default().into_iter().map(|item| one(kind, item)).collect();
    Ok(Discovered { version, resources })
}

/// Everything but the resources, which have been taken out: each is a tree of its own.
fn whole(fields: &Fields<'_>, kind: ResourceKind, has_resources: bool) -> Option<String> {
    let resources = fields.get("resources", &Kind::list(Kind::Any(vec![kind.message()])));
    if let Some(at) = resources {
        at.list();
    }
    let version = fields.text("version_info").unwrap_or_default().to_owned();
    // A file that is being written looks like this for a moment; it does not mean that there are no resources any longer.
    if !has_resources && version.is_empty() {
        fields.missing("resources");
    }
    if fields.text("type_url").is_some_and(|url| ResourceKind::of_type_url(url) != Some(kind))
        && let Some(at) = fields.get("type_url", &Kind::Text)
    {
        at.report(Problem::UnknownType {
            found: at.text().unwrap_or_default().to_owned(),
            supported: vec![kind.message()],
        });
    }
    fields.text("nonce");
    fields.only_flag("canary", false);
    for other in ["control_plane", "resource_errors"] {
        fields.refuse(other, "there is no server that could say so");
    }
    Some(version)
}

fn one(kind: ResourceKind, mut item: Node) -> Result<Resource, Refusal> {
    let refuse = |item: &Node, path: &str, problem| {
        let place = Place { position: item.position, path: path.to_owned() };
        let problems = vec![ConfigError { place, problem }];
        Refusal { kind, name: resource::name(kind, item), problems }
    };
    let Value::Map(entries) = &mut item.value else {
        let expected = Kind::Any(vec![kind.message()]).to_string();
        let problem = Problem::Kind { expected, found: item.value.kind() };
        return Err(refuse(&item, "", problem));
    };
    let Some(index) = entries.iter().position(|entry| entry.key == TYPE) else {
        return Err(refuse(&item, TYPE, Problem::Missing));
    };
    let given = entries.remove(index).value;
    let Value::Text(url) = given.value else {
        return Err(refuse(
            &item,
            TYPE,
            Problem::Kind { expected: Kind::Text.to_string(), found: given.value.brief() },
        ));
    };
    match url.rsplit('/').next().unwrap_or_default() {
        name if name == kind.message() => resource::resource(kind, &item, Vec::new()),
        WRAPPER => {
            let why = "write the resource itself: what stands in a file has no time to live";
            Err(refuse(&item, TYPE, Problem::RefusedType { found: WRAPPER, why }))
        }
        other => {
            let problem = Problem::UnknownType { found: other.to_owned(), supported: vec![kind.message()] };
            Err(refuse(&item, TYPE, problem))
        }
    }
}

/// Takes the items of a list out of a map, if that is what stands there.
fn take_list(root: &mut Node, name: &str) -> Option<Vec<Node>> {
    let Value::Map(entries) = &mut root.value else { return None };
    let entry = entries.iter_mut().find(|entry| entry.key == name)?;
    match &mut entry.value.value {
        Value::List(items) => Some(std::mem::take(items)),
        _ => None,
    }
}
