// Asks the server for its state again and again, and shows it.

const PERIOD_MS = 2000;
const VERSIONS_PERIOD_MS = 30_000; // sooner where something has happened
const SAMPLES_PERIOD_MS = 4000; // no sooner, and only where rows were scored

// What is shown. `trouble`: why there is nothing new; `pending`: the change that is being asked for; `outcome`: what came of the last one.
const state = { status: null, versions: null, samples: null, access: {}, trouble: "", pending: "", outcome: "" };
let versionsFor = "", // the state of the server that the versions and samples here belong to, and when they came
  versionsAt = 0,
  samplesFor = "",
  samplesAt = 0,
  timer = 0,
  looking = false,
  again = false, // whether something has changed since the server was asked
  asking = false,
  paused = false;

const facts = h("dl", { class: "facts" });
const headline = h("p", { id: "headline", class: "hidden-text", role: "status", "aria-live": "polite" });
const freshness = h("span", { id: "freshness" });
const pause = h("button", { type: "button", id: "pause" });
const keyButton = h("button", { type: "button", id: "key-button" });

function stateSection() {
  function update({ status }) {
    const now = factsOf(status);
    replaceIfChanged(facts, now, () =>
      now.map(({ id, label, mark, value, more }) =>
        h("div", { class: `fact ${mark}`, id }, h("dt", {}, label), h("dd", {}, h("strong", {}, marker(mark), value), h("p", {}, more))),
      ),
    );
    const words = headlineOf(status);
    if (headline.textContent !== words) headline.textContent = words;
    document.title = `${now[1].mark === "alarm" ? "Shift alarm" : now[0].value} \u00b7 metarm serve`;
  }
  return { id: "state", title: "State", content: [headline, facts], update };
}

const sections = [
  stateSection(),
  versionsSection(change),
  shiftSection(),
  throughputSection(),
  logSection(),
  eventsSection(),
  recentSection(),
];

function addSections() {
  for (const { id, title, content } of sections) {
    const heading = h("h2", { id: `${id}-title` }, title);
    document.getElementById("content").append(h("section", { id, "aria-labelledby": heading.id, hidden: true }, heading, content));
    document.querySelector("#sections ul").append(h("li", {}, h("a", { href: `#${id}` }, title)));
  }
  document.getElementById("controls").append(freshness, pause, keyButton);
}

function subtitleOf({ models, started, time }) {
  const others = models.length > 1 ? ` and ${count(models.length - 1, "other model")}` : "";
  return `${models[0].name}${others} \u00b7 started ${formatMoment(started)} \u00b7 up for ${formatDuration(time - started)}`;
}

function showTrouble() {
  const box = document.getElementById("trouble");
  const old = state.status && state.trouble ? ` What is below is from ${formatClock(state.status.time)}.` : "";
  const text = state.trouble ? `${state.trouble}${old}` : "";
  if (box.textContent !== text) box.replaceChildren(...(text ? [marker("bad"), text] : []));
  if (state.trouble && !state.status) document.title = "metarm serve";
}

function show() {
  showTrouble();
  pause.textContent = paused ? "Go on updating" : "Pause updates";
  keyButton.textContent = accessKey ? "Forget the key" : "Enter a key";
  freshness.textContent = !state.status
    ? ""
    : paused
      ? `Paused at ${formatClock(state.status.time)}`
      : `As of ${formatClock(state.status.time)}`;
  if (!state.status) return;
  document.getElementById("subtitle").textContent = subtitleOf(state.status);
  for (const section of sections) {
    section.update(state);
    document.getElementById(section.id).hidden = false;
  }
}

async function askForVersions({ started, alignment, events }) {
  const wanted = JSON.stringify([started, alignment.version, events.at(-1)]);
  if (wanted === versionsFor && Date.now() - versionsAt < VERSIONS_PERIOD_MS) return {};
  const versions = await ask("v1/versions");
  [versionsFor, versionsAt] = [wanted, Date.now()];
  return { versions };
}

async function askForSamples({ started, models }, access) {
  const wanted = JSON.stringify([started, sumOf(models, "rows")]);
  if (access.samplesRefusal || wanted === samplesFor || Date.now() - samplesAt < SAMPLES_PERIOD_MS) return {};
  try {
    const samples = await ask("v1/samples");
    [samplesFor, samplesAt] = [wanted, Date.now()];
    return { samples };
  } catch (error) {
    if (error.status !== 403) throw error;
    return { access: { ...access, samplesRefusal: error.message } }; // asking again would only fill the server's log
  }
}

// What is new in the state.
async function askForNews() {
  const status = await ask("v1/status");
  const access = status.started === state.status?.started ? state.access : {};
  const [versions, samples] = await Promise.all([askForVersions(status), askForSamples(status, access)]);
  return { status, access, trouble: "", ...versions, ...samples };
}

function troubleOf(error) {
  if (error.status === 0) return `The server does not answer (${error.message}); it is asked again every ${PERIOD_MS / 1000} seconds.`;
  if (error.status === 401) return "The server wants a key before it says anything.";
  if (error.status === 403) return `The key may not see this. The server says: ${error.message}.`;
  if (error.status > 0) return `The server answers with an error, ${error.status}: ${error.message}.`;
  return `The server\u2019s answer is not as expected: ${error.message}.`;
}

// Forgets what was seen with another key.
function useKey(key) {
  setAccessKey(key);
  Object.assign(state, { status: null, versions: null, samples: null, access: {}, outcome: "" });
  versionsFor = samplesFor = "";
  versionsAt = samplesAt = 0;
  for (const section of sections) document.getElementById(section.id).hidden = true;
  look();
}

async function wantKey(reason) {
  if (asking) return;
  asking = true;
  const key = await askForKey(reason);
  asking = false;
  if (key) useKey(key);
}

const mayLook = () => !document.hidden && !paused && !asking;

function takeError(error) {
  state.trouble = troubleOf(error);
  if (error.status !== 401) return;
  const known = Boolean(accessKey);
  if (known) setAccessKey("");
  wantKey(known ? "The server does not know this key." : "This server asks for a key.");
}

function showWhatCanBe() {
  try {
    show();
  } catch (error) {
    console.error(error);
    state.trouble = troubleOf(error);
    showTrouble();
  }
}

async function look() {
  clearTimeout(timer);
  again = looking;
  if (looking) return;
  looking = true;
  let news = {},
    failure = null;
  try {
    news = await askForNews();
  } catch (error) {
    failure = error;
  }
  looking = false;
  if (again) return look(); // what came may be of another key
  Object.assign(state, news);
  if (failure) takeError(failure);
  showWhatCanBe();
  if (mayLook()) timer = setTimeout(look, PERIOD_MS);
}

async function change(doing, path, body, done) {
  Object.assign(state, { pending: doing, outcome: doing });
  show();
  try {
    state.outcome = done(await ask(path, body));
    versionsFor = "";
  } catch (error) {
    state.outcome =
      error.status > 0 ? `Refused (${error.status}): ${error.message}.` : `It is not known whether this was done: ${error.message}.`;
    if (error.status === 403) state.access.changeRefusal = `The server says: ${error.message}.`;
  }
  state.pending = "";
  look();
}

document.addEventListener("visibilitychange", () => (mayLook() ? look() : clearTimeout(timer)));
pause.addEventListener("click", () => {
  paused = !paused;
  if (!paused) return look();
  clearTimeout(timer);
  show();
});
keyButton.addEventListener("click", () => (accessKey ? useKey("") : wantKey("A key of the role admin shows samples and allows changes.")));

addSections();
show();
look();
