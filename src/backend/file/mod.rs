//! Events in a directory: for one server, without any service.
//!
//! An SQLite database in write-ahead mode (see `docs/decisions/file-engine.md`). One process writes;
//! others may read beside it. An append is acknowledged when it is on the disk; what has gathered in
//! the meantime goes there together.

mod contents;
mod database;
mod engine;
mod lock;
mod options;
mod queue;
mod reads;
mod remains;
mod rows;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use self::contents::Contents;
use self::engine::Engine;
pub use self::options::FileOptions;
use self::queue::{Answering, Work};
use super::{
    Append, Backend, Cursor, Glob, Life, PageRequest, Pending, Positions, Selector, Settled, StreamInfo, Upwards, Watch,
};
use crate::clock::Clock;
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events};

/// The file backend.
pub struct File {
    engine: Engine,
    clock: Arc<dyn Clock>,
    dir: PathBuf,
    timeout: Duration,
}

impl File {
    /// Begins to open a directory. `timeout` is how long a read may take.
    pub fn new(options: FileOptions, clock: Arc<dyn Clock>, upwards: Upwards, timeout: Duration) -> Result<Self> {
        let dir = options.dir.clone();
        Ok(File { engine: Engine::join(options, clock.clone(), upwards)?, clock, dir, timeout })
    }

    /// Asks the database now; the answer is awaited by whoever polls the future.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection, u64) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<'static, T> {
        let (reply, answer) = oneshot::channel();
        let (now_ms, dir) = (self.clock.now_ms(), self.dir.clone());
        let answering = move |connection: &Connection| {
            let outcome = question(connection, now_ms).map_err(|error| database::failed(&dir, &error));
            // Whoever asked may be gone.
            drop(reply.send(outcome));
        };
        let asked = self.engine.ask(now_ms, Box::new(answering));
        let timeout = self.timeout;
        Box::pin(async move {
            asked?;
            within(timeout, answer).await
        })
    }

    /// Has something changed, now, behind all that was submitted before.
    fn change<T: Send + 'static>(
        &self,
        streams: Vec<Box<str>>,
        change: impl FnMut(&mut Contents) -> rusqlite::Result<T> + Send + 'static,
    ) -> Pending<'static, T> {
        let (reply, answer) = oneshot::channel();
        let change = Box::new(Answering { change, outcome: None, reply: Some(reply) });
        self.engine.change(self.clock.now_ms(), Work::Change { streams, change });
        let timeout = self.timeout;
        Box::pin(within(timeout, answer))
    }
}

/// The answer, if it comes in time.
async fn within<T>(timeout: Duration, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
    match tokio::time::timeout(timeout, answer).await {
        Ok(answer) => answer.map_err(|_| Error::closed())?,
        Err(_) => {
            let message = "The disk did not answer in time; what was to be changed may or may not be. Look after the disk, or raise limits.appendTimeoutMs.";
            Err(Error::new(Code::Timeout, message))
        }
    }
}

impl Backend for File {
    fn submit(&self, appends: Vec<Append>) -> Vec<Settled> {
        self.engine.submit(self.clock.now_ms(), appends)
    }

    fn connect(&self) -> Pending<'_, ()> {
        Box::pin(self.engine.opened())
    }

    fn read<'a>(&'a self, request: PageRequest<'a>) -> Pending<'a, Events> {
        let PageRequest { from, to, descending, count, .. } = request;
        let stream: Box<str> = request.stream.into();
        self.ask(move |connection, now_ms| {
            let request = PageRequest { stream: &stream, from, to, descending, count };
            reads::page(connection, &request, now_ms)
        })
    }

    fn last_id<'a>(&'a self, stream: &'a str) -> Pending<'a, Option<EventId>> {
        let stream: Box<str> = stream.into();
        self.ask(move |connection, now_ms| reads::last_id(connection, &stream, now_ms))
    }

    fn streams<'a>(&'a self, pattern: &'a Glob, cursor: Cursor) -> Pending<'a, (Vec<StreamInfo>, Cursor)> {
        let pattern = pattern.clone();
        self.ask(move |connection, now_ms| reads::list(connection, &pattern, &cursor, now_ms))
    }

    fn delete_streams<'a>(&'a self, streams: &'a [&'a str]) -> Pending<'a, u64> {
        let streams: Vec<Box<str>> = streams.iter().map(|stream| (*stream).into()).collect();
        self.change(streams.clone(), move |contents| {
            streams.iter().try_fold(0, |count, stream| Ok(count + u64::from(contents.delete_stream(stream)?)))
        })
    }

    fn delete_events<'a>(&'a self, stream: &'a str, ids: &'a [EventId]) -> Pending<'a, u64> {
        let (stream, ids): (Box<str>, _) = (stream.into(), ids.to_vec());
        self.change(vec![stream.clone()], move |contents| contents.delete_events(&stream, &ids))
    }

    fn trim<'a>(&'a self, stream: &'a str, before: EventId) -> Pending<'a, u64> {
        let stream: Box<str> = stream.into();
        self.change(vec![stream.clone()], move |contents| contents.trim(&stream, before))
    }

    fn keep<'a>(&'a self, stream: &'a str, life: Life) -> Pending<'a, ()> {
        let stream: Box<str> = stream.into();
        self.change(Vec::new(), move |contents| contents.keep(&stream, life))
    }

    fn length<'a>(&'a self, stream: &'a str) -> Pending<'a, u64> {
        let stream: Box<str> = stream.into();
        self.ask(move |connection, now_ms| reads::length(connection, &stream, now_ms))
    }

    fn remaining<'a>(&'a self, stream: &'a str) -> Pending<'a, Option<Option<Duration>>> {
        let stream: Box<str> = stream.into();
        self.ask(move |connection, now_ms| {
            let left = |expires_ms: u64| Duration::from_millis(expires_ms.saturating_sub(now_ms));
            Ok(reads::expiry(connection, &stream, now_ms)?.map(|expiry| expiry.map(left)))
        })
    }

    fn index_add<'a>(&'a self, key: &'a str, id: &'a str, score: f64) -> Pending<'a, ()> {
        let (key, id): (Box<str>, Box<str>) = (key.into(), id.into());
        self.change(Vec::new(), move |contents| contents.index_add(&key, &id, score))
    }

    fn index_read<'a>(&'a self, key: &'a str, offset: usize, limit: Option<usize>) -> Pending<'a, Vec<(String, f64)>> {
        let key: Box<str> = key.into();
        self.ask(move |connection, _| reads::index_read(connection, &key, offset, limit))
    }

    fn index_due<'a>(&'a self, key: &'a str, score: f64, limit: usize) -> Pending<'a, Vec<String>> {
        let key: Box<str> = key.into();
        self.ask(move |connection, _| reads::index_due(connection, &key, score, limit))
    }

    fn index_at<'a>(&'a self, key: &'a str, score: f64) -> Pending<'a, Vec<String>> {
        let key: Box<str> = key.into();
        self.ask(move |connection, _| reads::index_at(connection, &key, score))
    }

    fn index_remove<'a>(&'a self, key: &'a str, ids: &'a [&'a str]) -> Pending<'a, ()> {
        let key: Box<str> = key.into();
        let ids: Vec<Box<str>> = ids.iter().map(|id| (*id).into()).collect();
        self.change(Vec::new(), move |contents| contents.index_remove(&key, &ids))
    }

    fn index_delete<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        let key: Box<str> = key.into();
        self.change(Vec::new(), move |contents| contents.index_delete(&key))
    }

    fn watch(&self, selector: Selector) -> Pending<'_, Watch> {
        let watch = self.engine.hub().watch(selector, None);
        Box::pin(std::future::ready(Ok(watch)))
    }

    fn ends<'a>(&'a self, selector: &'a Selector) -> Pending<'a, Positions> {
        let selector = selector.clone();
        self.ask(move |connection, now_ms| reads::ends(connection, &selector, now_ms))
    }

    fn is_owned(&self) -> bool {
        !self.engine.is_read_only()
    }

    fn tracks(&self) -> bool {
        // Who reads beside the writer is told of nothing.
        !self.engine.is_read_only() && self.engine.has_told_all(self.clock.now_ms())
    }

    fn pipelines(&self) -> u64 {
        self.engine.groups()
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.engine.close().await;
            Ok(())
        })
    }
}
