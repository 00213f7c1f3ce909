#include "metarm/http/json_schema.h"

#include <gtest/gtest.h>

#include "metarm/base/error.h"
#include "metarm/http/reward_routes.h"

namespace metarm {
namespace {

// "" where the value is well, else what is wrong with it.
std::string fault(const char* schema, const char* value) {
  const Json document = {{"components", {{"schemas", {{"It", parse_json(schema, "schema")}}}}}};
  const JsonSchemas schemas(document);
  try {
    schemas.check(parse_json(value, "value"), {{"$ref", "#/components/schemas/It"}});
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "";
}

TEST(JsonSchema, TypesAreNamed) {
  EXPECT_EQ(fault(R"({"type": "string"})", "7"), "body: expected text, got number");
  EXPECT_EQ(fault(R"({"type": ["integer", "null"]})", "7.5"), "body: expected a whole number or null, got number");
  EXPECT_EQ(fault(R"({"type": ["integer", "null"]})", "null"), "");
  EXPECT_EQ(fault(R"({"type": "integer"})", "7.0"), "");
  EXPECT_EQ(fault(R"({"type": "integer"})", "1e300"), "body: expected a whole number, got number");
  EXPECT_EQ(fault(R"({"type": "boolean"})", "\"true\""), "body: expected true or false, got text");
}

TEST(JsonSchema, FieldsAreNamedByTheirPlace) {
  const char* schema = R"({"type": "object", "required": ["rows"], "additionalProperties": false,
      "properties": {"rows": {"type": "array", "minItems": 1, "items": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 2, "maximum": 5}}}}}})";
  EXPECT_EQ(fault(schema, R"({"rows": [{"n": 2}, {"n": 5}, {}]})"), "");
  EXPECT_EQ(fault(schema, R"({"rows": [{"n": 2}, {"n": "x"}]})"), "rows[1].n: expected a whole number, got text");
  EXPECT_EQ(fault(schema, R"({"rows": [{"n": 6}]})"), "rows[0].n: expected at most 5, got 6");
  EXPECT_EQ(fault(schema, R"({"rows": [{"n": 1}]})"), "rows[0].n: expected at least 2, got 1");
  EXPECT_EQ(fault(schema, R"({"rows": []})"), "rows: expected at least 1 in the list, got 0");
  EXPECT_EQ(fault(schema, "{}"), "rows: expected a value, got no such field");
  EXPECT_EQ(fault(schema, R"({"rows": [{}], "row": 1})"), "body: expected the fields rows, got \"row\"");
}

TEST(JsonSchema, AlternativesAreToldApart) {
  const char* any =
      R"({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}}]})";
  EXPECT_EQ(fault(any, "\"x\""), "");
  EXPECT_EQ(fault(any, "[1, 2]"), "");
  EXPECT_EQ(fault(any, "{}"), "body: expected text or a list, got object");
  EXPECT_EQ(fault(any, "[true]"), "body[0]: expected text, got boolean");
  const char* objects = R"({"anyOf": [{"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string"}}},
                                      {"type": "object", "required": ["c"], "properties": {"c": {"enum": ["x", null]}}}]})";
  EXPECT_EQ(fault(objects, R"({"a": 1, "b": 2})"), "a: expected text, got number");
  EXPECT_EQ(fault(objects, R"({"c": null})"), "");
  EXPECT_EQ(fault(objects, R"({"c": "y"})"), "c: expected \"x\" or null, got \"y\"");
  EXPECT_EQ(fault(objects, R"({"a": 1})"), "body: expected a with b, or c, got an object without");
}

TEST(JsonSchema, AKeywordThatIsNotCheckedIsRefused) {
  EXPECT_THROW(fault(R"({"type": "string", "pattern": "a+"})", "\"b\""), Error);
  EXPECT_THROW(fault(R"({"type": "array", "items": {"multipleOf": 2}})", "[1]"), Error);
}

TEST(OpenApi, EveryRouteSRequestHasASchemaThatIsChecked) {
  const JsonSchemas schemas(load_openapi());
  int posts = 0;
  for (const auto& [path, methods] : schemas.document()["paths"].items()) {
    if (!methods.contains("post")) continue;
    const Json& schema = methods["post"]["requestBody"]["content"]["application/json"]["schema"];
    EXPECT_THROW(schemas.check(Json::array(), schema), Error) << path;
    EXPECT_THROW(schemas.check({{"no such field", 1}}, schema), Error) << path;
    ++posts;
  }
  EXPECT_EQ(posts, 15);
}

}  // namespace
}  // namespace metarm
