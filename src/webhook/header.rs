//! Headers: found by name in any case, and never two where one decides.

use super::{Reason, WebhookRequest};

/// Headers that say who someone is.
pub(super) const CREDENTIALS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key"];

pub(super) fn is(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}

/// All values of a header, in the order in which they came.
pub(super) fn all<'a>(request: &WebhookRequest<'a>, name: &str) -> impl Iterator<Item = &'a str> {
    request.headers.iter().filter(move |(given, _)| is(given, name)).map(|(_, value)| value.as_str())
}

/// The value of a header; an empty one says nothing.
pub(super) fn one<'a>(request: &WebhookRequest<'a>, name: &str) -> Result<Option<&'a str>, Reason> {
    let mut values = all(request, name);
    let value = values.next();
    match values.next() {
        Some(_) => Err(Reason::AmbiguousHeader),
        None => Ok(value.filter(|value| !value.is_empty())),
    }
}

/// The value of a header that has to be there.
pub(super) fn needed<'a>(request: &WebhookRequest<'a>, name: &str, missing: Reason) -> Result<&'a str, Reason> {
    one(request, name)?.ok_or(missing)
}

/// Whether a text can be the name of a header: a token
/// ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110.html#name-tokens)).
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}
