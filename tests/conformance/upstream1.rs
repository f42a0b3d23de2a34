//! Upstreams that speak HTTP/1 or plain TCP: they record every byte's meaning and answer as the case says.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use crate::case::{Op, Script, latin1, text};
use crate::observe::Message;
use crate::wire::{Ending, Wire, header, request_framing};
use crate::world::{Record, Upstreams};

/// Serves one HTTP/1 connection.
pub(crate) async fn serve_http(stream: TcpStream, name: String, upstreams: Arc<Upstreams>) {
    let (reader, mut writer) = stream.into_split();
    let mut wire = Wire::new(reader);
    while let Some(mut message) = wire.head().await {
        let record = upstreams.record(&name, Message { end: String::new(), ..message.clone() });
        let ops = upstreams.answer(&name).map_or_else(|| default_answer(&name, &message), |script| script.ops());
        let early = matches!(ops.first(), Some(Op::Early));
        if !early {
            wire.body(request_framing(&message), &mut message).await;
            record.update(&message);
            if message.end == "cut" {
                return;
            }
        }
        for op in &ops {
            match op {
                Op::Echo => {
                    // Not over before the tunnel is.
                    message.end.clear();
                    record.update(&message);
                    echo(&mut wire, &mut writer, &mut message).await;
                    record.update(&message);
                    return;
                }
                Op::Silent => while wire.fill().await {},
                Op::Close => return,
                Op::Reset => return reset(&writer),
                op => {
                    if write(&mut writer, op).await.is_err() {
                        return;
                    }
                }
            }
        }
        if early {
            wire.body(request_framing(&message), &mut message).await;
            record.update(&message);
        }
        if header(&message, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
            return;
        }
    }
}

/// Serves one connection without a protocol. By default it hears the client out and sends it back, with its own name.
pub(crate) async fn serve_tcp(stream: TcpStream, name: String, upstreams: Arc<Upstreams>) {
    let (reader, mut writer) = stream.into_split();
    let mut wire = Wire::new(reader);
    let mut message = Message::default();
    let record = upstreams.record(&name, message.clone());
    if let Some(script) = upstreams.answer(&name) {
        for op in script.ops() {
            match op {
                Op::Echo => return finish(echo(&mut wire, &mut writer, &mut message).await, &record, message),
                Op::Await(bytes) => read_until(&mut wire, &mut message, bytes).await,
                Op::Close => return finish(Ending::Closed, &record, message),
                Op::Reset => {
                    reset(&writer);
                    return finish(Ending::Reset, &record, message);
                }
                op => drop(write(&mut writer, &op).await),
            }
        }
        read_until(&mut wire, &mut message, usize::MAX).await;
    } else {
        read_until(&mut wire, &mut message, usize::MAX).await;
        drop(writer.write_all(&latin1(&format!("{name}:{}", message.body))).await);
    }
    finish(wire.ended.unwrap_or(Ending::Closed), &record, message);
}

/// Does one step that only writes or waits; the others are the caller's.
pub(crate) async fn write(writer: &mut OwnedWriteHalf, op: &Op) -> io::Result<()> {
    match op {
        Op::Head(lines) => writer.write_all(&latin1(&head(lines))).await,
        Op::Raw(bytes) => writer.write_all(&latin1(bytes)).await,
        Op::Fill(byte, count) => writer.write_all(&latin1(&byte.repeat(*count))).await,
        Op::Chunk(data) => writer.write_all(&latin1(&format!("{:x}\r\n{data}\r\n", data.chars().count()))).await,
        Op::End(trailers) => writer.write_all(&latin1(&format!("0\r\n{}", head(trailers)))).await,
        Op::Wait(ms) => {
            tokio::time::sleep(Duration::from_millis(*ms)).await;
            Ok(())
        }
        Op::Shut => writer.shutdown().await,
        Op::Await(_) | Op::Seen | Op::Close | Op::Reset | Op::Early | Op::Echo | Op::Silent => Ok(()),
    }
}

/// Makes the coming close a reset.
pub(crate) fn reset(writer: &OwnedWriteHalf) {
    drop(SockRef::from(writer.as_ref()).set_linger(Some(Duration::ZERO)));
}

/// Reads until the body has so many bytes or the peer ends.
pub(crate) async fn read_until<R>(wire: &mut Wire<R>, message: &mut Message, bytes: usize)
where
    R: tokio::io::AsyncRead + Unpin,
{
    while message.body.chars().count() < bytes && wire.fill().await {
        message.body.push_str(&text(&wire.rest()));
    }
}

fn finish(ending: Ending, record: &Record, mut message: Message) {
    message.end = if ending == Ending::Reset { "reset" } else { "eof" }.to_owned();
    record.update(&message);
}

async fn echo<R>(wire: &mut Wire<R>, writer: &mut OwnedWriteHalf, message: &mut Message) -> Ending
where
    R: tokio::io::AsyncRead + Unpin,
{
    loop {
        let bytes = wire.rest();
        message.body.push_str(&text(&bytes));
        if writer.write_all(&bytes).await.is_err() || !wire.fill().await {
            break;
        }
    }
    drop(writer.shutdown().await);
    message.end = "tunnel".to_owned();
    wire.ended.unwrap_or(Ending::Closed)
}

fn default_answer(name: &str, request: &Message) -> Vec<Op> {
    let body = format!("from {name}");
    let length = body.len();
    let body = if request.line.starts_with("HEAD ") { String::new() } else { body };
    Script::Ops(vec![Op::Head(format!("HTTP/1.1 200 OK\ncontent-length: {length}")), Op::Raw(body)]).ops()
}

fn head(lines: &str) -> String {
    let lines = lines.trim_end_matches('\n');
    let end = if lines.is_empty() { "" } else { "\r\n" };
    format!("{}{end}\r\n", lines.replace('\n', "\r\n"))
}
