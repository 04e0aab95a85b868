// Two threads serve from one model while a third trains another. A program of its own, to be built with
// -Db_sanitize=thread too: ThreadSanitizer must have nothing to say of it.

#include <doctest/doctest.h>
#include <twotower/models/retrieval/recommender.h>
#include <twotower/train/fit/training_step.h>

#include <atomic>
#include <thread>

#include "tests/models/bundle_fixtures.h"
#include "tests/train/fit/training_fixtures.h"

using namespace tt;

TEST_CASE("threads: two serve from one model while a third trains another") {
  const testing::Threads one(
      1);  // a thread's own work is serial: OpenMP's teams are none of ThreadSanitizer's business
  for (const char* rung : {"base", "kd", "reward"}) {
    INFO("rung ", rung);
    ModelConfig config = testing::rung_config(rung);
    config.user_id_hash_size = 40, config.item_id_hash_size = 90, config.num_mips_items = 20;
    testing::HandMade made(config, 40, 90);
    const TempFolder folder;
    const Bundle bundle = Bundle::open(made.write(folder));
    const Recommender recommender(bundle);
    const auto serve = [&](Session& session, int64_t user) {
      TopItems top;
      recommender.recommend(session, "u" + std::to_string(user), {.k = 5}, top);
      return std::vector<int64_t>(top.items(0).begin(), top.items(0).end());
    };
    std::vector<std::vector<int64_t>> alone;
    {
      Session session;
      for (int64_t u = 0; u < 40; ++u) alone.push_back(serve(session, u));
    }

    std::atomic<bool> training{true};
    std::atomic<int64_t> wrong{0}, served{0};
    const auto serving = [&] {
      Session session;
      do {
        for (int64_t u = 0; u < 40; ++u, ++served) wrong += serve(session, u) != alone[static_cast<size_t>(u)];
      } while (training);
    };
    std::thread first(serving), second(serving);
    double before = 0, after = 0;
    std::thread trainer([&] {
      TwoTower<float> model(config, 5);
      if (config.alignment != "none") model.set_anchor();
      TrainingStep step(model, TrainConfig());
      const testing::TinyBatch<float> tiny(config, 30);
      before = step.run(tiny.batch, 1e-2).total;
      for (int i = 0; i < 100; ++i) after = step.run(tiny.batch, 1e-2).total;
      training = false;
    });
    for (std::thread* thread : {&first, &second, &trainer}) thread->join();
    CHECK(wrong == 0);
    CHECK(served >= 80);
    CHECK(after < before);
  }
}
