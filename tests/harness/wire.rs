//! HTTP/1.1 by hand: tests that send what no client library would send, and look at exactly what comes back.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A connection on which bytes are sent as given. Reads and writes end after 10 s.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An HTTP/1.1 response with its body put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// Chunks joined.
    pub body: Vec<u8>,
    /// What followed the last chunk.
    pub trailers: Vec<(String, String)>,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// If nobody listens.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&address, TIMEOUT)?)
    }

    /// Takes a connection that is there.
    ///
    /// # Errors
    /// If its deadlines can't be set.
    pub fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// The socket.
    #[must_use]
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the peer has closed.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Ends our direction.
    ///
    /// # Errors
    /// If the peer has closed.
    pub fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// Reads until `end` has come, and returns everything up to it.
    ///
    /// # Errors
    /// If the peer closes or falls silent first.
    pub fn read_until(&mut self, end: &[u8]) -> anyhow::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                return Ok(self.unread.drain(..at + end.len()).collect());
            }
            self.more().with_context(|| format!("waiting for {:?}", String::from_utf8_lossy(end)))?;
        }
    }

    /// Reads exactly `length` bytes.
    ///
    /// # Errors
    /// If the peer closes or falls silent first.
    pub fn read_exact(&mut self, length: usize) -> anyhow::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.more()?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    /// Reads to the peer's end. A reset counts as one: that is how a refused request may end.
    ///
    /// # Errors
    /// If the peer keeps the connection open.
    pub fn read_to_end(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut bytes = std::mem::take(&mut self.unread);
        match self.stream.read_to_end(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(bytes),
            Err(error) => Err(error).with_context(|| format!("still open after {:?}", String::from_utf8_lossy(&bytes))),
            Ok(_) => Ok(bytes),
        }
    }

    /// Reads one response, informational ones too.
    ///
    /// # Errors
    /// If it isn't HTTP or isn't whole.
    pub fn response(&mut self) -> anyhow::Result<Response> {
        let head = self.read_until(b"\r\n\r\n")?;
        let mut response = Response::head(&head)?;
        if response.header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            loop {
                let line = self.read_until(b"\r\n")?;
                let size = chunk_size(&line)?;
                if size == 0 {
                    break;
                }
                response.body.extend(self.read_exact(size)?);
                self.read_until(b"\r\n")?;
            }
            while let line = self.read_until(b"\r\n")?
                && line != b"\r\n"
            {
                response.trailers.push(header(&String::from_utf8_lossy(&line))?);
            }
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().with_context(|| format!("content-length {length:?}"))?;
            response.body = self.read_exact(length)?;
        } else if response.status >= 200 && response.status != 204 && response.status != 304 {
            response.body = self.read_to_end()?;
        }
        Ok(response)
    }

    /// Whether the peer closes within `time`, sending nothing more.
    #[must_use]
    pub fn closes_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let _ = self.stream.set_read_timeout(Some(time));
        let closed = self.more().is_err_and(|_| Instant::now() < deadline);
        let _ = self.stream.set_read_timeout(Some(TIMEOUT));
        closed
    }

    fn more(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer)? {
            0 => bail!("closed after {:?}", String::from_utf8_lossy(&self.unread)),
            read => self.unread.extend_from_slice(&buffer[..read]),
        }
        Ok(())
    }
}

impl Response {
    /// First value of a header; the name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `Null` if it isn't.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A response that is there as a whole, its connection having ended.
    ///
    /// # Errors
    /// If it isn't HTTP.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").context("no end of headers")? + 4;
        let mut response = Self::head(&bytes[..end])?;
        let mut rest = &bytes[end..];
        if response.header("transfer-encoding") != Some("chunked") {
            response.body = rest.to_vec();
            return Ok(response);
        }
        loop {
            let line = rest.windows(2).position(|window| window == b"\r\n").context("no end of chunk size")? + 2;
            let size = chunk_size(&rest[..line])?;
            if size == 0 {
                return Ok(response);
            }
            response.body.extend(rest.get(line..line + size).context("chunk cut short")?);
            rest = rest.get(line + size + 2..).context("chunk cut short")?;
        }
    }

    fn head(bytes: &[u8]) -> anyhow::Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.trim_end().split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ');
        if !words.next().is_some_and(|version| version.starts_with("HTTP/1.")) {
            bail!("not HTTP: {first:?}");
        }
        let status =
            words.next().and_then(|status| status.parse().ok()).with_context(|| format!("status: {first:?}"))?;
        let headers = lines.map(header).collect::<anyhow::Result<_>>()?;
        Ok(Self { status, headers, ..Self::default() })
    }
}

fn header(line: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = line.split_once(':').with_context(|| format!("header: {line:?}"))?;
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn chunk_size(line: &[u8]) -> anyhow::Result<usize> {
    let text = String::from_utf8_lossy(line);
    let size = text.trim_end().split(';').next().unwrap_or_default();
    usize::from_str_radix(size, 16).with_context(|| format!("chunk size: {text:?}"))
}

const TIMEOUT: Duration = Duration::from_secs(10);
