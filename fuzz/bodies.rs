//! What is held against any bytes: by the fuzz targets for as long as one likes, by `tests/webhook.rs` a few
//! thousand times. Nothing may panic or hang, and what is said below must hold.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use nuxt_queue_core::webhook::{
    Delivery, Found, PathPattern, Routes, Verdict, WebhookAuth, WebhookRequest, parse_form, parse_query,
    verify as judge,
};
use serde_json::{Value, json};

/// Texts that lead somewhere; one in three is any text.
fn text(from: &mut Unstructured<'_>, known: &[&str]) -> Result<String> {
    if from.ratio(1, 3)? { from.arbitrary() } else { Ok((*from.choose(known)?).to_owned()) }
}

/// At most so many of them.
fn some<'a, T>(
    from: &mut Unstructured<'a>,
    most: usize,
    mut one: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    (0..from.int_in_range(0..=most)?).map(|_| one(from)).collect()
}

const GITHUB: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
const STANDARD: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const SECRETS: [&str; 5] =
    ["", "key", "user:key", "It's a Secret to Everybody", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
const HEADERS: [&str; 12] = [
    "Authorization",
    "x-api-key",
    "X-Forwarded-For",
    "Stripe-Signature",
    "X-Hub-Signature-256",
    "X-Slack-Signature",
    "X-Slack-Request-Timestamp",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "svix-id",
    "X-Shopify-Hmac-Sha256",
];
const VALUES: [&str; 14] = [
    "",
    "Bearer key",
    "Basic dXNlcjprZXk=",
    "key",
    GITHUB,
    STANDARD,
    "1614265330",
    "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "t=1614265330,v1=0,v1=00",
    "v0=00",
    "192.0.2.1, [::1]:80",
    "1614265330000000000000",
    "é",
    ",",
];
const BODIES: [&str; 5] = ["", "Hello, World!", r#"{"test": 2432232314}"#, r#"{"id":"evt_1"}"#, "a=%ff&b"];
const ADDRESSES: [&str; 6] = ["192.0.2.1", "192.0.2.0/24", "::1", "::ffff:0:0/96", "10.0.0.0/33", "fe80::1%eth0"];

/// Settings with any members, more of them fitting than chance would make them.
fn settings(from: &mut Unstructured<'_>) -> Result<Value> {
    let mut auth = json!({ "type": from.choose(&["signature", "bearer", "apikey", "basic", "ip", "custom"])? });
    if auth["type"] == "signature" && from.ratio(2, 3)? {
        auth["provider"] =
            json!(from.choose(&["stripe", "github", "slack", "standard-webhooks", "svix", "shopify"])?);
    }
    let mut set = |name: &str, value: Value| auth[name] = value;
    for _ in 0..from.int_in_range(0..=3)? {
        match from.int_in_range(0..=10)? {
            0 => set("header", json!(text(from, &HEADERS)?)),
            1 => set("query", json!(text(from, &["key"])?)),
            2 => set("algorithm", json!(from.choose(&["sha1", "sha256", "sha512"])?)),
            3 => set("encoding", json!(from.choose(&["hex", "base64"])?)),
            4 => set("prefix", json!(text(from, &["sha256=", "v0="])?)),
            5 => {
                set("payload", json!(text(from, &["{timestamp}.{body}", "{id}:{body}", "{method}{path}{body}", "{"])?))
            }
            6 => set("timestampHeader", json!(text(from, &HEADERS)?)),
            7 => set("idHeader", json!(text(from, &HEADERS)?)),
            8 => set("toleranceSeconds", json!(from.arbitrary::<u64>()?)),
            9 => set("allow", json!(some(from, 3, |from| text(from, &ADDRESSES))?)),
            _ => set("trustedProxies", json!(from.arbitrary::<u8>()?)),
        }
    }
    Ok(auth)
}

/// Judges a request. Whether it was accepted.
pub fn verify(data: &[u8]) -> bool {
    if let Ok(auth) = serde_json::from_slice::<WebhookAuth>(data) {
        auth.problems();
    }
    parse_form(data);
    verify_one(&mut Unstructured::new(data)).unwrap_or(false)
}

fn verify_one(from: &mut Unstructured<'_>) -> Result<bool> {
    let auth: WebhookAuth = serde_json::from_value(settings(from)?).map_err(|_| arbitrary::Error::IncorrectFormat)?;
    let secrets = some(from, 3, |from| text(from, &SECRETS))?;
    let headers = some(from, 6, |from| Ok((text(from, &HEADERS)?, text(from, &VALUES)?)))?;
    let now = if from.ratio(1, 2)? { 1_614_265_330_000 } else { from.arbitrary()? };
    let (method, path) = (text(from, &["POST"])?, text(from, &["/hooks/a"])?);
    let (query, ip) = (text(from, &["key=key", "key=key&key=1"])?, text(from, &ADDRESSES)?);
    let body = if from.ratio(2, 3)? { from.choose(&BODIES)?.as_bytes().to_vec() } else { from.arbitrary()? };
    let request =
        WebhookRequest { method: &method, path: &path, query: &query, headers: &headers, body: &body, ip: Some(&ip) };
    parse_query(&query);

    let verdict = judge(&auth, &request, &secrets, now);
    assert_eq!(verdict, judge(&auth, &request, &secrets, now));
    let text = serde_json::to_string(&auth).unwrap();
    assert_eq!(serde_json::from_str::<WebhookAuth>(&text).unwrap(), auth);
    assert!(auth.kept_headers().iter().all(|name| !["authorization", "cookie", "x-api-key"].contains(&name.as_str())));
    let Verdict::Accepted(Delivery { id, key }) = verdict else { return Ok(false) };
    assert_eq!(auth.problems(), Vec::<String>::new());
    assert!(!auth.needs_secret() || secrets.iter().any(|secret| auth.secret_problems(secret).is_none()));
    assert!(id.is_none_or(|id| id.len() <= 190) && key.is_none_or(|key| key.len() <= 200));
    if auth.needs_secret() {
        assert!(matches!(judge(&auth, &request, &[], now), Verdict::Rejected { .. }));
    }
    if auth.can_check_again() {
        let kept = auth.kept_headers();
        let is_kept = |name: &str| kept.contains(&name.to_ascii_lowercase());
        let headers: Vec<_> = headers.iter().filter(|(name, _)| is_kept(name)).cloned().collect();
        let again = WebhookAuth { allow: None, trusted_proxies: None, ..auth };
        let stored = WebhookRequest { headers: &headers, ..request };
        assert!(matches!(judge(&again, &stored, &secrets, now), Verdict::Accepted(_)));
    }
    Ok(true)
}

/// Looks for paths. Whether one was found.
pub fn routes(data: &[u8]) -> bool {
    let mut from = Unstructured::new(data);
    let any = any_routes(&mut from).is_ok();
    any && few_routes(&mut from).unwrap_or(false)
}

/// Any text as a pattern and as a path: what is found is what was put in.
fn any_routes(from: &mut Unstructured<'_>) -> Result<()> {
    let mut routes = Routes::default();
    let mut known: BTreeMap<String, PathPattern> = BTreeMap::new();
    for number in 0..from.int_in_range(0..=4)? {
        if let Ok(pattern) = PathPattern::parse(&text(from, &["/:a", "/:b/c", "/%41/:x/y"])?)
            && routes.insert("POST", &pattern, &number.to_string()).is_ok()
        {
            known.insert(number.to_string(), pattern);
        }
    }
    let path = text(from, &["/a", "/a/c", "/A/b/y/"])?;
    if let Found::Route { name, params } = routes.find("POST", &path) {
        let expected: Vec<&str> = known[&name].parameters().collect();
        assert_eq!(params.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
        assert!(params.iter().all(|(_, value)| !["", ".", ".."].contains(&value.as_str())));
    }
    for pattern in known.values().filter(|pattern| pattern.parameters().next().is_none()) {
        assert!(matches!(routes.find("post", pattern.as_str()), Found::Route { .. }), "{pattern}");
    }
    Ok(())
}

/// Patterns and paths of few parts, which meet often, against the plainest way to find one: looking at all.
fn few_routes(from: &mut Unstructured<'_>) -> Result<bool> {
    let mut routes = Routes::default();
    let mut known: Vec<(&str, Vec<&str>)> = Vec::new();
    for _ in 0..from.int_in_range(0..=8)? {
        let method = *from.choose(&["GET", "POST"])?;
        let parts = some(from, 4, |from| Ok(*from.choose(&["a", "b", ":"])?))?;
        let mut number = 0..;
        let named = parts
            .iter()
            .map(|part| if *part == ":" { format!("/:p{}", number.next().unwrap()) } else { format!("/{part}") });
        let pattern = named.collect::<String>();
        let pattern = PathPattern::parse(if pattern.is_empty() { "/" } else { &pattern }).unwrap();
        let is_new = !known.contains(&(method, parts.clone()));
        assert_eq!(routes.insert(method, &pattern, &format!("{method} {}", parts.join("/"))).is_ok(), is_new);
        if is_new {
            known.push((method, parts));
        }
    }
    let path = some(from, 4, |from| Ok(*from.choose(&["a", "b", "c"])?))?;
    let fits = |parts: &[&str]| {
        parts.len() == path.len() && parts.iter().zip(&path).all(|(part, given)| *part == ":" || part == given)
    };
    let mut fitting: Vec<&(&str, Vec<&str>)> = known.iter().filter(|(_, parts)| fits(parts)).collect();
    fitting.sort_by_key(|(_, parts)| parts.iter().map(|part| *part == ":").collect::<Vec<_>>());
    let found = routes.find("POST", &format!("/{}", path.join("/")));
    let expected = match fitting.iter().find(|(method, _)| *method == "POST") {
        Some((_, parts)) => Found::Route {
            name: format!("POST {}", parts.join("/")),
            params: parts
                .iter()
                .zip(&path)
                .filter(|(part, _)| **part == ":")
                .enumerate()
                .map(|(number, (_, given))| (format!("p{number}"), (*given).to_owned()))
                .collect(),
        },
        None if fitting.is_empty() => Found::None,
        None => Found::OtherMethod(vec!["GET".into()]),
    };
    assert_eq!(found, expected);
    Ok(matches!(found, Found::Route { .. }))
}
