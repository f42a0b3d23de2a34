//! Who the agent says it is, as the server reads it: an encoded `envoy.config.core.v3.Node`.

use bytes::Bytes;
use prost::Message as _;

use crate::model::config::Node;
use crate::model::metadata::{Metadata, Number};
use crate::xds::message::{self, Struct, Value, value};

/// `node` as bytes, and what the agent is and can do with it.
#[must_use]
pub fn encode(node: &Node) -> Bytes {
    let locality = &node.locality;
    let locality = (*locality != Default::default()).then(|| message::Locality {
        region: locality.region.clone(),
        zone: locality.zone.clone(),
        sub_zone: locality.sub_zone.clone(),
    });
    let node = message::Node {
        id: node.id.clone(),
        cluster: node.cluster.clone(),
        metadata: (!node.metadata.is_empty()).then(|| structure(&node.metadata)),
        locality,
        user_agent_name: "bowline".to_owned(),
        user_agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        client_features: FEATURES.map(str::to_owned).to_vec(),
    };
    node.encode_to_vec().into()
}

/// What servers look for before they use it.
const FEATURES: [&str; 3] =
    ["xds.config.resource-in-sotw", "xds.config.supports-resource-in-sotw", "xds.config.supports-resource-ttl"];

fn structure(entries: &[(String, Metadata)]) -> Struct {
    Struct { fields: entries.iter().map(|(name, metadata)| (name.clone(), value(metadata))).collect() }
}

fn value(metadata: &Metadata) -> Value {
    let kind = match metadata {
        Metadata::Null => value::Kind::Null(0),
        Metadata::Flag(flag) => value::Kind::Flag(*flag),
        Metadata::Number(Number(number)) => value::Kind::Number(*number),
        Metadata::Text(text) => value::Kind::Text(text.clone()),
        Metadata::List(items) => value::Kind::List(message::List { values: items.iter().map(value).collect() }),
        Metadata::Map(entries) => value::Kind::Struct(structure(entries)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::encode;
    use crate::model::config::{Locality, Node};
    use crate::model::metadata::{Metadata, Number};
    use crate::xds::message::{self, value::Kind};

    #[test]
    fn everything_is_said() {
        let list = vec![Metadata::Number(Number(1.5)), Metadata::Null, Metadata::Flag(true)];
        let inner = vec![("list".to_owned(), Metadata::List(list))];
        let node = Node {
            id: "sidecar~10.0.0.1~a.b~c".to_owned(),
            cluster: "c".to_owned(),
            locality: Locality { region: "r".to_owned(), zone: "z".to_owned(), sub_zone: String::new() },
            metadata: vec![("A".to_owned(), Metadata::Map(inner)), ("B".to_owned(), Metadata::Text("b".to_owned()))],
        };
        let said = message::Node::decode(encode(&node)).expect("a node");
        assert_eq!(
            (said.id.as_str(), said.cluster.as_str(), said.user_agent_name.as_str()),
            (&*node.id, "c", "bowline")
        );
        assert_eq!(said.locality.expect("a place").zone, "z");
        let metadata = said.metadata.expect("metadata").fields;
        assert_eq!(metadata["B"].kind, Some(Kind::Text("b".to_owned())));
        let Some(Kind::Struct(inner)) = &metadata["A"].kind else { panic!("{metadata:?}") };
        let Some(Kind::List(list)) = &inner.fields["list"].kind else { panic!("{inner:?}") };
        assert_eq!(list.values[0].kind, Some(Kind::Number(1.5)));
    }

    #[test]
    fn nothing_is_said_about_what_is_not_known() {
        let said = message::Node::decode(encode(&Node::default())).expect("a node");
        assert!(said.locality.is_none() && said.metadata.is_none());
    }
}
