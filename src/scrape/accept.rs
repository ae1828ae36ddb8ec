//! Content negotiation: reads `Accept` and `Accept-Encoding`.

use crate::snapshot::Format;

/// Returns the format for this `Accept` header. This is OpenMetrics if the header accepts a supported version of it and does not
/// prefer text. In every other case it is text, even if the header does not accept text.
pub(crate) fn negotiate(accept: Option<&str>) -> Format {
    let Some(accept) = accept else { return Format::Text };
    let mut openmetrics = 0.0;
    // The quality of text by the precision of the range: `text/plain`, `text/*`, `*/*`. The most precise range counts.
    let mut text: [Option<f32>; 3] = [None; 3];
    for range in ranges(accept) {
        let is = |name: &str| range.name.eq_ignore_ascii_case(name);
        if is("application/openmetrics-text") && matches!(range.version, None | Some("1.0.0" | "0.0.1")) {
            openmetrics = range.quality.max(openmetrics);
        }
        let precision = match range.version {
            None | Some("0.0.4") if is("text/plain") => 0,
            None if is("text/*") => 1,
            None if is("*/*") => 2,
            _ => continue,
        };
        text[precision] = Some(text[precision].map_or(range.quality, |quality| quality.max(range.quality)));
    }
    let text = text.into_iter().flatten().next().unwrap_or(0.0);
    if openmetrics > 0.0 && openmetrics >= text { Format::OpenMetrics } else { Format::Text }
}

/// Whether this `Accept-Encoding` header accepts gzip and does not prefer the uncompressed page.
pub(super) fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let quality = |name: &str| {
        let ranges = ranges(accept_encoding.unwrap_or_default());
        ranges.filter(|range| range.name.eq_ignore_ascii_case(name)).map(|range| range.quality).next()
    };
    let gzip = quality("gzip").or_else(|| quality("x-gzip")).or_else(|| quality("*")).unwrap_or(0.0);
    gzip > 0.0 && gzip >= quality("identity").unwrap_or(0.0)
}

/// One item of an `Accept` or `Accept-Encoding` header.
struct Range<'a> {
    name: &'a str,
    version: Option<&'a str>,
    quality: f32,
}

/// Splits a header into its items and omits those with a malformed quality.
fn ranges(header: &str) -> impl Iterator<Item = Range<'_>> {
    header.split(',').filter_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let mut range = Range { name: parts.next()?, version: None, quality: 1.0 };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("version") => range.version = Some(value),
                name if name.eq_ignore_ascii_case("q") => {
                    range.quality = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
                }
                _ => {}
            }
        }
        Some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::{accepts_gzip, negotiate};
    use crate::snapshot::Format::{self, OpenMetrics, Text};

    #[track_caller]
    fn negotiates(accept: &str, format: Format) {
        assert_eq!(negotiate(Some(accept)), format, "{accept}");
    }

    #[test]
    fn prometheus_gets_openmetrics() {
        // 2.42, 3.0 and 3.3, and 3 with protobuf preferred.
        for accept in [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
        ] {
            negotiates(accept, OpenMetrics);
        }
    }

    #[test]
    fn prometheus_told_to_scrape_text_gets_text() {
        negotiates("text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1", Text);
        negotiates(
            "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.4",
            Text,
        );
    }

    #[test]
    fn others_get_text() {
        assert_eq!(negotiate(None), Text);
        for accept in [
            // VictoriaMetrics, a browser, curl.
            "text/plain;version=0.0.4;q=1,*/*;q=0.1",
            "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            "*/*",
            "text/*",
            "application/json",
            "application/*",
            "",
        ] {
            negotiates(accept, Text);
        }
    }

    #[test]
    fn supported_openmetrics_versions_are_served() {
        for accept in [
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0, application/openmetrics-text;version=1.0.0;q=0.1",
        ] {
            negotiates(accept, OpenMetrics);
        }
        negotiates("application/openmetrics-text;version=2.0.0", Text);
        negotiates("application/openmetrics-text;version=", Text);
    }

    #[test]
    fn weights_decide() {
        negotiates("application/openmetrics-text;q=0", Text);
        negotiates("application/openmetrics-text;q=0.000, text/plain;q=0", Text);
        negotiates("application/openmetrics-text;q=0.4, text/plain;q=0.5", Text);
        negotiates("application/openmetrics-text;q=0.5, text/plain;q=0.5", OpenMetrics);
        negotiates("application/openmetrics-text;q=0.5, */*", Text);
        // `text/plain` is more precise than `*/*`.
        negotiates("application/openmetrics-text;q=0.5, text/plain;q=0.2, */*", OpenMetrics);
    }

    #[test]
    fn malformed_items_are_omitted() {
        for accept in [
            "application/openmetrics-text;q=high",
            "application/openmetrics-text;q=",
            "application/openmetrics-text;q=NaN",
            "application/openmetrics-text;q=-1",
            "application/openmetrics-text;q=2",
            ";;;,,=,q=1;version=1.0.0",
            "openmetrics",
        ] {
            negotiates(accept, Text);
        }
        negotiates(",;, application/openmetrics-text ; ; version = 1.0.0 ; =", OpenMetrics);
    }

    #[test]
    fn gzip_is_used_where_it_is_accepted() {
        for accepted in ["gzip", "GZIP;q=0.5", "deflate, gzip;q=1.0, *;q=0.5", "*", "x-gzip", "gzip, identity;q=0.5"] {
            assert!(accepts_gzip(Some(accepted)), "{accepted}");
        }
        for refused in ["", "identity", "gzip;q=0", "gzip;q=0, *", "*;q=0", "br", "gzip;q=0.5, identity", "gzip;q=x"] {
            assert!(!accepts_gzip(Some(refused)), "{refused}");
        }
        assert!(!accepts_gzip(None));
    }
}
