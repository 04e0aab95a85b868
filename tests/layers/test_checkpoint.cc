// A parameter set in a file and back. What does not fit is refused by name, and nothing is changed then.

#include <doctest/doctest.h>
#include <twotower/layers/checkpoint.h>

#include "tests/train/fixtures.h"

using namespace tt;

namespace {

template <class T>
std::vector<T> all_of(const ParameterSet<T>& set) {
  std::vector<T> all;
  for (const Parameter<T>* p : set.all()) all.insert(all.end(), p->value.begin(), p->value.end());
  return all;
}

template <class T>
void add(ParameterSet<T>& set, std::vector<std::pair<std::string, Shape>> parameters) {
  for (const auto& [name, shape] : parameters) set.add(name, shape, Initializer::normal(1));
}

template <class T>
void round_trip() {
  const TempFolder folder;
  const std::string path = folder.path() + "/weights.safetensors";
  ParameterSet<T> saved(1), loaded(2);
  for (ParameterSet<T>* set : {&saved, &loaded}) add(*set, {{"a", {3, 2}}, {"b.weight", {4}}, {"c", {2, 1, 2}}});
  REQUIRE(all_of(saved) != all_of(loaded));
  save_parameters(path, saved);
  load_parameters(path, loaded);
  CHECK(all_of(saved) == all_of(loaded));  // every bit
  CHECK(SafetensorsFile::open(path).entry("c").shape == std::vector<int64_t>{2, 1, 2});
}

}  // namespace

TEST_CASE("checkpoint: saved and loaded in a line each, in float and in double") {
  round_trip<float>();
  round_trip<double>();
}

TEST_CASE("checkpoint: what is missing, left over, of another shape or type is named, and nothing is changed") {
  const TempFolder folder;
  const std::string path = folder.path() + "/weights.safetensors";
  ParameterSet<float> saved(1);
  add(saved, {{"a", {3, 2}}, {"b", {4}}});
  save_parameters(path, saved);
  const auto said = [&](std::vector<std::pair<std::string, Shape>> parameters) {
    ParameterSet<float> set(2);
    add(set, parameters);
    const std::vector<float> before = all_of(set);
    const std::string text = error_of([&] { load_parameters(path, set); }, path);
    CHECK(all_of(set) == before);
    return text;
  };
  CHECK(said({{"a", {3, 2}}, {"c", {4}}}) ==
        "[checkpoint FILE] parameter \"c\" is missing; the file belongs to another model config");
  CHECK(said({{"a", {3, 2}}}) ==
        "[checkpoint FILE] parameter \"b\" is not one of the model's; the file belongs to another model config");
  CHECK(
      said({{"a", {3, 2}}, {"b", {2, 2}}}) ==
      "[checkpoint FILE] parameter \"b\" has shape [4], the model expects [2, 2]; use the config it was trained with");

  ParameterSet<double> wide(2);
  add(wide, {{"a", {3, 2}}, {"b", {4}}});
  const std::vector<double> before = all_of(wide);
  CHECK(error_of([&] { load_parameters(path, wide); }, path) != "");
  CHECK(all_of(wide) == before);

  ParameterSet<float> some(2);  // a part of a larger file
  add(some, {{"b", {4}}});
  read_parameters(SafetensorsFile::open(path), some);
  CHECK(std::equal(some.all()[0]->value.begin(), some.all()[0]->value.end(), saved.find("b")->value.begin()));
}

TEST_CASE("checkpoint: saving over an old file leaves the old or the new one, and a folder that is not there is said") {
  const TempFolder folder;
  const std::string path = folder.path() + "/weights.safetensors";
  ParameterSet<float> first(1), second(2), loaded(3);
  for (ParameterSet<float>* set : {&first, &second, &loaded}) add(*set, {{"a", {2}}});
  save_parameters(path, first);
  save_parameters(path, second);
  load_parameters(path, loaded);
  CHECK(all_of(loaded) == all_of(second));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  CHECK(error_of([&] { save_parameters(folder.path() + "/none/weights", first); }) != "");
}
