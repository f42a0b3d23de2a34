//! Buffers of HTTP/1 connections: an input that is read into in place, and an output that is written from.
//!
//! A connection that waits holds neither: memory comes from a small stock of the thread when there are bytes, and goes back when
//! there are none. So idle connections cost little, and busy ones don't allocate.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use crate::proxy::http::body::StreamError;
use crate::transport::{ReadHalf, WriteHalf};

/// Size of an input buffer; also what is asked of the kernel at once.
pub(super) const INPUT_SIZE: usize = 16 * 1024;
/// Most that waits in an output buffer before nothing more is taken.
pub(super) const OUTPUT_LIMIT: usize = 64 * 1024;
/// Chunks from this size on are written from where they are, not copied to the output first.
pub(super) const DIRECT_WRITE: usize = 4 * 1024;
/// Buffers of each kind that a thread keeps in stock.
const STOCK: usize = 64;

thread_local! {
    static INPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static OUTPUTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read and not yet used.
#[derive(Debug, Default)]
pub(super) struct Input {
    data: Vec<u8>,
    start: usize,
    end: usize,
    total: u64,
}

impl Input {
    /// An input that begins with what was already read.
    pub(super) fn with(bytes: &[u8]) -> Self {
        let mut input = Self::default();
        if !bytes.is_empty() {
            input.make_room(bytes.len());
            input.data[..bytes.len()].copy_from_slice(bytes);
            input.end = bytes.len();
            input.total = bytes.len() as u64;
        }
        input
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Bytes read since this was asked last.
    pub(super) fn take_total(&mut self) -> u64 {
        std::mem::take(&mut self.total)
    }

    /// Gives the memory back if there is nothing in it.
    pub(super) fn rest(&mut self) {
        if self.is_empty() && !self.data.is_empty() {
            let data = std::mem::take(&mut self.data);
            if data.len() == INPUT_SIZE {
                give(&INPUTS, data);
            }
        }
    }

    /// Reads once; grows if there is no room, so the caller must not ask for more than it means to hold. Ready with 0: the peer
    /// has ended.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, stream: &mut ReadHalf<'_>) -> Poll<io::Result<usize>> {
        if self.data.is_empty() {
            // No memory before there are bytes.
            ready!(stream.poll_read_ready(cx))?;
        }
        if self.end == self.data.len() {
            self.make_room(INPUT_SIZE);
        }
        let mut room = ReadBuf::new(&mut self.data[self.end..]);
        ready!(stream.poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        self.total += read as u64;
        Poll::Ready(Ok(read))
    }

    /// Moves what is there to the front; grows if that leaves no room.
    fn make_room(&mut self, wanted: usize) {
        if self.data.is_empty() {
            self.data = take(&INPUTS).unwrap_or_default();
            if self.data.len() < wanted {
                self.data.resize(wanted.max(INPUT_SIZE), 0);
            }
            return;
        }
        self.data.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.data.len() {
            self.data.resize(self.data.len() * 2, 0);
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.consume(self.len());
        self.rest();
    }
}

/// Bytes that are to be written.
#[derive(Debug, Default)]
pub(super) struct Output {
    data: Vec<u8>,
    written: usize,
    total: u64,
}

impl Output {
    /// Where to append.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.data.capacity() == 0 {
            self.data = take(&OUTPUTS).unwrap_or_else(|| Vec::with_capacity(INPUT_SIZE));
        }
        &mut self.data
    }

    pub(super) fn len(&self) -> usize {
        self.data.len() - self.written
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes all there is.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut WriteHalf<'_>,
    ) -> Poll<Result<(), StreamError>> {
        while !self.is_empty() {
            let written = ready!(stream.poll_write(cx, &self.data[self.written..]))?;
            self.advance(written);
        }
        stream.poll_flush(cx).map_err(StreamError::Io)
    }

    /// Writes what there is and `chunk` after it, in one system call. Says how much of `chunk` was written.
    pub(super) fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut WriteHalf<'_>,
        chunk: &[u8],
    ) -> Poll<Result<usize, StreamError>> {
        loop {
            let waiting = self.len();
            let written = if waiting == 0 {
                ready!(stream.poll_write(cx, chunk))?
            } else {
                let both = [io::IoSlice::new(&self.data[self.written..]), io::IoSlice::new(chunk)];
                ready!(stream.poll_write_vectored(cx, &both))?
            };
            self.advance(written.min(waiting));
            if written > waiting {
                self.total += (written - waiting) as u64;
                return Poll::Ready(Ok(written - waiting));
            }
        }
    }

    fn advance(&mut self, written: usize) {
        self.written += written;
        self.total += written as u64;
        if self.written == self.data.len() {
            self.written = 0;
            self.data.clear();
            // What grew beyond the usual goes back to the allocator.
            if self.data.capacity() > OUTPUT_LIMIT {
                self.data = Vec::new();
            }
        }
    }

    /// Bytes written since this was asked last.
    pub(super) fn take_total(&mut self) -> u64 {
        std::mem::take(&mut self.total)
    }

    /// Gives the memory back if there is nothing in it.
    pub(super) fn rest(&mut self) {
        if self.is_empty() && self.data.capacity() > 0 {
            give(&OUTPUTS, std::mem::take(&mut self.data));
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.data.clear();
        self.written = 0;
        self.rest();
    }
}

type Stock = std::thread::LocalKey<RefCell<Vec<Vec<u8>>>>;

fn take(stock: &'static Stock) -> Option<Vec<u8>> {
    stock.try_with(|stock| stock.borrow_mut().pop()).ok().flatten()
}

fn give(stock: &'static Stock, buffer: Vec<u8>) {
    // A connection that is dropped while its thread ends finds no stock any more; its buffer is just freed.
    let _ = stock.try_with(|stock| {
        let mut stock = stock.borrow_mut();
        if stock.len() < STOCK {
            stock.push(buffer);
        }
    });
}
