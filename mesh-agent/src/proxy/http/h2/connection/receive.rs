//! What frames of the peer mean.
//!
//! Each frame is checked where it is handled; header blocks go on to [`super::message`].

use bytes::BytesMut;

use crate::proxy::http::h2::connection::{Block, Core, LEAVING, Leaving};
use crate::proxy::http::h2::frame::{ACK, FrameHead, Kind, word};
use crate::proxy::http::h2::reason::{Failure, Fault, Reason};

impl Core {
    /// Any frame but DATA.
    pub(super) fn receive_frame(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        self.check_order(head)?;
        match head.kind {
            Kind::Headers => {
                self.check_stream(head, self.is_server())?;
                let block = &payload[head.content(payload)?];
                self.guard.message_frame(block.is_empty() && !head.ends_stream() && !head.ends_headers())?;
                if head.ends_headers() {
                    return self.receive_block(head.stream, head.ends_stream(), block);
                }
                self.block = Some(Block { stream: head.stream, over: head.ends_stream(), bytes: block.to_vec() });
                Ok(())
            }
            Kind::Continuation => {
                let Some(mut block) = self.block.take() else { return Err(Fault::protocol("CONTINUATION of nothing")) };
                self.guard.message_frame(payload.is_empty() && !head.ends_headers())?;
                if block.bytes.len() + payload.len() > 2 * self.limits.bytes + MOST_OVER_LIMIT {
                    return Err(Fault::new(Reason::ENHANCE_YOUR_CALM, "header block without end"));
                }
                block.bytes.extend_from_slice(payload);
                if head.ends_headers() {
                    return self.receive_block(block.stream, block.over, &block.bytes);
                }
                self.block = Some(block);
                Ok(())
            }
            Kind::Priority => {
                if payload.len() != 5 {
                    return Err(Fault::new(Reason::FRAME_SIZE_ERROR, "PRIORITY of odd size"));
                }
                self.guard.priority()
            }
            Kind::Reset => {
                self.check_stream(head, false)?;
                let reason = Reason(word(payload)?);
                self.receive_reset(head.stream, reason)
            }
            Kind::Settings => self.receive_settings(head, payload),
            Kind::PushPromise => Err(Fault::protocol("PUSH_PROMISE")),
            Kind::Ping => match payload.len() {
                8 if head.flags & ACK == 0 => self.output.control(Kind::Ping, ACK, 0, payload),
                8 => {
                    if payload == LEAVING && self.leaving == Leaving::Said {
                        self.leave_finally();
                    }
                    Ok(())
                }
                _ => Err(Fault::new(Reason::FRAME_SIZE_ERROR, "PING of odd size")),
            },
            Kind::GoAway => {
                let last = *payload.first_chunk().ok_or(Fault::new(Reason::FRAME_SIZE_ERROR, "GOAWAY too short"))?;
                self.receive_go_away(u32::from_be_bytes(last) & 0x7fff_ffff);
                Ok(())
            }
            Kind::WindowUpdate => self.receive_window(head, word(payload)? & 0x7fff_ffff),
            Kind::Data | Kind::Unknown => Ok(()),
        }
    }

    /// A DATA frame without its padding.
    pub(super) fn receive_data(&mut self, head: FrameHead, data: BytesMut) -> Result<(), Fault> {
        self.check_order(head)?;
        self.check_stream(head, false)?;
        self.guard.message_frame(data.is_empty() && !head.ends_stream())?;
        if !self.receive.take(head.length) {
            return Err(Fault::new(Reason::FLOW_CONTROL_ERROR, "more than the connection's window"));
        }
        let length = data.len();
        let Some(stream) = self.streams.get_mut(&head.stream).filter(|stream| stream.failure.is_none()) else {
            self.give_connection(head.length);
            return Ok(());
        };
        if stream.received {
            return Err(Fault::new(Reason::STREAM_CLOSED, "DATA after the end"));
        }
        if !stream.receive.take(head.length) {
            return Err(Fault::new(Reason::FLOW_CONTROL_ERROR, "more than the stream's window"));
        }
        let fits = match &mut stream.left {
            Some(left) => left.checked_sub(length as u64).is_some_and(|rest| {
                *left = rest;
                rest == 0 || !head.ends_stream()
            }),
            None => true,
        };
        if !(fits && stream.begun) {
            self.give_connection(head.length);
            return self.refuse(head.stream, Failure::Malformed("content other than announced"));
        }
        stream.received = head.ends_stream();
        if length > 0 {
            stream.push(data);
        }
        stream.wake();
        self.give(head.stream, head.length - length);
        Ok(())
    }

    /// The first frame has to be SETTINGS, and a header block is not interrupted.
    fn check_order(&self, head: FrameHead) -> Result<(), Fault> {
        if !self.settled && (head.kind != Kind::Settings || head.flags & ACK != 0) {
            return Err(Fault::protocol("no SETTINGS first"));
        }
        if let Some(block) = &self.block
            && (head.kind != Kind::Continuation || head.stream != block.stream)
        {
            return Err(Fault::protocol("header block interrupted"));
        }
        let of_connection = matches!(head.kind, Kind::Settings | Kind::Ping | Kind::GoAway);
        if (of_connection && head.stream != 0) || (head.kind == Kind::Priority && head.stream == 0) {
            return Err(Fault::protocol("frame on the wrong stream"));
        }
        Ok(())
    }

    /// The stream of a frame is one there is or was, or, if it `opens` one, a new one.
    fn check_stream(&self, head: FrameHead, opens: bool) -> Result<(), Fault> {
        let is_sound = head.stream % 2 == 1 && (opens || head.stream <= self.last);
        if is_sound { Ok(()) } else { Err(Fault::protocol("frame on no stream")) }
    }

    fn receive_reset(&mut self, id: u32, reason: Reason) -> Result<(), Fault> {
        let is_server = self.is_server();
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.failure.is_none()) else { return Ok(()) };
        let early = self.now.duration_since(stream.opened) < EARLY && !stream.answered;
        stream.fail(Failure::Reset(reason));
        if is_server { self.guard.closed(early) } else { Ok(()) }
    }

    fn receive_settings(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Fault> {
        if head.flags & ACK != 0 {
            let is_sound = payload.is_empty();
            return is_sound
                .then_some(())
                .ok_or(Fault::new(Reason::FRAME_SIZE_ERROR, "SETTINGS answered with content"));
        }
        let before = self.peer;
        self.peer = self.peer.changed_by(payload, !self.is_server())?;
        self.settled = true;
        if let Some(size) = self.peer.header_table {
            self.encoder.resize(size as usize);
        }
        let by = i64::from(self.peer.window) - i64::from(before.window);
        if by != 0 {
            for stream in self.streams.values_mut() {
                if !stream.send.change(by) {
                    return Err(Fault::new(Reason::FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE"));
                }
                stream.wake();
            }
        }
        self.output.control(Kind::Settings, ACK, 0, &[])
    }

    /// What the peer will not look at any more can be asked elsewhere.
    fn receive_go_away(&mut self, last: u32) {
        if self.is_server() {
            return;
        }
        self.peer_leaves = Some(last);
        for (_, stream) in self.streams.iter_mut().filter(|(id, _)| **id > last) {
            stream.fail(Failure::Reset(Reason::REFUSED_STREAM));
        }
        self.leave_finally();
    }

    fn receive_window(&mut self, head: FrameHead, by: u32) -> Result<(), Fault> {
        self.guard.window_update()?;
        if head.stream == 0 {
            if by == 0 {
                return Err(Fault::protocol("WINDOW_UPDATE of nothing"));
            }
            if !self.send.change(i64::from(by)) {
                return Err(Fault::new(Reason::FLOW_CONTROL_ERROR, "the connection's window"));
            }
            self.next_turn();
            return Ok(());
        }
        self.check_stream(head, false)?;
        let Some(stream) = self.streams.get_mut(&head.stream) else { return Ok(()) };
        if by == 0 {
            return self.malformed(head.stream, "WINDOW_UPDATE of nothing");
        }
        if !stream.send.change(i64::from(by)) {
            return Err(Fault::new(Reason::FLOW_CONTROL_ERROR, "a stream's window"));
        }
        stream.wake();
        Ok(())
    }
}

/// What a compressed block may have over twice what a head may measure: it is read, and answered that it is too large.
const MOST_OVER_LIMIT: usize = 64 * 1024;
/// Until when a reset is an early one.
const EARLY: std::time::Duration = std::time::Duration::from_secs(1);
