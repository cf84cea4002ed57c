//! Requests as providers send them, and what becomes of them when somebody changes something.

mod credential;
mod provider;
mod setting;

use super::*;

/// A request that owns what it is made of.
#[derive(Clone)]
struct Sent {
    headers: Vec<(String, String)>,
    query: String,
    body: Vec<u8>,
}

impl Sent {
    fn new(headers: &[(&str, &str)], body: &str) -> Sent {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Sent { headers, query: String::new(), body: body.into() }
    }

    /// The same with one more header.
    fn with(mut self, name: &str, value: &str) -> Sent {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn verdict(&self, auth: &WebhookAuth, secrets: &[&str], now_ms: u64) -> Verdict {
        let secrets: Vec<String> = secrets.iter().map(ToString::to_string).collect();
        let Sent { headers, query, body } = self;
        verify(
            auth,
            &WebhookRequest { method: "POST", path: "/hooks/a", query, headers, body, ip: None },
            &secrets,
            now_ms,
        )
    }

    /// The reason of a rejection, or `ok`.
    fn reason(&self, auth: &WebhookAuth, secrets: &[&str], now_ms: u64) -> &'static str {
        match self.verdict(auth, secrets, now_ms) {
            Verdict::Accepted(_) => "ok",
            Verdict::Rejected { reason } => reason.as_str(),
        }
    }
}

fn auth(json: &str) -> WebhookAuth {
    let auth: WebhookAuth = serde_json::from_str(json).unwrap();
    assert_eq!(auth.problems(), [""; 0], "{json}");
    auth
}

/// The signature of these parts, in hex.
fn hex(algorithm: Algorithm, key: &str, parts: &[&str]) -> String {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    algorithm.mac(key.as_bytes(), &parts).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
}
