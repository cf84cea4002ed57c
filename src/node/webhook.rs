//! Requests of providers, checked. Pure, so nothing is opened and nothing waits.

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use serde::{Deserialize, Serialize};

use super::options::parse;
use super::outcome::{json, text};
use crate::error::Result;
use crate::webhook::{Reason, Verdict, WebhookAuth, WebhookRequest, verify};

/// A request but its body, which is no text.
#[derive(Deserialize)]
struct RequestInput {
    method: String,
    path: String,
    #[serde(default)]
    query: String,
    headers: Vec<(String, String)>,
    ip: Option<String>,
}

#[derive(Serialize)]
struct VerdictText<'a> {
    accepted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Whether a request (JSON, its body beside it) that came at `now` is what `auth` (JSON) asks for:
/// `{"accepted":true,"id":…,"key":…}`, `{"accepted":false,"reason":…}`, or an error.
#[napi(catch_unwind)]
pub fn check_webhook(auth: String, request: String, body: Uint8Array, secrets: Vec<String>, now: f64) -> String {
    text(check(&auth, &request, &body, &secrets, now as u64))
}

fn check(auth: &str, request: &str, body: &[u8], secrets: &[String], now_ms: u64) -> Result<String> {
    let auth: WebhookAuth = parse("The settings of the webhook", auth)?;
    let RequestInput { method, path, query, headers, ip } = parse("The parts of the request", request)?;
    let request =
        WebhookRequest { method: &method, path: &path, query: &query, headers: &headers, body, ip: ip.as_deref() };
    let none = VerdictText { accepted: false, id: None, key: None, reason: None };
    Ok(match verify(&auth, &request, secrets, now_ms) {
        Verdict::Accepted(delivery) => {
            json(&VerdictText { accepted: true, id: delivery.id.as_deref(), key: delivery.key.as_deref(), ..none })
        }
        Verdict::Rejected { reason } => json(&VerdictText { reason: Some(Reason::as_str(reason)), ..none }),
    })
}

/// All that keeps these settings (JSON), and these secrets, from working, as sentences.
#[napi(catch_unwind)]
pub fn check_webhook_auth(auth: String, secrets: Vec<String>) -> Vec<String> {
    match serde_json::from_str::<WebhookAuth>(&auth) {
        Ok(auth) => {
            let of_secrets = secrets.iter().filter_map(|secret| auth.secret_problems(secret));
            auth.problems().into_iter().chain(of_secrets).collect()
        }
        Err(error) => vec![format!("The settings can't be read: {error}.")],
    }
}
