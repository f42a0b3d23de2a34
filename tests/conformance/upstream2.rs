//! Upstreams that speak HTTP/2 with prior knowledge.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::net::TcpStream;

use crate::case::{Op, latin1, text};
use crate::observe::Message;
use crate::world::Upstreams;

/// Serves one connection.
pub(crate) async fn serve(stream: TcpStream, name: String, upstreams: Arc<Upstreams>) {
    let mut builder = server::Builder::new();
    builder.enable_connect_protocol().max_header_list_size(1 << 20);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let (name, upstreams) = (name.clone(), Arc::clone(&upstreams));
        tokio::spawn(async move { drop(exchange(request, respond, &name, &upstreams).await) });
    }
}

async fn exchange(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    name: &str,
    upstreams: &Upstreams,
) -> Result<()> {
    let (parts, mut body) = request.into_parts();
    let mut message = Message { line: format!("{} {}", parts.method, parts.uri), ..Message::default() };
    if let Some(protocol) = parts.extensions.get::<h2::ext::Protocol>() {
        message.headers.push(format!(":protocol: {}", protocol.as_str()));
    }
    message.headers.extend(lines(&parts.headers));
    let record = upstreams.record(name, message.clone());
    let ops = match upstreams.answer(name) {
        Some(script) => script.ops(),
        None => vec![Op::Head(":status: 200".to_owned()), Op::Chunk(format!("from {name}")), Op::End(String::new())],
    };
    let early = ops.iter().any(|op| matches!(op, Op::Early | Op::Echo));
    if !early {
        receive(&mut body, &mut message).await;
        record.update(&message);
    }
    answer(&mut respond, &mut body, &ops, &mut message).await?;
    if early {
        receive(&mut body, &mut message).await;
    }
    record.update(&message);
    Ok(())
}

async fn answer(
    respond: &mut SendResponse<Bytes>,
    body: &mut RecvStream,
    ops: &[Op],
    message: &mut Message,
) -> Result<()> {
    let mut stream = None;
    for (at, op) in ops.iter().enumerate() {
        match op {
            Op::Head(head) => {
                let last = at + 1 == ops.len();
                stream = Some(respond.send_response(response(head)?, last)?);
            }
            Op::Chunk(data) => stream.as_mut().context("no head")?.send_data(latin1(data).into(), false)?,
            Op::End(trailers) if trailers.is_empty() => {
                stream.as_mut().context("no head")?.send_data(Bytes::new(), true)?;
            }
            Op::End(trailers) => stream.as_mut().context("no head")?.send_trailers(headers(trailers)?.1)?,
            Op::Wait(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Op::Reset => match stream.as_mut() {
                Some(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
                None => respond.send_reset(Reason::REFUSED_STREAM),
            },
            Op::Echo => {
                let stream = stream.as_mut().context("no head")?;
                while let Some(Ok(data)) = body.data().await {
                    message.body.push_str(&text(&data));
                    drop(body.flow_control().release_capacity(data.len()));
                    stream.send_data(data, false)?;
                }
            }
            Op::Silent => drop(std::future::poll_fn(|cx| respond.poll_reset(cx)).await),
            Op::Raw(_) | Op::Fill(..) | Op::Await(_) | Op::Seen | Op::Shut | Op::Close | Op::Early => {}
        }
    }
    Ok(())
}

/// Reads a body and its trailers to the end.
pub(crate) async fn receive(body: &mut RecvStream, message: &mut Message) {
    message.end = loop {
        match body.data().await {
            Some(Ok(data)) => {
                message.body.push_str(&text(&data));
                drop(body.flow_control().release_capacity(data.len()));
            }
            Some(Err(error)) => break ending(&error),
            None => match body.trailers().await {
                Ok(trailers) => {
                    message.trailers = trailers.as_ref().map(lines).unwrap_or_default();
                    break "stream".to_owned();
                }
                Err(error) => break ending(&error),
            },
        }
    };
}

/// Why a stream broke.
pub(crate) fn ending(error: &h2::Error) -> String {
    match error.reason() {
        Some(reason) if error.is_go_away() => format!("goaway {reason:?}"),
        Some(reason) => format!("reset {reason:?}"),
        None => "closed".to_owned(),
    }
}

/// `name: value` of each header.
pub(crate) fn lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", text(value.as_bytes()))).collect()
}

/// Headers of a text of lines, and what its `:status` says.
fn headers(lines: &str) -> Result<(u16, HeaderMap)> {
    let mut map = HeaderMap::new();
    let mut status = 200;
    for line in lines.lines() {
        let (name, value) = line.split_once(": ").context("no colon")?;
        if name == ":status" {
            status = value.parse()?;
            continue;
        }
        map.append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(&latin1(value))?);
    }
    Ok((status, map))
}

fn response(head: &str) -> Result<Response<()>> {
    let (status, map) = headers(head)?;
    let mut response = Response::builder().status(status).body(())?;
    *response.headers_mut() = map;
    Ok(response)
}
