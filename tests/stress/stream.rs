//! Random bytes, sent in random pieces and compared where they arrive.

use std::io::{self, ErrorKind, Read, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::plan::{Plan, Random};

/// The bytes of all streams: one long random text, in which each stream begins somewhere else. A byte that is lost, doubled or
/// overtaken makes all that follow differ.
#[derive(Clone, Debug)]
pub(crate) struct Text(Arc<Vec<u8>>);

/// One direction of one connection.
#[derive(Debug)]
pub(crate) struct Cursor {
    text: Text,
    at: usize,
    /// Bytes so far.
    pub(crate) done: u64,
}

/// Reads patiently: on an accelerated socket a signal makes a blocking `recv` answer that there is nothing for now.
#[derive(Debug)]
pub(crate) struct Patient<'a>(pub(crate) &'a TcpStream);

impl Text {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, u64::MAX);
        // Not a multiple of anything that buffers are.
        Self(Arc::new((0..LENGTH / 8 + 1).flat_map(|_| random.next().to_le_bytes()).take(LENGTH).collect()))
    }

    /// What connection `id` sends up (0) or down (1).
    pub(crate) fn cursor(&self, id: u64, way: u64) -> Cursor {
        let at = Random::new(id, way).next() as usize % LENGTH;
        Cursor { text: self.clone(), at, done: 0 }
    }
}

impl Cursor {
    /// Sends the next `bytes`, in pieces as planned.
    pub(crate) fn send(&mut self, mut to: &TcpStream, bytes: u64, plan: &Plan, random: &mut Random) -> io::Result<()> {
        let end = self.done + bytes;
        while self.done < end {
            let piece = random.up_to(plan.piece).min((end - self.done) as usize).min(LENGTH - self.at);
            random.pause(plan.pauses);
            to.write_all(&self.text.0[self.at..self.at + piece])?;
            self.advance(piece);
        }
        Ok(())
    }

    /// Receives the next `bytes`, or all there are, and compares them. Answers whether the stream ended before.
    pub(crate) fn receive(
        &mut self,
        from: &TcpStream,
        bytes: Option<u64>,
        plan: &Plan,
        random: &mut Random,
    ) -> Result<bool> {
        let mut buffer = vec![0; plan.read];
        let end = bytes.map_or(u64::MAX, |bytes| self.done + bytes);
        while self.done < end {
            random.pause(plan.pauses);
            let most = random.up_to(plan.read).min(usize::try_from(end - self.done).unwrap_or(usize::MAX));
            let read = Patient(from).read(&mut buffer[..most]).with_context(|| format!("after {} bytes", self.done))?;
            if read == 0 {
                return Ok(true);
            }
            self.compare(&buffer[..read])?;
        }
        Ok(false)
    }

    fn compare(&mut self, mut got: &[u8]) -> Result<()> {
        while !got.is_empty() {
            let part = got.len().min(LENGTH - self.at);
            let expected = &self.text.0[self.at..self.at + part];
            if &got[..part] != expected {
                let wrong = got.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(0);
                bail!("MISMATCH at byte {}", self.done + wrong as u64);
            }
            got = &got[part..];
            self.advance(part);
        }
        Ok(())
    }

    fn advance(&mut self, bytes: usize) {
        self.at = (self.at + bytes) % LENGTH;
        self.done += bytes as u64;
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let began = Instant::now();
        loop {
            match self.0.read(buffer) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    if began.elapsed() > HANGS {
                        return Err(io::Error::new(ErrorKind::TimedOut, "HANG: nothing came"));
                    }
                }
                result => return result,
            }
        }
    }
}

/// Makes sure that nothing waits for ever.
pub(crate) fn prepare(stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(HANGS))?;
    stream.set_write_timeout(Some(HANGS))?;
    stream.set_nodelay(true)?;
    Ok(())
}

/// Nothing came where a head may begin.
#[derive(Debug)]
pub(crate) struct Idle;

impl std::fmt::Display for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HANG: no head came")
    }
}

impl std::error::Error for Idle {}

/// Reads up to the end of an HTTP head; answers it and the value of its `content-length`.
pub(crate) fn read_head(from: &TcpStream) -> Result<Option<(String, u64)>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match Patient(from).read(&mut byte) {
            Ok(0) => {
                ensure!(head.is_empty(), "a head was cut off");
                return Ok(None);
            }
            Err(error) if error.kind() == ErrorKind::TimedOut && head.is_empty() => bail!(Idle),
            result => drop(result?),
        }
        head.push(byte[0]);
        ensure!(head.len() < 8192, "a head without an end");
    }
    let head = String::from_utf8(head)?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.map_or(Ok(0), |length| length.trim().parse()).context("content-length")?;
    Ok(Some((head, length)))
}

const LENGTH: usize = (9 << 20) + 13;
/// Far more than anything takes on a busy machine.
const HANGS: Duration = Duration::from_secs(60);
