#include <twotower/models/retrieval/index/hnsw_graph.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/kernels/distance/distance.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <limits>
#include <list>
#include <mutex>
#include <numeric>
#include <queue>
#include <random>
#include <string>
#include <unordered_map>
#include <unordered_set>

// Its own distances would be those of the compiler's instruction set, ours are of the machine's; its prefetching reads
// behind its arrays. All that it needs is included above, so its names are this file's alone: a program may link
// another version of it beside us.
#define NO_MANUAL_VECTORIZATION
namespace {
#include <hnswlib/hnswlib.h>
}

namespace tt {
namespace {

class Space final : public hnswlib::SpaceInterface<float> {
 public:
  Space(int64_t width, bool raw) : width_(width), raw_(raw) {}
  size_t get_data_size() override { return static_cast<size_t>(width_) * sizeof(float); }
  hnswlib::DISTFUNC<float> get_dist_func() override { return raw_ ? minus_product : distance; }
  void* get_dist_func_param() override { return &width_; }

 private:
  static float distance(const void* a, const void* b, const void* width) {
    return kernels::squared_distance(static_cast<const float*>(a), static_cast<const float*>(b),
                                     *static_cast<const int64_t*>(width));
  }
  static float minus_product(const void* a, const void* b, const void* width) {
    const int32_t row = 0;
    float product = 0;
    kernels::dots_at(static_cast<const float*>(a), *static_cast<const int64_t*>(width), &row, 1,
                     static_cast<const float*>(b), &product);
    return -product;
  }

  int64_t width_;
  bool raw_;
};

double square(const float* x, int64_t d) {
  double sum = 0;
  for (int64_t i = 0; i < d; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return sum;
}

std::vector<double> squares(Tensor<const float> items) {
  std::vector<double> out(static_cast<size_t>(items.rows()));
  for (int64_t row = 0; row < items.rows(); ++row) {
    const double length = square(items.row(row), items.cols());
    check(std::isfinite(length), "hnsw", "the vector of item row ", row,
          " is not finite; search it with the index \"exact\"");
    out[static_cast<size_t>(row)] = length;
  }
  return out;
}

// hnswlib's numbers of items are the order in which they went in: rows[number] is whose that is.
class Flattened {
 public:
  Flattened(hnswlib::HierarchicalNSW<float>& from, const std::vector<int32_t>& rows, int64_t links)
      : from_(from), rows_(rows), number_(rows.size()) {
    for (size_t n = 0; n < rows.size(); ++n) number_[static_cast<size_t>(rows[n])] = static_cast<unsigned>(n);
    graph_.entry = rows[from.enterpoint_node_];
    graph_.ground.reserve(rows.size() * 2 * static_cast<size_t>(links));
    for (const unsigned number : number_) copy_links(number, 0, 2 * links, graph_.ground);
    for (int level = 1; level <= from.maxlevel_; ++level) {
      const size_t before = graph_.level_rows.size();
      for (size_t row = 0; row < rows.size(); ++row) {
        if (from.element_levels_[number_[row]] < level) continue;
        graph_.level_rows.push_back(static_cast<int32_t>(row));
        copy_links(number_[row], level, links, graph_.level_ground);
      }
      graph_.level_sizes.push_back(static_cast<int64_t>(graph_.level_rows.size() - before));
    }
  }
  HnswGraph take() { return std::move(graph_); }

 private:
  // An item's neighbours on a level: `most` places, -1 behind the last.
  void copy_links(unsigned number, int level, int64_t most, std::vector<int32_t>& to) {
    unsigned* list = from_.get_linklist_at_level(number, level);
    const int64_t count = std::min<int64_t>(from_.getListCount(list), most);
    for (int64_t i = 0; i < most; ++i) to.push_back(i < count ? rows_[list[1 + i]] : -1);
  }

  hnswlib::HierarchicalNSW<float>& from_;
  const std::vector<int32_t>& rows_;
  std::vector<unsigned> number_;  // of a row
  HnswGraph graph_;
};

}  // namespace

HnswGraph build_hnsw_graph(Tensor<const float> items, const HnswOptions& options, bool raw) {
  constexpr int64_t kReport = 4096;
  const int64_t c = items.rows(), d = items.cols(), width = raw ? d : d + 1;
  const std::vector<double> length = squares(items);
  std::vector<int32_t> rows(length.size());
  std::iota(rows.begin(), rows.end(), 0);
  const auto of = [&](int32_t row) { return length[static_cast<size_t>(row)]; };
  std::stable_sort(rows.begin(), rows.end(), [&](int32_t a, int32_t b) { return of(a) > of(b); });
  Space space(width, raw);
  std::vector<float> vector(static_cast<size_t>(width));
  try {
    hnswlib::HierarchicalNSW<float> graph(&space, static_cast<size_t>(c), static_cast<size_t>(options.links),
                                          static_cast<size_t>(options.ef_construction));
    for (int64_t n = 0; n < c; ++n) {
      const int32_t row = rows[static_cast<size_t>(n)];
      std::copy_n(items.row(row), d, vector.begin());
      if (!raw) vector.back() = static_cast<float>(std::sqrt(of(rows[0]) - of(row)));
      graph.addPoint(vector.data(), static_cast<size_t>(n));
      if (options.progress && ((n + 1) % kReport == 0 || n + 1 == c)) options.progress(n + 1, c);
    }
    return Flattened(graph, rows, options.links).take();
  } catch (const Error&) {
    throw;
  } catch (const std::runtime_error& error) {
    fail("hnsw", "hnswlib could not build the graph of ", c, " items (", error.what(),
         "); search them with the index \"int8\"");
  }
}

}  // namespace tt
