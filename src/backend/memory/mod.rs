//! Events in the memory of this process: for tests, and for a server whose runs may die with it.

mod contents;
mod stream;

use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::contents::Contents;
use self::stream::Stream;
use super::{
    Append, Backend, Cursor, Glob, Hub, Invalidate, Life, PageRequest, Pending, Positions, Receipt, Selector, Settled,
    StreamInfo, Watch,
};
use crate::clock::Clock;
use crate::event::{EventId, Events};

/// The memory backend.
pub struct Memory {
    clock: Arc<dyn Clock>,
    invalidate: Arc<dyn Invalidate>,
    hub: Arc<Hub>,
    contents: Mutex<Contents>,
}

impl Memory {
    /// An empty memory whose ids come from this clock. It tells of streams that vanish.
    pub fn new(clock: Arc<dyn Clock>, invalidate: Arc<dyn Invalidate>) -> Self {
        Memory { clock, invalidate, hub: Arc::default(), contents: Mutex::default() }
    }

    /// The contents of this instant.
    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A lock is poisoned only by a panic; the contents are whole at every step.
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in contents.advance(self.clock.now_ms()) {
            self.invalidate.changed(&gone);
        }
        contents
    }
}

fn at_once<'a, T: Send + 'a>(value: T) -> Pending<'a, T> {
    Box::pin(ready(Ok(value)))
}

impl Backend for Memory {
    fn submit(&self, appends: Vec<Append>) -> Vec<Settled> {
        let mut settled = Vec::with_capacity(appends.len());
        for append in appends {
            let result = self.contents().append(&append);
            if matches!(result, Ok(Receipt::One(_) | Receipt::Batch(_))) {
                self.hub.announce(&append.stream);
            }
            settled.push(append.settled(result));
        }
        settled
    }

    fn connect(&self) -> Pending<'_, ()> {
        at_once(())
    }

    fn read<'a>(&'a self, request: PageRequest<'a>) -> Pending<'a, Events> {
        let contents = self.contents();
        at_once(contents.stream(request.stream).map(|stream| stream.read(&request)).unwrap_or_default())
    }

    fn last_id<'a>(&'a self, stream: &'a str) -> Pending<'a, Option<EventId>> {
        at_once(self.contents().stream(stream).and_then(Stream::last_id))
    }

    fn streams<'a>(&'a self, pattern: &'a Glob, cursor: Cursor) -> Pending<'a, (Vec<StreamInfo>, Cursor)> {
        at_once(self.contents().list(pattern, cursor))
    }

    fn delete_streams<'a>(&'a self, streams: &'a [&'a str]) -> Pending<'a, u64> {
        let mut contents = self.contents();
        at_once(streams.iter().map(|stream| u64::from(contents.delete_stream(stream))).sum())
    }

    fn delete_events<'a>(&'a self, stream: &'a str, ids: &'a [EventId]) -> Pending<'a, u64> {
        at_once(self.contents().stream_mut(stream).map_or(0, |stream| stream.delete(ids)))
    }

    fn trim<'a>(&'a self, stream: &'a str, before: EventId) -> Pending<'a, u64> {
        at_once(self.contents().stream_mut(stream).map_or(0, |stream| stream.trim(before)))
    }

    fn keep<'a>(&'a self, stream: &'a str, life: Life) -> Pending<'a, ()> {
        self.contents().keep(stream, life);
        at_once(())
    }

    fn length<'a>(&'a self, stream: &'a str) -> Pending<'a, u64> {
        at_once(self.contents().stream(stream).map_or(0, |stream| stream.len() as u64))
    }

    fn remaining<'a>(&'a self, stream: &'a str) -> Pending<'a, Option<Option<Duration>>> {
        at_once(self.contents().remaining(stream))
    }

    fn index_add<'a>(&'a self, key: &'a str, id: &'a str, score: f64) -> Pending<'a, ()> {
        self.contents().index_add(key, id, score);
        at_once(())
    }

    fn index_read<'a>(&'a self, key: &'a str, offset: usize, limit: Option<usize>) -> Pending<'a, Vec<(String, f64)>> {
        let sorted = self.contents().index(key, |_| true);
        at_once(sorted.into_iter().rev().skip(offset).take(limit.unwrap_or(usize::MAX)).collect())
    }

    fn index_due<'a>(&'a self, key: &'a str, score: f64, limit: usize) -> Pending<'a, Vec<String>> {
        let due = self.contents().index(key, |of_member| of_member <= score);
        at_once(due.into_iter().take(limit).map(|(id, _)| id).collect())
    }

    fn index_at<'a>(&'a self, key: &'a str, score: f64) -> Pending<'a, Vec<String>> {
        let members = self.contents().index(key, |of_member| of_member == score);
        at_once(members.into_iter().map(|(id, _)| id).collect())
    }

    fn index_remove<'a>(&'a self, key: &'a str, ids: &'a [&'a str]) -> Pending<'a, ()> {
        self.contents().index_remove(key, ids);
        at_once(())
    }

    fn index_delete<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        self.contents().index_delete(key);
        at_once(())
    }

    fn watch(&self, selector: Selector) -> Pending<'_, Watch> {
        at_once(self.hub.watch(selector, None))
    }

    fn ends<'a>(&'a self, selector: &'a Selector) -> Pending<'a, Positions> {
        at_once(self.contents().ends(selector))
    }

    fn is_local(&self) -> bool {
        true
    }

    fn tracks(&self) -> bool {
        // What is over by now vanishes, and is told.
        drop(self.contents());
        true
    }

    fn pipelines(&self) -> u64 {
        0
    }

    fn close(&self) -> Pending<'_, ()> {
        at_once(())
    }
}
