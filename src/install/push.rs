//! The push pipeline, with or without the feature `otlp-metrics`.
//!
//! Without the feature its types have no values. So the code that uses them compiles in both cases, and needs no `cfg`.

use crate::scrape;

#[cfg(feature = "otlp-metrics")]
mod compiled {
    use std::io;

    pub(crate) use crate::push::{Config, Pipeline};

    /// Starts the thread that exports the values of the page.
    ///
    /// # Errors
    ///
    /// When the system can't create a thread, or the certificate or the system's roots can't be read.
    pub(crate) fn start(config: Config, metrics: &super::scrape::Pipeline) -> io::Result<Pipeline> {
        // The plan does not know the port that the system has chosen.
        let config = Config { listen: metrics.addr().map(|addr| addr.to_string()), ..config };
        let recorder = metrics.recorder().clone();
        Pipeline::start(config, Box::new(move || recorder.snapshot()), metrics.recorder())
    }
}

#[cfg(not(feature = "otlp-metrics"))]
mod compiled {
    use std::time::Instant;
    use std::{fmt, io};

    #[derive(Debug)]
    pub(crate) struct Config {
        pub(crate) otlp: Never,
    }

    /// A type without values.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Never {}

    /// A pipeline that can't exist.
    pub(crate) type Pipeline = Never;

    pub(crate) fn start(config: Config, _: &super::scrape::Pipeline) -> io::Result<Pipeline> {
        match config.otlp {}
    }

    impl Never {
        pub(crate) fn flush(&self) -> Self {
            *self
        }

        pub(crate) fn wait(self, _: Instant) -> Result<(), String> {
            match self {}
        }

        pub(crate) fn stop_by(self, _: Instant) {
            match self {}
        }
    }

    impl fmt::Display for Never {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            match *self {}
        }
    }
}

pub(crate) use compiled::{Config, Pipeline, start};
