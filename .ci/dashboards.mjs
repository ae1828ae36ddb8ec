// Checks the dashboards of examples/stack against the types Grafana publishes for them.
//
//   npm install --prefix .ci/node @grafana/schema@12.2.0 typescript@5 && node .ci/dashboards.mjs .ci/node
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';

const folder = resolve(process.argv[2]);
const dashboards = 'examples/stack/grafana/dashboards';
const options = {
  stat: 'stat/panelcfg/x/StatPanelCfg_types.gen',
  timeseries: 'timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen',
  heatmap: 'heatmap/panelcfg/x/HeatmapPanelCfg_types.gen',
  bargauge: 'bargauge/panelcfg/x/BarGaugePanelCfg_types.gen',
  'state-timeline': 'statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen',
  table: 'table/panelcfg/x/TablePanelCfg_types.gen',
};

let source = `import type { Dashboard, Panel } from '@grafana/schema';
// Enums as their strings: a dashboard is JSON. What is not said has a default.
type Loose<T> = T extends string ? \`\${T}\` : T extends (infer U)[] ? Loose<U>[] : T extends object ? { [K in keyof T]?: Loose<T[K]> } : T;
`;
for (const [kind, file] of Object.entries(options)) {
  source += `import type { Options as ${kind.replace('-', '')} } from '@grafana/schema/dist/types/raw/composable/${file}.d.ts';\n`;
}
source += `import type { FieldConfig } from '@grafana/schema/dist/types/raw/composable/${options.timeseries}.d.ts';\n`;
let panels = 0;
for (const name of readdirSync(dashboards)) {
  const dashboard = JSON.parse(readFileSync(join(dashboards, name), 'utf8'));
  // The type of an annotation leaves out what the Prometheus data source adds to it.
  for (const annotation of dashboard.annotations.list) {
    for (const key of ['target', 'titleFormat', 'textFormat']) delete annotation[key];
  }
  source += `((_: Loose<Dashboard>) => {})(${JSON.stringify(dashboard, null, 1)});\n`;
  for (const panel of dashboard.panels.filter((panel) => panel.type !== 'row')) {
    const kind = panel.type.replace('-', '');
    source += `((_: Loose<Panel>, options: Loose<${kind}>) => {})(${JSON.stringify(panel)}, ${JSON.stringify(panel.options)}); // ${name} ${panel.title}\n`;
    if (kind === 'timeseries') {
      source += `((_: Loose<FieldConfig>) => {})(${JSON.stringify(panel.fieldConfig.defaults.custom)});\n`;
    }
    panels += 1;
  }
}
writeFileSync(join(folder, 'dashboards.ts'), source);
const flags = '--noEmit --strict --skipLibCheck --target es2022 --module nodenext --moduleResolution nodenext'.split(' ');
const { status } = spawnSync(join(folder, 'node_modules/.bin/tsc'), [...flags, 'dashboards.ts'], { cwd: folder, stdio: 'inherit' });
if (status === 0) console.log(`${panels} panels are as Grafana's types have them`);
process.exit(status ?? 1);
