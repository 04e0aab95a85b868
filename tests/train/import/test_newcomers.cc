// Users and items that came after the dataset was made: read, encoded as the dataset's own, and served.

#include <doctest/doctest.h>
#include <twotower/models/bundle/feature_encoder.h>
#include <twotower/train/fit/trainer.h>
#include <twotower/train/import/import.h>
#include <twotower/train/import/newcomers.h>
#include <twotower/train/simulate/simulator.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "tests/train/evaluate/serving_fixtures.h"
#include "tests/train/fit/training_fixtures.h"

using namespace tt;

namespace {

const char* kItems =
    "item,year,genre,tags,title\n"
    "m0,1990.5,drama,war|sad,A\nm1,2000.5,comedy,fun,B\nm2,2010.5,drama,fun|war,C\nm3,,,,D\n";
const char* kUsers = "user,age,town\nann,20.5,x\nbob,30.5,y\ncem,40.5,x\n";

// Imported from files, so that dataset.json knows how its features were made.
struct Fixture {
  Fixture() {
    ImportOptions options;
    options.train =
        folder.file("train.csv", "user,item,time\nann,m0,1\nann,m1,2\nbob,m1,3\nbob,m2,4\ncem,m0,5\ncem,m1,6\n");
    options.item = folder.file("items.csv", kItems), options.user = folder.file("users.csv", kUsers);
    options.columns = "user=user,item=item,time=time";
    options.split = "given", options.max_categories = 3;  // leaves the titles out
    data = open_written(folder, import_data("csv", options).content);
    bundle = bundle_of(folder, TwoTower<float>(small_config(data)), data);
  }
  std::string items_error(const std::string& text) const {
    const std::string path = folder.file("new.csv", text);
    return error_of([&] { read_new_items(path, bundle); }, path);
  }
  std::string users_error(const std::string& text) const {
    const std::string path = folder.file("new.csv", text);
    return error_of([&] { read_new_users(path, bundle); }, path);
  }
  TempFolder folder;
  Dataset data;
  Bundle bundle;
};

}  // namespace

TEST_CASE("newcomers: rows are encoded as the dataset's own were") {
  const Fixture f;
  CHECK(f.data.item_columns() ==
        std::vector<std::string>{"year", "genre=comedy", "genre=drama", "tags=fun", "tags=sad", "tags=war"});
  std::string twins = kItems;  // the very items, under other ids
  for (size_t at = 0; (at = twins.find("\nm", at)) != std::string::npos;) twins.replace(at, 2, "\nn");
  const NewItems items = read_new_items(f.folder.file("twins.csv", twins), f.bundle);
  CHECK(items.ids == std::vector<std::string>{"n0", "n1", "n2", "n3"});
  CHECK(items.notes.empty());
  REQUIRE(static_cast<int64_t>(items.features.size()) == 4 * f.data.item_features_size());
  for (const std::string& id : items.ids) {
    const int64_t width = f.data.item_features_size(), row = *f.data.item_ids().find("m" + id.substr(1));
    const int64_t twin = id[1] - '0';
    for (int64_t c = 0; c < width; ++c)
      CHECK(items.features[static_cast<size_t>(twin * width + c)] ==
            doctest::Approx(f.data.item_features()[row * width + c]));
  }

  const NewUsers users = read_new_users(
      f.folder.file("new.tsv", "id\ttown\tage\thistory\neve\ty\t30.5\tm2 m0 zzz\nfay\tz\t\t\n"), f.bundle);
  REQUIRE(users.size() == 2);
  const int64_t bob = *f.data.user_ids().find("bob"), width = f.data.user_features_size();
  for (int64_t c = 0; c < width; ++c)
    CHECK(users.features[0][static_cast<size_t>(c)] == doctest::Approx(f.data.user_features()[bob * width + c]));
  const auto m0 = static_cast<int32_t>(*f.data.item_ids().find("m0")),
             m2 = static_cast<int32_t>(*f.data.item_ids().find("m2"));
  CHECK(users.histories[0] == std::vector<int32_t>{m0, m2});  // oldest first
  CHECK(users.seen[0] == std::vector<int32_t>{std::min(m0, m2), std::max(m0, m2)});
  CHECK(users.features[1] == std::vector<float>(static_cast<size_t>(width), 0.0f));
  const std::string path = f.folder.path() + "/new.tsv";
  CHECK(users.notes ==
        std::vector<std::string>{
            path + ": column \"town\": 1 values that the dataset does not know count as missing, the first "
                   "\"z\" on "
                   "line 3",
            path + ": column \"history\": 1 items of histories are not in the dataset and are left out, the first "
                   "\"zzz\" on line 2"});
}

TEST_CASE("newcomers: RecBole's files, sets by spaces, other delimiters") {
  const Fixture f;
  const auto features = [&](const std::string& text, char delimiter = 0) {
    return read_new_items(f.folder.file("new.any", text), f.bundle, delimiter).features;
  };
  const std::vector<float> expected = features("id,year,genre,tags\nx,2000.5,comedy,fun|war\n");
  CHECK(features("id:token\tyear:float\tgenre:token\ttags:token_seq\nx\t2000.5\tcomedy\twar fun\n") == expected);
  CHECK(features("id;tags;genre;year\r\nx; fun|war ;comedy;2000.5", ';') == expected);
  CHECK(features("id,year,genre,tags\n\"x, y\",2000.5,comedy,fun|war\n") == expected);
}

TEST_CASE("newcomers: every mistake is one line that says where, what and how to mend it") {
  const Fixture f;
  const std::string head = "id,year,genre,tags\n";
  CHECK(f.items_error(head + "m1,1990,drama,fun\n") ==
        "[import FILE:2] item \"m1\" is in the dataset already; remove the line");
  CHECK(f.users_error("id,age,town\nann,3,x\n") ==
        "[import FILE:2] user \"ann\" is in the dataset already; ask for it with --user");
  CHECK(f.items_error(head + "a,1990,drama,fun\nb,1990,drama,fun\na,1,drama,fun\n") ==
        "[import FILE:4] item \"a\" is there again, first on line 2; keep one line each");
  CHECK(f.items_error(head + " ,1990,drama,fun\n") ==
        "[import FILE:2] the first column is empty; every line needs an id");
  CHECK(f.items_error("id,year,tags\na,1990,fun\n") ==
        "[import FILE] has no column \"genre\", which the model reads; add it (an empty field is a missing "
        "value)");
  CHECK(f.items_error("id,year,gendre,tags\na,1990,drama,fun\n") ==
        "[import FILE] column \"gendre\" is no item feature of the dataset; did you mean \"genre\"?");
  CHECK(f.items_error("id,year,genre,tags,x9\na,1990,drama,fun,1\n") ==
        "[import FILE] column \"x9\" is no item feature of the dataset; remove it");
  CHECK(f.items_error("year,id,genre,tags\n1990,a,drama,fun\n") ==
        "[import FILE] the first column is the feature \"year\"; put the id of the item there");
  CHECK(f.items_error(head + "a,nineteen,drama,fun\n") ==
        "[import FILE:2] column \"year\": \"nineteen\" is not a number; leave the field empty if the value "
        "is missing");
  CHECK(f.items_error(head) == "[import FILE] has a header and no line below it; give a line for each item");
  CHECK(f.items_error("") == "[import FILE] is empty; expected a header line");
  CHECK(f.items_error(head + "a,1990\n") == "[import FILE:2] has 2 fields, the header has 4; mend the line");

  const TempFolder other;
  DatasetContent content = tiny_content();
  content.item_features = {};
  const Dataset bare = open_written(other, content);
  const Bundle without = bundle_of(other, TwoTower<float>(small_config(bare)), bare);
  const std::string path = f.folder.file("new.csv", "id\nx\n");
  CHECK(error_of([&] { read_new_items(path, without); }, other.path()) ==
        "[import " + path +
            "] the model of FILE/bundle.safetensors reads no item features, so all new items would look the same; "
            "import item features and train on them");
}

TEST_CASE("newcomers: served like an item without id and a user without id, with every filter") {
  const TempFolder folder;
  const Dataset data = open_written(folder, made_up_content(300, 40, 5));
  for (const bool light : {false, true}) {
    ModelConfig config = small_config(data);
    config.history = true, config.light_ranker = light, config.num_mips_items = 50;
    const TwoTower<float> model(config);
    const Bundle bundle = bundle_of(folder, model, data);
    LiveCatalog items(bundle);
    const std::vector<float> features = {0.5f, 1, -0.5f, 0};  // two items
    items.add(std::vector<std::string_view>{"new0", "new1"}, features);
    const Recommender recommender(bundle, items);
    REQUIRE(recommender.catalog().size() == 42);
    CHECK(recommender.catalog().id(41) == "new1");
    CHECK(recommender.catalog().find("new0") == 40);
    Arena arena;
    Tape<float> tape(arena, /*recording=*/false);
    const std::vector<int64_t> none = {-1, -1};
    const Tensor<float> v = model.items(tape, {{none.data(), {2}}, {features.data(), {2, 2}}}).value();
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t d = 0; d < 8; ++d)
        CHECK(recommender.catalog().vector(40 + i)[d] == doctest::Approx(v.row(i)[d]).epsilon(1e-4));

    // A new user with the features and history of a known one who has no id of their own.
    const std::vector<float> feature = {0.3f};
    const std::vector<int32_t> history = {7, 5, 2, 5}, seen = {2, 5, 7};
    const ServedUser blank, reader{.features = feature, .history = history, .leave_out = seen};
    Session session;
    TopItems a, b;
    recommender.recommend(session, {&blank, 1}, {.k = 42}, a);
    std::vector<int64_t> all(a.items(0).begin(), a.items(0).end());
    std::sort(all.begin(), all.end());
    std::vector<int64_t> rows(42);
    std::iota(rows.begin(), rows.end(), 0);
    CHECK(all == rows);
    recommender.recommend(session, {&reader, 1}, {.k = 42}, b);
    CHECK(b.counts[0] == 39);  // not what the user has in the history
    for (const int64_t item : b.items(0)) CHECK(item != 5);
    recommender.recommend(session, {&reader, 1}, {.k = 42, .include_seen = true}, b);
    CHECK(b.counts[0] == 42);

    const Filter added(recommender.catalog(), {.only = {{"new0", "new1"}}});
    recommender.recommend(session, {&reader, 1}, {.k = 2, .among = &added}, b);
    std::vector<int64_t> found(b.items(0).begin(), b.items(0).end());
    std::sort(found.begin(), found.end());
    CHECK(found == std::vector<int64_t>{40, 41});
    recommender.recommend(session, "u3", {.k = 5, .among = &added}, b);  // nobody has seen what was added
    CHECK(b.counts[0] == 2);
  }

  const Bundle bundle = bundle_of(folder, TwoTower<float>(small_config(data)), data);
  LiveCatalog live(bundle);
  const std::vector<std::string_view> fresh = {"x"}, known = {"i7"};
  CHECK(error_of([&] {
          live.add(fresh, std::vector<float>{1, 2, 3});
        }) == "[catalog] the features of 1 added items hold 3 numbers, the model reads 2 an item");
  CHECK(error_of([&] {
          live.add(known, std::vector<float>{1, 2});
        }) == "[catalog] item \"i7\" is there already; replace it, or leave it out");
  const Recommender recommender(bundle);
  Session session;
  TopItems top;
  const std::vector<float> two = {1, 2};
  const ServedUser wide{.features = two};
  CHECK(error_of([&] {
          recommender.recommend(session, {&wide, 1}, {.k = 3}, top);
        }) == "[recommend] a user has 2 features, the model reads 1");
}

// A fifth of the items of a simulated log is held out of everything; the model that never met them then
// serves them from their features alone. Chance returns 10 of them in 80 at k = 10.
TEST_CASE("newcomers: items held out of training are found by who likes them") {
  const testing::Threads one(1);
  const TempFolder folder;
  SimulatorOptions options;
  options.users = 300, options.items = 400, options.impressions = 40000;
  simulate(folder.path() + "/whole", options);
  const Dataset whole = Dataset::open(folder.path() + "/whole");
  const auto held = [](int64_t item) { return item % 5 == 2; };

  DatasetContent content;
  content.source = "a test", content.protocol = "items held out", content.tasks = whole.tasks();
  content.value_weights = whole.value_weights();
  const auto copy_rows = [](const float* from, int64_t width, int64_t row, std::vector<float>& to) {
    to.insert(to.end(), from + row * width, from + (row + 1) * width);
  };
  for (int64_t u = 0; u < whole.num_users(); ++u) content.user_ids.emplace_back(whole.user_ids().text(u));
  content.user_features.columns = whole.user_columns(), content.user_features.rows = whole.num_users();
  content.user_features.values.assign(whole.user_features(),
                                      whole.user_features() + whole.num_users() * whole.user_features_size());
  content.item_features.columns = whole.item_columns();
  std::vector<int32_t> new_row(400, -1), held_items;
  std::ostringstream file;
  file << "id";
  for (const std::string& column : whole.item_columns()) file << "," << column;
  for (int32_t i = 0; i < 400; ++i) {
    if (held(i)) {
      held_items.push_back(i);
      file << "\n" << whole.item_ids().text(i);
      for (int64_t c = 0; c < whole.item_features_size(); ++c)
        file << "," << whole.item_features()[i * whole.item_features_size() + c];
      continue;
    }
    new_row[static_cast<size_t>(i)] = static_cast<int32_t>(content.item_ids.size());
    content.item_ids.emplace_back(whole.item_ids().text(i));
    copy_rows(whole.item_features(), whole.item_features_size(), i, content.item_features.values);
  }
  content.item_features.rows = static_cast<int64_t>(content.item_ids.size());
  std::vector<std::vector<int32_t>> likes(300);  // held-out items that each user acted on, by place among them
  for (const Split split : {Split::train, Split::valid, Split::test}) {
    const Impressions& log = whole.split(split);
    for (int64_t r = 0; r < log.size; ++r) {
      const float* labels = log.labels + r * whole.num_tasks();
      const bool positive = std::any_of(labels, labels + whole.num_tasks(), [](float y) { return y > 0; });
      if (held(log.item[r])) {
        if (positive) likes[static_cast<size_t>(log.user[r])].push_back(log.item[r] / 5);
      } else if (split == Split::train) {
        content.train.user.push_back(log.user[r]);
        content.train.item.push_back(new_row[static_cast<size_t>(log.item[r])]);
        content.train.time.push_back(log.time[r]);
        content.train.labels.insert(content.train.labels.end(), labels, labels + whole.num_tasks());
      }
    }
  }
  const Dataset data = open_written(folder, content);
  RunConfig config;
  config.data = data.dir();
  config.model.user_id_embedding_dim = config.model.item_id_embedding_dim = 16, config.model.hidden_size = 32;
  config.model.item_id_hash_size = 400;  // 80 rows that training never touches, for the comparison
  fit_config_to_data(config.model, data);
  config.train.batch_size = 256, config.train.epochs = 15, config.train.learning_rate = 3e-3;
  train(config, data, folder.path() + "/run");
  const Bundle bundle = Bundle::open(bundle_of_run(folder.path() + "/run"));
  const NewItems items = read_new_items(folder.file("held.csv", file.str() + "\n"), bundle);
  REQUIRE(items.size() == 80);

  LiveCatalog live(bundle);
  live.add(std::vector<std::string_view>(items.ids.begin(), items.ids.end()), items.features);
  const Recommender recommender(bundle, live);
  const Filter added(recommender.catalog(), {.only = items.ids});
  Session session;
  std::vector<int64_t> random_rows(80);
  std::iota(random_rows.begin(), random_rows.end(), 320);
  Arena arena;
  Tape<float> tape(arena, /*recording=*/false);
  const int64_t width = data.item_features_size();
  const Tensor<float> with_random_ids =
      bundle.model().items(tape, {{random_rows.data(), {80}}, {items.features.data(), {80, width}}}).value();
  const ExactIndex by_random_id(with_random_ids);

  double from_features = 0, from_random_ids = 0, users = 0;
  TopItems top;
  std::vector<float> u(16);
  for (int64_t user = 0; user < 300; ++user) {
    std::vector<int32_t>& expected = likes[static_cast<size_t>(user)];
    std::sort(expected.begin(), expected.end());
    expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
    if (expected.empty()) continue;
    const auto share = [&](int64_t first) {
      double hits = 0;
      for (const int64_t row : top.items(0))
        hits += std::binary_search(expected.begin(), expected.end(), static_cast<int32_t>(row - first));
      return hits / static_cast<double>(expected.size());
    };
    const ServedUser served = recommender.known(user);
    recommender.recommend(session, {&served, 1}, {.k = 10, .include_seen = true, .among = &added}, top);
    from_features += share(data.num_items());
    recommender.encode(session, {&served, 1}, u.data());
    by_random_id.search({u.data(), {1, 16}}, 10, top);
    from_random_ids += share(0);
    users += 1;
  }
  REQUIRE(users > 200);
  INFO("recall@10 of 80 held-out items: ", from_features / users,
       ", with rows of the id table that training never touched ", from_random_ids / users);
  CHECK(from_features / users > 1.5 * 10 / 80);
  CHECK(from_features > 1.1 * from_random_ids);
}
