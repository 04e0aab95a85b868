#include <doctest/doctest.h>
#include <twotower/models/bundle/format.h>
#include <twotower/models/retrieval/index/stored_index.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/models/retrieval/save_bundle.h>
#include <twotower/tensor/error.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/models/bundle_fixtures.h"

using namespace tt;
using namespace tt::testing;

namespace {

constexpr const char* kKinds[] = {"fp16", "int8", "hnsw"};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

ModelConfig config_of(int64_t items) {
  ModelConfig config = tiny_config();
  config.item_id_hash_size = items;
  return config;
}

Tensor<const float> some_queries(const Bundle& bundle) {
  const Tensor<const float> items = bundle.item_vectors();
  return {items.data(), {5, items.cols()}};
}

}  // namespace

TEST_CASE("stored index: what was built is what is read, where it lies, and what recommendations go through") {
  const TempFolder folder;
  HandMade made(config_of(40), 6, 40);
  const Bundle plain = Bundle::open(made.write(folder));
  CHECK(stored_index(plain)->kind() == "exact");
  for (const std::string kind : kKinds) {
    CAPTURE(kind);
    const std::string path = folder.path() + "/" + kind;
    const auto built = write_with_index(path, plain, kind);
    const Bundle bundle = Bundle::open(path);
    bundle.verify();
    const auto read = stored_index(bundle);
    CHECK(read->kind() == kind);
    CHECK(read->size() == 40);
    CHECK(read->recall().share == built->recall().share);
    CHECK(read->recall().k == 40);
    TopItems a, b;
    built->search(some_queries(plain), 7, a);
    read->search(some_queries(bundle), 7, b);
    CHECK(a.rows == b.rows);
    CHECK(a.values == b.values);
    CHECK(index_of(bundle, "")->kind() == kind);
    CHECK(index_of(bundle, "exact")->kind() == "exact");
    CHECK(Catalog(bundle).base().index().kind() == kind);

    const Recommender with(bundle), without(plain);
    Session one, two;
    with.recommend(one, "u3", {.k = 5}, a);
    without.recommend(two, "u3", {.k = 5}, b);
    CHECK(a.rows == b.rows);

    write_with_index(path, bundle, "exact");  // in its own place
    CHECK(Bundle::open(path).index_facts().empty());
  }
  CHECK(error_of([&] { make_index("fast", plain.item_vectors()); }) ==
        "[index] there is no kind \"fast\"; choose exact, fp16, int8 or hnsw");
}

TEST_CASE("stored index: a larger graph read from its file walks as it did") {
  const TempFolder folder;
  HandMade made(config_of(6000), 6, 6000);
  const Bundle plain = Bundle::open(made.write(folder));
  const std::string path = folder.path() + "/hnsw";
  const auto built = write_with_index(path, plain, "hnsw", {.links = 4, .ef_construction = 20, .recall = 0.5});
  const Bundle bundle = Bundle::open(path);
  const auto read = stored_index(bundle);
  TopItems a, b;
  built->search(some_queries(plain), 10, a);
  read->search(some_queries(bundle), 10, b);
  CHECK(a.rows == b.rows);
}

TEST_CASE("stored index: one of other vectors is refused") {
  const TempFolder folder;
  HandMade made(config_of(40), 6, 40, 7), other(config_of(40), 6, 40, 8);
  const Bundle plain = Bundle::open(made.write(folder)), strange = Bundle::open(other.write(folder, "strange"));
  const std::string path = folder.path() + "/b", stale = folder.path() + "/stale";
  write_with_index(path, plain, "int8");
  const Bundle bundle = Bundle::open(path);
  write_with_index(stale, strange.file(), index_parts(bundle));
  CHECK(error_of([&] { Bundle::open(stale); }) ==
        "[bundle " + stale + "] its index was not built from its item vectors; make it anew with `twotower pack`");
  BundleIndex odd = index_parts(bundle);
  odd.facts.replace(odd.facts.find("int8"), 4, "fast");
  write_with_index(stale, bundle.file(), odd);
  const Bundle unknown = Bundle::open(stale);
  CHECK(error_of([&] { stored_index(unknown); }) ==
        "[bundle " + stale +
            "] has an index of the kind \"fast\", this program knows exact, fp16, int8 and hnsw; make "
            "it anew with `twotower pack`");
}

TEST_CASE("stored index: saving keeps it where vectors are the same, and builds it anew where not") {
  const TempFolder folder;
  HandMade made(config_of(40), 6, 40);
  const Bundle plain = Bundle::open(made.write(folder));
  const std::string path = folder.path() + "/b", saved_path = folder.path() + "/saved";
  write_with_index(path, plain, "int8");
  const Bundle bundle = Bundle::open(path);
  LiveCatalog items(bundle);
  const std::string_view first[] = {"i3"}, second[] = {"new"};
  items.set_available(first, false);
  save_bundle(saved_path, bundle, items.snapshot());
  const Bundle same = Bundle::open(saved_path);
  CHECK(same.index_facts() == bundle.index_facts());
  const std::vector<float> features = {0.5f, -0.5f};
  items.add(second, features);
  save_bundle(saved_path, bundle, items.snapshot());
  const Bundle more = Bundle::open(saved_path);
  more.verify();
  CHECK(stored_index(more)->kind() == "int8");
  CHECK(stored_index(more)->size() == 41);
  CHECK(more.index_facts() != bundle.index_facts());
  write_with_index(path, plain, "hnsw", {.links = 3});
  const Bundle walked = Bundle::open(path);
  LiveCatalog others(walked);
  others.add(second, features);
  save_bundle(saved_path, walked, others.snapshot());
  const Bundle wider = Bundle::open(saved_path);
  const auto graph = std::dynamic_pointer_cast<const HnswIndex>(stored_index(wider));
  REQUIRE(graph);
  CHECK(graph->parts().links == 3);  // not the default
  CHECK(graph->size() == 41);
  const int64_t files =
      std::distance(std::filesystem::directory_iterator(folder.path()), std::filesystem::directory_iterator());
  CHECK(files == 3);  // the plain one, the indexed one and the saved one
}

TEST_CASE("stored index: any byte changed or cut off is an error or an answer, and verify() notices it") {
  const TempFolder folder;
  HandMade made(config_of(40), 6, 40);
  const Bundle plain = Bundle::open(made.write(folder));
  for (const std::string kind : kKinds) {
    CAPTURE(kind);
    const std::string path = folder.path() + "/" + kind;
    write_with_index(path, plain, kind, {.links = 3});
    std::string bytes = read_file(path);
    const Bundle whole = Bundle::view(bytes.data(), bytes.size());
    const BundleIndex index = index_parts(whole);
    int64_t refused = 0, answered = 0, unnoticed = 0;
    const auto use = [&](const std::string& changed) {
      try {
        const Bundle bundle = Bundle::view(changed.data(), changed.size());
        TopItems top;
        stored_index(bundle)->search(some_queries(bundle), 7, top);
        for (int64_t q = 0; q < top.queries(); ++q)
          for (const int64_t row : top.items(q)) CHECK((row >= 0 && row < 40));
        ++answered;
        bundle.verify();
        ++unnoticed;
      } catch (const Error&) {
        ++refused;
      }
    };
    for (const auto& [name, entry] : index.tensors) {
      const auto first = static_cast<size_t>(reinterpret_cast<const char*>(entry.data) - bytes.data());
      for (size_t at = first; at < first + entry.bytes; ++at)
        for (const char flip : {'\x01', '\xff'}) {
          std::string changed = bytes;
          changed[at] = static_cast<char>(changed[at] ^ flip);
          use(changed);
        }
    }
    CHECK(answered > 0);
    CHECK(unnoticed == 0);
    for (size_t size = 0; size < bytes.size(); size += size < 200 ? 1 : 97) use(bytes.substr(0, size));
    CHECK(unnoticed == 0);
  }
}
