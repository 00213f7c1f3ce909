// Elements and texts. Texts become text nodes, never markup.

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

function svg(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const NO_VALUE = "\u2013";
const SPACE = "\u00a0"; // one that does not break

const withMinus = (text) => text.replaceAll("-", "\u2212");
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

function formatNumber(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e15)) return value.toExponential(2).replace("e+", "e");
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  return Number(value.toPrecision(4)).toLocaleString("en-US", { maximumFractionDigits: 7 });
}

// [unit, how much, from where on]
const BYTE_UNITS = [
  [`${SPACE}GB`, 1e9, 1e9],
  [`${SPACE}MB`, 1e6, 0],
];
const UNITS = [
  ["G", 1e9, 1e9],
  ["M", 1e6, 1e6],
  ["k", 1e3, 1e4],
  ["", 1, 0],
];
const unitOf = (units, size) => units.find(([, , least]) => size >= least);

function formatBytes(value) {
  const [unit, scale] = unitOf(BYTE_UNITS, value);
  return `${(value / scale).toPrecision(3)}${unit}`;
}

// What rounds to 0 has no sign.
const toFixed = (value, digits) => value.toFixed(digits).replace(/^-(0\.0*)$/, "$1");

const FORMATS = {
  number: formatNumber,
  fixed: (value) => toFixed(value, 3),
  percent: (value) => `${toFixed(100 * value, 1)}${SPACE}%`,
  bytes: formatBytes,
};

function format(value, kind = "number") {
  return isNumber(value) ? withMinus(FORMATS[kind](value)) : NO_VALUE;
}

const formatInterval = (low, high, kind) => `[${format(low, kind)}, ${format(high, kind)}]`;

// A number beside an axis: short, but with the digits that tell it from the next one, `step` away.
function formatTick(value, kind, step) {
  const size = Math.abs(value);
  if (size === 0) return kind === "percent" ? `0${SPACE}%` : "0";
  const rounded = (number, digits) => {
    const needed = Math.ceil(Math.log10(size / step)) + 2;
    return Number(number.toPrecision(Math.min(15, Math.max(digits, needed))));
  };
  if (kind === "percent") return withMinus(`${rounded(100 * value, 4)}${SPACE}%`);
  if (size < 1e-3) return withMinus(rounded(value, 3).toExponential());
  const [unit, scale] = unitOf(kind === "bytes" ? BYTE_UNITS : UNITS, size);
  return withMinus(`${rounded(value / scale, unit ? 3 : 6)}${unit}`);
}

function formatDuration(seconds) {
  if (seconds < 60) return `${seconds.toFixed(0)}${SPACE}s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(1)}${SPACE}min`;
  return `${(seconds / 3600).toFixed(1)}${SPACE}h`;
}

function formatTime(secondsSince1970) {
  const options = { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" };
  return `${new Intl.DateTimeFormat("en-GB", options).format(new Date(1000 * secondsSince1970))} UTC`;
}

const count = (number, one, many = `${one}s`) => `${format(number)} ${number === 1 ? one : many}`;

// A table's cell with a number: rounded to read, exact in its `value`.
function numberCell(value, kind, low, high) {
  if (!isNumber(value)) return h("td", {}, NO_VALUE);
  const interval = isNumber(low) ? h("span", { class: "interval" }, formatInterval(low, high, kind)) : null;
  return h("td", {}, h("data", { value }, format(value, kind)), interval);
}

// A table that scrolls within itself, by keyboard too. `head`: texts; `rows`: elements.
function tableOf(label, head, rows, attributes = {}) {
  const { tall, ...more } = attributes;
  const cells = head.map((text) => h("th", { scope: "col" }, text));
  const table = h("table", more, h("caption", { class: "hidden-text" }, label), h("thead", {}, h("tr", {}, cells)), h("tbody", {}, rows));
  return h("div", { class: tall ? "scroll tall" : "scroll", tabindex: 0, role: "group", "aria-label": label }, table);
}

const headerCell = (text, attributes = {}) => h("th", { scope: "row", ...attributes }, text);
