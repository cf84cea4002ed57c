//! Reads pages from the backend, and counts what is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::{Backend, PageRequest};
use crate::error::Result;
use crate::event::Events;

/// The backend as everything that reads streams sees it. Clones count together.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) backend: Arc<dyn Backend>,
    events_read: Arc<AtomicU64>,
    with_ts: bool,
}

impl Reader {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Reader { backend, events_read: Arc::default(), with_ts: false }
    }

    /// The same, whose records tell what their writers noted as their time.
    pub(super) fn with_ts(&self) -> Self {
        Reader { with_ts: true, ..self.clone() }
    }

    /// Reads one page. The question leaves now, before the future is polled.
    pub(super) fn page<'a>(
        &'a self,
        request: PageRequest<'a>,
    ) -> impl Future<Output = Result<Events>> + Send + use<'a> {
        let page = match self.with_ts {
            true => self.backend.read_with_ts(request),
            false => self.backend.read(request),
        };
        async move {
            let page = page.await?;
            self.events_read.fetch_add(page.len() as u64, Ordering::Relaxed);
            Ok(page)
        }
    }

    /// How many events were read so far.
    pub(super) fn events_read(&self) -> u64 {
        self.events_read.load(Ordering::Relaxed)
    }
}
