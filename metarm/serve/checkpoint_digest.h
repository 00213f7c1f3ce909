// What tells one version of a served model from another.
#pragma once

#include <string>

namespace metarm {

// 16 hexadecimal digits of the files in a checkpoint's directory that decide a score: config, weights, tokenizer, chat template, adapter;
// of an ensemble also those of its members.
// The same on every machine. io error where a file cannot be read.
std::string digest_checkpoint(const std::string& directory);

}  // namespace metarm
