// Responses in the plane of their hidden states' two principal components, with a colour and a marker for each policy, round or subset.

const MAP = { width: 640, height: 400, pad: 16 };
const MAP_FIELDS = ["policy", "round", "subset"];

const placesOfRow = (row) => row.map ?? [row.chosen_map, row.rejected_map];

// What a row is coloured by: the first field by which the rows differ.
function mapField(rows) {
  return MAP_FIELDS.find((field) => new Set(rows.map((row) => row[field])).size > 1) ?? MAP_FIELDS[0];
}

function mapChart(file) {
  const rows = file.rows.filter((row) => row.map ?? row.chosen_map);
  if (rows.length === 0) return null;
  const field = mapField(rows),
    kinds = [...new Set(rows.map((row) => row[field] ?? NO_VALUE))];
  const points = rows.flatMap((row) =>
    placesOfRow(row).flatMap((place) => (place ? [{ place, row, look: lookOf(kinds.indexOf(row[field] ?? NO_VALUE)) }] : [])),
  );
  const scaleOf = (axis, from, to) => {
    const values = points.map(({ place }) => place[axis]),
      low = values.reduce((a, b) => Math.min(a, b)),
      high = values.reduce((a, b) => Math.max(a, b));
    return (value) => from + ((to - from) * (value - low)) / (high - low || 1);
  };
  const xOf = scaleOf(0, MAP.pad, MAP.width - MAP.pad),
    yOf = scaleOf(1, MAP.height - MAP.pad, MAP.pad);
  const words = `${count(points.length, "response")} by the two principal components of their hidden states.`;
  const image = svg("svg", { viewBox: `0 0 ${MAP.width} ${MAP.height}`, role: "img", "aria-label": words });
  for (const { place, row, look } of points) {
    const mark = svg("path", {
      d: MARKERS[look.marker],
      fill: `var(--c${look.color})`,
      "fill-opacity": 0.75,
      transform: `translate(${xOf(place[0])} ${yOf(place[1])}) scale(${MARKER_RADIUS})`,
      "data-kind": row[field] ?? NO_VALUE,
    });
    const title = svg("title", {});
    title.append(`${row.where}: ${field} ${row[field] ?? NO_VALUE}`);
    mark.append(title);
    image.append(mark);
  }
  const legend = (kinds.length > 1 ? kinds : []).map((kind, i) => h("li", {}, swatch({ ...lookOf(i), paths: "points" }), h("span", {}, `${field} ${kind}`)));
  const caption = h("figcaption", {}, h("strong", {}, "Map"), h("p", { class: "note" }, words));
  return h("figure", { class: "chart", "data-chart": "explanation-map" }, caption, image, h("ul", { class: "readout" }, legend));
}
