//! The state of a run as users ask for it: now, at a point, as a history, as a difference.

mod history;
mod point;
mod run_state;

pub use history::{Diff, HistoryEntry};
pub use point::Point;
pub use run_state::RunState;
