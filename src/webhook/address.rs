//! Where a request comes from.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net};

use super::{Reason, WebhookAuth, WebhookRequest, header};

/// Whether a request comes from where it may come from.
pub(super) fn check(auth: &WebhookAuth, request: &WebhookRequest<'_>) -> Result<(), Reason> {
    let Some(allow) = &auth.allow else { return Ok(()) };
    let client = client(auth, request).ok_or(Reason::AddressNotAllowed)?;
    match allow.iter().filter_map(|text| network(text)).any(|network| network.contains(&client)) {
        true => Ok(()),
        false => Err(Reason::AddressNotAllowed),
    }
}

/// An address or a network. One that is written as IPv6 but means IPv4 is IPv4.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None => longest,
    };
    match (address, address.to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(mapped)) => Ipv4Net::new(mapped, u8::checked_sub(prefix, 96)?).ok().map(IpNet::V4),
        _ => IpNet::new(address, prefix).ok(),
    }
}

/// The address that counts: the socket's peer, or what the outermost of one's own proxies has seen.
fn client(auth: &WebhookAuth, request: &WebhookRequest<'_>) -> Option<IpAddr> {
    let proxies = usize::from(auth.trusted_proxies.unwrap_or(0));
    if proxies == 0 {
        // An address of one's own link carries the name of the interface.
        let peer = request.ip?.split('%').next()?;
        return Some(peer.parse::<IpAddr>().ok()?.to_canonical());
    }
    // Each proxy appends whom it was called by, so what one's own have written stands at the end. What stands
    // before it came from outside and may be anything.
    let hops: Vec<&str> = header::all(request, "x-forwarded-for").flat_map(|value| value.split(',')).collect();
    let hop = hops.len().checked_sub(proxies).and_then(|at| hops.get(at))?;
    forwarded(hop.trim())
}

/// An address as proxies write it, some with a port, some with brackets.
fn forwarded(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let address = text.parse().ok().or_else(with_port).or_else(in_brackets);
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_allowed(auth: &str, ip: Option<&str>, forwarded: &[&str]) -> bool {
        let auth: WebhookAuth = serde_json::from_str(auth).unwrap();
        assert_eq!(auth.problems(), [""; 0]);
        let headers: Vec<(String, String)> =
            forwarded.iter().map(|value| ("X-FORWARDED-For".into(), (*value).into())).collect();
        let request = WebhookRequest { method: "POST", path: "/", query: "", headers: &headers, body: b"", ip };
        check(&auth, &request).is_ok()
    }

    #[test]
    fn the_peer_counts() {
        let auth =
            r#"{"type":"ip","allow":["192.0.2.0/24","2001:db8::/32","::1","::ffff:198.51.100.0/120","fe80::/10"]}"#;
        for ip in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::5", "::1", "198.51.100.9", "fe80::1%eth0"] {
            assert!(is_allowed(auth, Some(ip), &[]), "{ip}");
        }
        for ip in ["192.0.3.7", "::ffff:192.0.3.7", "2001:db9::5", "::2", "198.51.101.9", "", "localhost", "192.0.2.07"]
        {
            assert!(!is_allowed(auth, Some(ip), &[]), "{ip}");
        }
        assert!(!is_allowed(auth, None, &[]));
        assert!(!is_allowed(auth, Some("203.0.113.1"), &["192.0.2.7"]), "nobody trusts the header");
    }

    #[test]
    fn proxies_of_ones_own_say_who_called_them() {
        let auth =
            |proxies: u8| format!(r#"{{"type":"ip","allow":["192.0.2.7","2001:db8::5"],"trustedProxies":{proxies}}}"#);
        let peer = Some("10.0.0.1");
        for (proxies, forwarded) in [
            (1, &["192.0.2.7"][..]),
            (1, &["203.0.113.1, oops,192.0.2.7"]),
            (1, &["203.0.113.1", "192.0.2.7"]),
            (2, &["203.0.113.1,192.0.2.7 , 10.0.0.2"]),
            (2, &["203.0.113.1,192.0.2.7", "10.0.0.2"]),
            (1, &["192.0.2.7:4711"]),
            (1, &["[2001:db8::5]:4711"]),
            (1, &["[2001:db8::5]"]),
            (1, &["2001:db8::5"]),
            (1, &["::ffff:192.0.2.7"]),
        ] {
            assert!(is_allowed(&auth(proxies), peer, forwarded), "{proxies} {forwarded:?}");
        }
        for (proxies, forwarded) in [
            (1, &[][..]),
            (1, &[""]),
            (1, &["192.0.2.7, "]),
            (1, &["192.0.2.7, 203.0.113.1"]),
            (2, &["192.0.2.7"]),
            (1, &["192.0.2.7:port"]),
            (1, &["[192.0.2.7]"]),
            (1, &["\"192.0.2.7\""]),
            (3, &["192.0.2.7, 10.0.0.2"]),
            (255, &["192.0.2.7"]),
        ] {
            assert!(!is_allowed(&auth(proxies), peer, forwarded), "{proxies} {forwarded:?}");
        }
        assert!(!is_allowed(&auth(1), Some("192.0.2.7"), &[]), "the peer is a proxy and no sender");
    }

    #[test]
    fn reads_addresses_and_networks() {
        for (text, expected) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3/8", Some("10.1.2.3/8")),
            ("10.0.0.1", Some("10.0.0.1/32")),
            ("::", Some("::/128")),
            ("::/0", Some("::/0")),
            ("::ffff:10.0.0.0/104", Some("10.0.0.0/8")),
            ("::ffff:10.0.0.0/90", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0/", None),
            ("10.0.0/8", None),
            ("010.0.0.0/8", None),
            ("::1/129", None),
            ("example.org", None),
            ("", None),
        ] {
            assert_eq!(network(text).map(|network| network.to_string()).as_deref(), expected, "{text}");
        }
    }
}
