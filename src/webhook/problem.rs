//! What keeps an endpoint's settings, or a secret, from working.

use super::template::{self, Part};
use super::{AuthType, Provider, WebhookAuth, address, header, provider};

/// The longest tolerance, in seconds: what is older than a day is no delivery that is under way.
const LONGEST_TOLERANCE: u64 = 86_400;

/// Members with the name that users know them by.
type Members<'a> = Vec<(&'static str, Option<&'a String>)>;

impl WebhookAuth {
    /// All that keeps it from working, as sentences; nothing if it can work. Whether its secret is there is another
    /// question.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.strangers();
        problems.extend(self.missing());
        problems.extend(self.names());
        problems.extend(self.template());
        problems.extend(self.tolerance());
        problems.extend(self.addresses());
        problems
    }

    /// What is wrong with a secret, if anything is. The sentence never quotes it.
    pub fn secret_problems(&self, secret: &str) -> Option<String> {
        let wrong = match (self.kind, self.provider) {
            (AuthType::Ip | AuthType::Custom, _) => return None,
            _ if secret.trim().is_empty() => "is empty",
            (AuthType::Signature, Some(Provider::StandardWebhooks | Provider::Svix))
                if provider::standard_key(secret).is_none() =>
            {
                "is not Base64, with \"whsec_\" before it or without; copy it whole"
            }
            (AuthType::Signature, Some(Provider::Stripe)) if secret.contains(char::is_whitespace) => {
                "has whitespace in it, which none of Stripe's has; copy it without"
            }
            (AuthType::Basic, _) if !secret.contains(':') => "has no colon; write it as user:password",
            (AuthType::Bearer, _) if !is_header_text(secret) => NO_HEADER_TEXT,
            (AuthType::Apikey, _) if self.query.is_none() && !is_header_text(secret) => NO_HEADER_TEXT,
            _ => return None,
        };
        Some(format!("The secret {wrong}."))
    }

    /// Members that have no meaning beside the others.
    fn strangers(&self) -> Vec<String> {
        let (owner, known): (_, &[&str]) = match (self.kind, self.provider) {
            (AuthType::Signature, Some(provider)) if provider.signs_timestamp() => {
                (format!("The provider {:?}", provider.name()), &["provider", "toleranceSeconds", "secretRef"])
            }
            (AuthType::Signature, Some(provider)) => {
                (format!("The provider {:?}", provider.name()), &["provider", "secretRef"])
            }
            (kind, _) => (
                format!("The type {:?}", kind.name()),
                match kind {
                    AuthType::Signature => &[
                        "header",
                        "algorithm",
                        "encoding",
                        "prefix",
                        "payload",
                        "timestampHeader",
                        "idHeader",
                        "toleranceSeconds",
                        "secretRef",
                    ],
                    AuthType::Bearer | AuthType::Basic | AuthType::Custom => &["idHeader", "secretRef"],
                    AuthType::Apikey => &["header", "query", "idHeader", "secretRef"],
                    AuthType::Ip => &["idHeader"],
                },
            ),
        };
        let given = [
            ("provider", self.provider.is_some()),
            ("header", self.header.is_some()),
            ("query", self.query.is_some()),
            ("algorithm", self.algorithm.is_some()),
            ("encoding", self.encoding.is_some()),
            ("prefix", self.prefix.is_some()),
            ("payload", self.payload.is_some()),
            ("timestampHeader", self.timestamp_header.is_some()),
            ("idHeader", self.id_header.is_some()),
            ("toleranceSeconds", self.tolerance_seconds.is_some()),
            ("secretRef", self.secret_ref.is_some()),
        ];
        let strange = given.into_iter().filter(|(name, is_given)| *is_given && !known.contains(name));
        strange.map(|(name, _)| format!("{owner} takes no {name}; leave it out.")).collect()
    }

    fn missing(&self) -> Option<String> {
        match self.kind {
            AuthType::Signature if self.provider.is_none() && self.header.is_none() => {
                Some("A signature needs a provider, or the header that it stands in.".into())
            }
            AuthType::Apikey if self.header.is_some() && self.query.is_some() => {
                Some("An API key stands in a header or in a query parameter; give one of the two.".into())
            }
            AuthType::Ip if self.allow.is_none() => {
                Some("The type \"ip\" needs allow, the addresses that requests may come from.".into())
            }
            _ => None,
        }
    }

    /// Names that can't be names, or that say two things at once.
    fn names(&self) -> Vec<String> {
        let headers: Members<'_> = vec![
            ("header", self.header.as_ref()),
            ("timestampHeader", self.timestamp_header.as_ref()),
            ("idHeader", self.id_header.as_ref()),
        ];
        let mut problems = Vec::new();
        let mut seen: Vec<&str> = Vec::new();
        for (member, name) in headers.into_iter().filter_map(|(member, name)| Some((member, name?))) {
            if !header::is_token(name) {
                problems.push(format!("{member} is {}, which can't be the name of a header.", shown(name)));
            } else if seen.iter().any(|before| header::is(before, name)) {
                problems.push(format!("{member} is {}, which is said to hold something else already.", shown(name)));
            } else if member != "header" && self.is_credential(name) {
                problems.push(format!("{member} is {}, which holds credentials; take another header.", shown(name)));
            }
            seen.push(name);
        }
        for (member, name) in [("query", &self.query), ("secretRef", &self.secret_ref)] {
            if name.as_ref().is_some_and(String::is_empty) {
                problems.push(format!("{member} is empty; give a name."));
            }
        }
        problems
    }

    /// Whether it is told by its own members how to check a signature.
    fn is_described(&self) -> bool {
        self.kind == AuthType::Signature && self.provider.is_none()
    }

    fn template(&self) -> Option<String> {
        if !self.is_described() {
            return None;
        }
        let payload = self.payload.as_deref().unwrap_or("{body}");
        let parts = match template::parse(payload) {
            Ok(parts) => parts,
            Err(wrong) => return Some(format!("payload is {}, which {wrong}.", shown(payload))),
        };
        let has = |part| parts.contains(&part);
        match (has(Part::Timestamp), &self.timestamp_header, has(Part::Id), &self.id_header) {
            (true, None, ..) => {
                Some("payload has {timestamp}, and no timestampHeader says where it comes from.".into())
            }
            (false, Some(_), ..) => Some(
                "timestampHeader is given, and payload has no {timestamp}; one that isn't signed can be changed."
                    .into(),
            ),
            (.., true, None) => Some("payload has {id}, and no idHeader says where it comes from.".into()),
            _ => None,
        }
    }

    fn tolerance(&self) -> Option<String> {
        let seconds = self.tolerance_seconds?;
        if !(1..=LONGEST_TOLERANCE).contains(&seconds) {
            return Some(format!("toleranceSeconds is {seconds}; expected 1 to {LONGEST_TOLERANCE}."));
        }
        let is_unused = self.is_described() && self.timestamp_header.is_none();
        is_unused.then(|| "toleranceSeconds is given, and no timestamp is signed; leave it out.".into())
    }

    fn addresses(&self) -> Vec<String> {
        let Some(allow) = &self.allow else {
            let alone = "trustedProxies is given without allow, which alone needs it; leave it out.";
            return self.trusted_proxies.iter().map(|_| alone.to_owned()).collect();
        };
        if allow.is_empty() {
            return vec!["allow is empty, so that nobody may send anything; name addresses, or leave it out.".into()];
        }
        let wrong = allow.iter().filter(|text| address::network(text).is_none());
        wrong
            .map(|text| {
                format!("allow has {}; expected an address or a network such as \"192.0.2.0/24\".", shown(text))
            })
            .collect()
    }
}

const NO_HEADER_TEXT: &str = "has characters that can't stand in a header; expected visible ASCII without spaces";

fn is_header_text(secret: &str) -> bool {
    secret.bytes().all(|byte| byte.is_ascii_graphic())
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}
