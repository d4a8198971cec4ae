//! A passed body that is kept while it streams: handed on part by part, and, if it comes to its end
//! within the limits, handed to whoever keeps it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use crate::engine::fetch::{ByteStream, StreamError};
use crate::policy::memory::Reservation;

pub struct Keeping<K> {
    body: ByteStream,
    /// What has come, and what is to be done with it; `None` once it is kept, or will not be.
    open: Option<Open<K>>,
}

struct Open<K> {
    bytes: BytesMut,
    most: usize,
    reserved: Reservation,
    keep: K,
}

impl<K: FnOnce(Bytes)> Keeping<K> {
    /// The body back where it is known to be longer than `most`.
    pub fn around(
        body: ByteStream,
        most: usize,
        reserved: Reservation,
        keep: K,
    ) -> Result<Keeping<K>, ByteStream> {
        if body.size_hint().lower() > most as u64 {
            return Err(body);
        }
        let mut keeping = Keeping {
            body,
            open: Some(Open {
                bytes: BytesMut::new(),
                most,
                reserved,
                keep,
            }),
        };
        keeping.end_if_complete();
        Ok(keeping)
    }

    fn add(&mut self, part: &Bytes) {
        let Some(open) = &mut self.open else {
            return;
        };
        let is_too_long = open.bytes.len() + part.len() > open.most;
        if is_too_long || open.reserved.grow(part.len()).is_err() {
            self.open = None;
            return;
        }
        open.bytes.extend_from_slice(part);
        self.end_if_complete();
    }

    /// The reader may stop at the last part of a body whose length is known.
    fn end_if_complete(&mut self) {
        if self.body.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(open) = self.open.take() {
            (open.keep)(open.bytes.freeze());
        }
    }
}

impl<K: FnOnce(Bytes) + Unpin> Body for Keeping<K> {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        match &frame {
            None => this.end(),
            Some(Err(_)) => this.open = None,
            Some(Ok(frame)) => {
                if let Some(part) = frame.data_ref() {
                    this.add(part);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
