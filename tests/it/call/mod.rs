//! Calls: what is recorded of one, however it is made and however it ends.

#[cfg(feature = "testing")]
mod attempts;
mod client_error;
#[cfg(feature = "testing")]
mod finish;
mod guard;
#[cfg(feature = "testing")]
mod http_stream;
#[cfg(feature = "install")]
mod installed;
#[cfg(feature = "testing")]
mod nesting;
#[cfg(feature = "testing")]
mod observe;
#[cfg(feature = "testing")]
mod properties;
#[cfg(feature = "install")]
mod span;
#[cfg(feature = "testing")]
mod span_properties;
#[cfg(feature = "testing")]
mod stream;
