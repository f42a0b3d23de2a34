//! Rules for connections (`envoy.extensions.filters.network.rbac.v3.RBAC`), as far as they ask for nothing but addresses, ports
//! and who connects.

use std::sync::Arc;

use crate::decode::address::{CIDR_RANGE, cidr_range};
use crate::decode::fields::Fields;
use crate::decode::kind::Kind;
use crate::decode::matcher::{STRING, string_match};
use crate::model::authz::{Action, Fact, Policy, Rules, Test};
use crate::model::extension::Placed;

pub(crate) const RBAC: &str = <Rules as Placed>::MESSAGE;
const RULES: &str = "envoy.config.rbac.v3.RBAC";
const POLICY: &str = "envoy.config.rbac.v3.Policy";
const PERMISSION: &str = "envoy.config.rbac.v3.Permission";
const PERMISSIONS: &str = "envoy.config.rbac.v3.Permission.Set";
const PRINCIPAL: &str = "envoy.config.rbac.v3.Principal";
const PRINCIPALS: &str = "envoy.config.rbac.v3.Principal.Set";
const AUTHENTICATED: &str = "envoy.config.rbac.v3.Principal.Authenticated";
const PORT_RANGE: &str = "envoy.type.v3.Int32Range";

const NO_BYTES: &str = "a connection is judged before anything is read from it";
const HTTP: &str = "it asks for HTTP, which a network filter does not know";
const LATER: &str = "it comes with the security issue";

pub(crate) fn rbac(fields: &Fields<'_>) -> Option<Rules> {
    let stat_prefix = fields.require_text("stat_prefix").map(str::to_owned);
    let rules = fields.require_message("rules", RULES, rules);
    // Envoy judges at the first byte; here it is before the connection goes on at all.
    fields.only_choice("enforcement_type", "ONE_TIME_ON_FIRST_BYTE", 0);
    fields.refuse("shadow_rules", "rules that change nothing come with the observability issue");
    fields.refuse("shadow_rules_stat_prefix", "rules that change nothing come with the observability issue");
    fields.refuse("matcher", "write rules");
    fields.refuse("shadow_matcher", "rules that change nothing come with the observability issue");
    fields.refuse("delay_deny", "a connection that is denied never begins");
    let (action, policies) = rules?;
    Some(Rules { stat_prefix: stat_prefix?, action, policies })
}

fn rules(fields: &Fields<'_>) -> Option<(Action, Vec<Policy>)> {
    let action = fields.choice_or_later(
        "action",
        &[("ALLOW", 0, Action::Allow), ("DENY", 1, Action::Deny)],
        &[("LOG", 2, "logs of connections come with the observability issue")],
    );
    let mut policies = Vec::new();
    let mut written = 0;
    fields.message_map("policies", POLICY, |name, fields| {
        written += 1;
        policies.extend(policy(name, fields));
    });
    fields.refuse("audit_logging_options", "logs of connections come with the observability issue");
    policies.sort_by(|one, other| one.name.cmp(&other.name));
    // Rules with a hole in them would say something else.
    if policies.len() == written { Some((action?, policies)) } else { None }
}

fn policy(name: &str, fields: &Fields<'_>) -> Option<Policy> {
    let permissions = some(fields, "permissions", PERMISSION, permission);
    let principals = some(fields, "principals", PRINCIPAL, principal);
    fields.refuse("condition", "there are no expressions");
    fields.refuse("checked_condition", "there are no expressions");
    fields.refuse("cel_config", "there are no expressions");
    Some(Policy { name: Arc::from(name), permissions: permissions?, principals: principals? })
}

/// A list of tests that must not be empty.
fn some(
    fields: &Fields<'_>,
    name: &'static str,
    message: &'static str,
    decode: fn(&Fields<'_>) -> Option<Test>,
) -> Option<Vec<Test>> {
    let list = fields.require(name, &Kind::list(Kind::Message(message)))?;
    let written = list.list()?.len();
    if written == 0 {
        fields.missing(name);
    }
    let tests = fields.messages(name, message, decode);
    (written > 0 && tests.len() == written).then_some(tests)
}

fn permission(fields: &Fields<'_>) -> Option<Test> {
    let names =
        ["and_rules", "or_rules", "any", "destination_ip", "destination_port", "destination_port_range", "not_rule"];
    let refused = [
        ("header", HTTP),
        ("url_path", HTTP),
        ("uri_template", HTTP),
        ("metadata", NO_BYTES),
        ("sourced_metadata", NO_BYTES),
        ("requested_server_name", LATER),
        ("matcher", "there are no matcher extensions"),
    ];
    let one = fields.require_one_of(&names, &refused);
    let set = |name| fields.message(name, PERMISSIONS, |fields| some(fields, "rules", PERMISSION, permission));
    let port = fields.port("destination_port").map(|port| Test::Fact(Fact::Port(port..=port)));
    let tests = [
        set("and_rules").map(Test::All),
        set("or_rules").map(Test::One),
        any(fields),
        fields.message("destination_ip", CIDR_RANGE, cidr_range).map(|network| Test::Fact(Fact::Destination(network))),
        port,
        fields.message("destination_port_range", PORT_RANGE, port_range),
        fields.message("not_rule", PERMISSION, permission).map(|test| Test::Not(Box::new(test))),
    ];
    only(one, tests)
}

fn principal(fields: &Fields<'_>) -> Option<Test> {
    let names = ["and_ids", "or_ids", "any", "authenticated", "direct_remote_ip", "remote_ip", "not_id"];
    let refused = [
        ("source_ip", "write direct_remote_ip"),
        ("header", HTTP),
        ("url_path", HTTP),
        ("metadata", NO_BYTES),
        ("sourced_metadata", NO_BYTES),
        ("filter_state", NO_BYTES),
        ("custom", "there are no extensions"),
    ];
    let one = fields.require_one_of(&names, &refused);
    let set = |name| fields.message(name, PRINCIPALS, |fields| some(fields, "ids", PRINCIPAL, principal));
    // Both are the peer's address: nothing in front of the agent speaks for another.
    let source = |name| fields.message(name, CIDR_RANGE, cidr_range).map(|network| Test::Fact(Fact::Source(network)));
    let tests = [
        set("and_ids").map(Test::All),
        set("or_ids").map(Test::One),
        any(fields),
        fields.message("authenticated", AUTHENTICATED, |fields| {
            Some(Test::Fact(Fact::Identity(fields.message("principal_name", STRING, string_match))))
        }),
        source("direct_remote_ip"),
        source("remote_ip"),
        fields.message("not_id", PRINCIPAL, principal).map(|test| Test::Not(Box::new(test))),
    ];
    only(one, tests)
}

/// The one of several tests that is set.
fn only<const N: usize>(one: Option<&'static str>, tests: [Option<Test>; N]) -> Option<Test> {
    one?;
    tests.into_iter().flatten().next()
}

fn any(fields: &Fields<'_>) -> Option<Test> {
    let at = fields.get("any", &Kind::Flag)?;
    if !at.flag()? {
        at.rule("can only be true");
        return None;
    }
    Some(Test::Any)
}

/// From `start` to before `end`.
fn port_range(fields: &Fields<'_>) -> Option<Test> {
    let start = fields.number("start", 0..=65535).unwrap_or(0);
    fields.require("end", &Kind::Integer(1, 65536));
    let end = fields.number("end", 1..=65536)?;
    if start >= end {
        fields.at().rule("start must be below end, which is the first port that does not belong");
        return None;
    }
    let last = u16::try_from(end - 1).ok()?;
    Some(Test::Fact(Fact::Port(u16::try_from(start).ok()?..=last)))
}
