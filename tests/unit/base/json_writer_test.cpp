#include "base/json_writer.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

namespace sandbox {
namespace {

TEST(JsonWriter, ObjectsAndArraysInTheOrderWritten) {
    std::string out = "data: ";
    JsonWriter json(out);
    json.begin_object();
    json.member("code", 1).member("stdout", std::string_view("a\nb")).member("ok", true).member("none", "");
    json.key("list").begin_array().value("x").value(false).null().begin_object().end_object();
    json.begin_array().value(2).value(3).end_array().end_array();
    json.key("empty").begin_array().end_array();
    json.key("raw").raw(R"({"a":1})").member("last", std::string("z"));
    json.end_object();
    EXPECT_EQ(out, R"(data: {"code":1,"stdout":"a\nb","ok":true,"none":"","list":["x",false,null,{},[2,3]],)"
                   R"("empty":[],"raw":{"a":1},"last":"z"})");
}

TEST(JsonWriter, Numbers) {
    std::string out;
    JsonWriter json(out);
    json.begin_array();
    json.value(std::numeric_limits<std::int64_t>::min()).value(std::numeric_limits<std::uint64_t>::max());
    json.value(std::uint8_t{7}).value(0.5).value(1.0).value(1e300).value(-0.1f);
    json.value(std::numeric_limits<double>::quiet_NaN()).value(std::numeric_limits<double>::infinity());
    json.end_array();
    EXPECT_EQ(out,
              "[-9223372036854775808,18446744073709551615,7,0.5,1,1e+300,-0.10000000149011612,null,null]");
}

TEST(JsonWriter, CharsetHoldsForKeysAndValues) {
    std::string out;
    JsonWriter(out, JsonCharset::ascii).begin_object().member("ä", "ö").end_object();
    EXPECT_EQ(out, R"({"\u00e4":"\u00f6"})");
}

}  // namespace
}  // namespace sandbox
