//! Schedules that fire: once for each instant, whoever is there.
//!
//! Every instance knows all schedules and when each is due. What becomes of an instant is an event in the trigger's
//! own stream, appended on the condition that nothing came after what was read of it: of several instances one
//! decides, and the others read how. So neither a leader nor a lock is needed, and clocks that differ only delay.

mod agenda;
mod decision;
mod overlap;

use std::collections::HashMap;

pub(super) use self::agenda::Agenda;
use self::agenda::{Turn, put_off_ms};
use self::decision::{Decision, Skipped, decide};
use self::overlap::Verdict;
use super::board::Queued;
use super::firing::{flows, last_id};
use super::recorded::{Recorded, Scheduled};
use super::{Due, Outcome, RegisteredTrigger, SKEW_MS, TRY_AGAIN_MS, TriggerDefinition, TriggerEngine, is_final};
use crate::backend::Receipt;
use crate::error::{Code, Error, Result};
use crate::event::{EventId, EventRef, Field, NewEvent, format_time};
use crate::flow::Object;
use crate::store::{AppendOptions, Query};

/// How many schedules are looked at before what they led to is handed over.
const MOST_AT_ONCE: usize = 32;
/// How many of them at the same time, as each waits for the store.
const CONCURRENT: usize = 16;
/// How many decisions one schedule makes before it is the turn of others.
const MOST_IN_A_ROW: usize = 20;
/// How often it is tried while others write a trigger's stream.
const ATTEMPTS: usize = 100;

const FIRED: &str = "trigger.fired";
const QUEUED: &str = "trigger.queued";
const SKIPPED: &str = "trigger.skipped";

/// What a decision came to.
enum Attempt {
    Done(Box<Outcome>),
    /// It is not time yet.
    Wait,
    /// Something came in between.
    Lost,
}

impl Attempt {
    fn done(outcome: Outcome) -> Attempt {
        Attempt::Done(Box::new(outcome))
    }
}

impl TriggerEngine {
    /// Fires what is due by schedules. Whether some of them are still due.
    pub(super) async fn fire_schedules(&self, due: &mut Due) -> Result<bool> {
        let names = self.known().agenda.due(self.flows.store().now_ms(), MOST_AT_ONCE);
        let (mut names, mut firing) = (names.into_iter(), tokio::task::JoinSet::new());
        let (mut failed, mut succeeded) = (None, false);
        loop {
            while firing.len() < CONCURRENT
                && let Some(name) = names.next()
            {
                let engine = self.clone();
                firing.spawn(async move {
                    let mut due = Due::default();
                    let fired = engine.fire_schedule(&name, &mut due).await;
                    (name, due, fired)
                });
            }
            let Some(ended) = firing.join_next().await else { break };
            let (name, fired_due, fired) =
                ended.map_err(|error| Error::new(Code::Internal, "A schedule came to no end.").caused_by(error))?;
            due.jobs.extend(fired_due.jobs);
            due.run_ids.extend(fired_due.run_ids);
            due.fired.extend(fired_due.fired);
            match fired {
                Ok(()) => succeeded = true,
                Err(error) => {
                    tracing::warn!(name, %error, "a schedule could not fire; this is tried again");
                    self.leave_alone(&name);
                    failed = Some(error);
                }
            }
        }
        match failed {
            Some(error) if !succeeded => Err(error),
            _ => Ok(self.known().agenda.next_due().is_some_and(|due_ms| due_ms <= self.flows.store().now_ms())),
        }
    }

    /// For a second.
    fn leave_alone(&self, name: &str) {
        let until_ms = self.flows.store().now_ms().saturating_add(TRY_AGAIN_MS);
        self.known().agenda.put_off(name, until_ms);
    }

    async fn fire_schedule(&self, name: &str, due: &mut Due) -> Result<()> {
        for _ in 0..MOST_IN_A_ROW {
            let Some(outcome) = self.fire_next(name).await? else { break };
            due.extend(name, outcome);
        }
        Ok(())
    }

    /// Decides on the next instants, and does what was decided. `None`: nothing is due.
    async fn fire_next(&self, name: &str) -> Result<Option<Outcome>> {
        if let Some(released) = self.release_queued(name).await? {
            return Ok(Some(released));
        }
        for _ in 0..ATTEMPTS {
            let Some(turn) = self.look_at_schedule(name).await? else { return Ok(None) };
            let now_ms = self.flows.store().now_ms();
            let put_off_ms = |at_ms| put_off_ms(&turn.schedule, name, at_ms);
            let attempt = match decide(&turn.schedule, turn.position, now_ms, put_off_ms) {
                None => Attempt::Wait,
                Some(Decision::Skip(skipped)) => self.skip_instants(name, &turn, &skipped).await?,
                Some(Decision::Fire(at_ms)) => self.fire_instant(name, &turn, at_ms).await?,
            };
            match attempt {
                Attempt::Done(outcome) => return Ok(Some(*outcome)),
                Attempt::Wait => return Ok(None),
                Attempt::Lost => {}
            }
        }
        Err(Error::new(Code::Conflict, format!("Others keep writing to the stream of the trigger {name:?}.")))
    }

    /// Reads what was decided since the last time. `None`: it does not fire any more.
    async fn look_at_schedule(&self, name: &str) -> Result<Option<Turn>> {
        let Some(turn) = self.known().agenda.turn(name) else { return Ok(None) };
        let (store, stream) = (self.flows.store(), self.stream_of(name));
        // What is further ahead than clocks differ was decided by one that was wrong.
        let until_ms = store.now_ms().saturating_add(SKEW_MS);
        let decided_by = |event: EventRef<'_>| Scheduled::decided_by(event).filter(|at_ms| *at_ms <= until_ms);
        let mut cursor_ms = 0;
        let last = match turn.last {
            Some(last) => {
                let mut last = last;
                let mut pages = store.iterate(Query { after: Some(last), ..Query::stream(&*stream) })?;
                while let Some(page) = pages.next().await? {
                    for event in page.iter() {
                        last = event.id;
                        cursor_ms = cursor_ms.max(decided_by(event).unwrap_or_default());
                    }
                }
                last
            }
            None => {
                let last = store.last_id(&stream).await?.unwrap_or(EventId::MIN);
                let types = [FIRED, QUEUED, SKIPPED].map(str::to_owned).to_vec();
                let mut pages = store.iterate(Query { types, ..Query::stream(&*stream) }.descending())?;
                while let Some(page) = pages.next().await?
                    && cursor_ms == 0
                {
                    // Not just the last: a firing may have waited, or been retried.
                    cursor_ms = page.iter().filter_map(decided_by).max().unwrap_or_default();
                }
                last
            }
        };
        let mut known = self.known();
        known.agenda.read(name, Some(last), cursor_ms);
        Ok(known.agenda.turn(name))
    }

    /// Records what was decided on instants up to one. `None`: something came in between.
    async fn decide_on(&self, name: &str, turn: &Turn, event: NewEvent, to_ms: u64) -> Result<Option<EventId>> {
        let (store, stream) = (self.flows.store(), self.stream_of(name));
        let options = AppendOptions { expected_last_id: turn.last, idempotency_key: None };
        match store.append(&stream, event, options).await {
            Ok(receipt) => {
                let at = last_id(&receipt);
                self.known().agenda.read(name, Some(at), to_ms);
                Ok(Some(at))
            }
            Err(error) if error.code() == Code::Conflict => {
                if store.last_id(&stream).await? < turn.last {
                    // The stream was deleted, or has expired.
                    self.known().agenda.read(name, None, 0);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn fire_instant(&self, name: &str, turn: &Turn, at_ms: u64) -> Result<Attempt> {
        match self.try_to_fire(name, turn, at_ms).await {
            // It would be so at each instant, and must not keep the schedule from going on.
            Err(error) if is_final(&error) || error.code() == Code::Config => {
                let reason = format!("it could not be recorded: {}", error.message());
                let recorded = Recorded { payload: None, flows: Vec::new(), ..self.scheduled(turn, at_ms) };
                self.skip_instant(name, turn, &recorded, &reason).await
            }
            attempt => attempt,
        }
    }

    async fn try_to_fire(&self, name: &str, turn: &Turn, at_ms: u64) -> Result<Attempt> {
        let mut recorded = self.scheduled(turn, at_ms);
        recorded.flows = flows(name, &self.subscribers(name), &HashMap::new(), &turn.definition.config)?;
        let event_type = match self.overlap(name, turn).await? {
            Verdict::Fire => FIRED,
            Verdict::Replace(runs) => {
                recorded.replaces = runs;
                FIRED
            }
            Verdict::Queue => QUEUED,
            Verdict::Skip(reason) => return self.skip_instant(name, turn, &recorded, &reason).await,
            Verdict::Later => {
                self.leave_alone(name);
                return Ok(Attempt::Wait);
            }
        };
        let event = recorded.event(name, event_type, &turn.definition.config);
        let decided = self.decide_on(name, turn, event, at_ms);
        // Should this process die, another one finds it. Noted ahead of it.
        let (owed, decided) = tokio::join!(self.owe_firing(name, &recorded.fire_id), decided);
        let Some(at) = decided? else {
            self.firing_done(name, &recorded.fire_id).await?;
            return Ok(Attempt::Lost);
        };
        recorded.at = at;
        if let Err(error) = owed {
            tracing::warn!(name, recorded.fire_id, %error, "it is not noted that a firing is to be finished");
        }
        if event_type == QUEUED {
            return self.announce_queued(name, &recorded).await.map(Attempt::done);
        }
        let outcome = self.work_off(name, &recorded).await?;
        self.tidy(name, &turn.definition.config).await;
        Ok(Attempt::done(outcome))
    }

    fn scheduled(&self, turn: &Turn, at_ms: u64) -> Recorded {
        Recorded {
            fire_id: self.new_fire_id(),
            payload: Some(scheduled_payload(&turn.definition, at_ms)),
            scheduled: Some(Scheduled { at_ms, delay_ms: self.flows.store().now_ms().saturating_sub(at_ms) }),
            ..Recorded::default()
        }
    }

    async fn skip_instant(&self, name: &str, turn: &Turn, recorded: &Recorded, reason: &str) -> Result<Attempt> {
        let at_ms = recorded.scheduled.map(|scheduled| scheduled.at_ms).unwrap_or_default();
        let data = recorded.data(&turn.definition.config);
        self.record_skipped(name, turn, data, at_ms, reason).await
    }

    async fn skip_instants(&self, name: &str, turn: &Turn, skipped: &Skipped) -> Result<Attempt> {
        let mut data = self.scheduled(turn, skipped.to_ms).data(&turn.definition.config);
        if skipped.from_ms < skipped.to_ms {
            data = data.text("from", &format_time(skipped.from_ms));
            data = match skipped.count {
                Some(count) => data.number("count", count as u64),
                None => data,
            };
        }
        self.record_skipped(name, turn, data, skipped.to_ms, skipped.reason).await
    }

    /// Records that instants up to one don't fire, there and for all instances.
    async fn record_skipped(&self, name: &str, turn: &Turn, data: Object, to_ms: u64, reason: &str) -> Result<Attempt> {
        let event = |data: Object| {
            NewEvent::new(SKIPPED).with(Field::TriggerName, name).with_data(data.text("reason", reason).done())
        };
        if self.decide_on(name, turn, event(data), to_ms).await?.is_none() {
            return Ok(Attempt::Lost);
        }
        self.tidy(name, &turn.definition.config).await;
        let event = event(Object::new().text("scheduledTime", &format_time(to_ms)));
        self.flows.store().append(&self.flows.triggers(), event, AppendOptions::default()).await?;
        self.compact_if_long().await;
        Ok(Attempt::done(Outcome::default()))
    }

    /// Tells all instances of a firing that waits.
    pub(super) async fn announce_queued(&self, name: &str, recorded: &Recorded) -> Result<Outcome> {
        let data = recorded.announcement().done();
        let event = NewEvent::new(QUEUED).with(Field::TriggerName, name).with_data(data);
        self.flows.store().append(&self.flows.triggers(), event, AppendOptions::default()).await?;
        self.catch_up().await?;
        self.firing_done(name, &recorded.fire_id).await?;
        Ok(Outcome { fire_id: recorded.fire_id.clone(), at: recorded.at, ..Outcome::default() })
    }

    /// A firing waited for longer than its record is kept.
    async fn give_up_queued(&self, name: &str, queued: &Queued) -> Result<Outcome> {
        let data = Object::new().text("fireId", &queued.fire_id).text("reason", "it waited for longer than it is kept");
        let event = NewEvent::new(SKIPPED).with(Field::TriggerName, name).with_data(data.done());
        self.flows.store().append(&self.flows.triggers(), event, AppendOptions::default()).await?;
        Ok(Outcome::default())
    }

    /// Lets the first firing that waits fire, if nothing goes on that it waits for.
    async fn release_queued(&self, name: &str) -> Result<Option<Outcome>> {
        let Some(queued) = self.first_queued(name) else { return Ok(None) };
        self.leave_alone(name);
        self.catch_up().await?;
        if self.first_queued(name).as_ref() != Some(&queued) || self.goes_on(name).await? {
            return Ok(None);
        }
        let Some(mut recorded) = self.recorded(name, queued.at).await? else {
            return self.give_up_queued(name, &queued).await.map(Some);
        };
        if let Some(scheduled) = &mut recorded.scheduled {
            scheduled.delay_ms = self.flows.store().now_ms().saturating_sub(scheduled.at_ms);
        }
        let config = RegisteredTrigger::config_of(self.get(name).as_ref());
        self.owe_firing(name, &recorded.fire_id).await?;
        // Of several who try at once, one lets it fire.
        let key = Some(format!("release:{}", recorded.fire_id));
        let options = AppendOptions { expected_last_id: None, idempotency_key: key };
        let event = recorded.event(name, FIRED, &config);
        match self.flows.store().append(&self.stream_of(name), event, options).await? {
            Receipt::Repeated(_) => Ok(None),
            stored => {
                let recorded = Recorded { at: last_id(&stored), ..recorded };
                self.work_off(name, &recorded).await.map(Some)
            }
        }
    }
}

/// The payload of a scheduled firing, JSON text.
pub(super) fn scheduled_payload(definition: &TriggerDefinition, at_ms: u64) -> String {
    match &definition.data {
        Some(data) => data.to_string(),
        None => Object::new().text("scheduledTime", &format_time(at_ms)).done(),
    }
}
