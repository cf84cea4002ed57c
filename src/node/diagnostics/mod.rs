//! Diagnostics: what the crate says through `tracing`, on stderr or to a callback in JavaScript.
//!
//! One subscriber a process, as `tracing` has it, for the stores of all threads. A Rust program
//! brings a subscriber of its own; that one stays.

mod entry;
mod level;
mod listener;

use std::io::Write as _;
use std::sync::{Arc, Once, OnceLock};

use napi::bindgen_prelude::Function;
use napi_derive::napi;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload;

use self::entry::Entry;
use self::listener::{Listener, Listeners};

static LISTENERS: Listeners = Listeners::new();

/// Lets through what somebody wants to hear.
static FILTER: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// A callback that gets diagnostics while it is there, in place of stderr.
#[napi]
pub struct NativeDiagnostics {
    /// Given back at the end: it holds the callback, and the callback may hold this.
    listener: Option<Arc<Listener>>,
}

#[napi]
impl NativeDiagnostics {
    /// Calls back when there is something to take, at most once until it is taken. Without a
    /// level: that of `NQ_LOG`.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        level: Option<String>,
        #[napi(ts_arg_type = "() => void")] wake: Function<'_, (), ()>,
    ) -> napi::Result<Self> {
        let filter = level.and_then(|level| level::parse(&level)).unwrap_or_else(|| configured().0);
        let listener = Arc::new(Listener::new(filter, wake)?);
        LISTENERS.add(listener.clone());
        begin();
        renew();
        Ok(NativeDiagnostics { listener: Some(listener) })
    }

    /// What has come since the last call, as a JSON array.
    #[napi(catch_unwind)]
    pub fn take(&self) -> String {
        self.listener.as_ref().map_or_else(|| "[]".into(), |listener| listener.take())
    }

    /// Ends it: nothing more comes.
    #[napi(catch_unwind)]
    pub fn end(&mut self) {
        if let Some(listener) = self.listener.take() {
            LISTENERS.remove(&listener);
            renew();
        }
    }
}

impl Drop for NativeDiagnostics {
    /// Its thread may have ended without a word.
    fn drop(&mut self) {
        self.end();
    }
}

/// Begins to listen, at the first call in the process.
pub(super) fn begin() {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| {
        let (filter, handle) = reload::Layer::new(wanted());
        let subscriber = Registry::default().with(filter).with(Diagnostics);
        if tracing::subscriber::set_global_default(subscriber).is_err() {
            return;
        }
        drop(FILTER.set(handle));
        if !configured().1 {
            tracing::warn!("NQ_LOG is none of off, error, warn, info, debug and trace; taken as warn");
        }
    });
}

/// What `NQ_LOG` says, and whether it is understood.
fn configured() -> (LevelFilter, bool) {
    static CONFIGURED: OnceLock<(LevelFilter, bool)> = OnceLock::new();
    *CONFIGURED.get_or_init(|| match std::env::var_os("NQ_LOG") {
        Some(name) if !name.is_empty() => match name.to_str().and_then(level::parse) {
            Some(filter) => (filter, true),
            None => (LevelFilter::WARN, false),
        },
        _ => (LevelFilter::WARN, true),
    })
}

/// What those want to hear who are there.
fn wanted() -> LevelFilter {
    LISTENERS.present().iter().map(|listener| listener.filter).max().unwrap_or_else(|| configured().0)
}

fn renew() {
    if let Some(filter) = FILTER.get() {
        // Fails only together with the subscriber, which nobody can take away.
        drop(filter.modify(|filter| *filter = wanted()));
    }
}

struct Diagnostics;

impl<S: Subscriber> Layer<S> for Diagnostics {
    /// Ours alone: what other crates say may hold what they were given.
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && metadata.target().starts_with("nuxt_queue_core")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let entry = Entry::new(event);
        let listeners = LISTENERS.present();
        for listener in &listeners {
            if listener.filter >= entry.level {
                listener.offer(&entry);
            }
        }
        if listeners.is_empty() && configured().0 >= entry.level {
            // In one piece, so that lines don't mix; if nobody can read it there is nobody to tell.
            let _ = std::io::stderr().write_all(entry.to_line().as_bytes());
        }
    }
}
