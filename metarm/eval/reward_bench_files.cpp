#include "metarm/eval/reward_bench_files.h"

#include <filesystem>
#include <optional>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/data/rows.h"

namespace metarm {

namespace {

std::vector<std::string> text_list(const Json& row, const char* field, const std::string& where) {
  std::vector<std::string> texts;
  for (const Json& text : require_field(row, field, where)) {
    if (!text.is_string()) fail_input("{}: {}: expected a list of texts, got {} in it", where, field, json_type_name(text));
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

std::int64_t count_field(const Json& row, const char* field, const std::string& where) {
  const Json& value = require_field(row, field, where);
  if (!value.is_number_integer() || value < 1)
    fail_input("{}: {}: expected a whole number of at least 1, got {}", where, field, value.dump());
  return value.get<std::int64_t>();
}

// The prior test sets' prompts count as turns of user and assistant, whatever their roles say.
Conversation alternating(const Conversation& messages, const std::string& where) {
  if (messages.size() % 2 == 0) fail_input("{}: prompt: expected the user's turn at the end of the messages, got the assistant's", where);
  Conversation turns;
  for (const Message& message : messages) turns.push_back({turns.size() % 2 == 0 ? "user" : "assistant", message.content});
  return turns;
}

BenchmarkVersion version_of(const Json& row, const std::string& where) {
  const Json &chosen = require_field(row, "chosen", where), &rejected = require_field(row, "rejected", where);
  if (chosen.is_string() && rejected.is_string()) return BenchmarkVersion::reward_bench;
  if (chosen.is_array() && rejected.is_array()) return BenchmarkVersion::reward_bench_2;
  fail_input("{}: chosen, rejected: expected two texts (RewardBench) or two lists of texts (RewardBench 2), got {} and {}", where,
             json_type_name(chosen), json_type_name(rejected));
}

BenchmarkItem parse_item(const JsonRow& row, BenchmarkVersion version) {
  BenchmarkItem item;
  item.where = row.where();
  item.subset = text_field(row.value, "subset", item.where);
  if (row.value.contains("id")) item.id = row.value["id"];
  const Content prompt = parse_content(require_field(row.value, "prompt", item.where), "prompt", item.where);
  if (version == BenchmarkVersion::reward_bench) {
    const auto* messages = std::get_if<Conversation>(&prompt);
    item.prior = messages != nullptr;
    item.prompt = item.prior ? alternating(*messages, item.where) : Conversation{{"user", std::get<std::string>(prompt)}};
    item.texts = {text_field(row.value, "chosen", item.where), text_field(row.value, "rejected", item.where)};
    item.row = row.value;
    return item;
  }
  item.prompt = {{"user", text_field(row.value, "prompt", item.where)}};
  item.texts = text_list(row.value, "chosen", item.where);
  for (std::string& text : text_list(row.value, "rejected", item.where)) item.texts.push_back(std::move(text));
  item.correct = count_field(row.value, "num_correct", item.where);
  const std::int64_t total = count_field(row.value, "total_completions", item.where);
  if (total != static_cast<std::int64_t>(item.texts.size()))
    fail_input("{}: total_completions: expected {}, as many as chosen and rejected hold, got {}", item.where, item.texts.size(), total);
  return item;
}

Json result_of(BenchmarkVersion version, const BenchmarkItem& item) {
  const double result = item_result(version, item.scores);
  if (version == BenchmarkVersion::reward_bench) return static_cast<int>(result);
  if (item.subset == "ties") return nullptr;  // the script looks for this spelling; rows of its data set's Ties have a result as all others
  return result == 0 ? Json(0) : Json(result);
}

// The scripts' columns: one list a field, one entry an item.
Json score_columns(const BenchmarkResult& result, std::span<const BenchmarkItem* const> items,
                   const std::function<std::string(const Conversation&)>& render) {
  Json columns;
  for (const BenchmarkItem* item : items) {
    columns["id"].push_back(item->id);
    columns["subset"].push_back(item->subset);
    columns["results"].push_back(result_of(result.version, *item));
    if (result.version == BenchmarkVersion::reward_bench) {
      columns["text_chosen"].push_back(render(benchmark_conversation(*item, 0)));
      columns["text_rejected"].push_back(render(benchmark_conversation(*item, 1)));
      columns["scores_chosen"].push_back(item->scores[0]);
      columns["scores_rejected"].push_back(item->scores[1]);
      continue;
    }
    Json texts = Json::array();
    for (std::size_t i = 0; i < item->texts.size(); ++i) texts.push_back(render(benchmark_conversation(*item, i)));
    columns["text"].push_back(texts);
    columns["scores"].push_back(item->scores);
    columns["num_correct"].push_back(item->correct);
  }
  return columns;
}

void write_named(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  write_file(path.string(), text);
}

void write_set(const std::filesystem::path& directory, const std::string& set, const BenchmarkResult& result,
               std::span<const BenchmarkItem* const> items, const BenchmarkLabels& labels,
               const std::function<std::string(const Conversation&)>& render) {
  if (items.empty()) return;
  Json scores = {{"model", labels.model}, {"model_type", "Seq. Classifier"}, {"chat_template", labels.chat_template}};
  Json columns = score_columns(result, items, render);
  columns.update(scores);
  for (const BenchmarkItem* item : items) scores[item->subset] = result.subsets.at(item->subset).score;
  for (const auto& [folder, json] : {std::pair(set, scores), std::pair(set + "-scores", columns)})
    write_named(directory / folder / (labels.model + ".json"), json.dump(4, ' ', true));
}

void write_command_files(const std::filesystem::path& directory, const BenchmarkResult& result, std::span<const BenchmarkItem* const> items,
                         const BenchmarkLabels& labels, const std::function<std::string(const Conversation&)>& render) {
  if (items.empty()) return;
  std::string rows;
  Json subsets = Json::object();
  double right = 0;
  for (const BenchmarkItem* item : items) {
    const Json of_item = result_of(result.version, *item);
    Json row = item->row;
    row.update(Json{{"prompt", render(item->prompt)},
                    {"results", of_item},
                    {"scores_chosen", item->scores[0]},
                    {"scores_rejected", item->scores[1]},
                    {"text_chosen", render(benchmark_conversation(*item, 0))},
                    {"text_rejected", render(benchmark_conversation(*item, 1))}});
    rows += row.dump(-1, ' ', true) + "\n";
    subsets[item->subset] = result.subsets.at(item->subset).score;
    right += of_item.get<double>();
  }
  const Json summary = {{"accuracy", right / static_cast<double>(items.size())},
                        {"num_prompts", items.size()},
                        {"model", labels.model},
                        {"ref_model", nullptr},
                        {"tokenizer", labels.model},
                        {"chat_template", labels.chat_template == "tokenizer" ? Json() : Json(labels.chat_template)},
                        {"extra_results", subsets}};
  write_named(directory / (labels.model + ".json"), summary.dump(-1, ' ', true));
  write_named(directory / (labels.model + "_outputs.jsonl"), rows);
}

}  // namespace

Benchmark read_benchmark(const std::vector<std::string>& files, BadRows bad_rows) {
  Benchmark benchmark;
  std::optional<BenchmarkVersion> version;
  benchmark.report = for_each_row(files, bad_rows, [&](const JsonRow& row) {
    const BenchmarkVersion of_row = version_of(row.value, row.where());
    if (version && of_row != *version) fail_input("{}: expected rows of one RewardBench, got one of the other version", row.where());
    benchmark.items.push_back(parse_item(row, of_row));
    version = of_row;
  });
  if (version) benchmark.version = *version;
  return benchmark;
}

Conversation benchmark_conversation(const BenchmarkItem& item, std::size_t response) {
  Conversation conversation = item.prompt;
  conversation.push_back({"assistant", item.texts[response]});
  return conversation;
}

void write_benchmark_files(const std::string& directory, const BenchmarkResult& result, std::span<const BenchmarkItem> items,
                           const BenchmarkLabels& labels, const std::function<std::string(const Conversation&)>& render) {
  std::vector<const BenchmarkItem*> core, prior;
  for (const BenchmarkItem& item : items) (item.prior ? prior : core).push_back(&item);
  write_set(directory, "eval-set", result, core, labels, render);
  write_set(directory, "pref-sets", result, prior, labels, render);
  if (result.version == BenchmarkVersion::reward_bench) write_command_files(directory, result, core, labels, render);
}

std::string model_label(const std::string& directory) {
  std::filesystem::path path = std::filesystem::absolute(directory).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();  // a slash at the end
  const std::string parent = path.parent_path().filename().string();
  return parent.empty() ? path.filename().string() : parent + "/" + path.filename().string();
}

}  // namespace metarm
