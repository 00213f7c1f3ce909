// What tells one checkpoint from another: digests of 64 bits, the same on every machine. For changes, not against forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace metarm {

std::uint64_t digest_bytes(std::span<const std::byte> bytes);

// 16 hexadecimal digits of the files in a checkpoint's directory that decide a score: config, weights, tokenizer, chat template, adapter;
// of an adapter also those of its base, of an ensemble those of its members. io error where a file cannot be read; input error for an
// adapter or an ensemble that does not say what it is of.
std::string digest_checkpoint(const std::string& directory);

}  // namespace metarm
