//! Routing as tables of requests and the route each takes.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;

use crate::model::matcher::{FullRegex, StringMatch, StringMatchKind};
use crate::model::route::{
    Action, DirectResponse, Domain, HeaderMatch, PathMatch, QueryMatch, Redirect, RedirectPath, RedirectScheme, Route,
    RouteConfig, RouteMatch, ValueTest, VirtualHost,
};
use crate::route::{Outcome, RequestView, RouteTable, location};

/// A request in one line: `GET /path?query host header: value, header: value`.
pub(crate) struct Request {
    method: String,
    path: String,
    host: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn parse(line: &str) -> Self {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, path, host) = (word(), word(), word());
        let headers = word()
            .split(", ")
            .filter_map(|pair| pair.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self { method, path, host, headers }
    }
}

impl RequestView for Request {
    fn method(&self) -> &str {
        &self.method
    }
    fn scheme(&self) -> &str {
        "http"
    }
    fn authority(&self) -> &str {
        &self.host
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
        self.headers.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str().into())
    }
}

/// A request by its line.
pub(crate) fn request(line: &str) -> Request {
    Request::parse(line)
}

/// A request that only has a path.
pub(crate) fn get(path: &str) -> Request {
    Request::parse(&format!("GET {path}"))
}

fn any_path() -> RouteMatch {
    RouteMatch {
        path: PathMatch::Prefix("/".into()),
        case_sensitive: true,
        headers: Vec::new(),
        query: Vec::new(),
        grpc: false,
    }
}

fn answering(body: &str, matches: RouteMatch) -> Route {
    let action = Action::Respond(DirectResponse { status: StatusCode::OK, body: body.to_owned().into() });
    Route { name: body.to_owned(), matches, action }
}

fn host(name: &str, domains: Vec<Domain>, routes: Vec<Route>) -> VirtualHost {
    VirtualHost { name: name.to_owned(), domains, routes }
}

fn table(virtual_hosts: Vec<VirtualHost>) -> RouteTable {
    RouteTable::compile(&Arc::new(RouteConfig { name: "test".into(), virtual_hosts, vhds: None }), &|_| None)
        .expect("compiles")
}

fn check(table: &RouteTable, cases: &[(&str, &str)]) {
    for (line, expected) in cases {
        let taken = table.find(&Request::parse(line)).map_or("none", |route| match &route.outcome {
            Outcome::Respond(response) => std::str::from_utf8(&response.body).unwrap(),
            _ => "other",
        });
        assert_eq!(taken, *expected, "{line}");
    }
}

#[test]
fn the_most_specific_domain_wins() {
    let vhost = |name: &str, domain| host(name, vec![domain], vec![answering(name, any_path())]);
    let table = table(vec![
        vhost("any", Domain::Any),
        vhost("short suffix", Domain::Suffix(".com".into())),
        vhost("long suffix", Domain::Suffix(".example.com".into())),
        vhost("prefix", Domain::Prefix("www.".into())),
        vhost("exact", Domain::Exact("www.example.com".into())),
        vhost("port", Domain::Exact("www.example.com:8080".into())),
    ]);
    check(
        &table,
        &[
            ("GET / www.example.com", "exact"),
            ("GET / WWW.Example.COM", "exact"),
            ("GET / www.example.com:8080", "port"),
            ("GET / www.example.com:81", "prefix"),
            ("GET / a.example.com", "long suffix"),
            ("GET / .example.com", "short suffix"),
            ("GET / other.com", "short suffix"),
            ("GET / www.example.org", "prefix"),
            ("GET / www.", "any"),
            ("GET / localhost", "any"),
        ],
    );
}

#[test]
fn the_first_path_that_matches_wins() {
    let path = |body: &str, path, case_sensitive| answering(body, RouteMatch { path, case_sensitive, ..any_path() });
    let routes = vec![
        path("exact", PathMatch::Exact("/a".into()), true),
        path("fold", PathMatch::Prefix("/Fold".into()), false),
        path("separated", PathMatch::SeparatedPrefix("/api".into()), true),
        path("regex", PathMatch::Regex(FullRegex::new("/n/[0-9]+").expect("valid")), true),
        path("prefix", PathMatch::Prefix("/a".into()), true),
    ];
    check(
        &table(vec![host("all", vec![Domain::Any], routes)]),
        &[
            ("GET /a h", "exact"),
            ("GET /a?q=1 h", "exact"),
            ("GET /ab h", "prefix"),
            ("GET /fOLDer h", "fold"),
            ("GET /api h", "separated"),
            ("GET /api/v1 h", "separated"),
            ("GET /api?x h", "separated"),
            ("GET /apiv1 h", "prefix"),
            ("GET /n/12?x=y h", "regex"),
            ("GET /n/12a h", "none"),
            ("GET /x h", "none"),
        ],
    );
}

#[test]
fn headers_and_query_must_all_hold() {
    let header =
        |name: &str, test, invert, missing_as_empty| HeaderMatch { name: name.into(), test, invert, missing_as_empty };
    let text =
        |text: &str| ValueTest::Text(StringMatch { kind: StringMatchKind::Exact(text.into()), ignore_case: false });
    let with = |body: &str, headers, query| answering(body, RouteMatch { headers, query, ..any_path() });
    let query = |name: &str, test| QueryMatch { name: name.into(), test };
    let routes = vec![
        with("user", vec![header("end-user", text("jason"), false, false)], vec![]),
        with("range", vec![header("n", ValueTest::Range { start: -5, end: 10 }, false, false)], vec![]),
        with("not a", vec![header("x", text("a"), true, false)], vec![]),
        with("put", vec![header(":method", text("PUT"), false, false)], vec![]),
        with("query", vec![], vec![query("q", text("1")), query("debug", ValueTest::Present(true))]),
        with("absent", vec![header("must-not", ValueTest::Present(false), false, false)], vec![]),
        with("empty", vec![header("e", text(""), false, true)], vec![]),
    ];
    check(
        &table(vec![host("all", vec![Domain::Any], routes)]),
        &[
            ("GET / h end-user: jason", "user"),
            ("GET / h end-user: x, end-user: jason", "user"),
            ("GET / h n: -5", "range"),
            ("GET / h n: 10", "absent"),
            ("GET / h x: b", "not a"),
            ("GET / h x: a", "absent"),
            ("GET / h x: b, x: a", "absent"),
            ("PUT / h", "put"),
            ("GET /?q=1&debug h", "query"),
            ("GET /?q=2&q=1&debug h", "absent"),
            ("GET / h must-not: be", "empty"),
            ("GET / h must-not: be, e: 1", "none"),
        ],
    );
}

#[test]
fn locations() {
    let base = Redirect {
        status: StatusCode::MOVED_PERMANENTLY,
        scheme: RedirectScheme::Keep,
        host: None,
        port: None,
        path: RedirectPath::Keep,
        strip_query: false,
    };
    let prefix = PathMatch::Prefix("/old".into());
    let cases = [
        (Redirect { scheme: RedirectScheme::Https, ..base.clone() }, "h:80", "https://h/old/x?q=1"),
        (Redirect { scheme: RedirectScheme::Https, ..base.clone() }, "h:8080", "https://h:8080/old/x?q=1"),
        (Redirect { scheme: RedirectScheme::Https, ..base.clone() }, "[::1]", "https://[::1]/old/x?q=1"),
        (Redirect { port: Some(81), ..base.clone() }, "h:8080", "http://h:81/old/x?q=1"),
        (Redirect { host: Some("n".into()), strip_query: true, ..base.clone() }, "h", "http://n/old/x"),
        (Redirect { path: RedirectPath::Replace("/p".into()), ..base.clone() }, "h", "http://h/p?q=1"),
        (
            Redirect { path: RedirectPath::Replace("/p?z".into()), strip_query: true, ..base.clone() },
            "h",
            "http://h/p?z",
        ),
        (Redirect { path: RedirectPath::Prefix("/new".into()), ..base }, "h", "http://h/new/x?q=1"),
    ];
    for (redirect, authority, expected) in cases {
        let request = Request::parse(&format!("GET /old/x?q=1 {authority}"));
        assert_eq!(location(&redirect, &prefix, &request), expected, "{redirect:?}");
    }
}
