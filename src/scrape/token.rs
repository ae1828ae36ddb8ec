//! The bearer token of the page.

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

/// A bearer token (RFC 6750): visible ASCII, at least 8 characters. It is in no output.
#[derive(Clone)]
pub(crate) struct Token(Box<str>);

/// The fewest characters a token may have.
const MIN_LENGTH: usize = 8;

impl Token {
    /// Whether this `Authorization` header has the token. The time of the comparison depends on nothing but the length.
    pub(crate) fn is_shown_by(&self, authorization: &[u8]) -> bool {
        let Some((scheme, shown)) = authorization.split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(self.0.as_bytes().ct_eq(shown.trim_ascii()))
    }

    /// Returns the `Authorization` header that shows the token.
    #[cfg(feature = "cli")]
    pub(crate) fn to_header(&self) -> http::HeaderValue {
        let header = http::HeaderValue::from_str(&format!("Bearer {}", self.0));
        // A token is visible ASCII, which every header may have.
        let mut header = header.unwrap_or_else(|_| http::HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }
}

/// Blanks around it, such as the end of a line in a file, are left out.
impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let token = text.trim();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err("the token has characters that are not visible ASCII".to_owned())
        } else if token.len() < MIN_LENGTH {
            Err(format!("the token is too short: it needs {MIN_LENGTH} characters at least"))
        } else {
            Ok(Self(token.into()))
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    fn token(text: &str) -> Token {
        text.parse().expect("a token")
    }

    #[test]
    fn only_the_whole_token_is_accepted() {
        let token = token(" s3cret-token\n");
        for shown in ["Bearer s3cret-token", "bearer s3cret-token", "Bearer   s3cret-token "] {
            assert!(token.is_shown_by(shown.as_bytes()), "{shown}");
        }
        for shown in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer s3cret-toke",
            "Bearer s3cret-tokenx",
            "Bearer S3cret-token",
            "Bearer s3cret-token\0",
            "Basic s3cret-token",
            "s3cret-token",
        ] {
            assert!(!token.is_shown_by(shown.as_bytes()), "{shown}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn a_token_is_visible_ascii_and_not_short() {
        for text in ["", " ", "1234567", "s3cret token", "s3cret\ttoken", "s3crét-token", "s3cret-token\0"] {
            let error = text.parse::<Token>().expect_err(text);
            assert!(!error.contains("s3cr") && !error.contains("1234567"), "{error}");
        }
        assert!("12345678".parse::<Token>().is_ok() && "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~".parse::<Token>().is_ok());
    }
}
