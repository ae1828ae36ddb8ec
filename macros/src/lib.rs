//! Implementation detail of the `botticelli_obs` crate.
