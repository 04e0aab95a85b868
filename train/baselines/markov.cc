#include <twotower/train/baselines/markov.h>

#include <cmath>

namespace tt {

void Markov::fit(const Dataset& data) {
  known_.emplace(data);
  // Where each item stands in training's lists: as many entries a row as the item was acted on.
  struct Place {
    int32_t user, at;
  };
  std::vector<int64_t> offsets(static_cast<size_t>(data.num_items()) + 1, 0);
  for (int64_t u = 0; u < data.num_users(); ++u)
    for (const int32_t item : known_->in_train(u)) ++offsets[static_cast<size_t>(item) + 1];
  for (size_t i = 0; i + 1 < offsets.size(); ++i) offsets[i + 1] += offsets[i];
  std::vector<Place> places(static_cast<size_t>(offsets.back()));
  std::vector<int64_t> next(offsets.begin(), offsets.end() - 1);
  for (int64_t u = 0; u < data.num_users(); ++u) {
    const auto list = known_->in_train(u);
    for (size_t at = 0; at < list.size(); ++at)
      places[static_cast<size_t>(next[static_cast<size_t>(list[at])]++)] = {static_cast<int32_t>(u),
                                                                            static_cast<int32_t>(at)};
  }
  transitions_ = make_rows(data.num_items(), data.num_items(), [&](int64_t i, RowSum& sum) {
    double all = 0;
    for (int64_t p = offsets[static_cast<size_t>(i)]; p < offsets[static_cast<size_t>(i) + 1]; ++p) {
      const Place place = places[static_cast<size_t>(p)];
      const auto list = known_->in_train(place.user);
      const auto after = std::min(static_cast<int64_t>(list.size()), place.at + options_.markov.steps + 1);
      for (int64_t b = place.at + 1; b < after; ++b) {
        const double weight = 1 / static_cast<double>(b - place.at);
        sum.add(list[static_cast<size_t>(b)], weight);
        all += weight;
      }
    }
    std::vector<SparseRows::Entry> row = sum.take();
    const double norm = all > 0 ? std::pow(all, options_.markov.normalisation) : 1;
    for (auto& [j, weight] : row) weight = static_cast<float>(static_cast<double>(weight) / norm);
    return row;
  });
}

void Markov::score(std::span<const UserMoment> users, float* out) const {
  const int64_t items = transitions_.rows();
  parallel_for(0, static_cast<int64_t>(users.size()), 8, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      float* row = out + q * items;
      std::fill_n(row, items, 0.0f);
      const auto list = known_->of(users[static_cast<size_t>(q)]);
      const auto last = std::min<int64_t>(options_.markov.steps, static_cast<int64_t>(list.size()));
      for (int64_t l = 0; l < last; ++l) {
        const auto word = static_cast<float>(std::pow(options_.markov.decay, static_cast<double>(l)));
        for (const auto& [j, weight] : transitions_.row(list[list.size() - 1 - static_cast<size_t>(l)]))
          row[j] += word * weight;
      }
    }
  });
}

}  // namespace tt
