//! The bearer token of the page.

use std::fmt;

use subtle::ConstantTimeEq;

/// What a scraper has to show; its text is in no output.
#[derive(Clone)]
pub(crate) struct Token(Box<[u8]>);

impl Token {
    pub(crate) fn new(token: &str) -> Self {
        Self(token.as_bytes().into())
    }

    /// Whether this `Authorization` header shows the token, compared in a time that tells nothing but its length.
    pub(super) fn is_shown_by(&self, authorization: &[u8]) -> bool {
        let Some((scheme, shown)) = authorization.split_at_checked("Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && !self.0.is_empty() && bool::from(self.0.ct_eq(shown.trim_ascii()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn only_the_token_is_accepted() {
        let token = Token::new("s3cret");
        for shown in ["Bearer s3cret", "bearer s3cret", "Bearer   s3cret "] {
            assert!(token.is_shown_by(shown.as_bytes()), "{shown}");
        }
        for shown in
            ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cretx", "Bearer S3cret", "Basic s3cret", "s3cret"]
        {
            assert!(!token.is_shown_by(shown.as_bytes()), "{shown}");
        }
        assert!(!Token::new("").is_shown_by(b"Bearer "));
    }

    #[test]
    fn its_text_is_not_printed() {
        assert_eq!(format!("{:?}", Token::new("s3cret")), "Token { .. }");
    }
}
