//! The causes of errors.

use std::error::Error;

/// Returns the last error in the chain of sources. This is mostly the error of the system; the errors around it often only say
/// that sending failed.
pub(crate) fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_last_source_is_the_innermost() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(innermost(&refused).to_string(), refused.to_string());
        #[derive(Debug)]
        struct Sending(io::Error);
        impl std::fmt::Display for Sending {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("sending failed")
            }
        }
        impl Error for Sending {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let text = refused.to_string();
        assert_eq!(innermost(&Sending(refused)).to_string(), text);
    }
}
