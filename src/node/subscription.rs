//! Following streams. JavaScript asks for each delivery, so a slow handler slows only itself.

use std::sync::Arc;

use napi_derive::napi;
use tokio::sync::{Mutex, Notify};

use super::options::SubscriptionInput;
use super::outcome::Outlet;
use crate::error::{Error, Result};
use crate::store::{Delivery, EventStore, Subscription};

/// A subscription.
#[napi]
pub struct NativeSubscription {
    pub(super) outlet: Outlet,
    pub(super) store: EventStore,
    pub(super) state: Arc<State>,
}

#[derive(Default)]
pub(super) struct State {
    subscription: Mutex<Option<Subscription>>,
    ended: Notify,
}

#[napi]
impl NativeSubscription {
    /// Begins; `null` once nothing that is appended can be missed.
    #[napi(catch_unwind)]
    pub fn begin(&self, ticket: f64, options: String) -> Option<String> {
        let (store, state) = (self.store.clone(), self.state.clone());
        self.outlet.begin(ticket, async move {
            let input: SubscriptionInput = super::options::parse("The subscription's options", &options)?;
            let with_ts = input.with_ts;
            let (selector, after) = input.into_parts()?;
            let subscription = match with_ts {
                true => store.subscribe_with_ts(selector, after).await?,
                false => store.subscribe(selector, after).await?,
            };
            *state.subscription.lock().await = Some(subscription);
            Ok("null".into())
        })
    }

    /// The next delivery: a JSON array of events, `"caughtUp"`, or `null` at the end.
    #[napi(catch_unwind)]
    pub fn next(&self, ticket: f64) -> Option<String> {
        let state = self.state.clone();
        self.outlet.begin(ticket, async move { state.next().await })
    }

    /// Ends; a delivery that is awaited comes as the end.
    #[napi(catch_unwind)]
    pub fn end(&self) {
        match self.state.subscription.try_lock() {
            Ok(mut subscription) => *subscription = None,
            Err(_) => self.state.ended.notify_one(),
        }
    }
}

impl State {
    async fn next(&self) -> Result<String> {
        let mut subscription = self.subscription.lock().await;
        let active = subscription.as_mut().ok_or_else(Error::closed)?;
        let delivery = tokio::select! {
            biased;
            () = self.ended.notified() => Delivery::Closed,
            delivery = active.next() => delivery?,
        };
        Ok(match delivery {
            Delivery::Events(events) => events.to_json(),
            Delivery::CaughtUp => "\"caughtUp\"".into(),
            Delivery::Closed => {
                *subscription = None;
                "null".into()
            }
        })
    }
}
