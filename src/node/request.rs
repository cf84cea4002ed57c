//! What requests of the engines have in common: JSON in, JSON out.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::flows::NativeFlows;
use crate::error::Result;

/// JSON text of a caller's, passed on as it is.
pub(super) type Raw = Option<Box<RawValue>>;

/// `null` is a payload, too: left out is something else.
pub(super) fn raw<'de, D: Deserializer<'de>>(json: D) -> std::result::Result<Raw, D::Error> {
    Box::<RawValue>::deserialize(json).map(Some)
}

pub(super) fn text(raw: &Raw) -> Option<&str> {
    raw.as_deref().map(RawValue::get)
}

/// How old something has to be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgeInput {
    pub(super) older_than_ms: u64,
}

/// Reads a request and answers it with the engines at hand.
macro_rules! ask {
    ($self:ident, $ticket:ident, $request:ident, |$input:ident: $type:ty, $flows:ident, $triggers:ident| $work:expr) => {{
        let ($flows, $triggers) = ($self.flows.clone(), $self.triggers.clone());
        $self.begin($ticket, async move {
            let _ = (&$flows, &$triggers);
            let $input: $type = super::options::parse("The request's members", &$request)?;
            $work
        })
    }};
}

pub(super) use ask;

impl NativeFlows {
    /// What needs a server is done on the I/O thread from the beginning.
    pub(super) fn begin(
        &self,
        ticket: f64,
        work: impl Future<Output = Result<String>> + Send + 'static,
    ) -> Option<String> {
        match self.flows.store().is_local() {
            true => self.outlet.begin(ticket, work),
            false => self.outlet.begin_there(ticket, work),
        }
    }
}
