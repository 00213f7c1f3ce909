// The last responses that were scored, with their rewards.

const ORDERS = [
  ["newest", "Newest first", (a, b) => a.place - b.place],
  ["oldest", "Oldest first", (a, b) => b.place - a.place],
  ["highest", "Highest reward", byNumber("reward", -1)],
  ["lowest", "Lowest reward", byNumber("reward", 1)],
];

// Texts or messages as contentOf takes them, whatever a message's content is.
function plainContent(content) {
  if (!Array.isArray(content)) return typeof content === "string" ? content : JSON.stringify(content ?? null);
  return content.map(({ role, content: text }) => ({
    role: String(role),
    content: typeof text === "string" ? text : JSON.stringify(text),
  }));
}

function recentSample(sample, place) {
  const prompt = plainContent(sample.prompt),
    response = plainContent(sample.response);
  const text = `${textOf(prompt)}\n${textOf(response)}`.toLowerCase();
  return { ...sample, place, prompt, response, text, name: JSON.stringify(sample) };
}

const widthOf = (reward, { low, high }) => `${(100 * (reward - low)) / (high - low || 1)}%`;

function recentCard(sample, search, range) {
  const step = isNumber(sample.step) ? ` \u00b7 step ${format(sample.step)}` : "";
  const about = h("p", {}, "Version ", h("code", {}, sample.version), step);
  const response = responseItem({ responses: [sample.response], rewards: [sample.reward] }, 0, search, range);
  return h(
    "article",
    { class: "sample" },
    h("header", {}, h("h3", {}, momentOf(sample.time)), about),
    h("div", { class: "prompt" }, contentOf(sample.prompt, search)),
    h("ol", {}, response),
  );
}

// Makes `elements` the children of `parent`; those that stay in order are not touched, nor a text that is selected in them.
function arrange(parent, elements) {
  const wanted = new Set(elements);
  for (const old of [...parent.children]) if (!wanted.has(old)) old.remove();
  let at = parent.firstElementChild;
  for (const element of elements) {
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
}

function nothingRecent({ status, access, samples }) {
  if (access.samplesRefusal) return `Samples are shown with a key of the role admin. The server says: ${access.samplesRefusal}.`;
  if (!samples) return "The samples are not known yet.";
  if (!status.log) return "This server keeps no texts (--no-log).";
  if (status.log.redacted) return "This server keeps no texts (--redact).";
  return "No response has been scored since the server started.";
}

function recentSection() {
  const search = h("input", { type: "search", autocomplete: "off" });
  const order = select(
    "Sort by",
    ORDERS.map(([name, text]) => [name, text]),
  );
  const found = h("p", { class: "note", role: "status", "aria-live": "off" });
  const cards = h("div", { class: "samples" });
  const more = h("button", { type: "button" }, "Show more");
  const filters = h(
    "form",
    { class: "filters", submit: (event) => event.preventDefault() },
    h("label", { class: "search" }, "Find in prompts and responses", search),
    order.element,
  );
  let last = null, // what was shown: an answer of the server, or why there is none
    samples = [],
    limit = SAMPLES_AT_ONCE,
    made = new Map(), // cards by sample: what was unfolded stays so
    wanted = "";

  function show() {
    if (wanted !== search.value.trim().toLowerCase()) made = new Map();
    wanted = search.value.trim().toLowerCase();
    const range = rangeOfRewards([{ rewards: samples.map((sample) => sample.reward) }]);
    const compare = ORDERS.find(([name]) => name === order.box.value)[2];
    const matching = samples.filter((sample) => sample.text.includes(wanted)).sort(compare);
    const shown = matching.slice(0, limit);
    made = new Map(shown.map((sample) => [sample.name, made.get(sample.name) ?? recentCard(sample, wanted, range)]));
    for (const sample of shown) {
      const bar = made.get(sample.name).querySelector(".meter span");
      if (bar) bar.style.width = widthOf(sample.reward, range);
    }
    arrange(cards, [...made.values()]);
    more.hidden = matching.length <= limit;
    filters.hidden = samples.length === 0;
    found.textContent = samples.length > 0 ? `${count(matching.length, "sample")} of ${format(samples.length)}` : last;
  }
  for (const input of [search, order.box])
    input.addEventListener("input", () => {
      limit = SAMPLES_AT_ONCE;
      found.setAttribute("aria-live", "polite"); // what the reader asked for is said, what comes by itself is not
      show();
    });
  more.addEventListener("click", () => {
    limit += SAMPLES_AT_ONCE;
    show();
  });
  function update(state) {
    const now = state.samples?.samples.length > 0 ? state.samples : nothingRecent(state);
    if (now === last) return;
    last = now;
    samples = (state.samples?.samples ?? []).map(recentSample);
    found.setAttribute("aria-live", "off");
    show();
  }
  return { id: "samples", title: "Recent samples", content: [filters, found, cards, more], update };
}
