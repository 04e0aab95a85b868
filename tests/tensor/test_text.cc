#include <doctest/doctest.h>
#include <twotower/tensor/text.h>

#include <utility>

using namespace tt;

TEST_CASE("trim takes blanks and line ends off both sides and nothing else") {
  CHECK(trim("  a b\t\r\n") == "a b");
  CHECK(trim("\t \r\n") == "");
  CHECK(trim("") == "");
}

TEST_CASE("pieces are trimmed, and what is empty is left out") {
  CHECK(pieces(" a | b||c ", '|') == std::vector<std::string_view>{"a", "b", "c"});
  CHECK(pieces("1  2", ' ') == std::vector<std::string_view>{"1", "2"});
  CHECK(pieces(" ", ',').empty());
  CHECK(pieces("", ',').empty());
}

TEST_CASE("a number is the whole text and finite") {
  double value = 0;
  using Case = std::pair<const char*, double>;
  for (const Case& c : {Case{" 12 ", 12}, Case{"+1.5", 1.5}, Case{"-3e-4", -3e-4}}) {
    CAPTURE(c.first);
    REQUIRE(parse_number(c.first, value));
    CHECK(value == c.second);
  }
  for (const char* text :
       {"", " ", "1x", "1 2", "x", "+", "+-1", "++1", "0x10", "1,5", "nan", "inf", "-inf", "1e999"}) {
    CAPTURE(text);
    CHECK(!parse_number(text, value));
  }
}

TEST_CASE("the nearest name is the closest one, the first of equals, and none when all are far") {
  const std::vector<std::string> names = {"history", "position", "base"};
  CHECK(nearest_name("histroy", names) == "history");
  CHECK(nearest_name("bas", names) == "base");
  CHECK(nearest_name("zzzzzzzzzzzzzzz", std::vector<std::string>{"a"}) == "");
  CHECK(nearest_name("ac", std::vector<std::string>{"ab", "ad"}) == "ab");
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("", "ab") == 2);
}
