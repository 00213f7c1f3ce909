#include "metarm/text/post_processor.h"

#include "metarm/base/error.h"

namespace metarm {

namespace {

constexpr int kMaxNesting = 32;
constexpr TokenId kMaxId = 1 << 22;

void append_special(TokenIds& ids, const Json& specials, const std::string& name, const std::string& where) {
  if (!specials.is_object() || !specials.contains(name))
    fail_input("{}: post_processor: special_tokens: expected {}, got none", where, name);
  const Json& listed = require_field(specials[name], "ids", where);
  for (const Json& id : listed) {
    if (!id.is_number_integer() || id < 0 || id > kMaxId)
      fail_input("{}: post_processor: {}: expected token ids, got {}", where, name, id.dump());
    ids.push_back(id.get<TokenId>());
  }
}

void parse_template(PostProcessor& processor, const Json& json, const std::string& where) {
  const Json& single = require_field(json, "single", where);
  if (!single.is_array()) fail_input("{}: post_processor: single: expected a list, got {}", where, json_type_name(single));
  bool after = false;
  for (const Json& piece : single) {
    if (piece.is_object() && piece.contains("Sequence")) {
      if (after || text_field(piece["Sequence"], "id", where) != "A")
        fail_input("{}: post_processor: single: expected the sequence A once, got {}", where, single.dump());
      after = true;
    } else if (piece.is_object() && piece.contains("SpecialToken")) {
      append_special(after ? processor.after : processor.before, require_field(json, "special_tokens", where),
                     text_field(piece["SpecialToken"], "id", where), where);
    } else {
      fail_input("{}: post_processor: single: expected Sequence or SpecialToken, got {}", where, piece.dump());
    }
  }
  if (!after) fail_input("{}: post_processor: single: expected a Sequence, got none", where);
}

TokenId pair_id(const Json& json, const char* field, const std::string& where) {
  const Json& pair = require_field(json, field, where);
  if (!pair.is_array() || pair.size() != 2 || !pair[1].is_number_integer() || pair[1] < 0 || pair[1] > kMaxId)
    fail_input("{}: post_processor: {}: expected a token and its id, got {}", where, field, pair.dump());
  return pair[1].get<TokenId>();
}

void parse_into(PostProcessor& processor, const Json& json, const std::string& where, int nesting) {
  if (json.is_null()) return;
  const std::string type = text_field(json, "type", where);
  if (type == "TemplateProcessing") {
    parse_template(processor, json, where);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    processor.before.push_back(pair_id(json, "cls", where));
    processor.after.push_back(pair_id(json, "sep", where));
  } else if (type == "Sequence") {
    if (nesting > kMaxNesting) fail_input("{}: expected at most {} nested sequences", where, kMaxNesting);
    for (const Json& inner : require_field(json, "processors", where)) parse_into(processor, inner, where, nesting + 1);
  } else if (type != "ByteLevel") {  // ByteLevel moves offsets only
    fail_input("{}: post_processor: expected Sequence, TemplateProcessing, ByteLevel, BertProcessing or RobertaProcessing, got {}", where,
               type);
  }
}

}  // namespace

PostProcessor PostProcessor::parse(const Json& json, const std::string& where) {
  PostProcessor processor;
  parse_into(processor, json, where, 0);
  return processor;
}

}  // namespace metarm
