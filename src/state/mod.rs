//! What is folded from a run's events: its state ([`RunState`], [`State`]) and its status ([`reduce_run`]).

mod fold;
mod history;
mod run_state;
mod run_status;

pub use fold::{Change, Effect, Point, State, effect};
pub use history::{Diff, HistoryEntry, diff, history};
pub use run_state::RunState;
pub use run_status::{OpenAwait, RunStatus, Status, StepPhase, StepStatus, reduce_run};
