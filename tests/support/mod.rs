//! What plays the conformance scenarios.

pub mod arguments;
pub mod directory;
pub mod following;
pub mod json;
pub mod operations;
pub mod play;
pub mod redis;
pub mod values;
