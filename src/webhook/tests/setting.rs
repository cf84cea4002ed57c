use super::*;

#[test]
fn settings_cross_as_json() {
    let json = r#"{"type":"signature","header":"X-A","algorithm":"sha1","encoding":"base64","prefix":"a=","payload":"{timestamp}{body}","timestampHeader":"X-T","idHeader":"X-I","toleranceSeconds":5,"allow":["::1"],"trustedProxies":2,"secretRef":"a"}"#;
    assert_eq!(serde_json::to_string(&auth(json)).unwrap(), json);
    assert_eq!(serde_json::to_string(&auth(r#"{"type":"custom"}"#)).unwrap(), r#"{"type":"custom"}"#);
    for provider in ["stripe", "github", "slack", "standard-webhooks", "svix", "shopify"] {
        let json = format!(r#"{{"type":"signature","provider":"{provider}"}}"#);
        assert_eq!(serde_json::to_string(&auth(&json)).unwrap(), json);
        assert_eq!(auth(&json).provider.map(Provider::name), Some(provider));
    }
    for wrong in [
        "{}",
        r#"{"type":"hmac"}"#,
        r#"{"type":"custom","secret":"x"}"#,
        r#"{"type":"custom","trustedProxies":-1}"#,
        r#"{"type":"signature","provider":"paypal"}"#,
        r#"{"type":"signature","algorithm":"md5"}"#,
    ] {
        assert!(serde_json::from_str::<WebhookAuth>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn settings_that_can_not_work_say_why_and_accept_nothing() {
    for (json, words) in [
        (r#"{"type":"signature"}"#, "needs a provider"),
        (r#"{"type":"signature","provider":"github","algorithm":"sha1"}"#, "takes no algorithm"),
        (r#"{"type":"signature","provider":"stripe","header":"X"}"#, "\"stripe\" takes no header"),
        (r#"{"type":"signature","provider":"shopify","toleranceSeconds":5}"#, "takes no toleranceSeconds"),
        (
            r#"{"type":"signature","provider":"stripe","idHeader":"X","timestampHeader":"Y"}"#,
            "takes no timestampHeader",
        ),
        (r#"{"type":"signature","header":"X","query":"x"}"#, "takes no query"),
        (r#"{"type":"bearer","provider":"stripe"}"#, "\"bearer\" takes no provider"),
        (r#"{"type":"basic","payload":"{body}"}"#, "takes no payload"),
        (r#"{"type":"ip","allow":["::1"],"secretRef":"a"}"#, "takes no secretRef"),
        (r#"{"type":"custom","toleranceSeconds":5}"#, "takes no toleranceSeconds"),
        (r#"{"type":"apikey","header":"X","query":"x"}"#, "one of the two"),
        (r#"{"type":"apikey","query":""}"#, "query is empty"),
        (r#"{"type":"bearer","secretRef":""}"#, "secretRef is empty"),
        (r#"{"type":"ip"}"#, "needs allow"),
        (r#"{"type":"ip","allow":[]}"#, "allow is empty"),
        (r#"{"type":"ip","allow":["::1","10.0.0.0/33"]}"#, "\"10.0.0.0/33\""),
        (r#"{"type":"custom","trustedProxies":1}"#, "without allow"),
        (r#"{"type":"signature","header":"X Y"}"#, "header is \"X Y\""),
        (r#"{"type":"signature","header":""}"#, "header is \"\""),
        (r#"{"type":"bearer","idHeader":"é"}"#, "idHeader is \"é\""),
        (r#"{"type":"bearer","idHeader":"Authorization"}"#, "holds credentials"),
        (r#"{"type":"apikey","header":"X-Key","idHeader":"x-key"}"#, "something else already"),
        (r#"{"type":"apikey","idHeader":"x-api-key"}"#, "holds credentials"),
        (r#"{"type":"signature","header":"X","idHeader":"x"}"#, "something else already"),
        (r#"{"type":"signature","header":"X","payload":"{id}"}"#, "no {body}"),
        (r#"{"type":"signature","header":"X","payload":"{time}{body}"}"#, "\"time\""),
        (r#"{"type":"signature","header":"X","payload":"{timestamp}.{body}"}"#, "no timestampHeader"),
        (r#"{"type":"signature","header":"X","payload":"{id}.{body}"}"#, "no idHeader"),
        (r#"{"type":"signature","header":"X","timestampHeader":"Y"}"#, "isn't signed can be changed"),
        (r#"{"type":"signature","header":"X","toleranceSeconds":5}"#, "no timestamp is signed"),
        (r#"{"type":"signature","provider":"stripe","toleranceSeconds":0}"#, "expected 1 to 86400"),
        (r#"{"type":"signature","provider":"slack","toleranceSeconds":86401}"#, "expected 1 to 86400"),
    ] {
        let auth: WebhookAuth = serde_json::from_str(json).unwrap();
        let problems = auth.problems();
        assert!(problems.iter().any(|problem| problem.contains(words)), "{json}: {problems:?}");
        assert!(problems.iter().all(|problem| problem.ends_with('.')), "{problems:?}");
        let headers = [("authorization", "Bearer user:a"), ("x-api-key", "user:a")];
        assert_eq!(Sent::new(&headers, "").reason(&auth, &["user:a"], 0), "unusable-auth", "{json}");
    }
    let both: WebhookAuth = serde_json::from_str(r#"{"type":"custom","provider":"svix","allow":["x"]}"#).unwrap();
    assert_eq!(both.problems().len(), 2, "{:?}", both.problems());
}

#[test]
fn secrets_that_can_not_work_say_why_and_are_never_quoted() {
    for (json, secret, word) in [
        (r#"{"type":"bearer"}"#, "", "empty"),
        (r#"{"type":"signature","provider":"github"}"#, " \n", "empty"),
        (r#"{"type":"signature","provider":"svix"}"#, "whsec_s3cr*t", "Base64"),
        (r#"{"type":"signature","provider":"svix"}"#, "whsec_", "Base64"),
        (r#"{"type":"signature","provider":"standard-webhooks"}"#, "s3cr t", "Base64"),
        (r#"{"type":"signature","provider":"stripe"}"#, "whsec_s3cret\n", "whitespace"),
        (r#"{"type":"basic"}"#, "s3cret", "colon"),
        (r#"{"type":"bearer"}"#, "s3 cret", "header"),
        (r#"{"type":"apikey"}"#, "s3cré", "header"),
    ] {
        let problem = auth(json).secret_problems(secret).unwrap();
        assert!(problem.contains(word) && !problem.contains("s3c"), "{problem}");
        assert_eq!(Sent::new(&[], "{}").reason(&auth(json), &[secret], 0), "no-secret");
    }
    for (json, secret) in [
        (r#"{"type":"ip","allow":["::1"]}"#, ""),
        (r#"{"type":"custom"}"#, ""),
        (r#"{"type":"signature","provider":"github"}"#, "any thing\u{e9}"),
        (r#"{"type":"signature","provider":"svix"}"#, "whsec_YQ"),
        (r#"{"type":"signature","provider":"stripe"}"#, "whsec_no*base64"),
        (r#"{"type":"apikey","query":"key"}"#, "é é"),
        (r#"{"type":"basic"}"#, ":"),
    ] {
        assert_eq!(auth(json).secret_problems(secret), None, "{json}");
    }
}

#[test]
fn credentials_are_never_kept() {
    let kept = |json: &str| (auth(json).kept_headers().join(" "), auth(json).can_check_again());
    for (json, expected, again) in [
        (r#"{"type":"signature","provider":"stripe"}"#, "content-type stripe-signature", true),
        (r#"{"type":"signature","provider":"github"}"#, "content-type x-github-delivery x-hub-signature-256", true),
        (
            r#"{"type":"signature","header":"X-S","idHeader":"X-I","payload":"{timestamp}{body}","timestampHeader":"X-T"}"#,
            "content-type x-i x-s x-t",
            true,
        ),
        (r#"{"type":"signature","header":"Authorization","prefix":"HMAC "}"#, "content-type", false),
        (r#"{"type":"bearer","idHeader":"X-I"}"#, "content-type x-i", false),
        (r#"{"type":"apikey","header":"X-Key"}"#, "content-type", false),
        (r#"{"type":"apikey","query":"key"}"#, "content-type", false),
        (r#"{"type":"basic"}"#, "content-type", false),
        (r#"{"type":"ip","allow":["::1"]}"#, "content-type", false),
        (r#"{"type":"custom"}"#, "content-type", false),
    ] {
        assert_eq!(kept(json), (expected.to_owned(), again), "{json}");
    }
}

#[test]
fn a_described_signature_says_what_repeats() {
    let key = |json: &str, headers: &[(&str, &str)]| match Sent::new(headers, "b").verdict(&auth(json), &["key"], 7_000)
    {
        Verdict::Accepted(delivery) => (delivery.id.unwrap_or_default(), delivery.key.unwrap_or_default()),
        Verdict::Rejected { reason } => panic!("{json}: {reason}"),
    };
    let signed = |parts: &[&str]| hex(Algorithm::Sha256, "key", parts);
    let plain = r#"{"type":"signature","header":"X-S","idHeader":"X-I"}"#;
    assert_eq!(key(plain, &[("X-S", &signed(&["b"])), ("X-I", "1")]), ("1".into(), String::new()));
    let timed = r#"{"type":"signature","header":"X-S","payload":"{timestamp}{body}","timestampHeader":"X-T"}"#;
    let digest = format!("digest:{}", mac::digest_text(&[b"7.b"]));
    assert_eq!(key(timed, &[("X-S", &signed(&["7", "b"])), ("X-T", "7")]), (String::new(), digest));
    let sha1 = r#"{"type":"signature","header":"X-S","algorithm":"sha1","prefix":"sha1="}"#;
    let signature = format!("sha1={}", hex(Algorithm::Sha1, "key", &["b"]));
    assert_eq!(key(sha1, &[("X-S", &signature)]), (String::new(), String::new()));
    let base64 = r#"{"type":"signature","header":"Authorization","prefix":"HMAC ","encoding":"base64"}"#;
    let reason = |value: &str| Sent::new(&[("authorization", value)], "b").reason(&auth(base64), &["key"], 0);
    assert_eq!(reason("HMAC tStwCCqFv2wlfPRGAGt7zn7mI9EKhZ+sDCiCOyvf1zo="), "wrong-signature");
    assert_eq!(reason("hmac tStwCCqFv2wlfPRGAGt7zn7mI9EKhZ+sDCiCOyvf1zo="), "malformed-signature");
    assert_eq!(reason("HMAC tStw"), "malformed-signature");
}
