//! Signatures: the same judgement, whoever signs.

use super::delivery::Identity;
use super::template::{self, Part};
use super::{Algorithm, Delivery, Encoding, Provider, Reason, WebhookAuth, WebhookRequest, header, mac, provider};

/// How far a timestamp may be off, in seconds, where nothing else is said. Stripe, Slack and Standard Webhooks
/// all take five minutes.
const TOLERANCE: u64 = 300;

/// What a request says of its signature.
pub(super) struct Signed<'a> {
    pub(super) algorithm: Algorithm,
    /// What is signed: these, one after the other.
    pub(super) parts: Vec<&'a [u8]>,
    /// The signatures that are there and well formed; one has to fit.
    pub(super) signatures: Vec<Vec<u8>>,
    /// When it was signed, in seconds since the Unix epoch, if that is signed, too.
    pub(super) timestamp: Option<u64>,
    pub(super) identity: Identity<'a>,
}

pub(super) fn check(
    auth: &WebhookAuth,
    request: &WebhookRequest<'_>,
    secrets: &[&str],
    now_ms: u64,
) -> Result<Delivery, Reason> {
    let signed = match auth.provider {
        Some(provider) => provider::read(provider, request)?,
        None => read(auth, request)?,
    };
    let keys = secrets.iter().filter_map(|secret| key(auth.provider, secret));
    let expected: Vec<Vec<u8>> = keys.filter_map(|key| signed.algorithm.mac(&key, &signed.parts)).collect();
    if !mac::any_equal(&expected, &signed.signatures) {
        return Err(Reason::WrongSignature);
    }
    if let Some(timestamp) = signed.timestamp {
        let (now, tolerance) = (now_ms / 1000, auth.tolerance_seconds.unwrap_or(TOLERANCE));
        if now.saturating_sub(timestamp) > tolerance {
            return Err(Reason::TooOld);
        }
        if timestamp.saturating_sub(now) > tolerance {
            return Err(Reason::TooNew);
        }
    }
    Ok(signed.identity.into_delivery())
}

/// The key that a secret stands for.
fn key(provider: Option<Provider>, secret: &str) -> Option<Vec<u8>> {
    match provider {
        Some(Provider::StandardWebhooks | Provider::Svix) => provider::standard_key(secret),
        _ => Some(secret.as_bytes().to_vec()),
    }
}

/// The signature of a provider whose habits are told by `auth`.
fn read<'a>(auth: &'a WebhookAuth, request: &WebhookRequest<'a>) -> Result<Signed<'a>, Reason> {
    let algorithm = auth.algorithm.unwrap_or(Algorithm::Sha256);
    let name = auth.header.as_deref().unwrap_or_default();
    let given = header::needed(request, name, Reason::MissingSignature)?;
    let text = given.strip_prefix(auth.prefix.as_deref().unwrap_or_default()).ok_or(Reason::MalformedSignature)?;
    let signatures = well_formed([text], algorithm, auth.encoding.unwrap_or(Encoding::Hex))?;
    let parts = template::parse(auth.payload.as_deref().unwrap_or("{body}")).map_err(|_| Reason::UnusableAuth)?;
    let header = |name: &Option<String>| header::one(request, name.as_deref().unwrap_or_default());
    let (timestamp, id) = (header(&auth.timestamp_header)?, header(&auth.id_header)?);
    if parts.contains(&Part::Id) {
        template::check_id(id.ok_or(Reason::MissingId)?, &parts)?;
    }
    let seconds = match parts.contains(&Part::Timestamp) {
        true => Some(seconds(timestamp.ok_or(Reason::MissingTimestamp)?)?),
        false => None,
    };
    let bytes = parts.iter().map(|part| match *part {
        Part::Text(text) => text.as_bytes(),
        Part::Body => request.body,
        Part::Timestamp => timestamp.unwrap_or_default().as_bytes(),
        Part::Id => id.unwrap_or_default().as_bytes(),
        Part::Method => request.method.as_bytes(),
        Part::Path => request.path.as_bytes(),
    });
    let identity = match (id, timestamp) {
        (Some(id), _) if parts.contains(&Part::Id) => Identity::Id(id),
        (shown, Some(timestamp)) if seconds.is_some() => {
            Identity::Digest { parts: vec![timestamp.as_bytes(), b".", request.body], shown }
        }
        (shown, _) => Identity::Unknown { shown },
    };
    Ok(Signed { algorithm, parts: bytes.collect(), signatures, timestamp: seconds, identity })
}

/// The signatures of these texts that are well formed.
pub(super) fn well_formed<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    algorithm: Algorithm,
    encoding: Encoding,
) -> Result<Vec<Vec<u8>>, Reason> {
    let mut texts = texts.into_iter().peekable();
    if texts.peek().is_none() {
        return Err(Reason::MissingSignature);
    }
    let decoded = texts.filter_map(|text| encoding.decode(text)).filter(|bytes| bytes.len() == algorithm.size());
    let signatures: Vec<Vec<u8>> = decoded.collect();
    if signatures.is_empty() { Err(Reason::MalformedSignature) } else { Ok(signatures) }
}

/// A timestamp in digits. Any number has one text only.
pub(super) fn seconds(text: &str) -> Result<u64, Reason> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain).ok_or(Reason::MalformedTimestamp)
}
