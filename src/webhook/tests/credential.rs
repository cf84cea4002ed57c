use super::*;

/// The base64 of `user:pa:ss`.
const PAIR: &str = "dXNlcjpwYTpzcw==";

#[test]
fn bearer() {
    let auth = auth(r#"{"type":"bearer","idHeader":"X-Id"}"#);
    for (value, expected) in [
        ("Bearer token", "ok"),
        ("bearer   token", "ok"),
        ("BEARER other", "ok"),
        ("Bearer token2", "wrong-credentials"),
        ("Bearer Token", "wrong-credentials"),
        ("Bearer token ", "wrong-credentials"),
        ("Bearer toke", "wrong-credentials"),
        ("Bearer", "missing-credentials"),
        ("Bearer ", "missing-credentials"),
        ("Bearertoken", "missing-credentials"),
        ("Basic token", "missing-credentials"),
        ("", "missing-credentials"),
    ] {
        let sent = Sent::new(&[("AUTHORIZATION", value)], "");
        assert_eq!(sent.reason(&auth, &["token", "other"], 0), expected, "{value}");
    }
    assert_eq!(Sent::new(&[], "").reason(&auth, &["token"], 0), "missing-credentials");
    let sent = Sent::new(&[("Authorization", "Bearer token")], "");
    assert_eq!(sent.clone().with("authorization", "Bearer token").reason(&auth, &["token"], 0), "ambiguous-header");
    assert_eq!(sent.reason(&auth, &[""], 0), "no-secret");
    assert_eq!(sent.verdict(&auth, &["token"], 0), Verdict::Accepted(Delivery::default()));
    let expected = Delivery { id: Some("7".into()), key: Some("id:7".into()) };
    assert_eq!(sent.clone().with("x-id", "7").verdict(&auth, &["token"], 0), Verdict::Accepted(expected));
    assert_eq!(sent.with("x-id", "7").with("X-ID", "8").reason(&auth, &["token"], 0), "ambiguous-header");
}

#[test]
fn basic() {
    let auth = auth(r#"{"type":"basic"}"#);
    for (value, expected) in [
        (format!("Basic {PAIR}"), "ok"),
        (format!("basic {PAIR}"), "ok"),
        (format!("Basic {}", PAIR.trim_end_matches('=')), "malformed-credentials"),
        ("Basic dXNlcg==".into(), "malformed-credentials"),
        ("Basic dXNlcjpvdGhlcg==".into(), "wrong-credentials"),
        (format!("Bearer {PAIR}"), "missing-credentials"),
    ] {
        assert_eq!(Sent::new(&[("authorization", &value)], "").reason(&auth, &["user:pa:ss"], 0), expected, "{value}");
    }
}

#[test]
fn api_key_in_a_header() {
    for (auth, header) in
        [(auth(r#"{"type":"apikey"}"#), "X-API-Key"), (auth(r#"{"type":"apikey","header":"X-Key"}"#), "x-key")]
    {
        let reason = |sent: Sent| sent.reason(&auth, &["key"], 0);
        assert_eq!(reason(Sent::new(&[(header, "key")], "")), "ok");
        assert_eq!(reason(Sent::new(&[(header, "KEY")], "")), "wrong-credentials");
        assert_eq!(reason(Sent::new(&[("x-other", "key")], "")), "missing-credentials");
        assert_eq!(reason(Sent::new(&[(header, "key"), (header, "key")], "")), "ambiguous-header");
    }
}

#[test]
fn api_key_in_the_query() {
    let auth = auth(r#"{"type":"apikey","query":"key"}"#);
    for (query, expected) in [
        ("key=two+words%21", "ok"),
        ("?a=1&k%65y=two%20words!", "ok"),
        ("key=two", "wrong-credentials"),
        ("Key=two+words!", "missing-credentials"),
        ("key=", "missing-credentials"),
        ("", "missing-credentials"),
        ("key=two+words!&key=x", "ambiguous-query"),
        ("key=%ff", "malformed-credentials"),
    ] {
        let sent = Sent { query: query.into(), ..Sent::new(&[("x-api-key", "two words!")], "") };
        assert_eq!(sent.reason(&auth, &["two words!"], 0), expected, "{query}");
    }
}

#[test]
fn what_its_caller_checks_is_accepted_from_where_it_may_come() {
    assert_eq!(Sent::new(&[], "").reason(&auth(r#"{"type":"custom"}"#), &[], 0), "ok");
    let near = auth(r#"{"type":"custom","allow":["127.0.0.1"]}"#);
    assert_eq!(Sent::new(&[], "").reason(&near, &[], 0), "address-not-allowed");
}
