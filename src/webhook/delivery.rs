//! What tells one delivery from another.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::{Reason, WebhookAuth, WebhookRequest, header, mac};

/// The longest id that is taken as it is, in bytes.
const LONGEST_ID: usize = 190;

/// A request that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delivery {
    /// The provider's id of it, to be shown; at most 190 bytes of it.
    pub id: Option<String>,
    /// The same for every delivery of the same thing, at most 200 bytes: what was seen under it before is a
    /// repetition. `None`: a repetition can't be told from a second delivery.
    pub key: Option<String>,
}

/// What tells a delivery from others. Worked out only when its signature is right.
pub(super) enum Identity<'a> {
    /// An id that was signed.
    Id(&'a str),
    /// An id that stands in the signed body under this name; without one, the digest of these parts.
    InBody { body: &'a [u8], member: &'static str, otherwise: Vec<&'a [u8]> },
    /// The digest of these parts, all of which were signed; the id was not.
    Digest { parts: Vec<&'a [u8]>, shown: Option<&'a str> },
    /// Nothing: the same could be signed twice.
    Unknown { shown: Option<&'a str> },
}

impl Identity<'_> {
    pub(super) fn into_delivery(self) -> Delivery {
        match self {
            Identity::Id(id) => Delivery::known_by(id),
            Identity::InBody { body, member, otherwise } => match text_member(body, member) {
                Some(id) => Delivery::known_by(&id),
                None => Delivery { id: None, key: Some(digest_key(&otherwise)) },
            },
            Identity::Digest { parts, shown } => Delivery { id: shown.map(shorten), key: Some(digest_key(&parts)) },
            Identity::Unknown { shown } => Delivery { id: shown.map(shorten), key: None },
        }
    }
}

impl Delivery {
    fn known_by(id: &str) -> Delivery {
        let key = match id.len() <= LONGEST_ID {
            true => format!("id:{id}"),
            false => format!("id-digest:{}", mac::digest_text(&[id.as_bytes()])),
        };
        Delivery { id: Some(shorten(id)), key: Some(key) }
    }

    /// A delivery whose sender is trusted with its id.
    pub(super) fn as_said(auth: &WebhookAuth, request: &WebhookRequest<'_>) -> Result<Delivery, Reason> {
        let id = auth.id_header.as_deref().map(|name| header::one(request, name)).transpose()?.flatten();
        Ok(id.map(Delivery::known_by).unwrap_or_default())
    }
}

fn digest_key(parts: &[&[u8]]) -> String {
    format!("digest:{}", mac::digest_text(parts))
}

/// As much of an id as is shown.
fn shorten(id: &str) -> String {
    let mut end = id.len().min(LONGEST_ID);
    while !id.is_char_boundary(end) {
        end -= 1;
    }
    id[..end].to_owned()
}

/// The text that a JSON object has under a name, unless it is empty. Of several it is the last, as everywhere.
fn text_member(body: &[u8], name: &str) -> Option<String> {
    let object: HashMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    serde_json::from_str(object.get(name)?.get()).ok().filter(|text: &String| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_body(body: &str) -> Delivery {
        Identity::InBody { body: body.as_bytes(), member: "id", otherwise: vec![body.as_bytes()] }.into_delivery()
    }

    #[test]
    fn takes_the_id_from_the_top_of_the_body() {
        for body in [r#"{"id":"a"}"#, r#" {"data":{"id":"b"},"\u0069d":"a" } "#, r#"{"id":"b","id":"a"}"#] {
            let expected = Delivery { id: Some("a".into()), key: Some("id:a".into()) };
            assert_eq!(in_body(body), expected, "{body}");
        }
    }

    #[test]
    fn without_an_id_the_body_tells() {
        let deep = format!(r#"{{"data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        for body in
            ["", "{", "[]", r#"["a"]"#, "null", r#""id""#, r#"{"id":1}"#, r#"{"id":""}"#, r#"{"id":"a"} x"#, &deep]
        {
            let Delivery { id, key } = in_body(body);
            assert_eq!(id, None);
            assert_eq!(key, Some(format!("digest:{}", mac::digest_text(&[body.as_bytes()]))));
        }
        assert_ne!(in_body("{}").key, in_body("[]").key);
    }

    #[test]
    fn kinds_of_keys_never_collide_and_are_short() {
        let long = "é".repeat(200);
        let Delivery { id, key } = Delivery::known_by(&long);
        assert_eq!(id, Some("é".repeat(95)));
        assert_eq!(key, Some(format!("id-digest:{}", mac::digest_text(&[long.as_bytes()]))));
        let longest = "x".repeat(LONGEST_ID);
        assert_eq!(Delivery::known_by(&longest).key.map(|key| key.len()), Some(193));
        assert_eq!(Delivery::known_by("digest:1").key, Some("id:digest:1".into()));
    }
}
