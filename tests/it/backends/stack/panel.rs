//! The parts dashboards are made of, as Grafana 12 reads them.

use serde_json::{Value, json};

/// What `@` in the braces of a query stands for.
const FILTER: &str = r#"job=~"$job",provider=~"$provider",model=~"$model""#;

/// A panel without a place; [`dashboard`] gives it one.
pub struct Panel {
    json: Value,
    width: u64,
    height: u64,
}

impl Panel {
    fn new(kind: &str, title: &str, unit: &str) -> Self {
        let nothing = json!({"type": "special", "options": {"match": "null+nan", "result": {"text": "No traffic"}}});
        let json = json!({
            "type": kind,
            "title": title,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "fieldConfig": {
                "defaults": {
                    "unit": unit,
                    "noValue": "No traffic",
                    "mappings": [nothing],
                    "color": {"mode": "palette-classic"},
                },
                "overrides": [],
            },
            "links": [{
                "title": "Traces in Jaeger",
                "url": "${jaeger}/search?service=${service}&start=${__from}000&end=${__to}000&lookback=custom&limit=20",
                "targetBlank": true,
            }],
            "options": {},
            "targets": [],
        });
        Self { json, width: 8, height: 8 }
    }

    /// One number.
    pub fn stat(title: &str, unit: &str) -> Self {
        let mut panel = Self::new("stat", title, unit);
        panel.json["options"] = json!({
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        });
        panel.json["fieldConfig"]["defaults"]["color"] = json!({"mode": "thresholds"});
        panel.sized(3, 4).with_thresholds(&[])
    }

    /// Lines over time.
    pub fn lines(title: &str, unit: &str) -> Self {
        let mut panel = Self::new("timeseries", title, unit);
        panel.json["options"] = json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        });
        panel.json["fieldConfig"]["defaults"]["custom"] =
            json!({"drawStyle": "line", "fillOpacity": 0, "lineWidth": 1, "showPoints": "auto", "spanNulls": false});
        panel.json["fieldConfig"]["defaults"]["min"] = json!(0);
        panel
    }

    /// Lines on top of each other.
    pub fn stacked(title: &str, unit: &str) -> Self {
        let mut panel = Self::lines(title, unit);
        let custom = &mut panel.json["fieldConfig"]["defaults"]["custom"];
        custom["stacking"] = json!({"mode": "normal", "group": "A"});
        custom["fillOpacity"] = json!(40);
        panel
    }

    /// A histogram's buckets over time.
    pub fn heatmap(title: &str, unit: &str) -> Self {
        let mut panel = Self::new("heatmap", title, "short");
        panel.json["options"] = json!({
            "calculate": false,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64, "exponent": 0.5, "fill": "dark-orange"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": true},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "yHistogram": true},
            "yAxis": {"axisPlacement": "left", "unit": unit},
        });
        panel
    }

    /// A bar for each label set.
    pub fn bars(title: &str, unit: &str) -> Self {
        let mut panel = Self::new("bargauge", title, unit);
        panel.json["options"] = json!({
            "displayMode": "gradient",
            "orientation": "horizontal",
            "showUnfilled": true,
            "valueMode": "color",
            "minVizHeight": 10,
            "minVizWidth": 0,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        });
        panel.json["fieldConfig"]["defaults"]["min"] = json!(0);
        panel
    }

    /// A state a line, over time.
    pub fn states(title: &str) -> Self {
        let mut panel = Self::new("state-timeline", title, "short");
        panel.json["options"] = json!({
            "mergeValues": true,
            "rowHeight": 0.9,
            "showValue": "never",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
            "tooltip": {"mode": "single", "sort": "none"},
        });
        let defaults = &mut panel.json["fieldConfig"]["defaults"];
        defaults["color"] = json!({"mode": "thresholds"});
        defaults["mappings"] = json!([{
            "type": "value",
            "options": {"0": {"text": "down", "color": "red", "index": 0}, "1": {"text": "up", "color": "green", "index": 1}},
        }]);
        panel.with_thresholds(&[])
    }

    /// A row for each label set, a column for each query.
    pub fn table(title: &str) -> Self {
        let mut panel = Self::new("table", title, "short");
        panel.json["options"] = json!({"showHeader": true, "cellHeight": "sm"});
        panel.json["transformations"] = json!([
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": true}, "indexByName": {}, "renameByName": {}}},
        ]);
        panel.sized(24, 8)
    }

    /// Says what is shown, and from which metric.
    pub fn about(mut self, text: &str) -> Self {
        self.json["description"] = json!(text);
        self
    }

    /// Says what it means that there is nothing to show.
    pub fn or_else(mut self, text: &str) -> Self {
        self.json["fieldConfig"]["defaults"]["noValue"] = json!(text);
        self
    }

    pub fn sized(mut self, width: u64, height: u64) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// Green, and the colours above these values.
    pub fn with_thresholds(mut self, above: &[(f64, &str)]) -> Self {
        let mut steps = vec![json!({"color": "green", "value": null})];
        steps.extend(above.iter().map(|(value, color)| json!({"color": color, "value": value})));
        self.json["fieldConfig"]["defaults"]["thresholds"] = json!({"mode": "absolute", "steps": steps});
        self
    }

    /// Links to traces of failed calls only.
    pub fn linked_to_errors(mut self) -> Self {
        let url = self.json["links"][0]["url"].as_str().expect("panels have a link");
        let url = format!("{url}&tags=%7B%22error%22%3A%22true%22%7D");
        self.json["links"][0]["url"] = json!(url);
        self
    }

    /// Adds a query for the whole time shown.
    pub fn add_range(self, expr: &str, legend: &str) -> Self {
        self.add_target(expr, json!({"legendFormat": legend, "range": true, "instant": false, "format": "time_series"}))
    }

    /// Adds the query of a heatmap.
    pub fn add_buckets(self, expr: &str) -> Self {
        self.add_target(expr, json!({"legendFormat": "{{le}}", "range": true, "instant": false, "format": "heatmap"}))
    }

    /// Adds a query for the end of the time shown; with `$__range`, one about all of it.
    pub fn add_instant(self, expr: &str, legend: &str) -> Self {
        let format = if self.json["type"] == "table" { "table" } else { "time_series" };
        self.add_target(expr, json!({"legendFormat": legend, "range": false, "instant": true, "format": format}))
    }

    /// Adds a query whose labels are columns of a table, and names one of them.
    pub fn add_labels(self, expr: &str, label: &str, name: &str) -> Self {
        let mut panel = self.add_instant(expr, "");
        let reference = reference(panel.targets() - 1);
        let options = &mut panel.json["transformations"][1]["options"];
        options["excludeByName"][format!("Value #{reference}")] = json!(true);
        options["renameByName"][label] = json!(name);
        panel
    }

    /// Adds a column to a table.
    pub fn add_column(self, expr: &str, name: &str, unit: &str) -> Self {
        let mut panel = self.add_instant(expr, "");
        let reference = reference(panel.targets() - 1);
        panel.json["transformations"][1]["options"]["renameByName"][format!("Value #{reference}")] = json!(name);
        let overrides = panel.json["fieldConfig"]["overrides"].as_array_mut().expect("panels have overrides");
        let properties = json!([{"id": "unit", "value": unit}]);
        overrides.push(json!({"matcher": {"id": "byName", "options": name}, "properties": properties}));
        panel
    }

    fn add_target(mut self, expr: &str, mut target: Value) -> Self {
        target["refId"] = json!(reference(self.targets()));
        target["expr"] = json!(expr.replace('@', FILTER));
        target["datasource"] = self.json["datasource"].clone();
        if target["range"] == true && WITH_EXEMPLARS.iter().any(|family| expr.contains(family)) {
            target["exemplar"] = json!(true);
        }
        self.json["targets"].as_array_mut().expect("panels have targets").push(target);
        self
    }

    fn targets(&self) -> usize {
        self.json["targets"].as_array().map_or(0, Vec::len)
    }
}

/// What has exemplars; panels of these show them as dots.
pub const WITH_EXEMPLARS: [&str; 3] =
    ["llm_duration_bucket", "llm_time_to_first_chunk_seconds_bucket", "llm_errors_total"];

fn reference(number: usize) -> char {
    char::from(b'A' + number as u8)
}

/// A variable whose values come from a label.
pub fn variable(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name,
        "label": label,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "includeAll": true,
        "allValue": ".*",
        "multi": true,
        "current": {"text": ["All"], "value": ["$__all"]},
    })
}

/// A dashboard of titled rows of panels, the last 24 hours.
pub fn dashboard(uid: &str, title: &str, variables: &[Value], rows: Vec<(&str, Vec<Panel>)>) -> Value {
    let mut panels = Vec::new();
    let (mut x, mut y) = (0, 0);
    for (title, row) in rows {
        panels.push(json!({
            "type": "row",
            "title": title,
            "collapsed": false,
            "panels": [],
            "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
        }));
        y += 1;
        let mut height = 0;
        for mut panel in row {
            if x + panel.width > 24 {
                (x, y, height) = (0, y + height, 0);
            }
            panel.json["gridPos"] = json!({"x": x, "y": y, "w": panel.width, "h": panel.height});
            x += panel.width;
            height = height.max(panel.height);
            panels.push(panel.json);
        }
        (x, y) = (0, y + height);
    }
    for (id, panel) in (1..).zip(&mut panels) {
        panel["id"] = json!(id);
    }
    let mut list = vec![json!({
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "Prometheus", "value": "prometheus"},
    })];
    list.extend_from_slice(variables);
    let mut service =
        variable("service", "Service in Jaeger", r#"label_values(target_info{job=~"$job"}, service_name)"#);
    for (key, value) in [("includeAll", json!(false)), ("multi", json!(false)), ("current", json!({}))] {
        service[key] = value;
    }
    list.push(service);
    list.push(json!({"name": "jaeger", "type": "constant", "query": "http://localhost:16686", "hide": 2}));
    json!({
        "uid": uid,
        "title": title,
        "tags": ["llm", "botticelli_obs"],
        "schemaVersion": 41,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [{
            "name": "Pages",
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "enable": true,
            "iconColor": "red",
            "target": {"expr": r#"ALERTS{alertstate="firing",severity="page",job=~"$job"}"#, "refId": "Pages"},
            "titleFormat": "{{alertname}}",
            "textFormat": "{{provider}} {{model}} {{instance}}",
        }]},
        "links": [{
            "title": "LLM dashboards",
            "type": "dashboards",
            "tags": ["llm"],
            "asDropdown": true,
            "includeVars": true,
            "keepTime": true,
            "targetBlank": false,
            "icon": "external link",
            "tooltip": "",
            "url": "",
        }],
        "panels": panels,
        "templating": {"list": list},
    })
}
