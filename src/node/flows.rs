//! Flows, awaits and triggers for JavaScript. Requests and answers are JSON.

use napi_derive::napi;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::options::{PointInput, parse};
use super::outcome::{Outlet, json, thrown};
use super::request::{AgeInput, Raw, ask, raw, text};
use crate::error::Result;
use crate::event::EventId;
use crate::flow::{
    AwaitRequest, BeginRequest, Begun, Debt, Emitter, Failed, FlowDefinition, FlowEngine, Job, StartOptions, StepError,
};
use crate::state::Point;
use crate::trigger::TriggerEngine;
use crate::version::Strategy;

/// The engines of flows and triggers over a store.
#[napi]
pub struct NativeFlows {
    pub(super) outlet: Outlet,
    pub(super) flows: FlowEngine,
    pub(super) triggers: TriggerEngine,
}

/// The code of this process.
#[derive(Deserialize)]
pub(super) struct CodeInput {
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) strategy: Strategy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartInput {
    flow: String,
    run_id: Option<String>,
    #[serde(default, deserialize_with = "raw")]
    input: Raw,
    triggered_by: Option<String>,
    correlation_id: Option<String>,
    causation_id: Option<String>,
    traceparent: Option<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChainInput {
    correlation_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EmitterInput {
    step_name: String,
    execution_id: String,
    ordinal: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EmitInput {
    run_id: String,
    name: String,
    #[serde(default, deserialize_with = "raw")]
    payload: Raw,
    step: Option<EmitterInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunInput {
    run_id: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct RunsInput {
    flow: String,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BeginInput {
    run_id: String,
    flow_name: String,
    step_name: String,
    queue: String,
    execution_id: String,
    worker_id: Option<String>,
    instance_id: Option<String>,
    #[serde(default, deserialize_with = "raw")]
    input: Raw,
    max_attempts: Option<u64>,
    #[serde(default)]
    is_of_engine: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecutionInput {
    run_id: String,
    step_name: String,
    execution_id: String,
    await_id: Option<String>,
    #[serde(default, deserialize_with = "raw")]
    result: Raw,
    error: Option<String>,
    stack: Option<String>,
    #[serde(default, rename = "final")]
    is_final: bool,
    max_attempts: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StalledInput {
    run_id: String,
    step_name: String,
    silent_for_ms: u64,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UnavailableInput {
    run_id: String,
    step_name: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReleaseInput {
    run_id: String,
    step_name: String,
    execution_id: String,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenInput {
    run_id: String,
    step_name: String,
    execution_id: String,
    name: String,
    ordinal: u64,
    index: usize,
    kind: String,
    deadline_ms: Option<u64>,
    timeout_ms: Option<u64>,
    #[serde(default, deserialize_with = "raw")]
    data: Raw,
    #[serde(default)]
    conditional: bool,
    since: Option<PointInput>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AwaitInput {
    run_id: String,
    await_id: String,
    offer_id: Option<String>,
    #[serde(default, deserialize_with = "raw")]
    data: Raw,
    reason: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StartedOutput {
    run_id: String,
    jobs: Vec<Job>,
    repeated: bool,
}

#[derive(Serialize)]
struct EmissionOutput {
    jobs: Vec<Job>,
    woken: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AwaitedOutput<'a> {
    await_id: &'a str,
    name: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumed: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunOutput<'a> {
    run: bool,
    attempt: u64,
    max_attempts: u64,
    step_id: &'a str,
    flow_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a RawValue>,
    rerun: bool,
    awaits: Vec<AwaitedOutput<'a>>,
}

#[derive(Serialize)]
struct SkipOutput<'a> {
    run: bool,
    reason: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    failed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    elsewhere: bool,
}

#[derive(Serialize)]
struct CompletedOutput {
    accepted: bool,
    ended: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RetryOutput {
    next_attempt: u64,
    delay: u64,
}

#[derive(Serialize)]
struct FailedOutput {
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<RetryOutput>,
    ended: bool,
}

#[derive(Serialize)]
struct SuspendedOutput {
    suspended: bool,
}

#[derive(Serialize)]
struct ResolvedOutput {
    resolved: bool,
    jobs: Vec<Job>,
}

#[derive(Serialize)]
struct CanceledOutput {
    canceled: bool,
    jobs: Vec<Job>,
}

#[derive(Serialize)]
struct JobsOutput {
    jobs: Vec<Job>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DebtOutput {
    run_id: String,
    jobs: Vec<Job>,
    note: String,
}

/// A point as the id after which everything counts: an instant counts itself.
fn after(point: PointInput) -> Result<EventId> {
    Ok(match point.into_point()? {
        Point::Event(id) => id,
        Point::Time(ms) => EventId::new(ms, 0).previous().unwrap_or(EventId::MIN),
    })
}

#[napi]
impl NativeFlows {
    /// Defines a flow.
    #[napi(catch_unwind)]
    pub fn define(&self, definition: String, replace: bool) -> napi::Result<()> {
        let definition: FlowDefinition = parse("The members of the flow", &definition).map_err(thrown)?;
        self.flows.define(definition, replace).map_err(thrown)
    }

    /// Starts a run.
    #[napi(catch_unwind)]
    pub fn start(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: StartInput, flows, triggers| {
            let options = StartOptions {
                run_id: input.run_id,
                triggered_by: input.triggered_by,
                correlation_id: input.correlation_id,
                causation_id: input.causation_id,
                traceparent: input.traceparent,
                version: input.version,
                ..StartOptions::default()
            };
            let started = flows.start(&input.flow, text(&input.input), options).await?;
            Ok(json(&StartedOutput { run_id: started.run_id, jobs: started.jobs, repeated: started.is_repeated }))
        })
    }

    /// Records an event of a run.
    #[napi(catch_unwind)]
    pub fn emit(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: EmitInput, flows, triggers| {
            let emitter = input.step.map(|step| Emitter {
                step_name: step.step_name,
                execution_id: step.execution_id,
                ordinal: step.ordinal,
            });
            let emission = flows.emit(&input.run_id, &input.name, text(&input.payload), emitter.as_ref()).await?;
            Ok(json(&EmissionOutput { jobs: emission.jobs, woken: emission.woken.len() }))
        })
    }

    /// Ends a run: whether it went on.
    #[napi(catch_unwind)]
    pub fn cancel(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RunInput, flows, triggers| {
            Ok(json(&flows.cancel(&input.run_id, input.reason.as_deref()).await?))
        })
    }

    /// The status of a run, or `null`.
    #[napi(catch_unwind)]
    pub fn status(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RunInput, flows, triggers| Ok(json(&flows.status(&input.run_id).await?)))
    }

    /// The statuses of a flow's runs, newest first.
    #[napi(catch_unwind)]
    pub fn runs(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RunsInput, flows, triggers| {
            Ok(json(&flows.runs(&input.flow, input.offset, input.limit).await?))
        })
    }

    /// The statuses of the runs of a chain, oldest first.
    #[napi(catch_unwind)]
    pub fn chain(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: ChainInput, flows, triggers| {
            Ok(json(&flows.chain(&input.correlation_id).await?))
        })
    }

    /// What a run is doing, in words.
    #[napi(catch_unwind)]
    pub fn explain(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RunInput, flows, triggers| Ok(json(&flows.explain(&input.run_id).await?)))
    }

    /// The steps of a run that are to be taken by a worker.
    #[napi(catch_unwind)]
    pub fn waiting(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RunInput, flows, triggers| Ok(json(&flows.waiting(&input.run_id).await?)))
    }

    /// Records that nobody can take a step.
    #[napi(catch_unwind)]
    pub fn unavailable(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: UnavailableInput, flows, triggers| {
            Ok(json(&flows.unavailable(&input.run_id, &input.step_name, &input.reason).await?))
        })
    }

    /// Begins a step, or says why there is nothing to do.
    #[napi(catch_unwind)]
    pub fn begin_step(&self, ticket: f64, request: String) -> Option<String> {
        let flows = self.flows.clone();
        // On this thread as far as it goes: mostly it is known at once what to do.
        self.outlet.begin(ticket, async move {
            let input: BeginInput = parse("The request's members", &request)?;
            let request = BeginRequest {
                run_id: input.run_id,
                flow_name: input.flow_name,
                step_name: input.step_name,
                queue: input.queue,
                execution_id: input.execution_id,
                worker_id: input.worker_id,
                instance_id: input.instance_id,
                input: text(&input.input).map(str::to_owned),
                max_attempts: input.max_attempts,
                is_of_engine: input.is_of_engine,
            };
            Ok(begun(&flows.begin_step(&request).await?))
        })
    }

    /// Ends a step well.
    #[napi(catch_unwind)]
    pub fn complete_step(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: ExecutionInput, flows, triggers| {
            let ExecutionInput { run_id, step_name, execution_id, result, .. } = &input;
            let (accepted, ended) = flows.complete_step(run_id, step_name, execution_id, text(result)).await?;
            Ok(json(&CompletedOutput { accepted, ended }))
        })
    }

    /// Ends an attempt at a step with an error.
    #[napi(catch_unwind)]
    pub fn fail_step(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: ExecutionInput, flows, triggers| {
            let error = StepError {
                message: input.error.unwrap_or_default(),
                stack: input.stack,
                is_final: input.is_final,
                max_attempts: input.max_attempts,
            };
            let failed = flows.fail_step(&input.run_id, &input.step_name, &input.execution_id, &error).await?;
            Ok(json(&match failed {
                Failed::Retry { next_attempt, delay } => {
                    FailedOutput { accepted: true, retry: Some(RetryOutput { next_attempt, delay }), ended: false }
                }
                Failed::Ended => FailedOutput { accepted: true, retry: None, ended: true },
                Failed::Superseded => FailedOutput { accepted: false, retry: None, ended: false },
            }))
        })
    }

    /// Says that nothing more was heard of a step.
    #[napi(catch_unwind)]
    pub fn stalled(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: StalledInput, flows, triggers| {
            let StalledInput { run_id, step_name, silent_for_ms, reason } = &input;
            Ok(json(&flows.silent(run_id, step_name, *silent_for_ms, reason).await?))
        })
    }

    /// Gives a step back.
    #[napi(catch_unwind)]
    pub fn release_step(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: ReleaseInput, flows, triggers| {
            let ReleaseInput { run_id, step_name, execution_id, reason } = &input;
            Ok(json(&flows.release_step(run_id, step_name, execution_id, reason).await?))
        })
    }

    /// Lets the job of a step end while it waits.
    #[napi(catch_unwind)]
    pub fn suspend_step(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: ExecutionInput, flows, triggers| {
            let suspended = flows.suspend_step(&input.run_id, &input.step_name, &input.execution_id).await?;
            Ok(json(&SuspendedOutput { suspended }))
        })
    }

    /// Begins an await, or finds its record.
    #[napi(catch_unwind)]
    pub fn open_await(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: OpenInput, flows, triggers| {
            let request = AwaitRequest {
                run_id: input.run_id,
                step_name: input.step_name,
                execution_id: input.execution_id,
                name: input.name,
                ordinal: input.ordinal,
                index: input.index,
                kind: input.kind,
                deadline_ms: input.deadline_ms,
                timeout_ms: input.timeout_ms,
                data: text(&input.data).map(str::to_owned),
                is_conditional: input.conditional,
                since: input.since.map(after).transpose()?,
            };
            Ok(json(&triggers.open_await(&request).await?))
        })
    }

    /// What stands about an await.
    #[napi(catch_unwind)]
    pub fn await_state(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: AwaitInput, flows, triggers| {
            Ok(json(&flows.await_state(&input.run_id, &input.await_id).await?))
        })
    }

    /// What came is what an await waits for.
    #[napi(catch_unwind)]
    pub fn accept_offer(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: AwaitInput, flows, triggers| {
            let offer = input.offer_id.as_deref().unwrap_or_default();
            Ok(json(&flows.accept_offer(&input.run_id, &input.await_id, offer, text(&input.data)).await?))
        })
    }

    /// What came is not what an await waits for.
    #[napi(catch_unwind)]
    pub fn reject_offer(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: AwaitInput, flows, triggers| {
            let offer = input.offer_id.as_deref().unwrap_or_default();
            let reason = input.reason.as_deref().unwrap_or_default();
            Ok(json(&flows.reject_offer(&input.run_id, &input.await_id, offer, reason).await?))
        })
    }

    /// A step goes on with what came of an await.
    #[napi(catch_unwind)]
    pub fn resume_await(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: ExecutionInput, flows, triggers| {
            let ExecutionInput { run_id, step_name, execution_id, await_id, .. } = &input;
            let await_id = await_id.as_deref().unwrap_or_default();
            Ok(json(&flows.resume_await(run_id, step_name, execution_id, await_id).await?))
        })
    }

    /// Ends an await with a payload.
    #[napi(catch_unwind)]
    pub fn resolve_await(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: AwaitInput, flows, triggers| {
            let jobs = triggers.resolve_await(&input.run_id, &input.await_id, text(&input.data)).await?;
            Ok(json(&ResolvedOutput { resolved: jobs.is_some(), jobs: jobs.unwrap_or_default() }))
        })
    }

    /// Ends an await without what it waits for.
    #[napi(catch_unwind)]
    pub fn cancel_await(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: AwaitInput, flows, triggers| {
            let jobs = flows.cancel_await(&input.run_id, &input.await_id, input.reason.as_deref()).await?;
            Ok(json(&CanceledOutput { canceled: jobs.is_some(), jobs: jobs.unwrap_or_default() }))
        })
    }

    /// The open awaits of a run.
    #[napi(catch_unwind)]
    pub fn awaits(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RunInput, flows, triggers| Ok(json(&flows.awaits(&input.run_id).await?)))
    }

    /// What should be in the queues of a run now.
    #[napi(catch_unwind)]
    pub fn reconcile(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RunInput, flows, triggers| {
            Ok(json(&JobsOutput { jobs: flows.reconcile(&input.run_id).await? }))
        })
    }

    /// What someone was about to hand over, and did not.
    #[napi(catch_unwind)]
    pub fn owed(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: AgeInput, flows, triggers| {
            let debts = flows.owed(input.older_than_ms).await?.into_iter();
            let shown = debts.map(|Debt { run_id, jobs, note }| DebtOutput { run_id, jobs, note });
            Ok(json(&shown.collect::<Vec<_>>()))
        })
    }

    /// What someone was about to hand over was handed over now.
    #[napi(catch_unwind)]
    pub fn settle_debt(&self, ticket: f64, note: String) -> Option<String> {
        let flows = self.flows.clone();
        self.begin(ticket, async move { flows.settle_debt(&note).await.map(|()| "null".into()) })
    }

    /// The jobs of a run were handed over.
    #[napi(catch_unwind)]
    pub fn handed_over(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RunInput, flows, triggers| {
            flows.handed_over(&input.run_id).await.map(|()| "null".into())
        })
    }
}

fn begun(begun: &Begun) -> String {
    match begun {
        Begun::Run {
            flow_name,
            correlation_id,
            traceparent,
            waited_ms,
            attempt,
            max_attempts,
            step_id,
            input,
            is_rerun,
            awaits,
        } => json(&RunOutput {
            run: true,
            attempt: *attempt,
            max_attempts: *max_attempts,
            step_id,
            flow_name,
            correlation_id: correlation_id.as_deref(),
            traceparent: traceparent.as_deref(),
            waited_ms: *waited_ms,
            input: input.as_deref().and_then(|input| serde_json::from_str(input).ok()),
            rerun: *is_rerun,
            awaits: awaits
                .iter()
                .map(|known| AwaitedOutput {
                    await_id: &known.id,
                    name: &known.name,
                    kind: &known.kind,
                    resumed: known.resumed,
                })
                .collect(),
        }),
        Begun::Skip(reason) => json(&SkipOutput { run: false, reason, failed: false, elsewhere: false }),
        Begun::GivenUp(reason) => json(&SkipOutput { run: false, reason, failed: true, elsewhere: false }),
        Begun::Elsewhere(reason) => json(&SkipOutput { run: false, reason, failed: false, elsewhere: true }),
    }
}
