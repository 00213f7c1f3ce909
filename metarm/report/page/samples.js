// The responses of each round, with their rewards: found by text and round, sorted by what is odd about them.

const SAMPLES_AT_ONCE = 10;
const SHORT_TEXT = 700; // characters; a longer text is cut until asked for

const placeOf = (folder, folders, round, { stage }) => inFolder(folder, folders, ofStage(stage, round.samples, `Round ${round.round}`));
const textOf = (content) => (typeof content === "string" ? content : content.map((message) => message.content).join("\n"));

// A response group with what it is sorted by. `samples`: those of a stage in a round.
function sampleOf(folder, folders, round, samples, group) {
  const rewards = (group.rewards ?? []).filter(isNumber);
  const lengths = group.responses.map((response) => textOf(response).length);
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    ...group,
    where: placeOf(folder, folders, round, samples),
    scoredBy: samples.scored_by,
    promptText: textOf(group.prompt),
    text: [group.prompt, ...group.responses].map(textOf).join("\n").toLowerCase(),
    reward: rewards.length > 0 ? mean(rewards) : null,
    spread: rewards.length > 0 ? Math.max(...rewards) - Math.min(...rewards) : null,
    length: mean(lengths),
  };
}

// Groups without rewards come last.
const byNumber = (key, sign) => (a, b) => (a[key] === null) - (b[key] === null) || sign * (a[key] - b[key]);

const SORTS = [
  ["file", "As in the file", () => 0],
  ["highest", "Highest mean reward", byNumber("reward", -1)],
  ["lowest", "Lowest mean reward", byNumber("reward", 1)],
  ["widest", "Widest spread of rewards", byNumber("spread", -1)],
  ["narrowest", "Narrowest spread of rewards", byNumber("spread", 1)],
  ["longest", "Longest responses", byNumber("length", -1)],
  ["shortest", "Shortest responses", byNumber("length", 1)],
  ["prompt", "Prompt, then round", (a, b) => (a.promptText < b.promptText ? -1 : a.promptText > b.promptText ? 1 : 0)],
];

// The text, with the places where `search` is found marked.
function marked(text, search) {
  if (!search) return [text];
  const parts = [],
    lower = text.toLowerCase();
  if (lower.length !== text.length) return [text]; // places would not be the same
  let from = 0;
  for (let at; (at = lower.indexOf(search, from)) !== -1; from = at + search.length)
    parts.push(text.slice(from, at), h("mark", {}, text.slice(at, at + search.length)));
  return [...parts, text.slice(from)];
}

function words(text, search) {
  const paragraph = h("p", { class: "words" }, marked(text.slice(0, SHORT_TEXT), search));
  if (text.length <= SHORT_TEXT) return [paragraph];
  const all = () => {
    paragraph.replaceChildren(...marked(text, search));
    button.remove();
  };
  paragraph.append("\u2026");
  const button = h("button", { type: "button", class: "link", click: all }, `Show all ${format(text.length)} characters`);
  return [paragraph, button];
}

// A text, or messages with their roles.
function contentOf(content, search) {
  if (typeof content === "string") return words(content.trim(), search);
  return content.flatMap((message) => [h("span", { class: "role" }, message.role), ...words(message.content, search)]);
}

function responseItem(sample, i, search, range) {
  const reward = sample.rewards?.[i];
  const length = h("span", {}, count(textOf(sample.responses[i]).length, "character"));
  const parts = [length];
  if (isNumber(reward)) {
    const bar = h("span");
    bar.style.width = `${(100 * (reward - range.low)) / (range.high - range.low || 1)}%`;
    parts.unshift(
      h("span", { class: "hidden-text" }, "Reward "),
      h("data", { value: reward }, format(reward, "fixed")),
      h("div", { class: "meter", "aria-hidden": "true" }, bar),
    );
  }
  return h("li", {}, h("div", { class: "reward" }, parts), h("div", {}, contentOf(sample.responses[i], search)));
}

function sampleCard(sample, search, range) {
  const order = sample.responses.map((_, i) => i);
  if (sample.rewards) order.sort((a, b) => (sample.rewards[b] ?? -Infinity) - (sample.rewards[a] ?? -Infinity));
  const figures =
    sample.reward === null ? "" : `${sample.scoredBy}: mean ${format(sample.reward, "fixed")}, spread ${format(sample.spread, "fixed")}`;
  const title = sample.policy ? `${sample.where}, ${sample.policy}` : sample.where;
  return h(
    "article",
    { class: "sample" },
    h("header", {}, h("h3", {}, title), h("p", {}, figures)),
    h("div", { class: "prompt" }, contentOf(sample.prompt, search)),
    h(
      "ol",
      {},
      order.map((i) => responseItem(sample, i, search, range)),
    ),
  );
}

function select(label, options) {
  const box = h(
    "select",
    {},
    options.map(([value, text]) => h("option", { value }, text)),
  );
  return { box, element: h("label", {}, label, box) };
}

function rangeOfRewards(samples) {
  const rewards = samples.flatMap((sample) => (sample.rewards ?? []).filter(isNumber));
  return { low: rewards.reduce((a, b) => Math.min(a, b), Infinity), high: rewards.reduce((a, b) => Math.max(a, b), -Infinity) };
}

// "the first 100 of each round's 2,000 response groups": what is not on the page.
function samplesNote(listed) {
  const cut = listed
    .filter(({ samples }) => samples.total > samples.groups.length)
    .map(
      ({ folder, folders, round, samples }) =>
        `${placeOf(folder, folders, round, samples)}: the first ${format(samples.groups.length)} of ${format(samples.total)}`,
    );
  const groups = cut.length > 0 ? `Response groups on this page: ${cut.join("; ")}.` : "All response groups of the rounds are here.";
  return `${groups} Rewards are those of the stage that is named beside them.`;
}

function samplesSection({ rounds: folders }) {
  const listed = folders.flatMap((folder) =>
    folder.rounds.flatMap((round) => round.samples.map((samples) => ({ folder, folders, round, samples }))),
  );
  const samples = listed.flatMap(({ folder, round, samples }) =>
    samples.groups.map((group) => sampleOf(folder, folders, round, samples, group)),
  );
  if (samples.length === 0) return null;
  const range = rangeOfRewards(samples);
  const search = h("input", { type: "search", autocomplete: "off" });
  const rounds = select("Round", [["", "All"], ...[...new Set(samples.map((sample) => sample.where))].map((where) => [where, where])]);
  const sort = select(
    "Sort by",
    SORTS.map(([name, text]) => [name, text]),
  );
  const status = h("p", { class: "note", role: "status" });
  const list = h("div", { class: "samples" });
  const more = h("button", { type: "button" }, "Show more");
  let found = [],
    wanted = "";

  function append() {
    const from = list.children.length,
      cards = found.slice(from, from + SAMPLES_AT_ONCE).map((sample) => sampleCard(sample, wanted, range));
    list.append(...cards);
    more.hidden = list.children.length === found.length;
    return cards[0];
  }
  function update() {
    wanted = search.value.trim().toLowerCase();
    const compare = SORTS.find(([name]) => name === sort.box.value)[2];
    found = samples
      .filter((sample) => (!rounds.box.value || sample.where === rounds.box.value) && sample.text.includes(wanted))
      .sort(compare);
    list.replaceChildren();
    append();
    status.textContent = `${count(found.length, "response group")} of ${format(samples.length)}`;
  }
  for (const input of [search, rounds.box, sort.box]) input.addEventListener("input", update);
  more.addEventListener("click", () => {
    const first = append();
    first.tabIndex = -1;
    first.focus();
  });
  update();
  const filters = h(
    "form",
    { class: "filters", submit: (event) => event.preventDefault() },
    h("label", { class: "search" }, "Find in prompts and responses", search),
    rounds.element,
    sort.element,
  );
  return { id: "samples", title: "Samples", content: [h("p", { class: "note" }, samplesNote(listed)), filters, status, list, more] };
}
