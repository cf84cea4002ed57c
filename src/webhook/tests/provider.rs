use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_700_000_000;
const BODY: &str = r#"{"id":"evt_1","event_id":"Ev1"}"#;

fn of(provider: &str) -> WebhookAuth {
    auth(&format!(r#"{{"type":"signature","provider":"{provider}"}}"#))
}

/// Requests that providers have published, with their secret and the second in which they were sent.
fn published() -> Vec<(WebhookAuth, Sent, &'static str, u64)> {
    let slack = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    vec![
        (
            of("github"),
            Sent::new(
                &[("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")],
                "Hello, World!",
            ),
            "It's a Secret to Everybody",
            NOW,
        ),
        (
            of("slack"),
            Sent::new(
                &[
                    ("X-Slack-Request-Timestamp", "1531420618"),
                    ("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
                ],
                slack,
            ),
            "8f742231b10e8888abcd99yyyzzz85a5",
            1_531_420_618,
        ),
        (
            of("standard-webhooks"),
            Sent::new(
                &[
                    ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
                    ("webhook-timestamp", "1614265330"),
                    ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
                ],
                r#"{"test": 2432232314}"#,
            ),
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            1_614_265_330,
        ),
        (
            of("svix"),
            Sent::new(
                &[
                    ("svix-id", "msg_loFOjxBNrRLzqYUf"),
                    ("svix-timestamp", "1731705121"),
                    ("svix-signature", "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0="),
                ],
                r#"{"event_type":"ping","data":{"success":true}}"#,
            ),
            "whsec_plJ3nmyCDGBKInavdOK15jsl",
            1_731_705_121,
        ),
        (
            // Shopify publishes none; this one is from the tests of SQLPage's `hmac`.
            of("shopify"),
            Sent::new(
                &[("X-Shopify-Hmac-Sha256", "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw=")],
                r#"{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}"#,
            ),
            "test-webhook-secret",
            NOW,
        ),
    ]
}

/// The published requests, and one of those that have none published.
fn all() -> Vec<(WebhookAuth, Sent, &'static str, u64)> {
    let mut all = published();
    all.push((of("stripe"), stripe(NOW, &[&stripe_signature(NOW, "whsec_1")]), "whsec_1", NOW));
    let described = r#"{"type":"signature","header":"X-Signature","payload":"{method} {path} {id} {timestamp}.{body}",
        "timestampHeader":"X-Time","idHeader":"X-Id","algorithm":"sha512","prefix":"v1="}"#;
    let signature = hex(Algorithm::Sha512, "key", &["POST /hooks/a 7 1700000000.", BODY]);
    let headers = [("X-Signature", &*format!("v1={signature}")), ("X-Time", "1700000000"), ("X-Id", "7")];
    all.push((auth(described), Sent::new(&headers, BODY), "key", NOW));
    all
}

fn stripe_signature(timestamp: u64, secret: &str) -> String {
    hex(Algorithm::Sha256, secret, &[&timestamp.to_string(), ".", BODY])
}

fn stripe(timestamp: u64, signatures: &[&str]) -> Sent {
    let items: String = signatures.iter().map(|signature| format!(",v1={signature}")).collect();
    Sent::new(&[("Stripe-Signature", &format!("t={timestamp}{items}"))], BODY)
}

#[test]
fn accepts_what_providers_have_published() {
    for (auth, sent, secret, seconds) in all() {
        assert_eq!(sent.reason(&auth, &[secret], seconds * 1000), "ok", "{auth:?}");
        assert_eq!(
            sent.reason(&auth, &["whsec_b3RoZXI=", secret], seconds * 1000),
            "ok",
            "{auth:?}: the second secret"
        );
        assert_eq!(sent.reason(&auth, &["whsec_b3RoZXI="], seconds * 1000), "wrong-signature", "{auth:?}");
        assert_eq!(sent.reason(&auth, &["", " "], seconds * 1000), "no-secret", "{auth:?}");
        assert_eq!(sent.reason(&auth, &[], seconds * 1000), "no-secret", "{auth:?}");
    }
}

#[test]
fn a_signed_timestamp_may_be_off_by_so_much_both_ways() {
    for (mut auth, sent, secret, seconds) in all() {
        let is_timed = auth.provider.is_none_or(|provider| provider.signs_timestamp());
        for tolerance in if is_timed { vec![None, Some(10)] } else { vec![None] } {
            auth.tolerance_seconds = tolerance;
            let seconds_off = tolerance.unwrap_or(300);
            let at = |ms| sent.reason(&auth, &[secret], ms);
            let expected = |reason| if is_timed { reason } else { "ok" };
            assert_eq!(at((seconds + seconds_off) * 1000 + 999), "ok");
            assert_eq!(at((seconds - seconds_off) * 1000), "ok");
            assert_eq!(at((seconds + seconds_off + 1) * 1000), expected("too-old"));
            assert_eq!(at((seconds - seconds_off) * 1000 - 1), expected("too-new"));
            assert_eq!((at(0), at(u64::MAX)), (expected("too-new"), expected("too-old")));
        }
    }
}

#[test]
fn a_header_that_decides_comes_once() {
    for (auth, sent, secret, seconds) in all() {
        for at in 0..sent.headers.len() {
            let (name, value) = sent.headers[at].clone();
            let now = seconds * 1000;
            let doubled = sent.clone().with(&name.to_uppercase(), &value);
            assert_eq!(doubled.reason(&auth, &[secret], now), "ambiguous-header", "{name}");
            let mut without = sent.clone();
            without.headers.remove(at);
            assert!(without.reason(&auth, &[secret], now).starts_with("missing-"), "{name}");
            without = without.with(&name, "");
            assert!(without.reason(&auth, &[secret], now).starts_with("missing-"), "{name}");
            without.headers.pop();
            without = without.with(&name, "?");
            assert_ne!(without.reason(&auth, &[secret], now), "ok", "{name}");
        }
    }
}

#[test]
fn stripe_rolls_secrets() {
    let (old, new) = (stripe_signature(NOW, "whsec_old"), stripe_signature(NOW, "whsec_new"));
    let forged = "0".repeat(64);
    let reason = |sent: Sent, secrets: &[&str]| sent.reason(&of("stripe"), secrets, NOW * 1000);
    for signatures in [[&*old, &*new], [&new, &old], [&forged, &new], [&new, &forged], ["garbage", &new], [&new, ""]] {
        assert_eq!(reason(stripe(NOW, &signatures), &["whsec_new"]), "ok");
    }
    assert_eq!(reason(stripe(NOW, &[&old]), &["whsec_new", "whsec_old"]), "ok");
    assert_eq!(reason(stripe(NOW, &[&forged, &old]), &["whsec_new"]), "wrong-signature");
    assert_eq!(reason(stripe(NOW, &["garbage", &new[1..]]), &["whsec_new"]), "malformed-signature");
    assert_eq!(reason(stripe(NOW, &[]), &["whsec_new"]), "missing-signature");
}

#[test]
fn stripe_headers_that_are_not_as_they_should_be() {
    let signature = stripe_signature(NOW, "whsec_1");
    for (header, expected) in [
        (format!("v1={signature},t={NOW}"), "ok"),
        (format!("t={NOW},v0=1,v1={signature},,x"), "ok"),
        (format!("t={NOW},v0={signature}"), "missing-signature"),
        (format!("t={NOW}, v1={signature}"), "missing-signature"),
        (format!("t={NOW},v1={}", signature.to_uppercase()), "malformed-signature"),
        (format!("t={NOW},v1={signature}=1"), "malformed-signature"),
        (format!("t={NOW},v1={signature} "), "malformed-signature"),
        (format!("v1={signature}"), "missing-timestamp"),
        (format!("t={NOW},t={NOW},v1={signature}"), "malformed-timestamp"),
        (format!("t=0{NOW},v1={signature}"), "malformed-timestamp"),
        (format!("t=+{NOW},v1={signature}"), "malformed-timestamp"),
        (format!("t={NOW}000000000000,v1={signature}"), "malformed-timestamp"),
        (format!("t=,v1={signature}"), "malformed-timestamp"),
        (format!("t={},v1={signature}", NOW + 1), "wrong-signature"),
        ("?".into(), "missing-timestamp"),
    ] {
        let sent = Sent::new(&[("Stripe-Signature", &header)], BODY);
        assert_eq!(sent.reason(&of("stripe"), &["whsec_1"], NOW * 1000), expected, "{header}");
    }
}

#[test]
fn standard_webhooks_takes_one_of_many_signatures_and_its_own_version() {
    let (auth, sent, secret, seconds) = published().remove(2);
    let signature = sent.headers[2].1.clone();
    let forged = format!("v1,{}=", "A".repeat(43));
    let reason = |header: &str, secret: &str| {
        let mut sent = sent.clone();
        sent.headers[2].1 = header.into();
        sent.reason(&auth, &[secret], seconds * 1000)
    };
    for header in [
        format!("{signature} {forged}"),
        format!("{forged} {signature}"),
        format!("v1a,AAAA {signature}"),
        format!("v1 v1, {signature}"),
    ] {
        assert_eq!(reason(&header, secret), "ok", "{header}");
    }
    assert_eq!(reason(&signature, &secret["whsec_".len()..]), "ok", "the bare secret");
    for (header, expected) in [
        (forged.clone(), "wrong-signature"),
        (signature.replace("v1,", "v2,"), "missing-signature"),
        (signature.replace("v1,", "v1a,"), "missing-signature"),
        (signature.replace('=', ""), "malformed-signature"),
        (format!("{signature},x"), "malformed-signature"),
        (signature.replace(',', ", "), "malformed-signature"),
    ] {
        assert_eq!(reason(&header, secret), expected, "{header}");
    }
}

#[test]
fn an_id_of_standard_webhooks_can_not_be_shifted() {
    let (auth, mut sent, secret, seconds) = published().remove(2);
    // What is signed stays the same: the id has swallowed the timestamp.
    sent.headers[0].1 = "msg.1".into();
    assert_eq!(sent.reason(&auth, &[secret], seconds * 1000), "malformed-id");
}

#[test]
fn repetitions_have_the_same_key() {
    let delivery = |at: usize| {
        let (auth, sent, secret, seconds) = all().remove(at);
        match sent.with("X-GitHub-Delivery", "72d3162e").with("X-Shopify-Webhook-Id", "b54557e4").verdict(
            &auth,
            &[secret],
            seconds * 1000,
        ) {
            Verdict::Accepted(Delivery { id, key }) => (id.unwrap_or_default(), key.unwrap_or_default()),
            Verdict::Rejected { reason } => panic!("{reason}"),
        }
    };
    let digest = |text: &str| format!("digest:{}", mac::digest_text(&[text.as_bytes()]));
    assert_eq!(delivery(0), ("72d3162e".into(), digest("Hello, World!")));
    let slack = String::from_utf8(published().remove(1).1.body).unwrap();
    assert_eq!(delivery(1), (String::new(), digest(&format!("1531420618.{slack}"))));
    assert_eq!(delivery(2), ("msg_p5jXN8AQM9LWM0D4loKWxJek".into(), "id:msg_p5jXN8AQM9LWM0D4loKWxJek".into()));
    assert_eq!(delivery(3), ("msg_loFOjxBNrRLzqYUf".into(), "id:msg_loFOjxBNrRLzqYUf".into()));
    let shopify = String::from_utf8(published().remove(4).1.body).unwrap();
    assert_eq!(delivery(4), ("b54557e4".into(), digest(&shopify)));
    assert_eq!(delivery(5), ("evt_1".into(), "id:evt_1".into()));
    assert_eq!(delivery(6), ("7".into(), "id:7".into()));
}

#[test]
fn what_sends_json_sends_a_body() {
    for provider in ["stripe", "github", "shopify"] {
        let sent = Sent::new(&[], "");
        assert_eq!(sent.reason(&of(provider), &["whsec_1"], NOW * 1000), "missing-body");
    }
}

proptest! {
    /// Of what is signed or signs nothing can be changed, and nothing else matters.
    #[test]
    fn any_changed_byte_is_rejected(which in 0..7_usize, at: prop::sample::Index, flip in 1..=255_u8) {
        let (auth, sent, secret, seconds) = all().remove(which);
        let mut changed = sent.clone();
        let at_byte = at.index(changed.body.len());
        changed.body[at_byte] ^= flip;
        prop_assert_eq!(changed.reason(&auth, &[secret], seconds * 1000), "wrong-signature");
        for header in 0..sent.headers.len() {
            let mut changed = sent.clone();
            let value = &mut changed.headers[header].1;
            let mut bytes = value.clone().into_bytes();
            let at_byte = at.index(bytes.len());
            // Stays ASCII, so that it stays a text.
            bytes[at_byte] ^= (flip & 0x7f).max(1);
            *value = String::from_utf8(bytes).unwrap();
            prop_assert_ne!(changed.reason(&auth, &[secret], seconds * 1000), "ok", "{}", sent.headers[header].0);
        }
        let mut cut = sent.clone();
        cut.body.truncate(at.index(sent.body.len()));
        prop_assert_ne!(cut.reason(&auth, &[secret], seconds * 1000), "ok");
    }

    #[test]
    fn other_headers_and_their_order_change_nothing(
        which in 0..7_usize,
        others in prop::collection::vec(("[A-Za-z-]{1,12}", ".{0,20}"), 0..6),
        order: prop::sample::Index,
        upper: bool,
    ) {
        let (auth, sent, secret, seconds) = all().remove(which);
        let expected = sent.verdict(&auth, &[secret], seconds * 1000);
        let is_own = |name: &str| auth.kept_headers().contains(&name.to_ascii_lowercase());
        let mut mixed = sent.clone();
        mixed.headers.extend(others.into_iter().filter(|(name, _)| !is_own(name)));
        let by = order.index(mixed.headers.len());
        mixed.headers.rotate_left(by);
        for (name, _) in &mut mixed.headers {
            *name = if upper { name.to_uppercase() } else { name.to_lowercase() };
        }
        prop_assert_eq!(mixed.verdict(&auth, &[secret], seconds * 1000), expected);
    }
}
