#include <doctest/doctest.h>
#include <twotower/train/evaluate/metrics.h>
#include <twotower/train/import/import.h>

#include <cstdlib>

#include "tests/train/evaluate/serving_fixtures.h"

using namespace tt;

TEST_CASE("baselines: MovieLens 100K, leave-last-out: a Markov chain of a few lines") {
  const char* folder_of_data = std::getenv("TWOTOWER_DATA");
  ImportOptions from;
  from.train = folder_of_data ? std::string(folder_of_data) + "/ml-100k/ml-100k.inter" : "";
  if (!folder_of_data || !std::filesystem::exists(from.train)) {
    MESSAGE("skipped: set TWOTOWER_DATA to a folder that holds ml-100k/ml-100k.inter");
    return;
  }
  from.labels = {"rated=rating>=0"};
  from.split = "leave-last-out";
  const TempFolder folder;
  const Dataset data = open_written(folder, import_data("recbole", from).content);
  const TwoTower<float> model(small_config(data));
  const ServedDataset served(model, data);
  EvaluateOptions options;
  options.ks = {10}, options.baseline_names = {"markov"};
  const auto measured = [&](double normalisation) {
    options.baseline_options.markov.normalisation = normalisation;
    return evaluate(served, options).baselines[0].second;
  };
  // What an independent script gives: transitions in a dictionary, ranks by counting.
  CHECK(measured(0)["hit@10"] == doctest::Approx(0.1898).epsilon(3e-4));
  CHECK(measured(0)["ndcg@10"] == doctest::Approx(0.0966).epsilon(6e-4));
  CHECK(measured(0.5)["hit@10"] == doctest::Approx(0.1898).epsilon(3e-4));
  CHECK(measured(0.5)["ndcg@10"] == doctest::Approx(0.1019).epsilon(6e-4));
}
