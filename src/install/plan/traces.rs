//! The settings of the spans.

use super::{Resolver, Shared};
use crate::install::builder::TraceExporter;
use crate::install::error::InstallError;
use crate::install::setting::Setting;
use crate::spans::{self, Backend, Batch, Limits, Propagator, Sampler};

impl Resolver<'_> {
    pub(super) fn traces(&self, shared: &Shared) -> Result<Option<spans::Config>, InstallError> {
        let (requested_by, exporters) = self.trace_exporters()?;
        // Checked even if nothing is exported, so that an error shows before someone turns the export on.
        let filter = match &self.builder.span_filter {
            Some(filter) => Setting::new("with_span_filter", filter).directives()?,
            None => {
                self.variable("BOTTICELLI_OBS_SPAN_FILTER", Setting::directives)?.unwrap_or_else(|| "info".to_owned())
            }
        };
        let sampler = self.sampler()?;
        let (limits, batch, propagators) = (self.limits()?, self.batch()?, self.propagators()?);
        let (captures_content, aliases) = (self.captures_content()?, self.span_aliases()?);
        let otlp = if exporters.contains(&TraceExporter::Otlp) { self.otlp(requested_by)? } else { None };
        let backend = match (otlp, exporters.contains(&TraceExporter::Stdout)) {
            (None, false) => return Ok(None),
            (None, true) => Backend::Stdout,
            (Some(otlp), false) => Backend::Otlp(otlp),
            (Some(otlp), true) => Backend::OtlpAndStdout(otlp),
        };
        let resource = shared.resource.clone();
        Ok(Some(spans::Config {
            backend,
            filter,
            sampler,
            limits,
            batch,
            propagators,
            captures_content,
            aliases,
            resource,
        }))
    }

    /// Resolves the exporters, of which there may be none. Returns them with the name of the setting that selects them.
    fn trace_exporters(&self) -> Result<(&'static str, Vec<TraceExporter>), InstallError> {
        /// The words of the OpenTelemetry specification; `none` is among those of every list.
        const SPECIFIED: &[(&str, TraceExporter)] =
            &[("otlp", TraceExporter::Otlp), ("console", TraceExporter::Stdout)];
        /// The words of `OTEL_EXPORTER`, which is not a variable of the specification.
        const OWN: &[(&str, TraceExporter)] = &[("otlp", TraceExporter::Otlp), ("stdout", TraceExporter::Stdout)];
        if let Some(exporter) = self.builder.trace_exporter {
            return Ok(("with_trace_exporter", vec![exporter]));
        }
        for (name, words) in [("OTEL_TRACES_EXPORTER", SPECIFIED), ("OTEL_EXPORTER", OWN)] {
            if let Some(exporters) = self.variable(name, |setting| setting.words_or_none(words))? {
                return Ok((name, exporters));
            }
        }
        if self.builder.otlp_endpoint.is_some() {
            return Ok(("with_otlp_endpoint", vec![TraceExporter::Otlp]));
        }
        for &name in TRACES_ENDPOINTS {
            if self.environment.get(name)?.is_some() {
                return Ok((name, vec![TraceExporter::Otlp]));
            }
        }
        Ok(("default", Vec::new()))
    }

    fn sampler(&self) -> Result<Sampler, InstallError> {
        if let Some(sampler) = self.builder.sampler {
            return match sampler {
                Sampler::TraceIdRatio(ratio) | Sampler::ParentBasedTraceIdRatio(ratio)
                    if !(0.0..=1.0).contains(&ratio) =>
                {
                    let ratio = ratio.to_string();
                    Err(Setting::new("with_sampler", &ratio).invalid("not a ratio from 0.0 to 1.0"))
                }
                sampler => Ok(sampler),
            };
        }
        let argument = self.environment.setting("OTEL_TRACES_SAMPLER_ARG")?;
        let ratio = || argument.map_or(Ok(1.0), Setting::ratio);
        Ok(match self.variable("OTEL_TRACES_SAMPLER", Setting::parse)? {
            Some(Sampler::TraceIdRatio(_)) => Sampler::TraceIdRatio(ratio()?),
            Some(Sampler::ParentBasedTraceIdRatio(_)) => Sampler::ParentBasedTraceIdRatio(ratio()?),
            Some(sampler) => sampler,
            None => Sampler::ParentBasedAlwaysOn,
        })
    }

    fn limits(&self) -> Result<Limits, InstallError> {
        let default = Limits::default();
        let limit = |names: &[&'static str], default| Ok(self.first(names, Setting::limit)?.unwrap_or(default));
        let lengths = ["OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"];
        Ok(Limits {
            attributes: limit(&["OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"], default.attributes)?,
            events: limit(&["OTEL_SPAN_EVENT_COUNT_LIMIT"], default.events)?,
            event_attributes: limit(&["OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"], default.event_attributes)?,
            links: limit(&["OTEL_SPAN_LINK_COUNT_LIMIT"], default.links)?,
            link_attributes: limit(&["OTEL_LINK_ATTRIBUTE_COUNT_LIMIT"], default.link_attributes)?,
            value_length: self.first(&lengths, |setting| setting.number(0..=usize::MAX as u64))?,
        })
    }

    fn batch(&self) -> Result<Batch, InstallError> {
        let default = Batch::default();
        let size_name = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
        let queue = self.variable("OTEL_BSP_MAX_QUEUE_SIZE", Setting::spans)?.unwrap_or(default.queue);
        let size = match self.variable(size_name, Setting::spans)? {
            Some(size) if size > queue => {
                let why = format!("larger than the queue of {queue} spans (OTEL_BSP_MAX_QUEUE_SIZE)");
                return Err(Setting::new(size_name, &size.to_string()).invalid(why));
            }
            Some(size) => size,
            None => default.size.min(queue),
        };
        Ok(Batch {
            delay: self.variable("OTEL_BSP_SCHEDULE_DELAY", Setting::milliseconds)?.unwrap_or(default.delay),
            export_timeout: self
                .variable("OTEL_BSP_EXPORT_TIMEOUT", Setting::milliseconds)?
                .unwrap_or(default.export_timeout),
            queue,
            size,
        })
    }

    /// Resolves whether spans keep messages. Besides `true` and `false`, the variable may have the words that other libraries read
    /// from it, which tell apart spans and log events.
    fn captures_content(&self) -> Result<bool, InstallError> {
        const WORDS: &[(&str, bool)] = &[
            ("true", true),
            ("false", false),
            ("no_content", false),
            ("span_only", true),
            ("event_only", false),
            ("span_and_event", true),
        ];
        let variable =
            self.variable("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", |setting| setting.word(WORDS))?;
        Ok(self.builder.message_content || variable.unwrap_or(false))
    }

    fn span_aliases(&self) -> Result<bool, InstallError> {
        const WORDS: &[(&str, bool)] = &[("on", true), ("off", false)];
        let variable = self.variable("BOTTICELLI_OBS_SPAN_ALIASES", |setting| setting.word(WORDS))?;
        Ok(self.builder.span_aliases || variable.unwrap_or(false))
    }

    fn propagators(&self) -> Result<Vec<Propagator>, InstallError> {
        let words = [("tracecontext", Propagator::TraceContext), ("baggage", Propagator::Baggage)];
        let Some(listed) = self.variable("OTEL_PROPAGATORS", |setting| setting.words_or_none(&words))? else {
            return Ok(words.map(|(_, propagator)| propagator).to_vec());
        };
        let mut propagators = Vec::new();
        for propagator in listed {
            if !propagators.contains(&propagator) {
                propagators.push(propagator);
            }
        }
        Ok(propagators)
    }
}

const TRACES_ENDPOINTS: &[&str] = &["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
