// The token that says nothing is one that the model has.
#include "metarm/model/attribution.h"

#include <gtest/gtest.h>

#include <optional>

#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

constexpr const char* kTokenizer = R"({
  "version": "1.0", "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
  "added_tokens": [{"id": 2, "content": "</s>", "special": true, "normalized": false, "lstrip": false, "rstrip": false, "single_word": false}],
  "model": {"type": "BPE", "unk_token": "<unk>", "vocab": {"<unk>": 0, "a": 1, "</s>": 2}, "merges": []}
})";

TEST(Attribution, TheBaselineIsOfTheVocabulary) {
  const TemporaryFolder folder;
  write_file(folder / "tokenizer.json", kTokenizer);
  write_file(folder / "tokenizer_config.json", R"({"eos_token": "</s>"})");
  const Tokenizer tokenizer = Tokenizer::load(folder.path());
  const auto baseline = [&](std::optional<std::int64_t> pad, std::int64_t vocab_size) {
    RewardModel reward_model;
    reward_model.pad_token_id = pad;
    reward_model.model.spec.vocab_size = vocab_size;
    return baseline_token(reward_model, tokenizer);
  };
  EXPECT_EQ(baseline(7, 8), 7);
  EXPECT_EQ(baseline(0, 8), 0);
  for (const std::int64_t pad : {-1, 8, 1000}) EXPECT_EQ(baseline(pad, 8), 2) << pad << ": the end token instead";
  EXPECT_EQ(baseline(std::nullopt, 8), 2);
  EXPECT_EQ(baseline(-1, 2), 0) << "neither is there";
}

}  // namespace
}  // namespace metarm
