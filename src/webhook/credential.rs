//! Credentials: who has the secret is trusted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{AuthType, Reason, WebhookAuth, WebhookRequest, form, header, mac};

/// Compares digests, so that not even the length of a secret shows in the time it takes.
pub(super) fn check(auth: &WebhookAuth, request: &WebhookRequest<'_>, secrets: &[&str]) -> Result<(), Reason> {
    let given = mac::digest(&[&given(auth, request)?]);
    let expected: Vec<_> = secrets.iter().map(|secret| mac::digest(&[secret.as_bytes()])).collect();
    if mac::any_equal(&expected, &[given]) { Ok(()) } else { Err(Reason::WrongCredentials) }
}

fn given(auth: &WebhookAuth, request: &WebhookRequest<'_>) -> Result<Vec<u8>, Reason> {
    match (auth.kind, &auth.query) {
        (AuthType::Bearer, _) => Ok(authorization(request, "bearer")?.as_bytes().to_vec()),
        (AuthType::Basic, _) => {
            let pair = STANDARD.decode(authorization(request, "basic")?).map_err(|_| Reason::MalformedCredentials)?;
            if pair.contains(&b':') { Ok(pair) } else { Err(Reason::MalformedCredentials) }
        }
        (_, Some(name)) => parameter(request, name),
        (_, None) => {
            let key = header::needed(request, auth.key_header(), Reason::MissingCredentials)?;
            Ok(key.as_bytes().to_vec())
        }
    }
}

/// What stands behind the scheme, which is written in any case
/// ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110.html#name-authentication-scheme)).
fn authorization<'a>(request: &WebhookRequest<'a>, scheme: &str) -> Result<&'a str, Reason> {
    let given = header::needed(request, "authorization", Reason::MissingCredentials)?;
    let (name, rest) = given.split_once(' ').ok_or(Reason::MissingCredentials)?;
    let credentials = rest.trim_start_matches(' ');
    match header::is(name, scheme) && !credentials.is_empty() {
        true => Ok(credentials),
        false => Err(Reason::MissingCredentials),
    }
}

fn parameter(request: &WebhookRequest<'_>, name: &str) -> Result<Vec<u8>, Reason> {
    let pairs = form::parse_query(request.query).ok_or(Reason::MalformedCredentials)?;
    let mut values = pairs.into_iter().filter(|(given, _)| given == name).map(|(_, value)| value);
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Reason::AmbiguousQuery),
        (Some(value), None) if !value.is_empty() => Ok(value.into_bytes()),
        _ => Err(Reason::MissingCredentials),
    }
}
