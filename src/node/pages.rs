//! Reading page by page.

use std::sync::Arc;

use napi_derive::napi;
use serde::Serialize;
use tokio::sync::Mutex;

use super::outcome::{Outlet, json};
use crate::store::{Pages, Streams};

/// Events, page by page.
#[napi]
pub struct NativePages {
    pub(super) outlet: Outlet,
    pub(super) pages: Arc<Mutex<Pages>>,
}

#[napi]
impl NativePages {
    /// The next page as a JSON array, possibly empty; `null` at the end.
    #[napi(catch_unwind)]
    pub fn next(&self, ticket: f64) -> Option<String> {
        let pages = self.pages.clone();
        self.outlet.begin(ticket, async move {
            let page = pages.lock().await.next().await?;
            Ok(page.map_or_else(|| "null".into(), |events| events.to_json()))
        })
    }
}

/// Streams, page by page.
#[napi]
pub struct NativeStreams {
    pub(super) outlet: Outlet,
    pub(super) streams: Arc<Mutex<Streams>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamOutput {
    stream: String,
    last_id: String,
    length: u64,
}

#[napi]
impl NativeStreams {
    /// The next page as a JSON array, possibly empty; `null` at the end.
    #[napi(catch_unwind)]
    pub fn next(&self, ticket: f64) -> Option<String> {
        let streams = self.streams.clone();
        self.outlet.begin(ticket, async move {
            let page = streams.lock().await.next().await?;
            let output = page.map(|page| {
                let infos = page.into_iter();
                infos
                    .map(|info| StreamOutput {
                        stream: info.stream,
                        last_id: info.last_id.to_string(),
                        length: info.length,
                    })
                    .collect::<Vec<_>>()
            });
            Ok(json(&output))
        })
    }
}
