#include "metarm/text/decoder.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "metarm/base/error.h"
#include "metarm/text/byte_level.h"
#include "metarm/text/unicode.h"

namespace metarm {

namespace {

constexpr int kMaxNesting = 32;

DecoderStep parse_simple(const std::string& type, const Json& json, const std::string& where) {
  DecoderStep step;
  if (type == "ByteLevel") {
    step.kind = DecoderKind::byte_level;
  } else if (type == "ByteFallback") {
    step.kind = DecoderKind::byte_fallback;
  } else if (type == "Fuse") {
    step.kind = DecoderKind::fuse;
  } else if (type == "BPEDecoder") {
    step.kind = DecoderKind::bpe;
    step.content = text_field(json, "suffix", where);
    step.pattern = Pattern::literal(step.content);
  } else if (type == "Metaspace") {
    step.kind = DecoderKind::metaspace;
    step.content = text_field(json, "replacement", where);
    step.pattern = Pattern::literal(step.content);
    step.strips_first = parse_prepend_scheme(json, where) != PrependScheme::never;
  } else if (type == "Strip") {
    step.kind = DecoderKind::strip;
    step.content = text_field(json, "content", where);
    step.start = static_cast<std::int64_t>(number_field(json, "start", where));
    step.stop = static_cast<std::int64_t>(number_field(json, "stop", where));
  } else if (type == "Replace") {
    step.kind = DecoderKind::replace;
    step.pattern = Pattern::parse(require_field(json, "pattern", where), where);
    step.content = text_field(json, "content", where);
  } else {
    fail_input("{}: decoder: expected Sequence, ByteLevel, Metaspace, ByteFallback, Fuse, Strip, Replace or BPEDecoder, got {}", where,
               type);
  }
  return step;
}

void parse_into(std::vector<DecoderStep>& steps, const Json& json, const std::string& where, int nesting) {
  const std::string type = text_field(json, "type", where);
  if (type != "Sequence") {
    steps.push_back(parse_simple(type, json, where));
    return;
  }
  if (nesting > kMaxNesting) fail_input("{}: expected at most {} nested sequences", where, kMaxNesting);
  for (const Json& inner : require_field(json, "decoders", where)) parse_into(steps, inner, where, nesting + 1);
}

std::string joined(const std::vector<std::string>& tokens) {
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

// The byte of a token such as <0x0A>.
std::optional<char> fallback_byte(const std::string& token) {
  unsigned byte = 0;
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const auto parsed = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  return parsed.ptr == token.data() + 5 ? std::optional(static_cast<char>(byte)) : std::nullopt;
}

std::vector<std::string> decode_bytes(const std::vector<std::string>& tokens) {
  std::vector<std::string> out;
  std::string pending;
  const auto flush = [&] {
    if (pending.empty()) return;
    if (is_valid_utf8(pending))
      out.push_back(pending);
    else
      out.insert(out.end(), pending.size(), "\xEF\xBF\xBD");
    pending.clear();
  };
  for (const std::string& token : tokens) {
    if (const auto byte = fallback_byte(token)) {
      pending += *byte;
      continue;
    }
    flush();
    out.push_back(token);
  }
  flush();
  return out;
}

std::string strip_ends(std::string token, const DecoderStep& step) {
  for (std::int64_t i = 0; i < step.start && token.starts_with(step.content); ++i) token.erase(0, step.content.size());
  for (std::int64_t i = 0; i < step.stop && token.ends_with(step.content); ++i) token.resize(token.size() - step.content.size());
  return token;
}

std::vector<std::string> apply_step(const DecoderStep& step, std::vector<std::string> tokens) {
  switch (step.kind) {
    case DecoderKind::byte_level: {
      std::string bytes;
      for (const std::string& token : tokens) bytes += from_byte_level(token).value_or(token);
      return {to_utf8_lossy(bytes)};
    }
    case DecoderKind::byte_fallback: return decode_bytes(tokens);
    case DecoderKind::fuse: return {joined(tokens)};
    case DecoderKind::replace:
      for (std::string& token : tokens) token = step.pattern.replace(token, step.content);
      return tokens;
    case DecoderKind::strip:
      if (!step.content.empty())
        for (std::string& token : tokens) token = strip_ends(std::move(token), step);
      return tokens;
    case DecoderKind::metaspace:
      for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = step.pattern.replace(tokens[i], i == 0 && step.strips_first ? "" : " ");
      return tokens;
    case DecoderKind::bpe:
      for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = step.pattern.replace(tokens[i], i + 1 == tokens.size() ? "" : " ");
      return tokens;
  }
  fail_internal("unknown decoder");
}

}  // namespace

Decoder Decoder::parse(const Json& json, const std::string& where) {
  Decoder decoder;
  if (json.is_null()) return decoder;
  decoder.none_ = false;
  parse_into(decoder.steps_, json, where, 0);
  return decoder;
}

std::string Decoder::apply(std::vector<std::string> tokens) const {
  if (none_)
    for (std::size_t i = 1; i < tokens.size(); ++i) tokens[i].insert(0, 1, ' ');
  for (const DecoderStep& step : steps_) tokens = apply_step(step, std::move(tokens));
  return joined(tokens);
}

}  // namespace metarm
