//! Reading streams page by page.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::check;
use super::compaction::Trimmed;
use super::reader::Reader;
use crate::backend::{Cursor, Glob, PageRequest, StreamInfo};
use crate::error::Result;
use crate::event::{EventId, EventRef, Events, quote};

/// How many events the first page has; the following ones are sized by what these weigh.
pub(super) const FIRST_PAGE: usize = 64;
const LARGEST_PAGE: usize = 4096;
/// How many events are turned into records at once while appends go on beside it.
const SMALL_PAGE: usize = 256;
/// About how many bytes a page should have.
const PAGE_BYTES: usize = 2 << 20;

/// How many events the next page should have.
pub(super) fn next_page(page: &Events, largest: usize) -> usize {
    (PAGE_BYTES * page.len() / page.text_len().max(1)).clamp(1, largest)
}

/// How new a read has to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It shows everything that this store has written, and what others wrote up to a moment ago.
    #[default]
    Cached,
    /// It shows everything that was written before it began.
    Strong,
}

/// Which events of a stream, in which order.
///
/// ```
/// use nuxt_queue_core::Query;
/// let query = Query { types: vec!["state.*".into()], limit: Some(10), ..Query::stream("nq:flow:1") };
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// The stream's name, or a pattern of names where many streams are read.
    pub stream: String,
    /// Only these types; a `*` at the end stands for any ending. Empty: all.
    pub types: Vec<String>,
    /// Not before this millisecond.
    pub start_ms: Option<u64>,
    /// Not after this millisecond, which is included as a whole.
    pub end_ms: Option<u64>,
    /// Only events after this one.
    pub after: Option<EventId>,
    /// Only events before this one.
    pub before: Option<EventId>,
    /// At most so many events, counted after the filter; `None`: all.
    pub limit: Option<usize>,
    /// Newest first.
    pub descending: bool,
    /// How new the answer has to be. Reads page by page and of many streams are always strong.
    pub consistency: Consistency,
    /// Records tell as `ts` what their writers noted as their time, where that is kept. Such an answer never comes
    /// from memory.
    pub with_ts: bool,
}

impl Query {
    /// All events of this stream.
    pub fn stream(name: impl Into<String>) -> Self {
        Query { stream: name.into(), ..Query::default() }
    }

    /// The same query from the newest event back.
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Whether it reads the stream from its first event to its last.
    pub(super) fn is_whole(&self) -> bool {
        self.limit.is_none() && self.range() == Some((EventId::MIN, EventId::MAX))
    }

    /// Whether it asks for a whole stream as it stands.
    pub(super) fn is_everything(&self) -> bool {
        self.is_whole() && !self.descending && self.types.is_empty()
    }

    /// The smallest and the greatest id that are wanted; `None` if there can be none.
    fn range(&self) -> Option<(EventId, EventId)> {
        let mut from = self.start_ms.map_or(EventId::MIN, |ms| EventId::new(ms, 0));
        let mut to = self.end_ms.map_or(EventId::MAX, |ms| EventId::new(ms, u64::MAX));
        if let Some(after) = self.after {
            from = from.max(after.next()?);
        }
        if let Some(before) = self.before {
            to = to.min(before.previous()?);
        }
        (from <= to).then_some((from, to))
    }

    pub(super) fn check(&self) -> Result<()> {
        check::argument("The stream name in the query", &self.stream)?;
        check::limit(self.limit)?;
        self.types.iter().try_for_each(|event_type| check::argument("A type in the query", event_type))
    }
}

/// A filter on event types, in the escaped form in which records hold them.
#[derive(Debug, Clone)]
struct TypeFilter {
    exact: Vec<String>,
    prefixes: Vec<String>,
}

impl TypeFilter {
    /// `None` if every type passes.
    fn new(types: &[String]) -> Option<TypeFilter> {
        let mut filter = TypeFilter { exact: Vec::new(), prefixes: Vec::new() };
        for event_type in types {
            match event_type.strip_suffix('*') {
                Some(prefix) => filter.prefixes.push(escaped(prefix)),
                None => filter.exact.push(escaped(event_type)),
            }
        }
        (!types.is_empty()).then_some(filter)
    }

    fn passes(&self, event_type: &str) -> bool {
        self.exact.iter().any(|exact| exact == event_type)
            || self.prefixes.iter().any(|prefix| event_type.starts_with(prefix))
    }
}

fn escaped(text: &str) -> String {
    let mut quoted = String::new();
    quote(&mut quoted, text);
    quoted[1..quoted.len() - 1].to_owned()
}

/// What a query asks for, out of a whole timeline.
pub(super) fn select(timeline: &Events, query: &Query) -> Events {
    let Some((from, to)) = query.range() else { return Events::default() };
    let filter = TypeFilter::new(&query.types);
    if query.is_everything() {
        return timeline.clone();
    }
    let passes = |event: &EventRef<'_>| filter.as_ref().is_none_or(|filter| filter.passes(event.event_type));
    let limit = query.limit.unwrap_or(usize::MAX);
    let mut selected = Events::default();
    let range = timeline.between(from, to);
    match query.descending {
        true => range.rev().filter(passes).take(limit).for_each(|event| selected.push(event)),
        false => range.filter(passes).take(limit).for_each(|event| selected.push(event)),
    }
    selected
}

/// Reads one stream page by page.
pub(super) struct Pager {
    reader: Reader,
    stream: String,
    range: Option<(EventId, EventId)>,
    filter: Option<TypeFilter>,
    descending: bool,
    remaining: usize,
    page: usize,
    /// Pages grow by no more than this.
    growth: usize,
    /// And to no more events than this.
    largest: usize,
    /// The position after which nothing may have been trimmed; `None`: that is checked, or allowed.
    complete_after: Option<EventId>,
    /// What the oldest event read so far says of events before it that were trimmed.
    oldest: Option<Trimmed>,
}

impl Pager {
    pub(super) fn new(reader: Reader, query: &Query) -> Result<Self> {
        query.check()?;
        Ok(Pager {
            reader,
            stream: query.stream.clone(),
            range: query.range(),
            filter: TypeFilter::new(&query.types),
            descending: query.descending,
            remaining: query.limit.unwrap_or(usize::MAX),
            page: FIRST_PAGE,
            growth: usize::MAX,
            largest: LARGEST_PAGE,
            complete_after: None,
            oldest: None,
        })
    }

    /// Reads in pages that only double: for one who may stop anywhere.
    pub(super) fn growing(mut self) -> Self {
        self.growth = 2;
        self
    }

    /// Reads in small pages: for one who is in no hurry, and must not hold up appends.
    pub(super) fn unhurried(mut self) -> Self {
        self.largest = SMALL_PAGE;
        self
    }

    /// Fails if events after `query.after` were trimmed by compaction; `0-0` is the beginning, whatever that is.
    pub(super) fn complete(mut self, query: &Query) -> Self {
        self.complete_after = query.after.filter(|after| *after > EventId::MIN);
        self
    }

    /// The next events that pass; `None` at the end. May be empty in between.
    pub(super) async fn next(&mut self) -> Result<Option<Events>> {
        let Some((from, to)) = self.range.filter(|_| self.remaining > 0) else { return Ok(None) };
        let count = if self.filter.is_some() { self.page } else { self.page.min(self.remaining) };
        let request = PageRequest { stream: &self.stream, from, to, descending: self.descending, count };
        let page = self.reader.page(request).await?;
        let is_end = page.len() < count;
        if self.complete_after.is_some() {
            self.check_complete(&page, is_end).await?;
        }
        let last = page.last().map(|event| event.id).filter(|_| page.len() == count);
        self.range = last.and_then(|last| match self.descending {
            true => last.previous().map(|to| (from, to)),
            false => last.next().map(|from| (from, to)),
        });
        self.range = self.range.filter(|(from, to)| from <= to);
        if !page.is_empty() {
            self.page = next_page(&page, self.largest.min(self.page.saturating_mul(self.growth)));
        }
        let mut events = self.filtered(page);
        events.truncate(self.remaining);
        self.remaining -= events.len();
        Ok(Some(events))
    }

    /// Fails if events of the range were trimmed. The oldest event of the range tells; if there is
    /// none, the oldest that is kept behind its beginning.
    async fn check_complete(&mut self, page: &Events, is_end: bool) -> Result<()> {
        let oldest = if self.descending { page.last() } else { page.iter().next() };
        let is_first = self.oldest.is_none();
        self.oldest = oldest.map(Trimmed::before).or(self.oldest.take());
        let Some(after) = self.complete_after.take_if(|_| is_end || !self.descending) else { return Ok(()) };
        if is_first && page.is_empty() {
            let from = after.next().unwrap_or(EventId::MAX);
            let request = PageRequest { stream: &self.stream, from, to: EventId::MAX, descending: false, count: 1 };
            self.oldest = self.reader.page(request).await?.last().map(Trimmed::before);
        }
        self.oldest.take().map_or(Ok(()), |trimmed| trimmed.check(after, &self.stream))
    }

    fn filtered(&self, page: Events) -> Events {
        let Some(filter) = &self.filter else { return page };
        let mut passing = Events::default();
        page.iter().filter(|event| filter.passes(event.event_type)).for_each(|event| passing.push(event));
        passing
    }
}

/// Lists streams page by page, each once.
pub(super) struct Listing {
    reader: Reader,
    pattern: Glob,
    cursor: Cursor,
    /// Hashes of the names that were listed: a listing on Redis may repeat some.
    seen: HashSet<u64>,
    hasher: RandomState,
}

impl Listing {
    pub(super) fn new(reader: Reader, pattern: &str) -> Result<Self> {
        check::argument("The pattern", pattern)?;
        let (cursor, seen, hasher) = Default::default();
        Ok(Listing { reader, pattern: Glob::new(pattern), cursor, seen, hasher })
    }

    /// The next streams; `None` at the end. May be empty in between.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<StreamInfo>>> {
        if self.cursor == Cursor::End {
            return Ok(None);
        }
        let cursor = std::mem::take(&mut self.cursor);
        let (mut page, next) = match self.reader.backend.streams(&self.pattern, cursor.clone()).await {
            Ok(answer) => answer,
            Err(error) => {
                self.cursor = cursor;
                return Err(error);
            }
        };
        self.cursor = next;
        page.retain(|info| self.seen.insert(self.hasher.hash_one(&info.stream)));
        Ok(Some(page))
    }
}

/// Reads many streams, one after the other.
pub(super) struct GlobalPager {
    query: Query,
    listing: Listing,
    streams: VecDeque<String>,
    current: Option<Pager>,
    remaining: usize,
}

impl GlobalPager {
    pub(super) fn new(reader: Reader, query: Query) -> Result<Self> {
        query.check()?;
        let listing = Listing::new(reader, &query.stream)?;
        let remaining = query.limit.unwrap_or(usize::MAX);
        Ok(GlobalPager { query, listing, streams: VecDeque::new(), current: None, remaining })
    }

    /// The next events that pass; `None` at the end. May be empty in between.
    pub(super) async fn next(&mut self) -> Result<Option<Events>> {
        loop {
            if self.remaining == 0 {
                return Ok(None);
            }
            if let Some(pager) = &mut self.current {
                if let Some(mut events) = pager.next().await? {
                    events.truncate(self.remaining);
                    self.remaining -= events.len();
                    return Ok(Some(events));
                }
                self.current = None;
            }
            match self.streams.pop_front() {
                Some(stream) => {
                    let query = Query { stream, limit: None, ..self.query.clone() };
                    self.current = Some(Pager::new(self.listing.reader.clone(), &query)?);
                }
                None => match self.listing.next().await? {
                    Some(page) => self.streams.extend(page.into_iter().map(|info| info.stream)),
                    None => return Ok(None),
                },
            }
        }
    }
}
