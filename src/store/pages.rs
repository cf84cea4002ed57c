//! Reading page by page.

use std::sync::Arc;

use super::intake::Intake;
use super::query::{GlobalPager, Listing, Pager};
use crate::backend::StreamInfo;
use crate::error::Result;
use crate::event::Events;

/// Events page by page.
pub struct Pages {
    pub(super) intake: Arc<Intake>,
    pub(super) source: Source,
}

pub(super) enum Source {
    Stream(Box<Pager>),
    Global(Box<GlobalPager>),
}

impl Pages {
    /// The next events; `None` at the end. A page may be empty.
    pub async fn next(&mut self) -> Result<Option<Events>> {
        self.intake.passed().await;
        match &mut self.source {
            Source::Stream(pager) => pager.next().await,
            Source::Global(pager) => pager.next().await,
        }
    }
}

/// Streams page by page.
pub struct Streams {
    pub(super) intake: Arc<Intake>,
    pub(super) listing: Listing,
}

impl Streams {
    /// The next streams; `None` at the end. A page may be empty.
    pub async fn next(&mut self) -> Result<Option<Vec<StreamInfo>>> {
        self.intake.passed().await;
        self.listing.next().await
    }
}
