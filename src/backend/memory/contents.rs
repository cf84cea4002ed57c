//! What a memory holds: all streams and indexes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::time::Duration;

use super::stream::Stream;
use crate::backend::{Append, Cursor, Glob, Life, Positions, Receipt, Selector, StreamInfo, conflict};
use crate::error::Result;
use crate::event::{EventId, TimeFormatter};

/// How many streams one step of a listing looks at.
const LISTING_PAGE: usize = 512;

#[derive(Default)]
pub(super) struct Contents {
    /// The present instant, as [`Contents::advance`] was told.
    now_ms: u64,
    streams: BTreeMap<Box<str>, Stream>,
    /// When the streams that do not stay for ever vanish.
    expiries: BTreeSet<(u64, Box<str>)>,
    /// The earliest of them, to be looked at by every operation; `None`: there is none.
    next_expiry_ms: Option<u64>,
    /// No stream begins at or below it: a new one must not look like a part of one that is gone.
    greatest_gone: EventId,
    time: TimeFormatter,
    indexes: HashMap<Box<str>, HashMap<Box<str>, f64>>,
}

impl Contents {
    /// Comes to this instant: the streams whose time is over vanish. Returns their names.
    pub(super) fn advance(&mut self, now_ms: u64) -> Vec<Box<str>> {
        self.now_ms = now_ms;
        match self.next_expiry_ms.is_some_and(|expiry_ms| expiry_ms <= now_ms) {
            true => self.drop_expired(),
            false => Vec::new(),
        }
    }

    #[cold]
    fn drop_expired(&mut self) -> Vec<Box<str>> {
        let mut gone = Vec::new();
        while let Some((expires_ms, _)) = self.expiries.first()
            && *expires_ms <= self.now_ms
            && let Some((_, stream)) = self.expiries.pop_first()
        {
            self.remove(&stream);
            gone.push(stream);
        }
        self.find_next_expiry();
        gone
    }

    fn find_next_expiry(&mut self) {
        self.next_expiry_ms = self.expiries.first().map(|(expires_ms, _)| *expires_ms);
    }

    /// Removes a stream with all that belongs to it, except for what `expiries` says of it.
    fn remove(&mut self, stream: &str) -> Option<Stream> {
        let gone = self.streams.remove(stream)?;
        self.greatest_gone = self.greatest_gone.max(gone.greatest);
        Some(gone)
    }

    pub(super) fn append(&mut self, append: &Append) -> Result<Receipt> {
        let name = &*append.stream;
        if let Some(key) = &append.idempotency_key
            && let Some(records) = self.streams.get(name).and_then(|stream| stream.repeated(key, self.now_ms))
        {
            return Ok(Receipt::Repeated(records));
        }
        if let Some(expected) = append.expected_last_id {
            let actual = self.streams.get(name).and_then(Stream::last_id).unwrap_or(EventId::MIN);
            if expected != actual {
                return Err(conflict(name, expected, actual));
            }
        }
        if !self.streams.contains_key(name) {
            self.streams.insert(name.into(), Stream::new(name, self.greatest_gone));
        }
        let Some(stream) = self.streams.get_mut(name) else { return Ok(Receipt::Batch(Vec::new())) };
        let ids = stream.append(&append.events, self.now_ms, &mut self.time)?;
        if let Some(key) = &append.idempotency_key {
            stream.remember(key, &ids, self.now_ms);
        }
        Ok(Receipt::stored(ids))
    }

    pub(super) fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.get(name)
    }

    pub(super) fn stream_mut(&mut self, name: &str) -> Option<&mut Stream> {
        self.streams.get_mut(name)
    }

    pub(super) fn list(&self, pattern: &Glob, cursor: Cursor) -> (Vec<StreamInfo>, Cursor) {
        let from = match &cursor {
            Cursor::Start => Bound::Unbounded,
            Cursor::At(name) => Bound::Excluded(name.clone()),
            Cursor::End => return (Vec::new(), Cursor::End),
        };
        let page: Vec<_> = self.streams.range((from, Bound::Unbounded)).take(LISTING_PAGE).collect();
        let next = match page.last() {
            Some((name, _)) if page.len() == LISTING_PAGE => Cursor::At((*name).clone()),
            _ => Cursor::End,
        };
        let matching = page.into_iter().filter(|(name, _)| pattern.matches(name));
        let infos = matching.filter_map(|(name, stream)| {
            Some(StreamInfo { stream: name.to_string(), last_id: stream.last_id()?, length: stream.len() as u64 })
        });
        (infos.collect(), next)
    }

    pub(super) fn ends(&self, selector: &Selector) -> Positions {
        let matching = self.streams.iter().filter(|(name, _)| selector.matches(name));
        let known = matching.filter_map(|(name, stream)| Some((name.clone(), stream.last_id()?))).collect();
        Positions { known, others: EventId::MIN }
    }

    /// Deletes a stream; whether it was there.
    pub(super) fn delete_stream(&mut self, name: &str) -> bool {
        let gone = self.remove(name);
        if let Some(expires_ms) = gone.as_ref().and_then(|stream| stream.expires_ms) {
            self.expiries.remove(&(expires_ms, name.into()));
            self.find_next_expiry();
        }
        gone.is_some()
    }

    pub(super) fn keep(&mut self, name: &str, life: Life) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        let expires_ms = self.now_ms.saturating_add(life.ms());
        match life {
            _ if stream.ended => return,
            Life::AtLeast(_) if stream.expires_ms.is_some_and(|before| before >= expires_ms) => return,
            Life::AtLeast(_) | Life::Exactly(_) => {}
            Life::Finally(_) => stream.ended = true,
        }
        if let Some(before) = stream.expires_ms.replace(expires_ms) {
            self.expiries.remove(&(before, name.into()));
        }
        self.expiries.insert((expires_ms, name.into()));
        self.find_next_expiry();
    }

    pub(super) fn remaining(&self, name: &str) -> Option<Option<Duration>> {
        let expires_ms = self.streams.get(name)?.expires_ms;
        Some(expires_ms.map(|expires_ms| Duration::from_millis(expires_ms.saturating_sub(self.now_ms))))
    }

    pub(super) fn index_add(&mut self, key: &str, id: &str, score: f64) {
        self.indexes.entry(key.into()).or_default().insert(id.into(), score);
    }

    /// The members of an index whose score is wanted, lowest score first, equal scores by ascending id.
    pub(super) fn index(&self, key: &str, wanted: impl Fn(f64) -> bool) -> Vec<(String, f64)> {
        let members = self.indexes.get(key).into_iter().flatten().filter(|(_, score)| wanted(**score));
        let mut sorted: Vec<(String, f64)> = members.map(|(id, score)| (id.to_string(), *score)).collect();
        sorted.sort_unstable_by(|(a, x), (b, y)| x.total_cmp(y).then_with(|| a.cmp(b)));
        sorted
    }

    pub(super) fn index_remove(&mut self, key: &str, ids: &[&str]) {
        let Some(index) = self.indexes.get_mut(key) else { return };
        for id in ids {
            index.remove(*id);
        }
        if index.is_empty() {
            self.indexes.remove(key);
        }
    }

    pub(super) fn index_delete(&mut self, key: &str) {
        self.indexes.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Begin(u8),
        AtLeast(u8, u64),
        Finally(u8, u64),
        Delete(u8),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (stream, ms) = (0..4_u8, 1..20_u64);
        prop_oneof![
            stream.clone().prop_map(Step::Begin),
            (stream.clone(), ms.clone()).prop_map(|(stream, ms)| Step::AtLeast(stream, ms)),
            (stream.clone(), ms.clone()).prop_map(|(stream, ms)| Step::Finally(stream, ms)),
            stream.prop_map(Step::Delete),
            ms.prop_map(Step::Pass),
        ]
    }

    /// What is to be true of a stream: when it vanishes, and whether it has ended.
    type Model = BTreeMap<Box<str>, (Option<u64>, bool)>;

    fn play(step: &Step, contents: &mut Contents, model: &mut Model) {
        let now_ms = contents.now_ms;
        match step {
            Step::Begin(stream) => {
                let above = contents.greatest_gone;
                let name = stream.to_string();
                contents.streams.entry((*name).into()).or_insert_with(|| Stream::new(&name, above));
                model.entry((*name).into()).or_default();
            }
            Step::AtLeast(stream, ms) => {
                contents.keep(&stream.to_string(), Life::AtLeast(Duration::from_millis(*ms)));
                if let Some((expires_ms, false)) = model.get_mut(&*stream.to_string()) {
                    *expires_ms = (*expires_ms).max(Some(now_ms + ms));
                }
            }
            Step::Finally(stream, ms) => {
                contents.keep(&stream.to_string(), Life::Finally(Duration::from_millis(*ms)));
                if let Some(kept @ (_, false)) = model.get_mut(&*stream.to_string()) {
                    *kept = (Some(now_ms + ms), true);
                }
            }
            Step::Delete(stream) => {
                let was_there = model.remove(&*stream.to_string()).is_some();
                assert_eq!(contents.delete_stream(&stream.to_string()), was_there);
            }
            Step::Pass(ms) => {
                contents.advance(now_ms + ms);
                model.retain(|_, (expires_ms, _)| expires_ms.is_none_or(|expires_ms| expires_ms > now_ms + ms));
            }
        }
    }

    proptest! {
        #[test]
        fn lives_follow_their_rules(steps in proptest::collection::vec(step(), 0..60)) {
            let (mut contents, mut model) = (Contents::default(), Model::new());
            for step in &steps {
                play(step, &mut contents, &mut model);
                let lives = contents.streams.iter().map(|(name, stream)| (name.clone(), (stream.expires_ms, stream.ended)));
                prop_assert_eq!(lives.collect::<Model>(), model.clone());
                let expiries = model.iter().filter_map(|(name, (expires_ms, _))| Some(((*expires_ms)?, name.clone())));
                prop_assert_eq!(&contents.expiries, &expiries.collect::<BTreeSet<_>>());
                let next = contents.expiries.iter().map(|(expires_ms, _)| *expires_ms).min();
                prop_assert_eq!(contents.next_expiry_ms, next);
            }
        }
    }
}
