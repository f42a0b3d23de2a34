//! Names in certificates, by which a peer is known (`SubjectAltNameMatcher`).

use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::matcher::{STRING, string_match};
use crate::model::matcher::{StringMatch, StringMatchKind};
use crate::model::tls::SubjectName;

pub(super) const NAME: &str = "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher";

pub(super) fn subject_name(fields: &Fields<'_>) -> Option<SubjectName> {
    let types = [("DNS", 2, Type::Dns), ("URI", 3, Type::Uri), ("IP_ADDRESS", 4, Type::Ip)];
    let later = [
        ("EMAIL", 1, "servers are known by DNS, URI or IP_ADDRESS"),
        ("OTHER_NAME", 5, "servers are known by DNS, URI or IP_ADDRESS"),
        ("SAN_TYPE_UNSPECIFIED", 0, "write DNS, URI or IP_ADDRESS"),
    ];
    let kind = Kind::Choice(types.iter().map(|it| it.0).collect());
    let kind = fields.require("san_type", &kind).and_then(|_| fields.choice_or_later("san_type", &types, &later));
    fields.refuse("oid", "it is for OTHER_NAME");
    let matcher = fields.require_message("matcher", STRING, string_match);
    match (kind?, matcher?) {
        (Type::Dns, matcher) => Some(SubjectName::Dns(matcher)),
        (Type::Uri, matcher) => Some(SubjectName::Uri(matcher)),
        (Type::Ip, StringMatch { kind: StringMatchKind::Exact(text), .. })
            if text.parse::<std::net::IpAddr>().is_ok() =>
        {
            text.parse().ok().map(SubjectName::Ip)
        }
        (Type::Ip, _) => {
            fields.at().rule("an IP_ADDRESS is matched by exact, as an address");
            None
        }
    }
}

/// `SanType`.
#[derive(Clone, Copy, Debug)]
enum Type {
    Dns,
    Uri,
    Ip,
}
