//! The life of streams, deletions within them, and what is due: the contract of `Backend`, on each backend.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod directory;
    pub mod place;
    pub mod redis;
}

use std::time::Duration;

use nuxt_queue_core::backend::{Cursor, Glob, Life, Receipt};
use nuxt_queue_core::error::Code;
use nuxt_queue_core::{Error, EventId};

use support::place::{Place, ids};

const STREAM: &str = "nq:flow:1";
const OTHER: &str = "nq:flow:2";
const INDEX: &str = "nq:flows:due";
const HOUR: Duration = Duration::from_secs(3600);
/// So short that a test can wait for its end.
const MOMENT: Duration = Duration::from_millis(40);

/// A test of each sentence on each backend.
macro_rules! on_each {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::memory()).await;
            })+
        }
        mod file {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::file().await).await;
            })+
        }
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Place::redis().await).await;
            })+
        }
    };
}

on_each!(
    a_stream_lives_for_ever_unless_it_is_told,
    a_stream_that_is_not_there_is_not_kept,
    at_least_never_shortens,
    exactly_is_exact,
    finally_is_exact_and_the_last_word,
    appending_prolongs_nothing,
    lives_have_bounds,
    a_stream_vanishes_as_if_it_had_been_deleted,
    whatever_looks_first_sees_nothing,
    a_stream_that_begins_again_is_a_new_one,
    a_deleted_stream_takes_its_life_along,
    only_what_is_due_vanishes,
    single_events_are_deleted,
    ids_are_not_given_twice,
    an_emptied_stream_has_not_vanished,
    many_events_are_deleted_at_once,
    trimming_deletes_what_is_before,
    a_key_is_forgotten_with_its_events,
    due_members_come_lowest_first,
    members_of_one_score_are_found,
    members_are_removed,
);

async fn a_stream_lives_for_ever_unless_it_is_told(place: Place) {
    assert_eq!(place.backend.remaining(STREAM).await.unwrap(), None);
    place.append(STREAM).await;
    assert_eq!(place.backend.remaining(STREAM).await.unwrap(), Some(None));
}

async fn a_stream_that_is_not_there_is_not_kept(place: Place) {
    place.keep(STREAM, Life::AtLeast(HOUR)).await;
    place.keep(STREAM, Life::Finally(HOUR)).await;
    assert_eq!(place.backend.remaining(STREAM).await.unwrap(), None);
    place.append(STREAM).await;
    assert_eq!(place.backend.remaining(STREAM).await.unwrap(), Some(None));
    place.keep(STREAM, Life::AtLeast(HOUR)).await;
    place.lives(STREAM, HOUR).await;
}

async fn at_least_never_shortens(place: Place) {
    place.append(STREAM).await;
    for (said, lives) in [(2, 2), (1, 2), (3, 3), (3, 3)] {
        place.keep(STREAM, Life::AtLeast(HOUR * said)).await;
        place.lives(STREAM, HOUR * lives).await;
    }
}

async fn exactly_is_exact(place: Place) {
    place.append(STREAM).await;
    let (at_least, exactly) = (Life::AtLeast, Life::Exactly);
    let words = [(at_least(HOUR * 9), 9), (exactly(HOUR), 1), (exactly(HOUR * 3), 3), (at_least(HOUR * 5), 5)];
    for (said, lives) in words {
        place.keep(STREAM, said).await;
        place.lives(STREAM, HOUR * lives).await;
    }
}

async fn finally_is_exact_and_the_last_word(place: Place) {
    place.append(STREAM).await;
    place.keep(STREAM, Life::AtLeast(HOUR * 9)).await;
    // It may also be the first that is said of a stream.
    place.append(OTHER).await;
    for stream in [STREAM, OTHER] {
        for said in [Life::Finally(HOUR), Life::Finally(HOUR * 3), Life::Exactly(HOUR * 3), Life::AtLeast(HOUR * 5)] {
            place.keep(stream, said).await;
            place.lives(stream, HOUR).await;
        }
    }
}

async fn appending_prolongs_nothing(place: Place) {
    for (stream, life) in [(STREAM, Life::AtLeast(HOUR)), (OTHER, Life::Finally(HOUR))] {
        place.append(stream).await;
        place.keep(stream, life).await;
        place.append(stream).await;
        place.append_with(stream, 3, None, Some("key")).await.unwrap();
        place.lives(stream, HOUR).await;
    }
}

async fn lives_have_bounds(place: Place) {
    place.append(STREAM).await;
    place.keep(STREAM, Life::AtLeast(Duration::MAX)).await;
    place.lives(STREAM, HOUR * 24 * 365 * 100).await;
    place.keep(STREAM, Life::Finally(Duration::from_nanos(1))).await;
    place.until_gone(STREAM, Duration::from_millis(1)).await;
    place.append(OTHER).await;
    place.keep(OTHER, Life::Finally(Duration::ZERO)).await;
    place.until_gone(OTHER, Duration::from_millis(1)).await;
}

/// A stream whose life is over; the id of its last event.
async fn gone(place: &Place, life: Life) -> EventId {
    place.append_with(STREAM, 2, None, Some("key")).await.unwrap();
    let last = place.append(STREAM).await;
    place.keep(STREAM, life).await;
    place.until_gone(STREAM, MOMENT).await;
    last
}

async fn a_stream_vanishes_as_if_it_had_been_deleted(place: Place) {
    for life in [Life::AtLeast(MOMENT), Life::Finally(MOMENT)] {
        let last = gone(&place, life).await;
        assert_eq!(place.events(STREAM).await, []);
        assert_eq!(place.backend.last_id(STREAM).await.unwrap(), None);
        assert_eq!(place.backend.remaining(STREAM).await.unwrap(), None);
        assert_eq!(place.listed("nq:*").await, [""; 0]);
        assert_eq!(place.backend.delete_events(STREAM, &[last]).await.unwrap(), 0);
        assert_eq!(place.backend.trim(STREAM, EventId::MAX).await.unwrap(), 0);
        assert_eq!(place.backend.delete_streams(&[STREAM]).await.unwrap(), 0);
    }
}

/// No operation needs another one before it to notice that a life is over.
async fn whatever_looks_first_sees_nothing(place: Place) {
    for look in 0..8 {
        let last = place.append_with(STREAM, 1, None, Some("key")).await.map(|receipt| ids(&receipt)[0]).unwrap();
        place.keep(STREAM, Life::Finally(MOMENT)).await;
        place.pass(MOMENT).await;
        match look {
            0 => assert_eq!(place.events(STREAM).await, []),
            1 => assert_eq!(place.backend.last_id(STREAM).await.unwrap(), None),
            2 => assert_eq!(place.backend.delete_events(STREAM, &[last]).await.unwrap(), 0),
            3 => assert_eq!(place.backend.trim(STREAM, EventId::MAX).await.unwrap(), 0),
            4 => assert_eq!(place.backend.delete_streams(&[STREAM]).await.unwrap(), 0),
            5 => assert_eq!(place.backend.streams(&Glob::new("*"), Cursor::Start).await.unwrap().0, []),
            6 => {
                place.keep(STREAM, Life::AtLeast(HOUR)).await;
                assert_eq!(place.backend.remaining(STREAM).await.unwrap(), None);
            }
            _ => {
                let receipt = place.append_with(STREAM, 1, Some(EventId::MIN), Some("key")).await.unwrap();
                assert!(matches!(receipt, Receipt::One(id) if id > last), "{receipt:?} after {last}");
            }
        }
    }
}

async fn a_stream_that_begins_again_is_a_new_one(place: Place) {
    for life in [Life::AtLeast(MOMENT), Life::Finally(MOMENT)] {
        let last = gone(&place, life).await;
        let receipt = place.append_with(STREAM, 2, Some(EventId::MIN), Some("key")).await.unwrap();
        assert!(matches!(&receipt, Receipt::Batch(new) if new[0] > last), "{receipt:?} after {last}");
        assert_eq!(place.events(STREAM).await, ids(&receipt));
        assert_eq!(place.backend.remaining(STREAM).await.unwrap(), Some(None));
        place.keep(STREAM, Life::AtLeast(HOUR)).await;
        place.lives(STREAM, HOUR).await;
        place.keep(STREAM, Life::AtLeast(HOUR * 2)).await;
        place.lives(STREAM, HOUR * 2).await;
        assert_eq!(place.backend.delete_streams(&[STREAM]).await.unwrap(), 1);
    }
}

async fn a_deleted_stream_takes_its_life_along(place: Place) {
    for life in [Life::AtLeast(MOMENT), Life::Finally(MOMENT)] {
        place.append(STREAM).await;
        place.keep(STREAM, life).await;
        place.backend.delete_streams(&[STREAM, OTHER]).await.unwrap();
        let new = place.append(STREAM).await;
        place.pass(MOMENT).await;
        assert_eq!(place.events(STREAM).await, [new]);
        assert_eq!(place.backend.remaining(STREAM).await.unwrap(), Some(None));
        place.keep(STREAM, Life::AtLeast(HOUR)).await;
        place.lives(STREAM, HOUR).await;
        place.backend.delete_streams(&[STREAM]).await.unwrap();
    }
}

async fn only_what_is_due_vanishes(place: Place) {
    let streams: Vec<String> = (0..30).map(|n| format!("nq:flow:{n:02}")).collect();
    for (n, stream) in streams.iter().enumerate() {
        place.append(stream).await;
        match n % 3 {
            0 => place.keep(stream, Life::Finally(MOMENT)).await,
            1 => place.keep(stream, Life::AtLeast(HOUR)).await,
            _ => {}
        }
    }
    place.until_gone(&streams[27], MOMENT).await;
    let stay: Vec<&String> = streams.iter().enumerate().filter(|(n, _)| n % 3 != 0).map(|(_, name)| name).collect();
    assert_eq!(place.listed("nq:flow:*").await.iter().collect::<Vec<_>>(), stay);
}

async fn single_events_are_deleted(place: Place) {
    let all = place.append_many(STREAM, 6).await;
    let unknown = EventId::new(1, 1);
    let deleted = place.backend.delete_events(STREAM, &[all[4], unknown, all[0], all[4]]).await.unwrap();
    assert_eq!(deleted, 2);
    assert_eq!(place.events(STREAM).await, [all[1], all[2], all[3], all[5]]);
    assert_eq!(place.backend.delete_events(STREAM, &[all[4]]).await.unwrap(), 0);
    assert_eq!(place.backend.delete_events(STREAM, &[]).await.unwrap(), 0);
    assert_eq!(place.backend.delete_events(OTHER, &all).await.unwrap(), 0);
    assert_eq!(place.listed("*").await, [STREAM]);
}

async fn ids_are_not_given_twice(place: Place) {
    let all = place.append_many(STREAM, 3).await;
    assert_eq!(place.backend.delete_events(STREAM, &all[1..]).await.unwrap(), 2);
    assert_eq!(place.backend.last_id(STREAM).await.unwrap(), Some(all[0]));
    let next = ids(&place.append_with(STREAM, 1, Some(all[0]), None).await.unwrap())[0];
    assert!(next > all[2], "{next} after {}", all[2]);
    assert_eq!(place.backend.trim(STREAM, EventId::MAX).await.unwrap(), 2);
    let after = place.append(STREAM).await;
    assert!(after > next, "{after} after {next}");
    // Also when the stream is deleted after its newest events.
    place.backend.delete_events(STREAM, &[after]).await.unwrap();
    place.backend.delete_streams(&[STREAM]).await.unwrap();
    let new = place.append(STREAM).await;
    assert!(new > after, "{new} after {after}");
}

async fn an_emptied_stream_has_not_vanished(place: Place) {
    place.append(STREAM).await;
    place.keep(STREAM, Life::Finally(HOUR)).await;
    assert_eq!(place.backend.trim(STREAM, EventId::MAX).await.unwrap(), 1);
    assert_eq!(place.backend.last_id(STREAM).await.unwrap(), None);
    assert_eq!(place.listed("*").await, [""; 0]);
    place.append_with(STREAM, 1, Some(EventId::MIN), None).await.unwrap();
    place.keep(STREAM, Life::AtLeast(HOUR * 2)).await;
    place.lives(STREAM, HOUR).await;
}

async fn many_events_are_deleted_at_once(place: Place) {
    let all = place.append_many(STREAM, 1_300).await;
    let (kept, deleted): (Vec<EventId>, Vec<EventId>) = all.iter().partition(|id| id.seq % 13 == 0);
    assert_eq!(place.backend.delete_events(STREAM, &deleted).await.unwrap(), deleted.len() as u64);
    assert_eq!(place.events(STREAM).await, kept);
}

async fn trimming_deletes_what_is_before(place: Place) {
    let all = place.append_many(STREAM, 6).await;
    place.keep(STREAM, Life::AtLeast(HOUR)).await;
    assert_eq!(place.backend.trim(STREAM, EventId::MIN).await.unwrap(), 0);
    assert_eq!(place.backend.trim(STREAM, all[0]).await.unwrap(), 0);
    assert_eq!(place.backend.trim(STREAM, all[2]).await.unwrap(), 2);
    assert_eq!(place.events(STREAM).await, all[2..]);
    // The event before which all goes need not be there.
    assert_eq!(place.backend.delete_events(STREAM, &[all[4]]).await.unwrap(), 1);
    assert_eq!(place.backend.trim(STREAM, all[4]).await.unwrap(), 2);
    assert_eq!(place.events(STREAM).await, [all[5]]);
    assert_eq!(place.backend.trim(STREAM, all[4]).await.unwrap(), 0);
    assert_eq!(place.backend.trim(OTHER, EventId::MAX).await.unwrap(), 0);
    place.lives(STREAM, HOUR).await;
}

async fn a_key_is_forgotten_with_its_events(place: Place) {
    let keyed = || place.append_with(STREAM, 2, None, Some("key"));
    let first = ids(&keyed().await.unwrap());
    assert!(matches!(keyed().await.unwrap(), Receipt::Repeated(_)));
    place.backend.delete_events(STREAM, &first[..1]).await.unwrap();
    let second = keyed().await.unwrap();
    assert!(matches!(second, Receipt::Batch(_)), "{second:?}");
    assert!(matches!(keyed().await.unwrap(), Receipt::Repeated(_)));
}

async fn due_members_come_lowest_first(place: Place) {
    assert_eq!(place.backend.index_due(INDEX, f64::INFINITY, 9).await.unwrap(), [""; 0]);
    for (id, score) in [("late", 20.5), ("b", 10.0), ("ä b", 10.0), ("a", 10.0), ("early", -3.0), ("last", 1e300)] {
        place.backend.index_add(INDEX, id, score).await.unwrap();
    }
    for (score, limit, expected) in [
        (f64::INFINITY, usize::MAX, &["early", "a", "b", "ä b", "late", "last"][..]),
        (20.5, 9, &["early", "a", "b", "ä b", "late"]),
        (20.4, 9, &["early", "a", "b", "ä b"]),
        (10.0, 2, &["early", "a"]),
        (10.0, 0, &[]),
        (-3.1, 9, &[]),
        (f64::NEG_INFINITY, 9, &[]),
    ] {
        assert_eq!(place.backend.index_due(INDEX, score, limit).await.unwrap(), expected, "{score}, {limit}");
    }
}

async fn members_of_one_score_are_found(place: Place) {
    // The largest whole number that a score can hold exactly, and its neighbour.
    let (score, next) = (9_007_199_254_740_991.0, 9_007_199_254_740_990.0);
    for (id, score) in [("b", score), ("c", next), ("ä b", score), ("a", score), ("d", -1.0)] {
        place.backend.index_add(INDEX, id, score).await.unwrap();
    }
    assert_eq!(place.backend.index_at(INDEX, score).await.unwrap(), ["a", "b", "ä b"]);
    assert_eq!(place.backend.index_at(INDEX, next).await.unwrap(), ["c"]);
    assert_eq!(place.backend.index_at(INDEX, 0.0).await.unwrap(), [""; 0]);
    assert_eq!(place.backend.index_at("nq:flows:none", score).await.unwrap(), [""; 0]);
}

async fn members_are_removed(place: Place) {
    let members: Vec<String> = (0..1_100).map(|n| format!("member-{n:04}")).collect();
    let names: Vec<&str> = members.iter().map(String::as_str).collect();
    for (n, id) in names.iter().enumerate() {
        place.backend.index_add(INDEX, id, n as f64).await.unwrap();
    }
    place.backend.index_remove(INDEX, &[]).await.unwrap();
    place.backend.index_remove(INDEX, &["nobody", "member-0001"]).await.unwrap();
    place.backend.index_remove("nq:flows:none", &["member-0002"]).await.unwrap();
    assert_eq!(place.backend.index_due(INDEX, 3.0, 9).await.unwrap(), ["member-0000", "member-0002", "member-0003"]);
    place.backend.index_remove(INDEX, &names[..1_099]).await.unwrap();
    assert_eq!(place.backend.index_read(INDEX, 0, None).await.unwrap(), [("member-1099".to_owned(), 1_099.0)]);
    place.backend.index_remove(INDEX, &names).await.unwrap();
    assert_eq!(place.backend.index_read(INDEX, 0, None).await.unwrap(), []);
}

#[tokio::test]
async fn memory_keeps_to_the_millisecond() {
    let place = Place::memory();
    place.append(STREAM).await;
    place.keep(STREAM, Life::Finally(Duration::from_millis(1_000))).await;
    place.pass(Duration::from_millis(999)).await;
    assert_eq!(place.backend.remaining(STREAM).await.unwrap(), Some(Some(Duration::from_millis(1))));
    assert_eq!(place.events(STREAM).await.len(), 1);
    place.pass(Duration::from_millis(1)).await;
    assert_eq!(place.backend.remaining(STREAM).await.unwrap(), None);
}

/// A wrong use of a key is told as the server tells it, and changes nothing.
#[tokio::test]
async fn redis_refuses_what_is_no_stream() {
    let place = Place::redis().await;
    let says_so = |error: Error| {
        assert_eq!(error.code(), Code::Backend, "{error}");
        assert!(error.message().contains("WRONGTYPE"), "{error}");
    };
    place.say::<()>("SET nq:text words");
    says_so(place.backend.delete_events("nq:text", &[EventId::new(1, 0)]).await.unwrap_err());
    says_so(place.backend.trim("nq:text", EventId::MAX).await.unwrap_err());
    says_so(place.backend.index_due("nq:text", 1.0, 1).await.unwrap_err());
    says_so(place.backend.index_remove("nq:text", &["words"]).await.unwrap_err());
    for life in [Life::AtLeast(MOMENT), Life::Finally(MOMENT)] {
        place.keep("nq:text", life).await;
    }
    assert_eq!(place.backend.delete_streams(&["nq:text"]).await.unwrap(), 0);
    assert_eq!(place.say::<i64>("PTTL nq:text"), -1);
    assert_eq!(place.say::<Vec<String>>("KEYS *"), ["nq:text"]);
}

/// The mark of an end goes with its stream, in one way or the other.
#[tokio::test]
async fn redis_is_left_clean() {
    let place = Place::redis().await;
    for (stream, mark) in [(STREAM, "{nq:flow:1}:ended"), ("jobs:{eu}:7", "jobs:{eu}:7:ended")] {
        place.append(stream).await;
        place.keep(stream, Life::Finally(HOUR)).await;
        assert_eq!(place.say::<i64>(&format!("EXISTS {mark}")), 1);
        assert!(place.say::<i64>(&format!("PTTL {mark}")) > 0);
        place.backend.delete_streams(&[stream]).await.unwrap();
        assert_eq!(place.say::<Vec<String>>("KEYS *"), [""; 0]);
        place.append(stream).await;
        place.keep(stream, Life::Finally(MOMENT)).await;
        place.until_gone(stream, MOMENT).await;
        place.pass(MOMENT).await;
        assert_eq!(place.say::<Vec<String>>("KEYS *"), [""; 0]);
    }
}

/// Nothing is half done: a stream whose end can't be marked keeps the life that it had.
#[tokio::test]
async fn redis_without_memory_ends_nothing() {
    let place = Place::redis().await;
    let event = place.append(STREAM).await;
    place.keep(STREAM, Life::AtLeast(HOUR)).await;
    place.say::<()>("CONFIG SET maxmemory 1");
    let refused = place.backend.keep(STREAM, Life::Finally(MOMENT)).await.unwrap_err();
    assert!(refused.code() == Code::Backend && refused.message().contains("OOM"), "{refused}");
    place.lives(STREAM, HOUR).await;
    // What makes room goes on.
    assert_eq!(place.backend.delete_events(STREAM, &[event]).await.unwrap(), 1);
    assert_eq!(place.backend.trim(STREAM, EventId::MAX).await.unwrap(), 0);
    place.say::<()>("CONFIG SET maxmemory 0");
    place.keep(STREAM, Life::Finally(HOUR * 2)).await;
    place.lives(STREAM, HOUR * 2).await;
}

/// What was on its way when the server died is done by the one that comes back.
#[tokio::test]
async fn redis_is_told_again_after_a_crash() {
    let mut place = Place::redis().await;
    let all = place.append_many(STREAM, 5).await;
    place.append(OTHER).await;
    place.backend.index_add(INDEX, "a", 1.0).await.unwrap();
    place.server().pause();
    let backend = place.backend.clone();
    let ended = backend.keep(OTHER, Life::Finally(HOUR));
    let deleted = backend.delete_events(STREAM, &all[3..4]);
    let trimmed = backend.trim(STREAM, all[2]);
    let removed = backend.index_remove(INDEX, &["a"]);
    // They are under way now, and nobody answers.
    place.pass(MOMENT).await;
    place.restart();
    tokio::try_join!(ended, deleted, trimmed, removed).unwrap();
    assert_eq!(place.events(STREAM).await, [all[2], all[4]]);
    place.lives(OTHER, HOUR).await;
    assert_eq!(place.backend.index_due(INDEX, 9.0, 9).await.unwrap(), [""; 0]);
}
