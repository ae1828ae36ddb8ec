//! The settings of the page and of the text file.

use std::path::PathBuf;
#[cfg(feature = "prices")]
use std::sync::Arc;

use super::{Resolver, Shared};
use crate::catalog::GenAiMetrics;
use crate::install::builder::Listen;
use crate::install::error::InstallError;
use crate::install::setting::Setting;
#[cfg(feature = "prices")]
use crate::price::PriceBook;
use crate::scrape::{self, Listener, Token};
use crate::spend::Budget;
use crate::store::{self, Pattern};

const DEFAULT_LISTEN: &str = "127.0.0.1:9464";

/// The exporters that `OTEL_METRICS_EXPORTER` turns on.
#[derive(Debug)]
pub(super) struct MetricsExporters {
    pub(super) prometheus: bool,
    pub(super) otlp: bool,
}

impl Default for MetricsExporters {
    fn default() -> Self {
        Self { prometheus: true, otlp: false }
    }
}

impl Resolver<'_> {
    /// Resolves `OTEL_METRICS_EXPORTER`.
    pub(super) fn metrics_exporters(&self) -> Result<MetricsExporters, InstallError> {
        let Some(setting) = self.environment.setting("OTEL_METRICS_EXPORTER")? else {
            return Ok(MetricsExporters::default());
        };
        let listed = setting.words_or_none(&[("prometheus", "prometheus"), ("otlp", "otlp")])?;
        let exporters = MetricsExporters { prometheus: listed.contains(&"prometheus"), otlp: listed.contains(&"otlp") };
        if exporters.otlp && !super::CAN_PUSH {
            let why = "`otlp` needs the feature `otlp-metrics` of botticelli_obs, which is not compiled in: add it, or let \
                       Prometheus scrape the program, with `prometheus`";
            return Err(setting.invalid(why));
        }
        let endpoint = self.environment.setting("PROMETHEUS_ENDPOINT")?;
        if !exporters.prometheus && endpoint.is_some_and(|endpoint| !endpoint.is_off()) {
            return Err(setting
                .invalid("PROMETHEUS_ENDPOINT is set, but `prometheus` is not in this list: unset one of the two"));
        }
        Ok(exporters)
    }

    pub(super) fn metrics(&self, shared: &Shared) -> Result<Option<scrape::Config>, InstallError> {
        let Shared { exporters, resource } = shared;
        let builder = self.builder;
        let allowed = match builder.networks.as_slice() {
            [] => self.variable("BOTTICELLI_OBS_ALLOWED_NETWORKS", Setting::networks)?.unwrap_or_default(),
            networks => {
                let networks = networks.iter().map(|network| Setting::new("add_allowed_network", network).network());
                networks.collect::<Result<_, _>>()?
            }
        };
        #[cfg(not(feature = "prices"))]
        self.check_prices()?;
        let (listener, token) = self.listener()?;
        let (listen_setting, listen) = self.listen()?;
        let listen = listen.filter(|_| exporters.prometheus);
        #[cfg(feature = "console")]
        let console = {
            let service = resource.iter().find(|(name, _)| name == "service.name").map_or("", |(_, value)| value);
            self.console(listener, listen.as_deref(), token.as_ref(), service)?
        };
        #[cfg(not(feature = "console"))]
        self.check_no_console()?;
        #[cfg(feature = "console")]
        let has_console = console.is_some();
        #[cfg(all(feature = "prices", not(feature = "console")))]
        let has_console = false;
        let buckets = builder.buckets.iter();
        let labels = builder.global_labels.iter();
        // Checked even if there is no page, so that an error shows before someone turns the page on.
        let config = scrape::Config {
            listen,
            listen_setting,
            allowed,
            store: store::Config {
                buckets: buckets
                    .map(|(metric, bounds)| Ok((metric.clone(), Setting::new("with_buckets", metric).buckets(bounds)?)))
                    .collect::<Result<_, InstallError>>()?,
                global_labels: labels
                    .map(|(name, value)| Ok((Setting::new("add_global_label", name).label_name()?, value.clone())))
                    .collect::<Result<_, InstallError>>()?,
                max_series: self.max_series()?,
                exclude: self.exclude()?,
                has_exemplars: self.variable("OTEL_METRICS_EXEMPLAR_FILTER", Setting::exemplar_filter)?.unwrap_or(true),
                genai: self.genai()?,
                budgets: self.budgets()?,
                #[cfg(feature = "prices")]
                prices: self.prices(has_console)?.map(Arc::new),
                #[cfg(feature = "console")]
                keeps_calls: has_console,
            },
            models: builder.models.clone(),
            target: resource.clone(),
            token,
            listener,
            #[cfg(feature = "console")]
            console,
        };
        Ok((exporters.prometheus || exporters.otlp).then_some(config))
    }

    /// Checks that no console is asked for, which is not compiled in.
    #[cfg(not(feature = "console"))]
    fn check_no_console(&self) -> Result<(), InstallError> {
        let name = "BOTTICELLI_OBS_CONSOLE";
        let Some(setting) = self.environment.setting(name)? else { return Ok(()) };
        if setting.word(&[("on", true), ("off", false)])? {
            return Err(setting.invalid("needs the feature `console` of botticelli_obs, which is not compiled in"));
        }
        Ok(())
    }

    fn exclude(&self) -> Result<Vec<Pattern>, InstallError> {
        match self.builder.exclude.as_slice() {
            [] => {
                let listed = self.variable("BOTTICELLI_OBS_METRICS_EXCLUDE", |setting| {
                    setting.list()?.into_iter().map(Setting::parse).collect()
                })?;
                Ok(listed.unwrap_or_default())
            }
            patterns => patterns.iter().map(|pattern| Setting::new("without_metrics", pattern).parse()).collect(),
        }
    }

    fn budgets(&self) -> Result<Vec<Budget>, InstallError> {
        let budgets = &self.builder.budgets;
        match budgets.iter().find_map(Budget::mistake) {
            Some(mistake) => Err(InstallError::invalid_secret("add_budget", mistake)),
            None => Ok(budgets.clone()),
        }
    }

    /// Resolves the prices of calls, and decodes them here: it would take too long at the end of a call. A console has the built-in ones
    /// unless other ones are set.
    #[cfg(feature = "prices")]
    fn prices(&self, has_console: bool) -> Result<Option<PriceBook>, InstallError> {
        if let Some(prices) = &self.builder.prices {
            prices.check().map_err(|why| InstallError::invalid_secret("with_prices", why))?;
            return Ok(Some(prices.clone()));
        }
        let Some(setting) = self.environment.setting("BOTTICELLI_OBS_PRICES")? else {
            return Ok(has_console.then(PriceBook::builtin));
        };
        if setting.is_off() {
            return Ok(None);
        }
        let prices = match setting.value.eq_ignore_ascii_case("builtin") {
            true => PriceBook::builtin(),
            false => PriceBook::from_file(setting.value).map_err(|error| setting.invalid(error))?,
        };
        prices.check().map_err(|why| setting.invalid(why))?;
        Ok(Some(prices))
    }

    #[cfg(not(feature = "prices"))]
    fn check_prices(&self) -> Result<(), InstallError> {
        match self.environment.setting("BOTTICELLI_OBS_PRICES")?.filter(|setting| !setting.is_off()) {
            Some(setting) => {
                Err(setting.invalid("needs the feature `prices` of botticelli_obs, which is not compiled in"))
            }
            None => Ok(()),
        }
    }

    fn genai(&self) -> Result<Vec<GenAiMetrics>, InstallError> {
        let listed = match self.builder.genai.as_slice() {
            [] => self
                .variable("BOTTICELLI_OBS_GENAI_METRICS", |setting| {
                    setting.words_or_none(&[("1.41", GenAiMetrics::V1_41), ("genai-0.1", GenAiMetrics::GenAi0_1)])
                })?
                .unwrap_or_default(),
            versions => versions.to_vec(),
        };
        let mut versions = Vec::new();
        for version in listed {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        Ok(versions)
    }

    /// Resolves the listener, and the token that peers must send.
    fn listener(&self) -> Result<(Listener, Option<Token>), InstallError> {
        let listener = if self.builder.exporter_listener {
            check_exporter().map_err(|why| InstallError::invalid_secret("with_exporter_listener", why))?;
            Listener::Exporter
        } else {
            self.variable("BOTTICELLI_OBS_LISTENER", Setting::listener)?.unwrap_or_default()
        };
        let (name, token) = match &self.builder.page_token {
            Some(token) => ("with_page_token", Some(Setting::new("with_page_token", token).token()?)),
            None => {
                let name = "BOTTICELLI_OBS_TOKEN_FILE";
                let setting = self.environment.setting(name)?.filter(|setting| !setting.is_off());
                (name, setting.map(Setting::token_file).transpose()?)
            }
        };
        if token.is_some() && listener == Listener::Exporter {
            let why = "the exporter's listener does not check tokens, so everyone could read the page: leave out one of the two";
            return Err(InstallError::invalid_secret(name, why));
        }
        Ok((listener, token))
    }

    fn max_series(&self) -> Result<usize, InstallError> {
        match self.builder.max_series {
            Some(0) => Err(Setting::new("with_max_series", "0").invalid("must be at least 1")),
            series => Ok(series.unwrap_or(store::MAX_SERIES)),
        }
    }

    /// Resolves the address of the page. Returns it with the name of the setting it comes from.
    fn listen(&self) -> Result<(&'static str, Option<String>), InstallError> {
        match &self.builder.listen {
            Listen::Off => return Ok(("without_listener", None)),
            Listen::At(endpoint) => {
                let name = "with_prometheus_endpoint";
                return Ok((name, Setting::new(name, endpoint.trim()).listen()?));
            }
            Listen::ByEnvironment => {}
        }
        let name = "PROMETHEUS_ENDPOINT";
        if let Some(listen) = self.variable(name, Setting::listen)? {
            return Ok((name, listen));
        }
        let (host_name, port_name) = ("OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_EXPORTER_PROMETHEUS_PORT");
        let host = self.variable(host_name, Setting::listen_host)?;
        let port = self.variable(port_name, Setting::listen_port)?;
        Ok(match (host, port) {
            (None, None) => (name, Some(DEFAULT_LISTEN.to_owned())),
            (Some(None), _) => (host_name, None),
            (_, Some(None)) => (port_name, None),
            (Some(Some(host)), port) => (host_name, Some(format!("{host}:{}", port.flatten().unwrap_or(9464)))),
            (None, Some(Some(port))) => (port_name, Some(format!("127.0.0.1:{port}"))),
        })
    }

    /// Resolves the file to which the totals of the run are added.
    pub(super) fn textfile(&self, shared: &Shared) -> Result<Option<PathBuf>, InstallError> {
        let Some(setting) = self.environment.setting("BOTTICELLI_OBS_TEXTFILE")?.filter(|setting| !setting.is_off())
        else {
            return Ok(None);
        };
        if !shared.exporters.prometheus && !shared.exporters.otlp {
            let why = "there are no metrics to write, since OTEL_METRICS_EXPORTER is `none`: unset one of the two";
            return Err(setting.invalid(why));
        }
        // The program may change its folder before it ends.
        let path = setting.path_of_file()?;
        Ok(Some(std::path::absolute(&path).unwrap_or(path)))
    }
}

impl Setting<'_> {
    fn listener(self) -> Result<Listener, InstallError> {
        let listener = self.parse()?;
        match listener {
            Listener::Own => {}
            Listener::Exporter => check_exporter().map_err(|why| self.invalid(why))?,
        }
        Ok(listener)
    }

    /// Parses whether calls in sampled traces are exemplars.
    fn exemplar_filter(self) -> Result<bool, InstallError> {
        let words = [("trace_based", Some(true)), ("always_off", Some(false)), ("always_on", None)];
        self.word(&words)?.ok_or_else(|| {
            self.invalid("an exemplar is the trace of a call that was sampled: use trace_based, or always_off for none")
        })
    }

    pub(super) fn token(self) -> Result<Token, InstallError> {
        self.value.parse().map_err(|why: String| self.invalid_secret(why))
    }
}

fn check_exporter() -> Result<(), &'static str> {
    if cfg!(feature = "exporter") {
        Ok(())
    } else {
        Err("needs the feature `exporter` of botticelli_obs, which is not compiled in")
    }
}
