//! Bookinfo's servers. Each is a process in a pod and knows the others by name only.

mod call;
mod page;
mod redis;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use harness::serve::Server;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};

use crate::service::call::Caller;

/// Which server, and where.
#[derive(Args)]
pub(crate) struct Role {
    service: Service,
    #[arg(long)]
    version: String,
    addresses: Vec<SocketAddr>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Service {
    Productpage,
    Details,
    Reviews,
    Ratings,
}

/// Serves until killed.
pub(crate) fn run(role: &Role) -> anyhow::Result<()> {
    let app = Arc::new(App { service: role.service, version: role.version.clone(), caller: Caller::default() });
    let start = |&address: &SocketAddr| {
        let app = Arc::clone(&app);
        Server::start(address, move |stream, _| {
            let app = Arc::clone(&app);
            async move {
                let service = service_fn(move |request| Arc::clone(&app).answer(request));
                // A broken connection is the client's to report.
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            }
        })
    };
    let _servers = role.addresses.iter().map(start).collect::<anyhow::Result<Vec<_>>>()?;
    println!("ready");
    loop {
        std::thread::park();
    }
}

struct App {
    service: Service,
    version: String,
    caller: Caller,
}

type Page = Response<Full<Bytes>>;

impl App {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> hyper::Result<Page> {
        let path = request.uri().path().to_owned();
        let answer = match self.service {
            Service::Productpage => self.productpage(&path, &request).await,
            Service::Details => product(&path, "/details/").map(|id| reply(details(id))),
            Service::Reviews => self.reviews(&path, request.headers()).await,
            Service::Ratings => self.ratings(&path).await,
        };
        Ok(answer.unwrap_or_else(|error| {
            let mut page = reply(json!({ "error": format!("{error:#}") }));
            *page.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            page
        }))
    }

    async fn productpage(&self, path: &str, request: &Request<Incoming>) -> anyhow::Result<Page> {
        let user = cookie(request.headers(), "user");
        match path {
            "/login" => {
                let user = request.uri().query().and_then(|query| query.strip_prefix("user=")).unwrap_or("jason");
                return see_productpage(&format!("user={user}; Path=/"));
            }
            "/logout" => return see_productpage("user=; Path=/; Max-Age=0"),
            _ => {}
        }
        let mut onward = trace(request.headers());
        if let Some(user) = &user {
            onward.insert("end-user", user.parse().context("user name")?);
        }
        let details = self.caller.get("details", "/details/0", &onward);
        let reviews = self.caller.get("reviews", "/reviews/0", &onward);
        let (details, reviews) = tokio::join!(details, reviews);
        if path == "/productpage" {
            let mut page = Response::new(Full::from(page::render(user.as_deref(), &details, &reviews)));
            page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            return Ok(page);
        }
        Ok(reply(json!({ "details": details?, "reviews": reviews?, "user": user })))
    }

    async fn reviews(&self, path: &str, headers: &HeaderMap) -> anyhow::Result<Page> {
        let id = product(path, "/reviews/")?;
        let color = match self.version.as_str() {
            "v1" => None,
            "v2" => Some("black"),
            _ => Some("red"),
        };
        let ratings = match color {
            None => Value::Null,
            Some(_) => self.caller.get("ratings", &format!("/ratings/{id}"), &trace(headers)).await?,
        };
        let reviews = REVIEWS.map(|(reviewer, text)| match color {
            None => json!({ "reviewer": reviewer, "text": text }),
            Some(color) => {
                let rating = json!({ "stars": ratings["ratings"][reviewer], "color": color });
                json!({ "reviewer": reviewer, "text": text, "rating": rating })
            }
        });
        Ok(reply(json!({ "id": id, "version": self.version, "reviews": reviews })))
    }

    async fn ratings(&self, path: &str) -> anyhow::Result<Page> {
        let id = product(path, "/ratings/")?;
        let ratings = redis::ratings(id).await.context("redis")?;
        Ok(reply(json!({ "id": id, "ratings": ratings })))
    }
}

fn details(id: u32) -> Value {
    json!({
        "id": id, "author": "William Shakespeare", "year": 1595, "type": "paperback", "pages": 200,
        "publisher": "PublisherA", "language": "English", "isbn": "1234567890",
    })
}

/// The product's number at the end of a path.
fn product(path: &str, prefix: &str) -> anyhow::Result<u32> {
    let Some(id) = path.strip_prefix(prefix) else { bail!("no such path: {path}") };
    id.parse().with_context(|| format!("product {id}"))
}

/// The headers a server hands on, so that one page view is one trace.
fn trace(headers: &HeaderMap) -> HeaderMap {
    let names = ["x-request-id", "traceparent", "tracestate", "end-user"];
    let found = names.into_iter().filter_map(|name| Some((name, headers.get(name)?.clone())));
    found.map(|(name, value)| (header::HeaderName::from_static(name), value)).collect()
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let cookies = headers.get(header::COOKIE)?.to_str().ok()?;
    let mut pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value.to_owned())
}

fn reply(value: impl std::fmt::Display) -> Page {
    let mut page = Response::new(Full::from(value.to_string()));
    page.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    page
}

fn see_productpage(cookie: &str) -> anyhow::Result<Page> {
    let page = Response::builder().status(StatusCode::SEE_OTHER).header(header::LOCATION, "/productpage");
    page.header(header::SET_COOKIE, cookie).body(Full::default()).context("user name")
}

const REVIEWS: [(&str, &str); 2] = [
    ("Reviewer1", "An extremely entertaining play by Shakespeare. The slapstick humour is refreshing!"),
    (
        "Reviewer2",
        "Absolutely fun and entertaining. The play lacks thematic depth when compared to other plays by Shakespeare.",
    ),
];
