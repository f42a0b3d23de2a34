//! Who the agent says it is (`envoy.config.core.v3.Node`).

use serde_json::{Map, Value, json};

use crate::admin::dump::object::Object;
use crate::model::config::Node;
use crate::model::metadata::{Metadata, Number};

pub(super) fn node(node: &Node) -> Value {
    let place = &node.locality;
    let locality = Object::default().text("region", &place.region).text("zone", &place.zone);
    let locality = locality.text("sub_zone", &place.sub_zone).done();
    let is_somewhere = *place != Default::default();
    Object::default()
        .set("id", node.id.as_str())
        .set("cluster", node.cluster.as_str())
        .maybe("locality", is_somewhere.then_some(locality))
        .maybe("metadata", (!node.metadata.is_empty()).then(|| structure(&node.metadata)))
        .done()
}

fn structure(entries: &[(String, Metadata)]) -> Value {
    Value::Object(entries.iter().map(|(name, value)| (name.clone(), free(value))).collect::<Map<_, _>>())
}

fn free(metadata: &Metadata) -> Value {
    match metadata {
        Metadata::Null => Value::Null,
        Metadata::Flag(flag) => json!(flag),
        Metadata::Number(Number(number)) => json!(number),
        Metadata::Text(text) => json!(text),
        Metadata::List(items) => items.iter().map(free).collect(),
        Metadata::Map(entries) => structure(entries),
    }
}
