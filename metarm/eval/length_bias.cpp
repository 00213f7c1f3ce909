#include "metarm/eval/length_bias.h"

#include <algorithm>
#include <cmath>

#include "metarm/base/error.h"

namespace metarm {

namespace {

double count_characters(std::string_view text) {  // bytes that begin one, in UTF-8
  return static_cast<double>(std::ranges::count_if(text, [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; }));
}

struct Moments {
  double rewards = 0, lengths = 0, both = 0;  // sums of squares and of products of deviations from the group's means
};

Moments group_moments(const std::vector<float>& rewards, const std::vector<double>& lengths) {
  if (rewards.size() != lengths.size()) fail_internal("length_correlation: expected a length for each reward");
  double count = 0, reward_sum = 0, length_sum = 0;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    if (std::isnan(rewards[i])) continue;
    ++count;
    reward_sum += rewards[i];
    length_sum += lengths[i];
  }
  Moments moments;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    if (std::isnan(rewards[i])) continue;
    const double reward = rewards[i] - reward_sum / count, length = lengths[i] - length_sum / count;
    moments.rewards += reward * reward;
    moments.lengths += length * length;
    moments.both += reward * length;
  }
  return moments;
}

void finish(LengthShare& share, std::int64_t right) {
  if (share.pairs == 0) return;
  share.accuracy = static_cast<double>(right) / static_cast<double>(share.pairs);
  share.interval = wilson_interval(right, share.pairs);
}

}  // namespace

double response_characters(const std::optional<Content>& prompt, const Content& response) {
  if (const auto* conversation = std::get_if<Conversation>(&response)) {
    if (!prompt || conversation->front().role != "assistant") return count_characters(conversation->back().content);
    double characters = 0;
    for (const Message& message : *conversation) characters += count_characters(message.content);
    return characters;
  }
  const double whole = count_characters(std::get<std::string>(response));
  return prompt ? whole : whole - count_characters(std::get<std::string>(implicit_prompt(response)));
}

double length_correlation(std::span<const std::vector<float>> rewards, std::span<const std::vector<double>> lengths) {
  if (rewards.size() != lengths.size()) fail_internal("length_correlation: expected lengths of the same groups");
  Moments sum;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    const Moments of_group = group_moments(rewards[i], lengths[i]);
    sum.rewards += of_group.rewards;
    sum.lengths += of_group.lengths;
    sum.both += of_group.both;
  }
  const double scale = std::sqrt(sum.rewards * sum.lengths);
  return scale > 0 ? sum.both / scale : std::numeric_limits<double>::quiet_NaN();
}

LengthBias length_bias(std::span<const PairRewards> rewards, std::span<const PairLengths> lengths) {
  if (rewards.size() != lengths.size()) fail_internal("length_bias: expected lengths of the same pairs");
  LengthBias bias;
  std::int64_t longer_right = 0, shorter_right = 0, equal_right = 0;
  std::vector<std::vector<float>> pair_rewards;
  std::vector<std::vector<double>> pair_lengths;
  std::vector<float> all_rewards;
  std::vector<double> all_lengths;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    const PairRewards& pair = rewards[i];
    const PairLengths& length = lengths[i];
    const bool longer = length.chosen > length.rejected, shorter = length.chosen < length.rejected;
    ++(longer ? bias.longer : shorter ? bias.shorter : bias.equal).pairs;
    (longer ? longer_right : shorter ? shorter_right : equal_right) += pair.chosen > pair.rejected;
    pair_rewards.push_back({pair.chosen, pair.rejected});
    pair_lengths.push_back({length.chosen, length.rejected});
    all_rewards.insert(all_rewards.end(), {pair.chosen, pair.rejected});
    all_lengths.insert(all_lengths.end(), {length.chosen, length.rejected});
  }
  finish(bias.longer, longer_right);
  finish(bias.shorter, shorter_right);
  finish(bias.equal, equal_right);
  bias.within_correlation = length_correlation(pair_rewards, pair_lengths);
  bias.correlation = length_correlation(std::span(&all_rewards, 1), std::span(&all_lengths, 1));
  return bias;
}

}  // namespace metarm
