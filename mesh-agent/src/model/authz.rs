//! Who may connect to whom, by what is known before a byte is read: addresses, ports, the workload that asks.
//!
//! One meaning for all who ask: the agent asks [`judge`] for each connection, and the kernel's tables are made so that they answer
//! the same. Nothing here depends on how either looks anything up.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use ipnet::IpNet;

use crate::model::matcher::StringMatch;

/// Rules of one kind (`envoy.extensions.filters.network.rbac.v3.RBAC`). Several in a row must all let a connection through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// For metrics.
    pub stat_prefix: String,
    /// What a policy that holds means.
    pub action: Action,
    /// In the order of their names.
    pub policies: Vec<Policy>,
}

impl Rules {
    /// Rules that let nobody through.
    #[must_use]
    pub fn nobody(name: &str) -> Self {
        Self { stat_prefix: name.to_owned(), action: Action::Allow, policies: Vec::new() }
    }
}

/// What a policy that holds means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The connection may go on. Without one that holds it may not.
    Allow,
    /// The connection may not go on.
    Deny,
}

/// A test with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Unique among its rules.
    pub name: Arc<str>,
    /// One of these must hold of what is asked for.
    pub permissions: Vec<Test>,
    /// And one of these of who asks.
    pub principals: Vec<Test>,
}

/// What may hold of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Always.
    Any,
    /// Each of these does.
    All(Vec<Self>),
    /// One of these does.
    One(Vec<Self>),
    /// This does not.
    Not(Box<Self>),
    /// One thing.
    Fact(Fact),
}

/// One thing that may hold of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It comes from there.
    Source(IpNet),
    /// It goes there.
    Destination(IpNet),
    /// It goes to one of these ports.
    Port(RangeInclusive<u16>),
    /// It is known who connects; and if something is said of the name, it holds.
    Identity(Option<StringMatch>),
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who connects, by address.
    pub source: IpAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// Who connects, by name (`spiffe://...`), if the kernel vouches for it.
    pub identity: Option<&'a str>,
}

/// Why a connection may not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// This policy denies it.
    Denied(&'a Policy),
    /// No policy of these rules allows it.
    NotAllowed(&'a Rules),
}

/// Whether a connection may go on. What is denied is denied whatever else allows it.
///
/// # Errors
/// Why not.
pub fn judge<'a>(rules: &'a [Rules], facts: &Facts<'_>) -> Result<(), Refusal<'a>> {
    let holding = |rules: &'a Rules| rules.policies.iter().find(|policy| policy.holds(facts));
    let of = |action| rules.iter().filter(move |rules| rules.action == action);
    if let Some(policy) = of(Action::Deny).find_map(holding) {
        return Err(Refusal::Denied(policy));
    }
    match of(Action::Allow).find(|rules| holding(rules).is_none()) {
        Some(rules) => Err(Refusal::NotAllowed(rules)),
        None => Ok(()),
    }
}

impl Policy {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        let one = |tests: &[Test]| tests.iter().any(|test| test.holds(facts));
        one(&self.permissions) && one(&self.principals)
    }
}

impl Test {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::All(tests) => tests.iter().all(|test| test.holds(facts)),
            Self::One(tests) => tests.iter().any(|test| test.holds(facts)),
            Self::Not(test) => !test.holds(facts),
            Self::Fact(fact) => fact.holds(facts),
        }
    }
}

impl Fact {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Source(network) => network.contains(&facts.source),
            Self::Destination(network) => network.contains(&facts.destination.ip()),
            Self::Port(ports) => ports.contains(&facts.destination.port()),
            Self::Identity(name) => facts.identity.is_some_and(|is| name.as_ref().is_none_or(|name| name.matches(is))),
        }
    }
}

impl Refusal<'_> {
    /// The policy's name, or what is missing.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Denied(policy) => &policy.name,
            Self::NotAllowed(_) => "no policy allows it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn rules(action: Action, policies: &[(&str, Test)]) -> Rules {
        let policy = |(name, test): &(&str, Test)| Policy {
            name: Arc::from(*name),
            permissions: vec![Test::Any],
            principals: vec![test.clone()],
        };
        Rules { stat_prefix: "s".to_owned(), action, policies: policies.iter().map(policy).collect() }
    }

    fn from(network: &str) -> Test {
        Test::Fact(Fact::Source(net(network)))
    }

    #[track_caller]
    fn check(rules: &[Rules], source: &str, destination: &str, expected: Option<&str>) {
        let facts =
            Facts { source: source.parse().unwrap(), destination: destination.parse().unwrap(), identity: None };
        let judged = judge(rules, &facts);
        assert_eq!(
            judged.err().map(|refusal| refusal.name().to_owned()).as_deref(),
            expected,
            "{source} {destination}"
        );
    }

    #[test]
    fn what_is_denied_is_denied_whatever_allows_it() {
        let port = Test::Fact(Fact::Port(80..=89));
        let set = [
            rules(Action::Allow, &[("inside", from("10.0.0.0/8")), ("web", port)]),
            rules(Action::Deny, &[("lab", from("10.1.0.0/16"))]),
        ];
        check(&set, "10.2.0.1", "10.9.0.1:22", None);
        check(&set, "192.0.2.1", "10.9.0.1:80", None);
        check(&set, "192.0.2.1", "10.9.0.1:90", Some("no policy allows it"));
        check(&set, "10.1.0.1", "10.9.0.1:80", Some("lab"));
        check(&[], "10.1.0.1", "10.9.0.1:80", None);
        check(&[rules(Action::Allow, &[])], "10.1.0.1", "10.9.0.1:80", Some("no policy allows it"));
        check(&[rules(Action::Deny, &[])], "10.1.0.1", "10.9.0.1:80", None);
    }

    #[test]
    fn tests_nest() {
        let not_lab = Test::All(vec![from("10.0.0.0/8"), Test::Not(Box::new(from("10.1.0.0/16")))]);
        let set = [rules(Action::Allow, &[("x", Test::One(vec![not_lab, from("fd00::/8")]))])];
        check(&set, "10.2.0.1", "10.9.0.1:1", None);
        check(&set, "fd00::1", "[fd00::2]:1", None);
        check(&set, "10.1.0.1", "10.9.0.1:1", Some("no policy allows it"));
        check(&set, "fe80::1", "[fd00::2]:1", Some("no policy allows it"));
    }

    #[test]
    fn nobody_has_no_name() {
        let some = Fact::Identity(None);
        let facts = |identity| Facts {
            source: "10.0.0.1".parse().unwrap(),
            destination: "10.0.0.2:1".parse().unwrap(),
            identity,
        };
        assert!(some.holds(&facts(Some("spiffe://x/y"))) && !some.holds(&facts(None)));
        assert!(Test::Not(Box::new(Test::Fact(some))).holds(&facts(None)));
    }
}
