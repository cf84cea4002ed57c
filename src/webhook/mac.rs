//! MACs and digests, how they are written, and how they are compared.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::{Choice, ConstantTimeEq};

use super::{Algorithm, Encoding};

impl Algorithm {
    /// The bytes of a MAC.
    pub(super) fn size(self) -> usize {
        match self {
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// The MAC of these parts, one after the other.
    pub(super) fn mac(self, key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
        match self {
            Algorithm::Sha1 => mac::<Hmac<Sha1>>(key, parts),
            Algorithm::Sha256 => mac::<Hmac<Sha256>>(key, parts),
            Algorithm::Sha512 => mac::<Hmac<Sha512>>(key, parts),
        }
    }
}

/// HMAC takes a key of any length, so there always is one.
fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Option<Vec<u8>> {
    let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac.finalize().into_bytes().to_vec())
}

impl Encoding {
    /// The bytes that are written so, and in no other way: each MAC has one text.
    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Encoding::Hex => from_hex(text),
            Encoding::Base64 => STANDARD.decode(text).ok(),
        }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// The SHA-256 of these parts, one after the other.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

/// The same in hex.
pub(crate) fn digest_text(parts: &[&[u8]]) -> String {
    digest(parts).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether any of these is any of those. Compares all, so that the time it takes tells nothing.
pub(super) fn any_equal<A: AsRef<[u8]>, B: AsRef<[u8]>>(these: &[A], those: &[B]) -> bool {
    let mut equal = Choice::from(0);
    for this in these {
        for that in those {
            equal |= this.as_ref().ct_eq(that.as_ref());
        }
    }
    equal.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [RFC 4231](https://www.rfc-editor.org/rfc/rfc4231), cases 1, 2, 6; and RFC 2202 for SHA-1.
    #[test]
    fn gives_the_published_macs() {
        let hex = |bytes: Option<Vec<u8>>| bytes.unwrap().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let hi = |algorithm: Algorithm| hex(algorithm.mac(&[0x0b; 20], &[b"Hi ", b"There"]));
        assert_eq!(hi(Algorithm::Sha1), "b617318655057264e28bc0b6fb378c8ef146be00");
        assert_eq!(hi(Algorithm::Sha256), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_eq!(
            hi(Algorithm::Sha512),
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
        );
        let what = Algorithm::Sha256.mac(b"Jefe", &[b"what do ya want for nothing?"]);
        assert_eq!(hex(what), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        let long = Algorithm::Sha256.mac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"]);
        assert_eq!(hex(long), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
        for algorithm in [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512] {
            assert_eq!(algorithm.mac(b"", &[]).unwrap().len(), algorithm.size());
        }
    }

    #[test]
    fn each_mac_has_one_text() {
        assert_eq!(Encoding::Hex.decode("00ff"), Some(vec![0, 255]));
        assert_eq!(Encoding::Hex.decode(""), Some(vec![]));
        for wrong in ["00FF", "0", "0g", " 00", "00\n", "0x00", "é0"] {
            assert_eq!(Encoding::Hex.decode(wrong), None, "{wrong}");
        }
        assert_eq!(Encoding::Base64.decode("AP8="), Some(vec![0, 255]));
        for wrong in ["AP8", "AP9=", "AP8==", "AP8=\n", " AP8=", "AP_8", "A"] {
            assert_eq!(Encoding::Base64.decode(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn finds_an_equal_pair_wherever_it_is() {
        let none: [&str; 0] = [];
        assert!(any_equal(&["a", "b"], &["c", "b"]) && any_equal(&["b"], &["b", "c"]));
        assert!(!any_equal(&["a"], &["b"]) && !any_equal(&["a"], &["aa"]) && !any_equal(&none, &["a"]));
    }
}
