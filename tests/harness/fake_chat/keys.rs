//! RSA keys made for one run of the tests, and the checks of what they sign.

use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

/// The one scope that lets an app post.
pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/chat.bot";

pub(super) struct Key {
    /// The private half, PKCS#8.
    pub(super) pem: String,
    public: Vec<u8>,
}

/// The key that the server accepts.
pub(super) fn own() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(generate)
}

/// A key of the same account that it does not.
pub(super) fn revoked() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(generate)
}

fn generate() -> Key {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let text = base64(der.as_ref());
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
    let pem = format!("-----BEGIN {0}-----\n{1}\n-----END {0}-----\n", "PRIVATE KEY", lines.join("\n"));
    Key { pem, public: pair.public_key().as_ref().to_vec() }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = char::from(DIGITS[(word >> (18 - 6 * i) & 63) as usize]);
            out.push(if i <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

/// The account of a JWT that `key` has signed well; `audience`: it must be for that one, else for none.
pub(super) fn verify(jwt: &str, audience: Option<&str>, key: &Key) -> Result<String, String> {
    let mut rules = Validation::new(Algorithm::RS256);
    rules.validate_aud = false;
    rules.leeway = 0;
    let key = DecodingKey::from_rsa_der(&key.public);
    let token = jsonwebtoken::decode::<Value>(jwt, &key, &rules).map_err(|e| format!("Invalid JWT: {e}"))?;
    let claims = token.claims;
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| claims[name].as_i64().ok_or(format!("no `{name}`"));
    let now = i64::try_from(jsonwebtoken::get_current_timestamp()).unwrap();
    let (issued, ends) = (number("iat")?, number("exp")?);
    if token.header.kid.as_deref() != Some("test-key-1") {
        return Err("unknown `kid`".into());
    }
    if issued > now {
        return Err("`iat` is in the future".into());
    }
    // Google's own Rust client dates a self-signed JWT 10 s back and lets it end 10 s late
    if ends - issued > if audience.is_some() { 3600 } else { 3620 } {
        return Err("lives longer than an hour".into());
    }
    if !text("scope").split(' ').any(|s| s == SCOPE) {
        return Err(format!("scope `{}`", text("scope")));
    }
    match audience {
        Some(audience) if text("aud") != audience => return Err(format!("audience `{}`", text("aud"))),
        None if text("sub") != text("iss") || !claims["aud"].is_null() => {
            return Err("subject or audience".into());
        }
        _ => {}
    }
    Ok(text("iss"))
}
