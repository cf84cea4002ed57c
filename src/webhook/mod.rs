//! Requests as providers sign them: whether they are genuine, whom they are for, and what their forms hold.
//!
//! Everything here is a pure function of what it is given. Who calls it reads the request (the raw bytes of its
//! body, its headers as they came), says when it came, and hands in the secrets.
//!
//! * [`WebhookAuth`]: how an endpoint's requests are checked, and what is wrong with that.
//! * [`verify`]: the check. It says whether the request is accepted, and as which [`Delivery`].
//! * [`PathPattern`] and [`Routes`]: which trigger a path belongs to.
//! * [`parse_form`] and [`parse_query`]: what stands in forms and queries.
//!
//! ```
//! use nuxt_queue_core::webhook::{Verdict, WebhookAuth, WebhookRequest, verify};
//! let auth: WebhookAuth = serde_json::from_str(r#"{"type":"signature","provider":"github"}"#).unwrap();
//! assert!(auth.problems().is_empty());
//! let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
//! let headers = [("X-Hub-Signature-256".to_string(), signature.to_string())];
//! let request = WebhookRequest {
//!     method: "POST",
//!     path: "/hooks/github",
//!     query: "",
//!     headers: &headers,
//!     body: b"Hello, World!",
//!     ip: None,
//! };
//! let secrets = ["It's a Secret to Everybody".to_string()];
//! assert!(matches!(verify(&auth, &request, &secrets, 0), Verdict::Accepted(_)));
//! ```

mod address;
mod auth;
mod credential;
mod delivery;
mod form;
mod header;
mod mac;
mod path;
mod problem;
mod provider;
mod reason;
mod routes;
mod signature;
mod template;
#[cfg(test)]
mod tests;

pub use auth::{Algorithm, AuthType, Encoding, Provider, WebhookAuth};
pub use delivery::Delivery;
pub use form::{parse_form, parse_query};
pub(crate) use mac::digest_text;
pub use path::PathPattern;
pub use reason::Reason;
pub use routes::{Found, Routes};

/// What came over HTTP. Has no `Debug`: its headers may be credentials.
#[derive(Clone, Copy)]
pub struct WebhookRequest<'a> {
    /// The method, such as `POST`.
    pub method: &'a str,
    /// The path as it was sent, without the query.
    pub path: &'a str,
    /// The query as it was sent, without its `?`; may be empty.
    pub query: &'a str,
    /// The headers as they came, in any case; a name may come twice.
    pub headers: &'a [(String, String)],
    /// The body's bytes as they came.
    pub body: &'a [u8],
    /// The address of the peer of the socket.
    pub ip: Option<&'a str>,
}

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The request is genuine, as far as its endpoint asks for it.
    Accepted(Delivery),
    /// It is not, or it can't be told.
    Rejected {
        /// Why. For those who run the endpoint; whoever sent it is not told.
        reason: Reason,
    },
}

/// Whether a request is what its endpoint asks for. It came at `now_ms`, in milliseconds since the Unix epoch.
/// Any of the `secrets` may fit, so that one can be replaced by another; those that can't work are passed over.
///
/// Secrets and signatures are compared in constant time, all of them, whichever fits. An `auth` that has
/// [problems](WebhookAuth::problems) accepts nothing. A custom one accepts whatever comes from where it may come
/// from: the rest is its caller's.
pub fn verify(auth: &WebhookAuth, request: &WebhookRequest<'_>, secrets: &[String], now_ms: u64) -> Verdict {
    match judge(auth, request, secrets, now_ms) {
        Ok(delivery) => Verdict::Accepted(delivery),
        Err(reason) => Verdict::Rejected { reason },
    }
}

fn judge(
    auth: &WebhookAuth,
    request: &WebhookRequest<'_>,
    secrets: &[String],
    now_ms: u64,
) -> Result<Delivery, Reason> {
    if !auth.problems().is_empty() {
        return Err(Reason::UnusableAuth);
    }
    address::check(auth, request)?;
    let secrets: Vec<&str> =
        secrets.iter().map(String::as_str).filter(|secret| auth.secret_problems(secret).is_none()).collect();
    if auth.needs_secret() && secrets.is_empty() {
        return Err(Reason::NoSecret);
    }
    match auth.kind {
        AuthType::Signature => signature::check(auth, request, &secrets, now_ms),
        AuthType::Bearer | AuthType::Apikey | AuthType::Basic => {
            credential::check(auth, request, &secrets)?;
            Delivery::as_said(auth, request)
        }
        AuthType::Ip | AuthType::Custom => Delivery::as_said(auth, request),
    }
}
