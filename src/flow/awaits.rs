//! Durable awaits: what a step waits for is recorded, and so is what came of it.
//!
//! An await is known by its run, its step, its name, and how many of that name the step began before. A
//! step that is executed again reaches the same await and finds its record. Of all that may end one (what
//! it waits for, its deadline, someone who cancels it) the first that is recorded counts.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::chain::related;
use super::decide::{Decision, envelope};
use super::step::expect_execution;
use super::{FlowEngine, Job, Object, expect_active, expect_known};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Field, NewEvent, format_time, parse_time};
use crate::run::{Await, AwaitPhase, OpenAwait, Progress, emit_payload, ends_by_name};
use crate::store::{AppendOptions, Consistency, Query};

/// How many offers are shown at a time.
const MOST_SHOWN: usize = 16;

/// An await that a step begins.
#[derive(Debug, Clone, Default)]
pub struct AwaitRequest {
    /// The run.
    pub run_id: String,
    /// The step.
    pub step_name: String,
    /// Its execution.
    pub execution_id: String,
    /// What ends it.
    pub name: String,
    /// How many awaits of this name the execution began, this one included.
    pub ordinal: u64,
    /// How many awaits the execution began before.
    pub index: usize,
    /// `trigger`, `event`, `time` or `webhook`.
    pub kind: String,
    /// Until when it waits, in milliseconds since the Unix epoch.
    pub deadline_ms: Option<u64>,
    /// Or how long.
    pub timeout_ms: Option<u64>,
    /// What those see who are to end it; JSON text.
    pub data: Option<String>,
    /// Whether the handler judges what comes.
    pub is_conditional: bool,
    /// What came after this counts; left out: since the run began.
    pub since: Option<EventId>,
}

/// What stands about an await.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AwaitState {
    /// Its id, unique in its run.
    pub await_id: String,
    /// What has become of it.
    pub state: AwaitPhase,
    /// What came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
    /// Why it was canceled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Until when it waits, ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Whether its step went on with it.
    pub resumed: bool,
    /// What came and is to be judged, oldest first; a few of them, as they are judged one after the other.
    pub offers: Vec<OfferState>,
}

/// What came and is to be judged.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferState {
    /// Names it.
    pub offer_id: String,
    /// Its payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

/// Something that may end an await.
#[derive(Debug, Clone, Copy)]
pub struct Firing<'a> {
    /// Names it.
    pub id: &'a str,
    /// Its payload, JSON text.
    pub payload: Option<&'a str>,
}

/// What became of an attempt to end an await.
#[derive(Debug, Clone)]
pub enum Fired {
    /// It ended the await, or the handler is to judge it.
    Taken {
        /// The await is over.
        is_settled: bool,
        /// The job that goes on, if the step was suspended.
        job: Option<Job>,
    },
    /// It had been offered before, or had ended the await.
    Known(Option<Job>),
    /// The await was over before.
    Late,
    /// There is no such await.
    Unknown,
}

#[derive(Deserialize)]
struct EmitRecord<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl FlowEngine {
    /// Begins an await, or finds the record of it.
    ///
    /// # Errors
    /// `Conflict` if the run has ended or the execution was superseded; `Nondeterministic` if the record has
    /// another await in its place.
    pub async fn open_await(&self, request: &AwaitRequest) -> Result<(AwaitState, bool)> {
        let AwaitRequest { run_id, step_name, .. } = request;
        let id = await_id(request);
        self.begun(&request.execution_id).await?;
        // Asked for once: record and note have to agree to the millisecond.
        let known = self.known_await(run_id, &id).await?;
        let deadline_ms = known.map_or_else(|| self.deadline(request), |(_, recorded)| recorded);
        // What all instances look at goes first: a firing that comes behind it finds the await.
        let opened = self.note_open(request, &id, known, deadline_ms);
        let record = async {
            loop {
                let past = self.past_emits(request).await?;
                let outcome = self
                    .decide(run_id, |progress| {
                        expect_active(progress, run_id)?;
                        expect_execution(progress, step_name, &request.execution_id)?;
                        expect_same(progress, request, &id)?;
                        if let Some(known) = progress.find_await(&id) {
                            return Ok(Decision::Nothing(Some((shown(known), false))));
                        }
                        // Something was emitted while the past was read.
                        let count = progress.emitted(&request.name).map_or(0, |emitted| emitted.count);
                        if count != past.count {
                            return Ok(Decision::Nothing(None));
                        }
                        let (events, state) = self.opening(progress, request, &id, deadline_ms, &past.emits);
                        Ok(Decision::Record(events, Some((state, true))))
                    })
                    .await?;
                if let Some(outcome) = outcome {
                    return Ok(outcome);
                }
            }
        };
        let (opened, recorded) = tokio::join!(opened, record);
        let (state, is_new): (AwaitState, bool) = recorded?;
        opened?;
        if state.state != AwaitPhase::Open {
            self.announce_closed(run_id, std::slice::from_ref(&state.await_id)).await?;
        }
        Ok((state, is_new))
    }

    /// The events that begin an await, and what it is then.
    fn opening(
        &self,
        progress: &Progress,
        request: &AwaitRequest,
        id: &str,
        deadline_ms: Option<u64>,
        past: &[(EventId, Option<String>)],
    ) -> (Vec<NewEvent>, AwaitState) {
        let step = envelope(progress, Some(&request.step_name));
        let deadline = deadline_ms.map(format_time);
        let paused = NewEvent::new("flow.step.paused").with_envelope(&step);
        let data = Object::new()
            .text("awaitId", id)
            .text("kind", &request.kind)
            .maybe_text("deadline", deadline.as_deref())
            .maybe_raw("data", request.data.as_deref())
            .maybe_raw("conditional", request.is_conditional.then_some("true"));
        let awaiting = NewEvent::new("trigger.awaiting").with_envelope(&step).with(Field::TriggerName, &request.name);
        let mut events =
            vec![paused.with_data(Object::new().text("awaitId", id).done()), awaiting.with_data(data.done())];
        let open = Await {
            id: id.into(),
            trigger_name: request.name.as_str().into(),
            step_name: Some(request.step_name.as_str().into()),
            ..Await::default()
        };
        let mut state = AwaitState {
            await_id: id.to_owned(),
            state: AwaitPhase::Open,
            data: None,
            reason: None,
            deadline,
            resumed: false,
            offers: Vec::new(),
        };
        for (event_id, payload) in past {
            let offer_id = event_id.to_string();
            if !request.is_conditional {
                let firing = Firing { id: &offer_id, payload: payload.as_deref() };
                events.push(fired(progress, &open, firing.payload, Some(firing.id)));
                (state.state, state.data) = (AwaitPhase::Fired, raw(payload.as_deref()));
                break;
            }
            events.push(offered(progress, &open, Firing { id: &offer_id, payload: payload.as_deref() }));
            if state.offers.len() < MOST_SHOWN {
                state.offers.push(OfferState { offer_id, data: raw(payload.as_deref()) });
            }
        }
        (events, state)
    }

    /// Until when an await waits that begins now.
    fn deadline(&self, request: &AwaitRequest) -> Option<u64> {
        request.deadline_ms.or_else(|| request.timeout_ms.map(|timeout| self.store.now_ms().saturating_add(timeout)))
    }

    /// What was emitted in the run under the name of an await since it counts, oldest first.
    async fn past_emits(&self, request: &AwaitRequest) -> Result<Past> {
        let AwaitRequest { run_id, name, .. } = request;
        let mut past = Past::default();
        if !ends_by_name(&request.kind) {
            past.count =
                self.look(run_id, |progress| progress.emitted(name).map_or(0, |emitted| emitted.count)).await?;
            return Ok(past);
        }
        let count = self.look(run_id, |progress| progress.emitted(name).map_or(0, |emitted| emitted.count)).await?;
        past.count = count;
        if count == 0 {
            return Ok(past);
        }
        let before = before_of(request);
        let used = self
            .look(run_id, |progress| {
                before.as_deref().and_then(|id| progress.find_await(id)?.settled_by.as_deref()?.parse().ok())
            })
            .await?;
        let after: Option<EventId> = request.since.max(used);
        let query = Query { types: vec!["emit".into()], after, ..Query::stream(self.stream(run_id)) };
        for event in self.store.query(query).await?.iter() {
            let record: Option<EmitRecord> = serde_json::from_str(event.record).ok();
            let Some((emitted, payload)) = record.and_then(|record| emit_payload(record.data?.get())) else { continue };
            if emitted == *name {
                past.emits.push((event.id, payload));
            }
        }
        Ok(past)
    }

    /// What the record says of an await, as far as this process knows: one that is recorded keeps its deadline,
    /// whatever is asked for now.
    async fn known_await(&self, run_id: &str, id: &str) -> Result<Option<(AwaitPhase, Option<u64>)>> {
        let key = self.store.run_key(&self.stream(run_id));
        let of_id = |progress: &Progress, _| progress.find_await(id).map(|known| (known.phase, known.deadline_ms));
        self.store.progress(&key, Consistency::Cached, of_id).await
    }

    /// Tells all instances of an open await, once. After a long time that may be told again.
    async fn note_open(
        &self,
        request: &AwaitRequest,
        id: &str,
        known: Option<(AwaitPhase, Option<u64>)>,
        deadline_ms: Option<u64>,
    ) -> Result<()> {
        if known.is_some_and(|(phase, _)| phase != AwaitPhase::Open) {
            return Ok(());
        }
        let data = Object::new()
            .text("awaitId", id)
            .maybe_text("kind", Some(&*request.kind).filter(|kind| *kind != "trigger"))
            .maybe_text("deadline", deadline_ms.map(format_time).as_deref());
        let event = NewEvent::new("trigger.awaiting")
            .with(Field::RunId, &request.run_id)
            .with(Field::TriggerName, &request.name)
            .with_data(data.done());
        let options =
            AppendOptions { expected_last_id: None, idempotency_key: Some(format!("await:{}:{id}", request.run_id)) };
        self.store.append(&self.triggers(), event, options).await.map(drop)
    }

    /// What stands about an await.
    ///
    /// # Errors
    /// `NotFound` if the run or the await is not known; `Conflict` if the run has ended.
    pub async fn await_state(&self, run_id: &str, await_id: &str) -> Result<AwaitState> {
        self.look(run_id, |progress| {
            expect_active(progress, run_id)?;
            progress.find_await(await_id).map(shown).ok_or_else(|| unknown(run_id, await_id))
        })
        .await?
    }

    /// The open awaits of a run.
    ///
    /// # Errors
    /// `NotFound` for an unknown run.
    pub async fn awaits(&self, run_id: &str) -> Result<Vec<OpenAwait>> {
        self.look(run_id, |progress| {
            expect_known(progress, run_id)?;
            Ok(progress.status().awaits)
        })
        .await?
    }

    /// What came is what the await waits for; `data` (JSON text) is what the handler gets.
    ///
    /// # Errors
    /// As [`FlowEngine::await_state`].
    pub async fn accept_offer(
        &self,
        run_id: &str,
        await_id: &str,
        offer_id: &str,
        data: Option<&str>,
    ) -> Result<AwaitState> {
        let settled = self
            .decide(run_id, |progress| {
                expect_active(progress, run_id)?;
                let known = progress.find_await(await_id).ok_or_else(|| unknown(run_id, await_id))?;
                if known.phase != AwaitPhase::Open {
                    return Ok(Decision::Nothing(shown(known)));
                }
                let mut state = shown(known);
                (state.state, state.data) = (AwaitPhase::Fired, raw(data));
                state.offers.clear();
                Ok(Decision::Record(vec![fired(progress, known, data, Some(offer_id))], state))
            })
            .await?;
        self.announce_closed(run_id, &[await_id.to_owned()]).await?;
        Ok(settled)
    }

    /// What came is not what the await waits for.
    ///
    /// # Errors
    /// As [`FlowEngine::await_state`].
    pub async fn reject_offer(&self, run_id: &str, await_id: &str, offer_id: &str, reason: &str) -> Result<AwaitState> {
        self.decide(run_id, |progress| {
            expect_active(progress, run_id)?;
            let known = progress.find_await(await_id).ok_or_else(|| unknown(run_id, await_id))?;
            let mut state = shown(known);
            if !known.offers.iter().any(|offer| *offer.id == *offer_id) {
                return Ok(Decision::Nothing(state));
            }
            state.offers.retain(|offer| offer.offer_id != offer_id);
            Ok(Decision::Record(vec![skipped(progress, known, offer_id, reason)], state))
        })
        .await
    }

    /// The step goes on with what came of an await; recorded once.
    ///
    /// # Errors
    /// As [`FlowEngine::await_state`], and `Conflict` if the execution was superseded.
    pub async fn resume_await(
        &self,
        run_id: &str,
        step_name: &str,
        execution_id: &str,
        await_id: &str,
    ) -> Result<AwaitState> {
        self.begun(execution_id).await?;
        self.decide(run_id, |progress| {
            expect_active(progress, run_id)?;
            expect_execution(progress, step_name, execution_id)?;
            let known = progress.find_await(await_id).ok_or_else(|| unknown(run_id, await_id))?;
            let mut state = shown(known);
            if known.phase == AwaitPhase::Open || known.is_resumed {
                return Ok(Decision::Nothing(state));
            }
            state.resumed = true;
            let data = Object::new().text("awaitId", await_id).text("executionId", execution_id).done();
            let resumed = NewEvent::new("flow.step.resumed").with_envelope(&envelope(progress, Some(step_name)));
            Ok(Decision::Record(vec![resumed.with(Field::TriggerName, &*known.trigger_name).with_data(data)], state))
        })
        .await
    }

    /// Something came that may end an await. Who comes late is recorded, if `records_late` and the run goes on.
    ///
    /// # Errors
    /// Those of reading and appending.
    pub async fn fire_await(
        &self,
        run_id: &str,
        await_id: &str,
        firing: Firing<'_>,
        records_late: bool,
    ) -> Result<Fired> {
        let outcome = self
            .decide(run_id, |progress| {
                let Some(known) = progress.find_await(await_id).filter(|_| progress.ending().is_none()) else {
                    return Ok(Decision::Nothing(Fired::Unknown));
                };
                let job = job_of_suspended(progress, known);
                if known.settled_by.as_deref() == Some(firing.id) || known.knows(firing.id) {
                    return Ok(Decision::Nothing(Fired::Known(job)));
                }
                if known.phase != AwaitPhase::Open {
                    let late = vec![skipped(progress, known, firing.id, "it came too late")];
                    return Ok(match records_late {
                        true => Decision::Record(late, Fired::Late),
                        false => Decision::Nothing(Fired::Late),
                    });
                }
                let event = match known.is_conditional {
                    true => offered(progress, known, firing),
                    false => fired(progress, known, firing.payload, Some(firing.id)),
                };
                Ok(Decision::Record(vec![event], Fired::Taken { is_settled: !known.is_conditional, job }))
            })
            .await?;
        if let Fired::Taken { is_settled, .. } = &outcome {
            let what = if *is_settled { "trigger.resolved" } else { "trigger.offered" };
            self.tell(vec![note(what, run_id, await_id)]).await?;
        }
        Ok(outcome)
    }

    /// The deadline of an await has passed. What waits for time alone goes on, everything else has timed out.
    ///
    /// # Errors
    /// Those of reading and appending.
    pub async fn expire_await(&self, run_id: &str, await_id: &str) -> Result<Option<Job>> {
        let now = self.store.now_ms();
        let (job, is_over) = self
            .decide(run_id, |progress| {
                let Some(known) = progress.find_await(await_id).filter(|_| progress.ending().is_none()) else {
                    return Ok(Decision::Nothing((None, true)));
                };
                let job = job_of_suspended(progress, known);
                if known.phase != AwaitPhase::Open {
                    return Ok(Decision::Nothing((job, true)));
                }
                if known.deadline_ms.is_none_or(|deadline| deadline > now) {
                    return Ok(Decision::Nothing((None, false)));
                }
                let event = match &*known.kind {
                    "time" => fired(progress, known, None, None),
                    _ => of_await("trigger.timeout", progress, known)
                        .with_data(Object::new().text("awaitId", await_id).done()),
                };
                Ok(Decision::Record(vec![event], (job, true)))
            })
            .await?;
        if is_over {
            self.announce_closed(run_id, &[await_id.to_owned()]).await?;
        }
        Ok(job)
    }

    /// Ends an await without what it waits for. `None`: it was over, or is not known.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, and those of appending.
    pub async fn cancel_await(&self, run_id: &str, await_id: &str, reason: Option<&str>) -> Result<Option<Vec<Job>>> {
        self.owe(run_id).await?;
        let canceled = self
            .decide(run_id, |progress| {
                expect_known(progress, run_id)?;
                let open = progress.find_await(await_id).filter(|known| known.phase == AwaitPhase::Open);
                let Some(known) = open.filter(|_| progress.ending().is_none()) else {
                    return Ok(Decision::Nothing(None));
                };
                let jobs = job_of_suspended(progress, known).into_iter().collect();
                Ok(Decision::Record(vec![canceled(progress, known, reason.unwrap_or("it was canceled"))], Some(jobs)))
            })
            .await?;
        if canceled.is_some() {
            self.announce_closed(run_id, &[await_id.to_owned()]).await?;
        }
        Ok(canceled)
    }

    /// What ended the await of the same name that the step began before.
    pub(crate) async fn used_by_earlier(&self, request: &AwaitRequest) -> Result<Option<String>> {
        let Some(before) = before_of(request) else { return Ok(None) };
        self.look(&request.run_id, |progress| progress.find_await(&before)?.settled_by.as_deref().map(str::to_owned))
            .await
    }

    /// Whether a run has ended, or is not there.
    pub(crate) async fn is_over(&self, run_id: &str) -> Result<bool> {
        self.look(run_id, |progress| !progress.is_known() || progress.ending().is_some()).await
    }

    /// The instant at which a run began, as an id before all of its events.
    pub(crate) async fn began_at(&self, run_id: &str) -> Result<EventId> {
        let at = self.look(run_id, |progress| parse_time(progress.started_at())).await?;
        Ok(EventId::new(at.unwrap_or_default(), 0))
    }

    /// Tells all instances that these awaits are over.
    pub(super) async fn announce_closed(&self, run_id: &str, await_ids: &[String]) -> Result<()> {
        self.tell(await_ids.iter().map(|id| note("trigger.resolved", run_id, id)).collect()).await
    }

    /// Tells all instances that something came for these awaits.
    pub(super) async fn announce(&self, run_id: &str, await_ids: &[String]) -> Result<()> {
        if await_ids.is_empty() {
            return Ok(());
        }
        let is_open = self
            .look(run_id, |progress| {
                let is_open =
                    |id: &String| progress.find_await(id).is_some_and(|known| known.phase == AwaitPhase::Open);
                await_ids.iter().map(is_open).collect::<Vec<bool>>()
            })
            .await?;
        let what = |is_open: bool| if is_open { "trigger.offered" } else { "trigger.resolved" };
        self.tell(await_ids.iter().zip(is_open).map(|(id, is_open)| note(what(is_open), run_id, id)).collect()).await
    }

    async fn tell(&self, events: Vec<NewEvent>) -> Result<()> {
        match events.is_empty() {
            true => Ok(()),
            false => self.store.append_batch(&self.triggers(), events, AppendOptions::default()).await.map(drop),
        }
    }
}

/// What was emitted in a run under one name.
#[derive(Default)]
struct Past {
    count: u64,
    emits: Vec<(EventId, Option<String>)>,
}

/// `{stepName}/{name}/{ordinal}`.
fn await_id(request: &AwaitRequest) -> String {
    format!("{}/{}/{}", request.step_name, request.name, request.ordinal)
}

/// The await of the same name that the step began before.
fn before_of(request: &AwaitRequest) -> Option<String> {
    (request.ordinal > 1).then(|| format!("{}/{}/{}", request.step_name, request.name, request.ordinal - 1))
}

/// Whether a step that is executed again waits for the same as before.
fn expect_same(progress: &Progress, request: &AwaitRequest, id: &str) -> Result<()> {
    let recorded = progress.step(&request.step_name).map(|step| step.awaited.as_slice()).unwrap_or_default();
    let same = |known: &crate::run::Awaited| *known.id == *id && *known.kind == *request.kind;
    let Some(known) = recorded.get(request.index).filter(|known| !same(known)) else { return Ok(()) };
    // Awaits that were begun together may have been recorded in another order.
    if recorded.iter().any(same) {
        return Ok(());
    }
    let message = format!(
        "Await {} of the step {} of the run {} is \"{}\" ({}) in its record, and \"{}\" ({}) in the code that runs now. \
         A step that is executed again has to reach the same awaits in the same order; let runs that wait end before such a change, \
         or give the changed step a new name.",
        request.index + 1,
        request.step_name,
        request.run_id,
        known.name,
        known.kind,
        request.name,
        request.kind
    );
    Err(Error::new(Code::Nondeterministic, message))
}

fn unknown(run_id: &str, await_id: &str) -> Error {
    Error::new(Code::NotFound, format!("The run {run_id} has no await {await_id:?} that is open or was not taken."))
}

fn shown(known: &Await) -> AwaitState {
    AwaitState {
        await_id: known.id.to_string(),
        state: known.phase,
        data: raw(known.data.as_deref()),
        reason: known.reason.as_deref().map(str::to_owned),
        deadline: known.deadline_ms.map(format_time),
        resumed: known.is_resumed,
        offers: known
            .offers
            .iter()
            .take(MOST_SHOWN)
            .map(|offer| OfferState { offer_id: offer.id.to_string(), data: raw(offer.data.as_deref()) })
            .collect(),
    }
}

fn raw(json: Option<&str>) -> Option<Box<RawValue>> {
    json.and_then(|json| RawValue::from_string(json.to_owned()).ok())
}

/// The job that goes on, if the step of an await is suspended.
pub(super) fn job_of_suspended(progress: &Progress, known: &Await) -> Option<Job> {
    let name = known.step_name.as_deref()?;
    progress.step(name).filter(|step| step.is_suspended)?;
    Job::of(progress, name, None)
}

fn of_await(event_type: &str, progress: &Progress, known: &Await) -> NewEvent {
    let event = NewEvent::new(event_type).with_envelope(&envelope(progress, known.step_name.as_deref()));
    event.with(Field::TriggerName, &*known.trigger_name)
}

pub(super) fn fired(progress: &Progress, known: &Await, payload: Option<&str>, fire_id: Option<&str>) -> NewEvent {
    let data = Object::new().text("awaitId", &known.id).maybe_text("fireId", fire_id).maybe_raw("data", payload);
    related(of_await("trigger.fired", progress, known), None, fire_id).with_data(data.done())
}

fn offered(progress: &Progress, known: &Await, firing: Firing<'_>) -> NewEvent {
    let data = Object::new().text("awaitId", &known.id).text("offerId", firing.id).maybe_raw("data", firing.payload);
    of_await("trigger.offered", progress, known).with_data(data.done())
}

fn skipped(progress: &Progress, known: &Await, offer_id: &str, reason: &str) -> NewEvent {
    let data = Object::new().text("awaitId", &known.id).text("offerId", offer_id).text("reason", reason);
    of_await("trigger.skipped", progress, known).with_data(data.done())
}

fn canceled(progress: &Progress, known: &Await, reason: &str) -> NewEvent {
    let data = Object::new().text("awaitId", &known.id).text("reason", reason);
    of_await("trigger.canceled", progress, known).with_data(data.done())
}

/// The events that end what is awaited in a run, or by one of its steps, and the ids of those awaits.
pub(super) fn close_all(progress: &Progress, step_name: Option<&str>, reason: &str) -> (Vec<NewEvent>, Vec<String>) {
    let is_meant = |known: &&Await| step_name.is_none_or(|name| known.step_name.as_deref() == Some(name));
    let open = progress.awaits().iter().filter(is_meant).filter(|known| known.phase == AwaitPhase::Open);
    open.map(|known| (canceled(progress, known, reason), known.id.to_string())).unzip()
}

/// What all instances are told of an await.
pub(crate) fn note(event_type: &str, run_id: &str, await_id: &str) -> NewEvent {
    NewEvent::new(event_type).with(Field::RunId, run_id).with_data(Object::new().text("awaitId", await_id).done())
}
