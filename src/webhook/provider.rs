//! How providers sign, each as its own page and library say; where they differ, as the stricter of the two.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::delivery::Identity;
use super::signature::{Signed, seconds, well_formed};
use super::{Algorithm, Encoding, Provider, Reason, WebhookRequest, header};

/// Secrets are read as the library of Standard Webhooks reads them, with padding or without.
const SECRET: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn read<'a>(provider: Provider, request: &WebhookRequest<'a>) -> Result<Signed<'a>, Reason> {
    match provider {
        Provider::Stripe => stripe(request),
        Provider::Github => github(request),
        Provider::Slack => slack(request),
        Provider::StandardWebhooks | Provider::Svix => standard(request),
        Provider::Shopify => shopify(request),
    }
}

/// <https://docs.stripe.com/webhooks/signature>: `t=…,v1=…,v1=…` over `{t}.{body}`. Other versions don't count.
/// An event keeps its id over all attempts.
fn stripe<'a>(request: &WebhookRequest<'a>) -> Result<Signed<'a>, Reason> {
    need_body(request)?;
    let given = header::needed(request, "stripe-signature", Reason::MissingSignature)?;
    let values = |key: &'static str| {
        given.split(',').filter_map(|item| item.split_once('=')).filter(move |(name, _)| *name == key)
    };
    let mut timestamps = values("t").map(|(_, value)| value);
    let timestamp = timestamps.next().ok_or(Reason::MissingTimestamp)?;
    if timestamps.next().is_some() {
        return Err(Reason::MalformedTimestamp);
    }
    Ok(Signed {
        algorithm: Algorithm::Sha256,
        parts: vec![timestamp.as_bytes(), b".", request.body],
        signatures: well_formed(values("v1").map(|(_, value)| value), Algorithm::Sha256, Encoding::Hex)?,
        timestamp: Some(seconds(timestamp)?),
        identity: Identity::InBody { body: request.body, member: "id", otherwise: vec![request.body] },
    })
}

/// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>: `sha256=…` over the body.
/// The id of the delivery is not signed: whoever repeats a request may change it. So the body tells them apart.
fn github<'a>(request: &WebhookRequest<'a>) -> Result<Signed<'a>, Reason> {
    need_body(request)?;
    let given = header::needed(request, "x-hub-signature-256", Reason::MissingSignature)?;
    let text = given.strip_prefix("sha256=").ok_or(Reason::MalformedSignature)?;
    body_alone(request, text, Encoding::Hex, header::one(request, "x-github-delivery")?)
}

/// <https://shopify.dev/docs/apps/build/webhooks/subscribe/https>: Base64 over the body. The id is not signed, as
/// with GitHub.
fn shopify<'a>(request: &WebhookRequest<'a>) -> Result<Signed<'a>, Reason> {
    need_body(request)?;
    let text = header::needed(request, "x-shopify-hmac-sha256", Reason::MissingSignature)?;
    body_alone(request, text, Encoding::Base64, header::one(request, "x-shopify-webhook-id")?)
}

fn body_alone<'a>(
    request: &WebhookRequest<'a>,
    text: &str,
    encoding: Encoding,
    shown: Option<&'a str>,
) -> Result<Signed<'a>, Reason> {
    Ok(Signed {
        algorithm: Algorithm::Sha256,
        parts: vec![request.body],
        signatures: well_formed([text], Algorithm::Sha256, encoding)?,
        timestamp: None,
        identity: Identity::Digest { parts: vec![request.body], shown },
    })
}

/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>: `v0=…` over `v0:{timestamp}:{body}`.
/// Events have an id that they keep over all attempts; commands and interactions have none.
fn slack<'a>(request: &WebhookRequest<'a>) -> Result<Signed<'a>, Reason> {
    let given = header::needed(request, "x-slack-signature", Reason::MissingSignature)?;
    let timestamp = header::needed(request, "x-slack-request-timestamp", Reason::MissingTimestamp)?;
    let text = given.strip_prefix("v0=").ok_or(Reason::MalformedSignature)?;
    let otherwise = vec![timestamp.as_bytes(), b".".as_slice(), request.body];
    Ok(Signed {
        algorithm: Algorithm::Sha256,
        parts: vec![b"v0:", timestamp.as_bytes(), b":", request.body],
        signatures: well_formed([text], Algorithm::Sha256, Encoding::Hex)?,
        timestamp: Some(seconds(timestamp)?),
        identity: Identity::InBody { body: request.body, member: "event_id", otherwise },
    })
}

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>: `v1,…`, several
/// of them separated by spaces, over `{id}.{timestamp}.{body}`. Other versions don't count. An id must not have
/// a dot, which would let someone shift what is the id and what the body. Svix
/// (<https://docs.svix.com/receiving/verifying-payloads/how-manual>) names the headers after itself.
fn standard<'a>(request: &WebhookRequest<'a>) -> Result<Signed<'a>, Reason> {
    let is_svix =
        header::all(request, "webhook-id").next().is_none() && header::all(request, "svix-id").next().is_some();
    let [id, timestamp, signature] = match is_svix {
        true => ["svix-id", "svix-timestamp", "svix-signature"],
        false => ["webhook-id", "webhook-timestamp", "webhook-signature"],
    };
    let given = header::needed(request, signature, Reason::MissingSignature)?;
    let id = header::needed(request, id, Reason::MissingId)?;
    let timestamp = header::needed(request, timestamp, Reason::MissingTimestamp)?;
    if id.contains('.') || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Reason::MalformedId);
    }
    let texts = given.split(' ').filter_map(|item| item.strip_prefix("v1,"));
    Ok(Signed {
        algorithm: Algorithm::Sha256,
        parts: vec![id.as_bytes(), b".", timestamp.as_bytes(), b".", request.body],
        signatures: well_formed(texts, Algorithm::Sha256, Encoding::Base64)?,
        timestamp: Some(seconds(timestamp)?),
        identity: Identity::Id(id),
    })
}

/// The key of Standard Webhooks: Base64, with `whsec_` before it or without. `None` if it is neither.
pub(super) fn standard_key(secret: &str) -> Option<Vec<u8>> {
    let text = secret.strip_prefix("whsec_").unwrap_or(secret);
    SECRET.decode(text).ok().filter(|key| !key.is_empty())
}

/// For providers that send JSON always: there is nothing to take from an empty body.
fn need_body(request: &WebhookRequest<'_>) -> Result<(), Reason> {
    if request.body.is_empty() { Err(Reason::MissingBody) } else { Ok(()) }
}
