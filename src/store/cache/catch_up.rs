//! Bringing what is in memory up to date: reading what is new, or a run from its end back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Cache;
use super::content::{Last, Measure, Version};
use super::entry::Entry;
use crate::backend::Pending;
use crate::clock::monotonic;
use crate::error::Result;
use crate::event::{EventId, Events};
use crate::io;
use crate::run::{BackwardRun, Progress, Run, Step};
use crate::store::query::{Pager, Query};
use crate::store::reader::Reader;

/// After so many own appends that nobody asked to see, a run is not followed any more.
const UNSEEN: u32 = 16;

impl Cache {
    /// Reads what was appended, right behind the append, so that the next one who asks need not wait.
    pub(in crate::store) fn follow(self: &Arc<Self>, reader: &Reader, entry: &Arc<Entry>) {
        let is_wanted = || entry.unseen.load(Ordering::Relaxed) < UNSEEN && entry.content().is_filled();
        let backend = &reader.backend;
        if self.max_bytes == 0 || backend.is_local() || !backend.tracks() || !is_wanted() {
            return;
        }
        if entry.following.swap(true, Ordering::SeqCst) {
            return;
        }
        let (cache, reader, entry) = (self.clone(), reader.clone(), entry.clone());
        io::begin(async move {
            loop {
                entry.unseen.fetch_add(1, Ordering::Relaxed);
                let wanted = cache.version(&entry);
                let followed = {
                    let _turn = entry.reading.lock().await;
                    cache.catch_up(&reader, &entry).await
                };
                cache.weigh(&entry);
                entry.following.store(false, Ordering::SeqCst);
                // Whoever appended meanwhile left it to this one to go on.
                let is_wanted = entry.unseen.load(Ordering::Relaxed) < UNSEEN;
                let go_on = is_wanted && followed.is_ok() && wanted != cache.version(&entry);
                if !go_on || entry.following.swap(true, Ordering::SeqCst) {
                    return;
                }
            }
        });
    }

    pub(super) fn begin_read(&self, entry: &Entry) -> (Version, u64) {
        (self.version(entry), entry.reads.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Reads what came after the last known event. False: there is none, the stream is another one
    /// now, or so much came that it is better read from its end.
    pub(super) async fn catch_up(&self, reader: &Reader, entry: &Entry) -> Result<bool> {
        // An event that is stored between the question of the length and the reading looks like one that was lost, once.
        for is_last in [false, true] {
            let Some(last) = entry.content().last() else { return Ok(false) };
            let (version, read) = self.begin_read(entry);
            let question = Question::ask(reader, &entry.stream);
            let Some(events) = self.tail(reader, entry, last).await? else {
                entry.content().clear();
                return Ok(false);
            };
            let measure = question.answer().await?;
            let mut content = entry.content();
            let news = events.iter().map(Events::len).sum();
            if measure.is_some_and(|measure| content.has_lost(measure.length, news)) {
                if is_last {
                    content.clear();
                    self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            let is_news = !events.is_empty();
            content.extend(events, self.largest_timeline());
            content.confirm(version, read, measure);
            drop(content);
            if is_news {
                self.counters.advances.fetch_add(1, Ordering::Relaxed);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// The events after the last known one, which is read again: if it is gone, the stream is another one.
    async fn tail(&self, reader: &Reader, entry: &Entry, last: Last) -> Result<Option<Vec<Events>>> {
        let query = Query { after: last.id.previous(), ..Query::stream(&*entry.stream) };
        let mut pager = Pager::new(reader.clone(), &query)?.unhurried();
        let (mut pages, mut known, mut count) = (Vec::new(), false, 0);
        while let Some(mut page) = pager.next().await? {
            if !known {
                if page.iter().next().map(Last::of) != Some(last) {
                    // It is another run now, to which nothing was done yet.
                    entry.renewed_ms.store(0, Ordering::Relaxed);
                    self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
                    return Ok(None);
                }
                known = true;
                page = page.without_first();
            }
            count += page.len();
            if count > self.far_behind && entry.content().is_cheaper_from_its_end() {
                return Ok(None);
            }
            if !page.is_empty() {
                pages.push(page);
            }
        }
        Ok(known.then_some(pages))
    }

    pub(super) async fn load_run(&self, reader: &Reader, entry: &Entry) -> Result<()> {
        let (version, read) = self.begin_read(entry);
        let question = Question::ask(reader, &entry.stream);
        let (run, last) = self.fold_back(reader, &entry.stream, EventId::MAX).await?;
        let measure = question.answer().await?;
        let mut content = entry.content();
        content.set_run(run, last);
        content.confirm(version, read, measure);
        Ok(())
    }

    /// Reads a run from its beginning: how far it has come is in no snapshot.
    pub(super) async fn load_progress(&self, reader: &Reader, entry: &Entry) -> Result<()> {
        let (version, read) = self.begin_read(entry);
        let question = Question::ask(reader, &entry.stream);
        let mut pager = Pager::new(reader.clone(), &Query::stream(&*entry.stream))?;
        let (mut progress, mut run, mut last) = (Progress::default(), Run::default(), None);
        let mut unreadable = Vec::new();
        while let Some(page) = pager.next().await? {
            for event in page.iter() {
                progress.apply(event);
                if !run.apply(event) {
                    unreadable.push(event.id);
                }
            }
            last = page.last().map(Last::of).or(last);
        }
        let measure = question.answer().await?;
        let mut content = entry.content();
        content.set_progress(progress, run, unreadable, last);
        content.confirm(version, read, measure);
        Ok(())
    }

    /// The run as it was after `up_to`, read from there back to the last snapshot.
    pub(in crate::store) async fn fold_back(
        &self,
        reader: &Reader,
        stream: &str,
        up_to: EventId,
    ) -> Result<(Run, Option<Last>)> {
        let query = Query { before: up_to.next(), ..Query::stream(stream).descending() };
        let mut pager = Pager::new(reader.clone(), &query)?.growing();
        let (mut run, mut last) = (BackwardRun::default(), None);
        let mut unreadable = Vec::new();
        'pages: while let Some(page) = pager.next().await? {
            last = last.or_else(|| page.iter().next().map(Last::of));
            for event in page.iter() {
                match run.take(event) {
                    Step::GoOn => {}
                    Step::Unreadable => unreadable.push(event.id),
                    Step::Done => break 'pages,
                }
            }
        }
        unreadable.reverse();
        self.report(stream, &unreadable);
        Ok((run.finish(), last))
    }

    pub(super) fn report(&self, stream: &str, unreadable: &[EventId]) {
        let Some(first) = unreadable.first() else { return };
        self.counters.unreadable.fetch_add(unreadable.len() as u64, Ordering::Relaxed);
        let count = unreadable.len();
        tracing::warn!(stream, count, %first, "state events can't be read and are passed over");
    }
}

/// What is asked of a stream before its events are read: what is deleted meanwhile is missed the
/// next time. A server does not tell of all that others delete (not of what follows an own append
/// until it is read again), so the length is compared with each read.
pub(super) struct Question<'a> {
    asked: Instant,
    length: Option<Pending<'a, u64>>,
    remaining: Option<Pending<'a, Option<Option<Duration>>>>,
}

impl<'a> Question<'a> {
    /// Asks now; the answers are awaited later. A backend of this store alone need not be asked.
    pub(super) fn ask(reader: &'a Reader, stream: &'a str) -> Self {
        let backend = Some(&reader.backend).filter(|backend| !backend.is_local());
        Question {
            asked: monotonic(),
            length: backend.map(|backend| backend.length(stream)),
            remaining: backend.map(|backend| backend.remaining(stream)),
        }
    }

    pub(super) async fn answer(self) -> Result<Option<Measure>> {
        let (Some(length), Some(remaining)) = (self.length, self.remaining) else { return Ok(None) };
        let (length, remaining) = (length.await?, remaining.await?);
        let until = remaining.flatten().and_then(|left| self.asked.checked_add(left));
        Ok(Some(Measure { length, until }))
    }
}
