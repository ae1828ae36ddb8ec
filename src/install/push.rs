//! The push of metrics, as the rest of the installation sees it: without the feature `otlp-metrics` its types have no values, so
//! that nothing else has to ask for the feature.

use crate::scrape;

#[cfg(feature = "otlp-metrics")]
mod compiled {
    use std::io;

    pub(crate) use crate::push::{Config, Pipeline};

    /// Starts the thread that exports what the page says.
    ///
    /// # Errors
    ///
    /// When the system gives no thread, or the certificate or the system's roots can't be read.
    pub(crate) fn start(config: Config, metrics: &super::scrape::Pipeline) -> io::Result<Pipeline> {
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

    /// No value.
    #[derive(Clone, Copy, Debug)]
    pub(crate) enum Never {}

    /// No pipeline.
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
    }

    impl fmt::Display for Never {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            match *self {}
        }
    }
}

pub(crate) use compiled::{Config, Pipeline, start};
