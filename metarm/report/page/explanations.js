// What `metarm explain` found: texts with each token coloured by its share in a reward or a reward difference.

const EXPLAINED_AT_ONCE = 10;
const STRONGEST = 45; // per cent of the colour that a row's largest value has: the text stays readable on it

// What a row shows: { label, reward, text, tokens, values, changes }, a pair's parts or a group's responses. The text is there where tokens
// are not.
function partsOf(row) {
  const changes = row.change?.values;
  if (!("reward_difference" in row))
    return row.rewards.map((reward, i) => ({ label: `Response ${i + 1}`, reward, text: row.responses?.[i], ...row.attributions?.[i], changes: changes?.[i] }));
  const part = (name, label, text, reward) => ({ label, reward, text, ...row.difference_attribution?.[name], changes: changes?.[name] });
  const sides = [part("chosen", "Chosen", row.chosen, row.chosen_reward), part("rejected", "Rejected", row.rejected, row.rejected_reward)];
  return [row.difference_attribution ? part("shared", "Shared") : part("prompt", "Prompt", row.prompt ?? ""), ...sides];
}

function tokenSpan(token, value, largest) {
  const span = h("span", { class: value < 0 ? "token against" : "token", "data-value": value, title: format(value, "fixed") }, token);
  span.style.setProperty("--share", `${largest > 0 ? (STRONGEST * Math.abs(value)) / largest : 0}%`);
  return span;
}

function partItem(part, values, largest) {
  const reward = isNumber(part.reward) ? h("data", { value: part.reward }, format(part.reward, "fixed")) : null;
  const words = part.tokens
    ? h(
        "p",
        { class: "words" },
        part.tokens.map((token, i) => tokenSpan(token, values?.[i] ?? 0, largest)),
      )
    : h("div", {}, contentOf(part.text ?? "", ""));
  return h("li", {}, h("div", { class: "reward" }, h("span", {}, part.label), reward), words);
}

function rowFigures(row) {
  const figures = [];
  if (isNumber(row.reward_difference)) figures.push(`reward difference ${format(row.reward_difference, "fixed")}`);
  if (isNumber(row.difference_attribution?.error)) figures.push(`error ${format(row.difference_attribution.error, "percent")}`);
  const change = row.change?.reward_difference ?? row.change?.largest_difference;
  if (isNumber(change)) figures.push(`change ${format(change, "fixed")} deviations`);
  if (row.change?.flipped || row.change?.flips > 0) figures.push("order turned round");
  return figures.join(", ");
}

function influenceTable(row) {
  const rows = ["up", "down"].flatMap((way) =>
    row.influence[way].map((one) =>
      h(
        "tr",
        { "data-way": way },
        headerCell(one.id === undefined ? one.where : `${one.where} (${one.id})`),
        h("td", { class: "text" }, way),
        numberCell(one.cosine, "fixed"),
        numberCell(one.dot),
      ),
    ),
  );
  const label = `Training pairs that pull ${row.where}`;
  return h("details", {}, h("summary", {}, "Training pairs"), tableOf(label, ["Training pair", "Pulls", "Cosine", "Product"], rows));
}

function explainedCard(row, byChange) {
  const parts = partsOf(row),
    valuesOf = (part) => (byChange ? part.changes : part.values);
  const largest = parts.flatMap((part) => valuesOf(part) ?? []).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const names = [row.where, row.id, row.subset, row.policy].filter((name) => name);
  return h(
    "article",
    { class: "sample explained" },
    h("header", {}, h("h3", {}, names.join(", ")), h("p", {}, rowFigures(row))),
    h(
      "ol",
      {},
      parts.map((part) => partItem(part, valuesOf(part), largest)),
    ),
    row.influence ? influenceTable(row) : null,
  );
}

// A file's cards, some at a time, and what they are coloured by.
function explainedList(file) {
  const list = h("div", { class: "samples" }),
    more = h("button", { type: "button" }, "Show more");
  const views = [["value", "Share in the reward or its difference"]];
  if (file.rows.some((row) => row.change?.values)) views.push(["change", "Change from one model to the other"]);
  const view = select("Colour by", views);
  const append = () => {
    const from = list.children.length;
    list.append(...file.rows.slice(from, from + EXPLAINED_AT_ONCE).map((row) => explainedCard(row, view.box.value === "change")));
    more.hidden = list.children.length === file.rows.length;
    return list.children[from];
  };
  view.box.addEventListener("input", () => {
    list.replaceChildren();
    append();
  });
  more.addEventListener("click", () => {
    const first = append();
    first.tabIndex = -1;
    first.focus();
  });
  append();
  return [views.length > 1 ? h("div", { class: "filters" }, view.element) : null, list, more];
}

function explanationsSection({ explanations }) {
  const shown = explanations.filter((file) => file.rows.length > 0);
  if (shown.length === 0) return null;
  const note =
    "Blue tokens raise a response\u2019s reward, or the reward difference between chosen and rejected; orange ones with dots below lower it. Colours are relative to the strongest token of a row; the number of a token shows when it is pointed at.";
  const content = shown.map((file) => {
    const cut = file.total > file.rows.length ? `The first ${format(file.rows.length)} of ${format(file.total)} rows.` : null;
    return [shown.length > 1 ? h("h3", {}, file.name) : null, cut && h("p", { class: "note" }, cut), mapChart(file), explainedList(file)];
  });
  return { id: "explanations", title: "Explanations", content: [h("p", { class: "note" }, note), ...content.flat()] };
}
