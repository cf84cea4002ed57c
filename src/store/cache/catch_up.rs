//! Bringing what is in memory up to date: reading what is new, or a run from its end back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Cache;
use super::content::{Last, Version};
use super::entry::{Entry, Suspicion};
use crate::error::Result;
use crate::event::{EventId, Events};
use crate::io;
use crate::run::{BackwardRun, Run, Step};
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
        entry.unseen.fetch_add(1, Ordering::Relaxed);
        let (cache, reader, entry) = (self.clone(), reader.clone(), entry.clone());
        io::begin(async move {
            loop {
                let wanted = cache.version(&entry);
                let followed = {
                    let _turn = entry.reading.lock().await;
                    cache.catch_up(&reader, &entry).await
                };
                cache.weigh(&entry);
                entry.following.store(false, Ordering::SeqCst);
                // Whoever appended meanwhile left it to this one to go on.
                let go_on = followed.is_ok() && wanted != cache.version(&entry);
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
        let Some(last) = entry.content().last() else { return Ok(false) };
        let (version, read) = self.begin_read(entry);
        let suspicion = Suspicion::of(entry);
        let is_told = reader.backend.is_local()
            || reader.backend.tracks() && entry.content().seen.is_some_and(|seen| seen.0 == version.0);
        let length = (suspicion.is_there || !is_told).then(|| reader.backend.length(&entry.stream));
        let Some(events) = self.tail(reader, entry, last).await? else {
            entry.content().clear();
            return Ok(false);
        };
        let length = match length {
            Some(length) => Some(length.await?),
            None => None,
        };
        let mut content = entry.content();
        let news = events.iter().map(Events::len).sum();
        if length.is_some_and(|length| content.has_lost(length, news)) {
            content.clear();
            self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        }
        let is_news = !events.is_empty();
        content.extend(events, self.largest_timeline());
        (content.seen, content.read) = (Some(version), read);
        content.length = length.or(content.length);
        drop(content);
        suspicion.settle();
        if is_news {
            self.counters.advances.fetch_add(1, Ordering::Relaxed);
        }
        Ok(true)
    }

    /// The events after the last known one, which is read again: if it is gone, the stream is another one.
    async fn tail(&self, reader: &Reader, entry: &Entry, last: Last) -> Result<Option<Vec<Events>>> {
        let query = Query { after: last.id.previous(), ..Query::stream(&*entry.stream) };
        let mut pager = Pager::new(reader.clone(), &query)?;
        let (mut pages, mut known, mut count) = (Vec::new(), false, 0);
        while let Some(mut page) = pager.next().await? {
            if !known {
                if page.iter().next().map(Last::of) != Some(last) {
                    self.counters.invalidations.fetch_add(1, Ordering::Relaxed);
                    return Ok(None);
                }
                known = true;
                page = page.without_first();
            }
            count += page.len();
            if count > self.far_behind && entry.content().timeline().is_none() {
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
        entry.is_suspect.store(false, Ordering::SeqCst);
        // Asked for first, and waited for last: one round trip.
        let length = reader.backend.length(&entry.stream);
        let (run, last) = self.fold_back(reader, &entry.stream, EventId::MAX).await?;
        let length = length.await?;
        let mut content = entry.content();
        content.set_run(run, last);
        (content.seen, content.read, content.length) = (Some(version), read, Some(length));
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
