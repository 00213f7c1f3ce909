// Responses in the plane of their hidden states' two principal components, by cluster, policy, round or subset: the first field by which the rows differ has
// the colour, the second the shape of the marker. So that colours are not needed, the first has the shape too where it is alone, else the filling.

const MAP = { width: 640, height: 400, pad: 16 };
const MAP_FIELDS = ["cluster", "policy", "round", "subset"];
const FILLINGS = [
  { "fill-opacity": 0.75 },
  { "fill-opacity": 0 },
  { "fill-opacity": 0.3, "stroke-opacity": 0.6 },
  { "fill-opacity": 0, "stroke-dasharray": "2 1.5" },
];

const placesOfRow = (row) => row.map ?? [row.chosen_map, row.rejected_map];
const kindOf = (row, field) => row[field] ?? NO_VALUE;

// One or two: { name, kinds, lookOfKind(i) }, the look of what is of its i-th kind.
function mapFields(rows) {
  const fields = MAP_FIELDS.map((name) => ({ name, kinds: [...new Set(rows.map((row) => kindOf(row, name)))] }));
  const [first = fields[0], second] = fields.filter(({ kinds }) => kinds.length > 1);
  if (!second) return [{ ...first, lookOfKind: lookOf }];
  return [
    { ...first, lookOfKind: (i) => ({ color: i % COLORS, filling: i % FILLINGS.length }) },
    { ...second, lookOfKind: (i) => ({ marker: i % MARKERS.length }) },
  ];
}

// Of a look without a colour, in that of the text.
function mapMark({ color, marker = 0, filling = 0 }, transform, more = {}) {
  const paint = color === undefined ? "currentColor" : `var(--c${color})`;
  return svg("path", {
    d: MARKERS[marker],
    fill: paint,
    stroke: paint,
    "stroke-width": 1.5,
    "vector-effect": "non-scaling-stroke",
    transform: `${transform} scale(${MARKER_RADIUS})`,
    ...FILLINGS[filling],
    ...more,
  });
}

function mapLegend(fields) {
  return fields.flatMap(({ name, kinds, lookOfKind }) =>
    (kinds.length > 1 ? kinds : []).map((kind, i) => {
      const image = svg("svg", { class: "swatch", viewBox: "-13 -6 26 12", "aria-hidden": "true" });
      image.append(mapMark(lookOfKind(i), ""));
      return h("li", {}, image, h("span", {}, `${name} ${kind}`));
    }),
  );
}

function mapChart(file) {
  const rows = file.rows.filter((row) => row.map ?? row.chosen_map);
  if (rows.length === 0) return null;
  const fields = mapFields(rows);
  const lookOfRow = (row) => Object.assign({}, ...fields.map(({ name, kinds, lookOfKind }) => lookOfKind(kinds.indexOf(kindOf(row, name)))));
  const points = rows.flatMap((row) => placesOfRow(row).flatMap((place) => (place ? [{ place, row, look: lookOfRow(row) }] : [])));
  const scaleOf = (axis, from, to) => {
    const values = points.map(({ place }) => place[axis]),
      low = values.reduce((a, b) => Math.min(a, b)),
      high = values.reduce((a, b) => Math.max(a, b));
    return (value) => from + ((to - from) * (value - low)) / (high - low || 1);
  };
  const xOf = scaleOf(0, MAP.pad, MAP.width - MAP.pad),
    yOf = scaleOf(1, MAP.height - MAP.pad, MAP.pad);
  const [first, second] = fields;
  const looks = second ? ` ${titleOf(first.name)}: colour and filling; ${second.name}: shape.` : "";
  const words = `${count(points.length, "response")} by the two principal components of their hidden states.${looks}`;
  const image = svg("svg", { viewBox: `0 0 ${MAP.width} ${MAP.height}`, role: "img", "aria-label": words });
  for (const { place, row, look } of points) {
    const kinds = fields.map(({ name }) => kindOf(row, name));
    const mark = mapMark(look, `translate(${xOf(place[0])} ${yOf(place[1])})`, { "data-kind": kinds.join(", ") });
    const title = svg("title", {});
    title.append(`${row.where}: ${fields.map(({ name }, i) => `${name} ${kinds[i]}`).join(", ")}`);
    mark.append(title);
    image.append(mark);
  }
  const caption = h("figcaption", {}, h("strong", {}, "Map"), h("p", { class: "note" }, words));
  return h("figure", { class: "chart", "data-chart": "explanation-map" }, caption, image, h("ul", { class: "readout" }, mapLegend(fields)));
}
