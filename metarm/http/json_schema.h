// Checks JSON values against schemas of an OpenAPI 3.1 document, so that what the document says is what is enforced.
//
// Checked: $ref (into the document), type, properties, required, additionalProperties: false, items, minItems, maxItems, anyOf, enum,
// minimum, maximum. Described only: title, description, default, examples. Any other keyword is an internal error when the document is
// read.
#pragma once

#include <string>

#include "metarm/base/json_lines.h"

namespace metarm {

class JsonSchemas {
 public:
  // Every schema under components/schemas is looked through for keywords and references that would not be checked.
  explicit JsonSchemas(Json document);

  const Json& document() const { return document_; }
  // Input error that names the first field found wrong: `rows[2].prompt: expected text or a list, got null`. The value itself is `body`.
  void check(const Json& value, const Json& schema) const;

 private:
  const Json& resolve(const Json& schema) const;
  void check_keywords(const Json& schema, const std::string& where) const;

  struct Checker;
  Json document_;
};

}  // namespace metarm
