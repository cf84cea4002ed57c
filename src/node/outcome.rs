//! How outcomes cross to JavaScript.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use napi::bindgen_prelude::{Float64Array, FnArgs, Function};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Error as NapiError, Result as NapiResult, Status};
use serde::Serialize;
use tokio::runtime::Handle;

use crate::backend::Receipt;
use crate::error::{Code, Error, Result};
use crate::io;
use crate::store::Outcomes;

/// What the callback of a store is given: `[ticket, ms, seq]` for each plain append, one after the
/// other, and `[ticket, text]` for everything else.
pub(super) type CallbackArgs = FnArgs<(Float64Array, Vec<(f64, String)>)>;

type Callback = ThreadsafeFunction<Batch, (), CallbackArgs, Status, false, true, 0>;

/// The longest text that is handed over: V8 holds no string of 2^29 characters.
const MAX_TEXT: usize = 500_000_000;

#[derive(Default)]
struct Batch {
    stored: Vec<f64>,
    texts: Vec<(f64, String)>,
}

/// Brings outcomes to JavaScript; does not keep Node alive.
#[derive(Clone)]
pub(super) struct Outlet(Arc<Callback>);

impl Outlet {
    pub(super) fn new(callback: Function<'_, CallbackArgs, ()>) -> NapiResult<Self> {
        let callback =
            callback.build_threadsafe_function::<Batch>().callee_handled::<false>().weak::<true>().build_callback(
                |context| Ok(FnArgs::from((Float64Array::new(context.value.stored), context.value.texts))),
            )?;
        Ok(Outlet(Arc::new(callback)))
    }

    /// Settles appends.
    pub(super) fn settle(&self, outcomes: Outcomes) {
        let mut batch = Batch::default();
        for (ticket, result) in outcomes {
            match exact(&result) {
                Some((ms, seq)) => batch.stored.extend([ticket as f64, ms, seq]),
                None => batch.texts.push((ticket as f64, receipt(result))),
            }
        }
        self.send(batch);
    }

    fn answer(&self, ticket: f64, text: String) {
        self.send(Batch { stored: Vec::new(), texts: vec![(ticket, text)] });
    }

    /// Fails only when the environment is going away, and with it everyone who waits.
    fn send(&self, batch: Batch) {
        self.0.call(batch, ThreadsafeFunctionCallMode::NonBlocking);
    }

    /// Begins work that may need I/O: the outcome if it is known at once, otherwise it is sent
    /// under the ticket.
    pub(super) fn begin(
        &self,
        ticket: f64,
        work: impl Future<Output = Result<String>> + Send + 'static,
    ) -> Option<String> {
        let io = match io::handle() {
            Ok(io) => io,
            Err(error) => return Some(text(Err(error))),
        };
        let mut work = Box::pin(work);
        let entered = io.enter();
        if let Poll::Ready(result) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return Some(text(result));
        }
        drop(entered);
        self.go_on(io, ticket, work);
        None
    }

    /// The same for work that is known to need I/O: none of it is done on the calling thread.
    pub(super) fn begin_there(
        &self,
        ticket: f64,
        work: impl Future<Output = Result<String>> + Send + 'static,
    ) -> Option<String> {
        match io::handle() {
            Ok(io) => self.go_on(io, ticket, work),
            Err(error) => return Some(text(Err(error))),
        }
        None
    }

    fn go_on(&self, io: &Handle, ticket: f64, work: impl Future<Output = Result<String>> + Send + 'static) {
        let promise = Promise { outlet: Some(self.clone()), ticket };
        io.spawn(async move {
            let result = pin!(work).await;
            promise.keep(text(result));
        });
    }
}

/// An outcome that is owed. Should the work panic, the promise fails instead of staying open.
struct Promise {
    outlet: Option<Outlet>,
    ticket: f64,
}

impl Promise {
    fn keep(mut self, text: String) {
        if let Some(outlet) = self.outlet.take() {
            outlet.answer(self.ticket, text);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(outlet) = self.outlet.take() {
            outlet.answer(self.ticket, text(Err(Error::new(Code::Internal, "The operation ended without a result."))));
        }
    }
}

/// The id of a plain append, if JavaScript's numbers hold it exactly.
fn exact(result: &Result<Receipt>) -> Option<(f64, f64)> {
    const MAX_SAFE: u64 = (1 << 53) - 1;
    match result {
        Ok(Receipt::One(id)) if id.ms <= MAX_SAFE && id.seq <= MAX_SAFE => Some((id.ms as f64, id.seq as f64)),
        _ => None,
    }
}

/// The outcome of an append as text: ids separated by commas, a JSON array of the records of a
/// repeated append, or an error.
pub(super) fn receipt(result: Result<Receipt>) -> String {
    match result {
        Ok(Receipt::One(id)) => id.to_text(),
        Ok(Receipt::Batch(ids)) => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        Ok(Receipt::Repeated(records)) => text(Ok(records.to_json())),
        Err(error) => text(Err(error)),
    }
}

#[derive(Serialize)]
struct ErrorText<'a> {
    code: &'a str,
    message: &'a str,
    cause: Option<&'a str>,
}

/// An outcome as text.
pub(super) fn text(result: Result<String>) -> String {
    match result {
        Ok(text) if text.len() > MAX_TEXT => {
            let message = format!(
                "The answer has {} bytes, more than a text can hold in JavaScript; use iterate, or ask for less.",
                text.len()
            );
            self::text(Err(Error::new(Code::TooLarge, message)))
        }
        Ok(text) => text,
        Err(error) => {
            let parts = ErrorText { code: error.code().as_str(), message: error.message(), cause: error.cause() };
            format!("!{}", json(&parts))
        }
    }
}

/// A value as JSON text.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}

/// An error to be thrown; its text is taken apart in JavaScript.
pub(super) fn thrown(error: Error) -> NapiError {
    NapiError::from_reason(text(Err(error)))
}
