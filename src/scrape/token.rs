//! What a peer must know to see the page.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

/// A bearer token (RFC 6750): visible ASCII, at least 8 characters. It is never shown.
#[derive(Clone)]
pub(crate) struct Token(Box<str>);

/// The fewest characters a token may have.
const SHORTEST: usize = 8;

impl Token {
    /// Whether this is the token. How long that takes says nothing about how much of it is right.
    #[cfg_attr(not(test), expect(dead_code, reason = "the listener asks for no token yet"))]
    pub(crate) fn is(&self, offered: &[u8]) -> bool {
        let token = self.0.as_bytes();
        let difference = token.iter().enumerate().fold(0, |difference, (index, byte)| {
            black_box(difference | (byte ^ offered.get(index).copied().unwrap_or_default()))
        });
        difference == 0 && token.len() == offered.len()
    }
}

/// Without the blanks around it, such as the end of a line in a file.
impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let token = text.trim();
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err("the token has characters that are not visible ASCII".to_owned())
        } else if token.len() < SHORTEST {
            Err(format!("the token is too short: it needs {SHORTEST} characters at least"))
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
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token: Token = " s3cret-token\n".parse().expect("a token");
        assert!(token.is(b"s3cret-token"));
        for wrong in
            ["", "s3cret-toke", "s3cret-token1", "S3cret-token", "s3cret-tokem", " s3cret-token", "s3cret-token\0"]
        {
            assert!(!token.is(wrong.as_bytes()), "{wrong:?}");
        }
        assert!(!"s3cret-x".parse::<Token>().expect("a token").is(b"s3cret-\0"));
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
