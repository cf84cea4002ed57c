//! What a run is doing, and why it stands still, in words.

use std::fmt::Write;

use crate::event::{format_time, parse_time};
use crate::run::{Await, AwaitPhase, Progress, RunStep, StepPhase};

/// `now_ms`: the present instant.
pub(super) fn explain(progress: &Progress, now_ms: u64) -> String {
    let mut text = format!("Run {} of flow {}", progress.run_id(), progress.flow_name());
    let since =
        |at: &str| parse_time(at).map_or_else(String::new, |at| format!("{} ago", span(now_ms.saturating_sub(at))));
    if let Some(ending) = progress.ending() {
        let _ = write!(text, " {} ({}).", super::ended(ending), since(&ending.at));
        if let Some(reason) = &ending.reason {
            let _ = write!(text, "\nReason: {}", first_line(reason));
        }
    } else {
        let _ = write!(text, " began at {} ({}) and goes on.", progress.started_at(), since(progress.started_at()));
    }
    for (name, step) in progress.steps() {
        let _ = write!(text, "\n- {name}: {}", step_text(progress, name, step, now_ms));
        let of_step = |known: &&Await| known.step_name.as_deref() == Some(name) && !known.is_resumed;
        for known in progress.awaits().iter().filter(of_step) {
            let _ = write!(text, "\n  - {}", await_text(known, now_ms));
        }
    }
    if progress.ending().is_none() {
        explain_unreached(progress, &mut text);
    }
    text
}

fn step_text(progress: &Progress, name: &str, step: &RunStep, now_ms: u64) -> String {
    let ago = |at: &Option<String>| {
        let at = at.as_deref().and_then(parse_time);
        at.map_or_else(String::new, |at| format!(" for {}", span(now_ms.saturating_sub(at))))
    };
    let worker = step.worker.as_deref().map(|worker| format!(" by {worker}")).unwrap_or_default();
    let attempt = if step.attempt > 1 { format!(" (attempt {})", step.attempt) } else { String::new() };
    if step.is_stalled {
        return format!("stalled: nothing more was heard of its execution{worker}; its job can be taken again.");
    }
    match step.phase {
        StepPhase::Queued => {
            let queue = progress.plan().and_then(|plan| plan.steps.get(name)).map_or("", |step| &*step.queue);
            format!("queued in \"{queue}\"{}; no worker has taken it yet.", ago(&step.queued_at))
        }
        StepPhase::Running => format!("running{}{worker}{attempt}.", ago(&step.started_at)),
        StepPhase::Paused if step.is_suspended && progress.wants_step(name) => {
            "suspended; what it waits for has come, and no worker has taken it yet.".to_owned()
        }
        StepPhase::Paused if step.is_suspended => "suspended: it waits, and holds no worker meanwhile.".to_owned(),
        StepPhase::Paused => format!("waiting{worker}{attempt}."),
        StepPhase::Completed => format!("completed at {}{attempt}.", step.ended_at.as_deref().unwrap_or_default()),
        StepPhase::Failed => format!("failed{attempt}: {}", first_line(step.error.as_deref().unwrap_or_default())),
        StepPhase::Retrying => {
            let when = match step.retry_at_ms {
                Some(at) if at > now_ms => format!("in {}", span(at - now_ms)),
                _ => "now; no worker has taken it yet".to_owned(),
            };
            let error = first_line(step.error.as_deref().unwrap_or_default());
            format!("attempt {} failed ({error}); it is tried again {when}.", step.failures)
        }
    }
}

fn await_text(known: &Await, now_ms: u64) -> String {
    let name = &known.trigger_name;
    match known.phase {
        AwaitPhase::Open => {
            let until = known.deadline_ms.map_or_else(
                || ", without a deadline".to_owned(),
                |deadline| format!(" until {} ({} left)", format_time(deadline), span(deadline.saturating_sub(now_ms))),
            );
            let offers = match known.offers.len() {
                0 => String::new(),
                count => format!("; {count} that came are to be judged by its handler"),
            };
            match &*known.kind {
                "time" => format!("waits for time to pass{until}."),
                _ => format!("waits for \"{name}\" since {}{until}{offers}. Its id is {}.", known.since, known.id),
            }
        }
        AwaitPhase::Fired => format!("\"{name}\" has come, and the step has not gone on yet."),
        AwaitPhase::Timeout => format!("\"{name}\" did not come in time, and the step has not gone on yet."),
        AwaitPhase::Canceled => format!("\"{name}\" was canceled, and the step has not gone on yet."),
    }
}

/// Steps that wait for events of others.
fn explain_unreached(progress: &Progress, text: &mut String) {
    let Some(plan) = progress.plan() else { return };
    for (name, step) in &plan.steps {
        if progress.step(name).is_none() && !step.subscribes.is_empty() {
            let missing = step.subscribes.iter().filter(|event| progress.emitted(event).is_none());
            let missing: Vec<&str> = missing.map(String::as_str).collect();
            let _ = write!(text, "\n- {name}: not reached; {} has not been emitted.", missing.join(", "));
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A time span with its two largest units.
fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds == 0 => format!("{ms} ms"),
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_their_two_largest_units() {
        let spans = [0, 1_500, 61_000, 3_660_000, 90_000_000].map(span);
        assert_eq!(spans, ["0 ms", "1 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }
}
