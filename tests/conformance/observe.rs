//! What is seen on both sides of a proxy, brought into a form in which two proxies can be compared.
//!
//! Header names and values are compared in full and with their case; the order of different headers is not. The few
//! values that differ from run to run are replaced: see [`Observed::normalise`].

use std::net::{IpAddr, UdpSocket};

use serde::{Deserialize, Serialize};

use crate::case::Part;
use crate::world::Ports;

/// What one case showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Observed {
    pub(crate) name: String,
    /// What the client got, interim responses included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) client: Vec<Message>,
    /// What became of the client's connection.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) after: String,
    /// What the upstreams got, in the order of arrival.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) upstream: Vec<Message>,
}

/// A request or a response as it was received.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Message {
    /// Which upstream, if it is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) at: String,
    /// Start line; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) line: String,
    /// `name: value`, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<String>,
    /// One character per byte.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) body: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) trailers: Vec<String>,
    /// How the message ended: `none`, `length`, `chunked`, `eof`, `cut`, `tunnel`, `stream`, `reset CODE`...
    pub(crate) end: String,
}

impl Observed {
    /// Takes away what differs between two runs of the same proxy.
    pub(crate) fn normalise(&mut self, ports: &Ports, racy: &[Part]) {
        if racy.contains(&Part::Upstream) {
            self.upstream.clear();
        }
        if racy.contains(&Part::After) {
            self.after.clear();
        }
        for message in self.client.iter_mut().chain(&mut self.upstream) {
            message.line = ports.hide(&message.line);
            message.body = shorten(ports.hide(&message.body));
            for line in message.headers.iter_mut().chain(&mut message.trailers) {
                *line = shorten(ports.hide(&steady(line)));
            }
            message.headers.sort_by_cached_key(|line| name_of(line).to_ascii_lowercase());
            message.trailers.sort_by_cached_key(|line| name_of(line).to_ascii_lowercase());
        }
    }
}

/// `name: value` with a value that does not change from run to run.
fn steady(line: &str) -> String {
    let Some((name, value)) = line.split_once(": ") else { return line.to_owned() };
    let value = match name.to_ascii_lowercase().as_str() {
        "date" => "<date>",
        "x-envoy-upstream-service-time" => "<ms>",
        // The default name is the proxy's own; a configured one is compared.
        "server" if value == "envoy" || value == "bowline" => "<proxy>",
        "x-request-id" if is_uuid(value) => "<uuid>",
        "x-forwarded-for" => return format!("{name}: {}", without_own_address(value)),
        _ => value,
    };
    format!("{name}: {value}")
}

/// Where a client comes from loopback, the node's own address is appended, which is another one on each machine.
fn without_own_address(list: &str) -> String {
    let (before, last) = list.rsplit_once(',').map_or(("", list), |(_, last)| list.split_at(list.len() - last.len()));
    // Only an own address can be bound.
    let own = last.parse::<IpAddr>().is_ok_and(|address| UdpSocket::bind((address, 0)).is_ok());
    format!("{before}{}", if own { "<own address>" } else { last })
}

fn name_of(line: &str) -> &str {
    let from = usize::from(line.starts_with(':'));
    line[from..].find(':').map_or(line, |at| &line[..from + at])
}

fn is_uuid(value: &str) -> bool {
    value.len() == 36
        && value.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// Long texts as their length and a checksum (FNV-1a), so that recordings stay readable.
fn shorten(text: String) -> String {
    const MOST: usize = 400;
    if text.len() <= MOST {
        return text;
    }
    let sum = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, b| (sum ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let head: String = text.chars().take(40).collect();
    format!("{head}... ({} characters, {sum:016x})", text.chars().count())
}
