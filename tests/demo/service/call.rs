//! Calls to another service by its name, over kept connections.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use harness::client::{self, Answer, Client, Version};
use http::{HeaderMap, Request};
use serde_json::Value;

/// Connections that wait for the next call, by service.
#[derive(Default)]
pub(super) struct Caller {
    idle: Mutex<HashMap<String, Vec<Client>>>,
    turn: AtomicUsize,
}

impl Caller {
    /// `GET path` of a service, which has to answer with JSON.
    pub(super) async fn get(&self, service: &str, path: &str, headers: &HeaderMap) -> anyhow::Result<Value> {
        let answer = match self.take(service) {
            // The other side may have closed it meanwhile; a GET can be tried again.
            Some(kept) => match self.ask(kept, service, path, headers).await {
                Ok(answer) => answer,
                Err(_) => self.ask(self.connect(service).await?, service, path, headers).await?,
            },
            None => self.ask(self.connect(service).await?, service, path, headers).await?,
        };
        ensure!(answer.status.is_success(), "{service}: {}", answer.status);
        serde_json::from_slice(&answer.body).with_context(|| service.to_owned())
    }

    async fn ask(&self, mut client: Client, service: &str, path: &str, headers: &HeaderMap) -> anyhow::Result<Answer> {
        let mut request = Request::get(format!("http://{service}:9080{path}")).body(client::empty())?;
        request.headers_mut().extend(headers.clone());
        let answer = client.ask(request).await.with_context(|| service.to_owned())?;
        if answer.header("connection") != "close" {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.entry(service.to_owned()).or_default().push(client);
        }
        Ok(answer)
    }

    fn take(&self, service: &str) -> Option<Client> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(service)?.pop()
    }

    /// Connects to one of the name's addresses, each in its turn: IPv4 and IPv6 both have work.
    async fn connect(&self, service: &str) -> anyhow::Result<Client> {
        let found = tokio::net::lookup_host((service, 9080)).await.with_context(|| format!("name {service}"))?;
        let addresses = found.collect::<Vec<_>>();
        ensure!(!addresses.is_empty(), "name {service}: no address");
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        Client::connect(addresses[turn % addresses.len()], Version::Http1).await
    }
}
