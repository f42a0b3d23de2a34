//! Who the agent says it is (`envoy.config.core.v3.Node`).

use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::node::{Node as Tree, Value};
use crate::model::config::{Locality, Node};
use crate::model::metadata::{Metadata, Number};

pub(crate) const NODE: &str = "envoy.config.core.v3.Node";
const LOCALITY: &str = "envoy.config.core.v3.Locality";
const GENERATED: &str = "the agent says by itself what it is";

pub(crate) fn node(fields: &Fields<'_>) -> Option<Node> {
    let text = |fields: &Fields<'_>, name| fields.text(name).unwrap_or_default().to_owned();
    let locality = fields.message("locality", LOCALITY, |fields| {
        let text = |name| text(fields, name);
        Some(Locality { region: text("region"), zone: text("zone"), sub_zone: text("sub_zone") })
    });
    for generated in ["user_agent_name", "user_agent_version", "user_agent_build_version", "client_features"] {
        fields.refuse(generated, GENERATED);
    }
    let metadata = fields.get("metadata", &Kind::Free).and_then(|at| {
        let entries = at.entries("google.protobuf.Struct")?;
        Some(entries.iter().map(|entry| (entry.key.to_string(), free(&entry.value))).collect())
    });
    Some(Node {
        id: text(fields, "id"),
        cluster: text(fields, "cluster"),
        locality: locality.unwrap_or_default(),
        metadata: metadata.unwrap_or_default(),
    })
}

fn free(node: &Tree) -> Metadata {
    match &node.value {
        Value::Null => Metadata::Null,
        Value::Bool(value) => Metadata::Flag(*value),
        #[expect(clippy::cast_precision_loss, reason = "a number of google.protobuf.Struct is a double, as in JSON")]
        Value::Int(value) => Metadata::Number(Number(*value as f64)),
        Value::Float(value) => Metadata::Number(Number(*value)),
        Value::Text(text) => Metadata::Text(text.clone()),
        Value::List(items) => Metadata::List(items.iter().map(free).collect()),
        Value::Map(entries) => {
            Metadata::Map(entries.iter().map(|entry| (entry.key.to_string(), free(&entry.value))).collect())
        }
    }
}
