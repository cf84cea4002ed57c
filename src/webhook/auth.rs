//! How requests to an endpoint are checked.

use serde::{Deserialize, Serialize};

use super::header;

/// How requests to an endpoint are checked. It holds no secret. As JSON its members are in camel case, and one
/// that is not known is refused.
///
/// ```
/// use nuxt_queue_core::webhook::WebhookAuth;
/// let json = r#"{"type":"bearer","allow":["192.0.2.0/24"],"secretRef":"orders"}"#;
/// let auth: WebhookAuth = serde_json::from_str(json).unwrap();
/// assert_eq!(serde_json::to_string(&auth).unwrap(), json);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookAuth {
    /// What is checked.
    #[serde(rename = "type")]
    pub kind: AuthType,
    /// Whose signatures they are. Left out: as the members below say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// The header of the signature; of the API key, `x-api-key` if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The query parameter of the API key, instead of a header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// How it is signed; HMAC with SHA-256 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<Algorithm>,
    /// How the signature is written; in hex if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// What stands before the signature in its header, such as `sha256=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What is signed, with `{body}` and, if need be, `{timestamp}`, `{id}`, `{method}` and `{path}`, each once,
    /// such as `{timestamp}.{body}`; the body alone if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
    /// The header of `{timestamp}`, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// The header of `{id}`, and of the delivery's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_header: Option<String>,
    /// How far a signed timestamp may lie before or behind the arrival, in seconds; 300 if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance_seconds: Option<u64>,
    /// Addresses and networks (CIDR), IPv4 and IPv6, that requests may come from. Checked beside everything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<Vec<String>>,
    /// How many proxies of one's own append to `X-Forwarded-For`. With 0, or left out, the socket's peer counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_proxies: Option<u8>,
    /// The name under which each process finds the secret. Only carried here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<String>,
}

/// What of a request is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthType {
    /// A signature of the body, and of what else the provider signs.
    Signature,
    /// `Authorization: Bearer`, with the secret.
    Bearer,
    /// The secret in a header, or a query parameter.
    Apikey,
    /// `Authorization: Basic`, with the secret as `user:password`.
    Basic,
    /// Nothing but where it comes from.
    Ip,
    /// What the caller checks by itself.
    Custom,
}

impl AuthType {
    pub(super) fn name(self) -> &'static str {
        match self {
            AuthType::Signature => "signature",
            AuthType::Bearer => "bearer",
            AuthType::Apikey => "apikey",
            AuthType::Basic => "basic",
            AuthType::Ip => "ip",
            AuthType::Custom => "custom",
        }
    }
}

/// Whose signatures they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Provider {
    /// Stripe.
    Stripe,
    /// GitHub.
    Github,
    /// Slack.
    Slack,
    /// Whoever signs as Standard Webhooks says.
    StandardWebhooks,
    /// Svix, which signs in the same way under its own headers. Both names take both.
    Svix,
    /// Shopify.
    Shopify,
}

impl Provider {
    pub(super) fn name(self) -> &'static str {
        match self {
            Provider::Stripe => "stripe",
            Provider::Github => "github",
            Provider::Slack => "slack",
            Provider::StandardWebhooks => "standard-webhooks",
            Provider::Svix => "svix",
            Provider::Shopify => "shopify",
        }
    }

    /// Whether it signs when it sent the request.
    pub(super) fn signs_timestamp(self) -> bool {
        !matches!(self, Provider::Github | Provider::Shopify)
    }

    /// Where its signature, timestamp and id are, in lower case.
    fn headers(self) -> &'static [&'static str] {
        match self {
            Provider::Stripe => &["stripe-signature"],
            Provider::Github => &["x-hub-signature-256", "x-github-delivery"],
            Provider::Slack => &["x-slack-signature", "x-slack-request-timestamp"],
            Provider::StandardWebhooks | Provider::Svix => {
                &["webhook-id", "webhook-timestamp", "webhook-signature", "svix-id", "svix-timestamp", "svix-signature"]
            }
            Provider::Shopify => &["x-shopify-hmac-sha256", "x-shopify-webhook-id"],
        }
    }
}

/// How a body is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// HMAC with SHA-1, for providers that have nothing better.
    Sha1,
    /// HMAC with SHA-256.
    Sha256,
    /// HMAC with SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Two lower case hex digits a byte.
    Hex,
    /// Base64 with padding.
    Base64,
}

impl WebhookAuth {
    /// Whether requests can't be judged without a secret.
    pub fn needs_secret(&self) -> bool {
        !matches!(self.kind, AuthType::Ip | AuthType::Custom)
    }

    /// The headers, in lower case, that belong to a delivery and are no credentials: those of its signature,
    /// timestamp and id, and its content type. They may be stored with it.
    pub fn kept_headers(&self) -> Vec<String> {
        let own = match (self.kind, self.provider) {
            (AuthType::Signature, Some(provider)) => provider.headers().iter().map(ToString::to_string).collect(),
            (AuthType::Signature, None) => {
                [&self.header, &self.timestamp_header, &self.id_header].into_iter().flatten().cloned().collect()
            }
            _ => self.id_header.iter().cloned().collect::<Vec<_>>(),
        };
        let mut kept: Vec<String> = own.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        kept.push("content-type".into());
        kept.retain(|name| !self.is_credential(name));
        kept.sort();
        kept.dedup();
        kept
    }

    /// Whether a delivery that is stored as its body and its [kept headers](Self::kept_headers) can be checked once
    /// more: a signature can, credentials are not kept. Such a check is told the instant of the arrival as `now_ms`,
    /// and `allow` is left out of it, since addresses are not kept either.
    pub fn can_check_again(&self) -> bool {
        let signature = self.header.as_deref().unwrap_or_default();
        self.kind == AuthType::Signature && !self.is_credential(signature)
    }

    /// The header of the API key.
    pub(super) fn key_header(&self) -> &str {
        self.header.as_deref().unwrap_or("x-api-key")
    }

    pub(super) fn is_credential(&self, name: &str) -> bool {
        let own = self.kind == AuthType::Apikey && self.query.is_none() && header::is(self.key_header(), name);
        own || header::CREDENTIALS.iter().any(|credential| header::is(credential, name))
    }
}
