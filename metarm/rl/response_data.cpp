#include "metarm/rl/response_data.h"

#include "metarm/base/error.h"
#include "metarm/data/rows.h"
#include "metarm/model/response_text.h"

namespace metarm {

namespace {

void check_ends_with_response(const Text& text) {
  const auto* conversation = std::get_if<Conversation>(&text.text);
  if (conversation != nullptr && conversation->back().role != "assistant")
    fail_input("{}: expected a conversation that ends with the assistant's message, got one that ends with the {}'s", text.where,
               conversation->back().role);
}

std::vector<EncodedResponse> encode_row(const JsonRow& row, Encoder& encoder, std::span<const TokenId> end_tokens) {
  switch (recognise_row(row)) {
    case RowKind::pair: {
      const Pair pair = parse_pair(row);
      return encoder.responses(pair.prompt, std::span(&pair.chosen, 1), pair.where);
    }
    case RowKind::response_group: {
      const ResponseGroup group = parse_response_group(row, 1);
      std::vector<EncodedResponse> responses = encoder.responses(group.prompt, group.responses, group.where);
      for (EncodedResponse& response : responses)
        if (!group.has_ended(response.place)) drop_unchosen_end(response.tokens, response.begin, false, end_tokens);
      return responses;
    }
    case RowKind::text: {
      const Text text = parse_text(row);
      check_ends_with_response(text);
      return encoder.responses(text.prompt, std::span(&text.text, 1), text.where);
    }
  }
  fail_internal("unknown kind of row");
}

}  // namespace

std::vector<EncodedResponse> load_responses(const std::vector<std::string>& files, const char* option, Encoder& encoder,
                                            std::span<const TokenId> end_tokens, const SequenceOptions& sequences, Log& log) {
  std::vector<EncodedResponse> responses;
  const BadRowReport report = for_each_row(files, sequences.bad_rows(), [&](const JsonRow& row) {
    for (EncodedResponse& response : encode_row(row, encoder, end_tokens)) responses.push_back(std::move(response));
  });
  log_skipped(report, log);
  if (responses.empty())
    fail_input("{}: expected responses that fit in --max-length {}, got none of {} rows", option, sequences.max_length,
               report.rows - report.skipped);
  return responses;
}

}  // namespace metarm
