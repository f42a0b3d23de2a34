//! `envoy.extensions.filters.network.rbac.v3.RBAC`.

use serde_json::{Value, json};

use crate::admin::dump::listener::cidr;
use crate::admin::dump::object::Object;
use crate::admin::dump::route::string_match;
use crate::model::authz::{Action, Fact, Policy, Rules, Test};

pub(super) fn rbac(rules: &Rules) -> Value {
    let action = match rules.action {
        Action::Allow => "ALLOW",
        Action::Deny => "DENY",
    };
    let mut policies = Object::default();
    for found in &rules.policies {
        policies = policies.set(&found.name, policy(found));
    }
    Object::typed("envoy.extensions.filters.network.rbac.v3.RBAC")
        .set("stat_prefix", rules.stat_prefix.as_str())
        .set("rules", json!({ "action": action, "policies": policies.done() }))
        .done()
}

fn policy(policy: &Policy) -> Value {
    Object::default()
        .list("permissions", &policy.permissions, |it| test(it, &PERMISSION))
        .list("principals", &policy.principals, |it| test(it, &PRINCIPAL))
        .done()
}

/// What the same tests are called on either side of a policy.
struct Names {
    all: &'static str,
    one: &'static str,
    not: &'static str,
    list: &'static str,
}

const PERMISSION: Names = Names { all: "and_rules", one: "or_rules", not: "not_rule", list: "rules" };
const PRINCIPAL: Names = Names { all: "and_ids", one: "or_ids", not: "not_id", list: "ids" };

fn test(tested: &Test, names: &Names) -> Value {
    let set = |tests: &[Test]| Object::default().list(names.list, tests, |it| test(it, names)).done();
    match tested {
        Test::Any => json!({ "any": true }),
        Test::All(tests) => Object::default().set(names.all, set(tests)).done(),
        Test::One(tests) => Object::default().set(names.one, set(tests)).done(),
        Test::Not(not) => Object::default().set(names.not, test(not, names)).done(),
        Test::Fact(known) => fact(known),
    }
}

fn fact(fact: &Fact) -> Value {
    match fact {
        Fact::Source(network) => json!({ "direct_remote_ip": cidr(network) }),
        Fact::Destination(network) => json!({ "destination_ip": cidr(network) }),
        Fact::Port(ports) if ports.start() == ports.end() && *ports.start() > 0 => {
            json!({ "destination_port": ports.start() })
        }
        Fact::Port(ports) => {
            let end = u32::from(*ports.end()) + 1;
            json!({ "destination_port_range": { "start": ports.start(), "end": end } })
        }
        Fact::Identity(name) => {
            let name = name.as_ref().map(string_match);
            json!({ "authenticated": Object::default().maybe("principal_name", name).done() })
        }
    }
}
