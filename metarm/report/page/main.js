// Builds the page from its data; a section without any is left out.

const data = JSON.parse(document.getElementById("data").textContent);
const SECTIONS = [
  roundsSection,
  differencesSection,
  distanceSection,
  accuracySection,
  outcomesSection,
  tuningSection,
  overviewSection,
  trainingSection,
  samplesSection,
  explanationsSection,
  settingsSection,
];

function subtitle() {
  const parts = data.runs.length > 0 || data.explanations.length === 0 ? [count(data.runs.length, "run")] : [];
  const rounds = data.rounds.reduce((sum, folder) => sum + folder.rounds.length, 0);
  if (data.tunings.length > 0) parts.unshift(count(data.tunings.length, "tuning"));
  if (data.explanations.length > 0) parts.push(count(data.explanations.length, "explanation"));
  if (rounds > 0) parts.unshift(count(rounds, "round"));
  const last = Math.max(0, ...data.runs.map((run) => run.last_time_s));
  if (last > 0) parts.push(`last figures of ${formatTime(last)}`);
  return parts.join(" \u00b7 ");
}

const names = [...data.rounds, ...data.tunings, ...data.runs, ...data.explanations].map((item) => item.name);
document.title = `metarm report: ${names.slice(0, 3).join(", ")}${names.length > 3 ? ", \u2026" : ""}`;
document.getElementById("subtitle").textContent = subtitle();

for (const make of SECTIONS) {
  const section = make(data);
  if (!section) continue;
  const heading = h("h2", { id: `${section.id}-title` }, section.title);
  const content = section.content.flat(2).filter((part) => part);
  document.getElementById("content").append(h("section", { id: section.id, "aria-labelledby": heading.id }, heading, content));
  document.querySelector("#sections ul").append(h("li", {}, h("a", { href: `#${section.id}` }, section.title)));
}
