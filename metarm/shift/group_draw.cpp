#include "metarm/shift/group_draw.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

#include "metarm/base/random.h"
#include "metarm/shift/database.h"

namespace metarm {

namespace {

struct Candidate {
  double key;
  std::int64_t prompt;
};

const char* time_column(const GroupDraw& draw) { return draw.by_step ? "COALESCE(step, 0)" : "time"; }

std::vector<Candidate> choose(Database& database, const GroupDraw& draw) {
  Statement prompts(database, fmt::format("SELECT prompt, MAX({0}), prompts.key FROM responses JOIN prompts ON prompts.id = prompt "
                                          "WHERE {0} <= ?2 GROUP BY prompt HAVING COUNT(DISTINCT responses.hash) >= ?1",
                                          time_column(draw))
                                  .c_str());
  prompts.bind(1, draw.min_responses);
  prompts.bind(2, draw.now_s);
  std::vector<Candidate> chosen;
  while (prompts.step()) {
    const std::int64_t prompt = prompts.integer(0);
    RandomStream random(draw.seed, "shift log draw", static_cast<std::uint64_t>(prompts.integer(2)));
    const double log_weight = -(draw.now_s - prompts.real(1)) / draw.half_life_s * std::numbers::ln2;
    chosen.push_back({log_weight - std::log(-std::log1p(-random.uniform())), prompt});
  }
  const auto wanted = std::min<std::int64_t>(draw.groups, static_cast<std::int64_t>(chosen.size()));
  std::partial_sort(chosen.begin(), chosen.begin() + wanted, chosen.end(),
                    [](const Candidate& a, const Candidate& b) { return a.key > b.key; });
  chosen.resize(static_cast<std::size_t>(wanted));
  return chosen;
}

ResponseGroup read_group(Statement& text, Statement& responses, std::int64_t prompt, const GroupDraw& draw) {
  ResponseGroup group;
  text.bind(1, prompt);
  text.step();
  group.prompt = parse_content(parse_json(text.bytes(0), "shift log"), "prompt", "shift log");
  group.form = parse_text_form(text.bytes(1), "shift log");
  text.reset();
  responses.bind(1, prompt);
  responses.bind(2, draw.now_s);
  std::set<std::string> hashes, versions;
  while (static_cast<std::int64_t>(hashes.size()) < draw.max_responses && responses.step()) {
    if (!hashes.insert(responses.bytes(0)).second) continue;
    group.responses.push_back(parse_content(parse_json(responses.bytes(1), "shift log"), "response", "shift log"));
    group.rewards.push_back(responses.real(2));
    versions.insert(responses.bytes(3));
  }
  responses.reset();
  std::reverse(group.responses.begin(), group.responses.end());
  std::reverse(group.rewards.begin(), group.rewards.end());
  if (versions.size() > 1) group.rewards.clear();
  return group;
}

}  // namespace

std::vector<ResponseGroup> draw_groups(const std::string& path, const GroupDraw& draw) {
  Database database(path, Database::Access::read);
  Transaction one_state_of_the_file(database);
  Statement text(database, "SELECT text, form FROM prompts WHERE id = ?1");
  Statement responses(database, fmt::format("SELECT hash, text, reward, version FROM responses WHERE prompt = ?1 AND {0} <= ?2 "
                                            "ORDER BY {0} DESC, {1} DESC",
                                            time_column(draw), draw.by_step ? "key" : "id")
                                    .c_str());
  std::vector<ResponseGroup> groups;
  for (const Candidate& candidate : choose(database, draw)) groups.push_back(read_group(text, responses, candidate.prompt, draw));
  return groups;
}

}  // namespace metarm
