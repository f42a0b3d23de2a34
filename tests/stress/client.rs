//! The connecting end.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::plan::{Plan, Random, Scale, Talk};
use crate::stream::{Text, prepare, read_head};

/// Does what connection `id` does; answers the bytes that came back.
pub(crate) fn bytes(to: SocketAddr, scale: Scale, id: u64, text: &Text) -> Result<u64> {
    let plan = Plan::of(scale, id);
    let stream = connect(to, plan.hasty)?;
    let (mut up, mut down) = (text.cursor(id, 0), text.cursor(id, 1));
    let mut random = Random::new(id, 5);
    (&stream).write_all(&id.to_le_bytes()).context("its number")?;
    match plan.talk {
        Talk::Streams { up: all, down: back } => {
            let mut send_random = Random::new(id, 6);
            let (plan, writer) = (&plan, stream.try_clone()?);
            thread::scope(|scope| -> Result<()> {
                let sending = scope.spawn(move || -> Result<()> {
                    up.send(&writer, all, plan, &mut send_random).context("sends")?;
                    Ok(writer.shutdown(Shutdown::Write)?)
                });
                down.receive(&stream, None, plan, &mut random)?;
                ensure!(down.done == back, "ended after {} of {back} bytes", down.done);
                sending.join().expect("no panic")
            })?;
        }
        Talk::Turns(ref turns) => {
            for &(there, back) in turns {
                up.send(&stream, there, &plan, &mut random).context("sends")?;
                ensure!(!down.receive(&stream, Some(back), &plan, &mut random)?, "ended within a turn");
            }
        }
        Talk::Leave { up: all } => up.send(&stream, all, &plan, &mut random).context("sends")?,
        Talk::Abort { up: all } => {
            up.send(&stream, all, &plan, &mut random).context("sends")?;
            SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        }
    }
    Ok(down.done)
}

/// The same as requests and answers.
pub(crate) fn http(to: SocketAddr, scale: Scale, id: u64, text: &Text) -> Result<u64> {
    let plan = Plan::of(scale, id);
    let stream = connect(to, plan.hasty)?;
    let mut random = Random::new(id, 5);
    let mut received = 0;
    for (turn, (there, back)) in (0_u64..).zip(plan.turns()) {
        let head = format!("POST /{id}/{turn} HTTP/1.1\r\nhost: stress\r\ncontent-length: {there}\r\n\r\n");
        (&stream).write_all(head.as_bytes())?;
        text.cursor(id, 2 * turn).send(&stream, there, &plan, &mut random).context("sends")?;
        let (answer, length) = read_head(&stream)?.context("no answer")?;
        ensure!(answer.starts_with("http/1.1 200") && length == back, "other than {back} bytes: {answer}");
        let mut down = text.cursor(id, 2 * turn + 1);
        ensure!(!down.receive(&stream, Some(back), &plan, &mut random)?, "ended within an answer");
        received += down.done;
    }
    Ok(received)
}

fn connect(to: SocketAddr, hasty: bool) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    if hasty {
        socket.set_nonblocking(true)?;
        // What the first `send` waits for.
        let _under_way = socket.connect(&to.into());
        socket.set_nonblocking(false)?;
    } else {
        socket.connect(&to.into()).context("connect")?;
    }
    let stream = TcpStream::from(socket);
    prepare(&stream)?;
    Ok(stream)
}
