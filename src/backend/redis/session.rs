//! The bytes of one connection: what is still to be written, what has come in.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::time::Sleep;

use super::connection::{Connection, KEPT_CAPACITY, READ_SIZE, lost};
use super::link::{Announcement, Driver, Slot, TICK};
use super::tracking::{HEARTBEAT, take_push};
use super::wire::{begin, part};
use crate::clock::monotonic;
use crate::error::Result;

pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) output: Vec<u8>,
    written: usize,
    unflushed: bool,
    tick: Timer,
    heartbeat: Timer,
    /// When the server last said something, or was first asked something after that.
    heard: Instant,
}

impl Session {
    pub(super) fn new(connection: Connection) -> Self {
        let output = Vec::with_capacity(READ_SIZE);
        Session {
            connection,
            output,
            written: 0,
            unflushed: false,
            tick: Timer::new(TICK),
            heartbeat: Timer::new(HEARTBEAT),
            heard: monotonic(),
        }
    }

    /// An answer is awaited from now on.
    pub(super) fn listen(&mut self) {
        self.heard = monotonic();
    }

    /// Ends the session if the server has been silent for longer than `limit`.
    pub(super) fn check_silence(&self, limit: Duration) -> Result<()> {
        match self.heard.elapsed() > limit {
            true => Err(lost("it has not answered for too long")),
            false => Ok(()),
        }
    }

    /// Writes as much as the socket takes.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Result<()> {
        while self.written < self.output.len() {
            let socket = Pin::new(&mut *self.connection.socket);
            match socket.poll_write(context, &self.output[self.written..]) {
                Poll::Ready(Ok(0)) => return Err(lost("the server closed it")),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(lost(error)),
                Poll::Pending => return Ok(()),
            }
        }
        self.written = 0;
        self.output.clear();
        self.output.shrink_to(KEPT_CAPACITY);
        if self.unflushed {
            match Pin::new(&mut *self.connection.socket).poll_flush(context) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(lost(error)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Reads once and takes the answers that are whole. True: something came.
    pub(super) fn poll_read(&mut self, driver: &mut Driver, context: &mut Context<'_>) -> Result<bool> {
        let Connection { socket, input, .. } = &mut self.connection;
        input.reserve(READ_SIZE);
        match pin!(socket.read_buf(input)).poll(context) {
            Poll::Ready(Ok(0)) => Err(lost("the server closed it")),
            Poll::Ready(Ok(_)) => self.take_answers(driver).map(|()| true),
            Poll::Ready(Err(error)) => Err(lost(error)),
            Poll::Pending => Ok(false),
        }
    }

    fn take_answers(&mut self, driver: &mut Driver) -> Result<()> {
        self.heard = monotonic();
        driver.setup.tracking.heard();
        let mut announcements = Vec::new();
        self.connection.take_frames(|frame| match frame.first() {
            // Pushes answer no question.
            Some(b'>') => {
                take_push(frame, &*driver.setup.upwards.invalidate);
                Ok(())
            }
            _ => driver.answer(frame, &mut announcements),
        })?;
        self.announce(driver, announcements);
        Ok(())
    }

    /// Tells everyone who listens on Redis; nobody waits for the answers.
    pub(super) fn announce(&mut self, driver: &mut Driver, announcements: Vec<Announcement>) {
        for announcement in announcements {
            let id = announcement.id.to_text();
            let (prefix, stream) = (driver.setup.channels.as_bytes(), announcement.stream.as_bytes());
            begin(&mut self.output, 3);
            part(&mut self.output, b"PUBLISH");
            part(&mut self.output, &[prefix, stream].concat());
            part(&mut self.output, id.as_bytes());
            driver.push(self, Slot::Announcement(announcement));
        }
    }

    /// Ready at every tick, as long as it is asked.
    pub(super) fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.tick.poll(context)
    }

    /// Ready at every heartbeat, as long as it is asked.
    pub(super) fn poll_heartbeat(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.heartbeat.poll(context)
    }
}

/// Comes again and again, as long as it is asked.
struct Timer {
    period: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn new(period: Duration) -> Self {
        Timer { period, sleep: None }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.period)));
        let ticked = sleep.as_mut().poll(context);
        if ticked.is_ready() {
            self.sleep = None;
        }
        ticked
    }
}
