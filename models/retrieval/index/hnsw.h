#pragma once
// Approximate retrieval by a walk through a graph of neighbours: HNSW (Malkov and Yashunin 2018, arXiv:1603.09320).
// The graph is hnswlib's work, the walk is ours: it reads the item vectors where they lie, keeps a filter inside the
// search, allocates nothing after a thread's first call, and takes the graph from a mapped file as it is.
//
// Inner products are no metric: the vector nearest to x need not be x, and links and prunes by them lead to the longest
// vectors alone, past what a filter leaves. The graph is therefore built of vectors with one coordinate more, in which
// the order of distances to a query is that of inner products (Bachrach et al. 2014; Neyshabur and Srebro 2015,
// arXiv:1410.5518):
//   x' = (x, sqrt(R^2 - |x|^2)), R the longest vector's length;  q' = (q, 0);  |x' - q'|^2 = R^2 + |q|^2 - 2 x.q
// The walk itself so needs x.q alone. The longest vectors, which most answers are among, go in first: they become the
// graph's far links. In another order the short ones crowd round one pole, and walks end there (docs/indexes.md).

#include <twotower/models/retrieval/index/index.h>

#include <functional>
#include <span>
#include <vector>

namespace tt {

struct HnswOptions {
  int64_t links = 16;             // M, 2 .. 256: neighbours of a row on each level, twice as many on the ground
  int64_t ef_construction = 200;  // how many candidates a row's neighbours are chosen from
  double recall = 0.99;           // of 100 items on a sample: what ef is chosen for
  std::function<void(int64_t done, int64_t all)> progress = {};  // called now and then as rows go in
};

class HnswIndex final : public Index {
 public:
  // What it holds beside the items, for storing. A row that is not in [0, C) ends a list of neighbours.
  struct Parts {
    int64_t ef = 0;                         // how many rows a walk keeps, at least k
    int64_t links = 0;                      // M
    int64_t entry = 0;                      // the row that walks begin at, of the last level
    std::span<const int32_t> ground;        // [C, 2 M] each row's neighbours
    std::span<const int64_t> level_sizes;   // of the levels above, lowest first: how many rows each has
    std::span<const int32_t> level_rows;    // their rows, ascending in each level
    std::span<const int32_t> level_ground;  // [level_rows, M] their neighbours on that level
  };

  // items: [C, D], a view that must outlive the index. Rows go in one after the other on one thread, so the same
  // vectors make the same graph however many threads there are; then ef is raised until a sample is found with the
  // recall wanted, or until a walk costs what an exact scan does. Throws Error for options out of range and for vectors
  // that are not finite.
  explicit HnswIndex(Tensor<const float> items, const HnswOptions& options = {});
  // From stored parts, views as well. Throws Error where they do not fit the items or each other.
  HnswIndex(Tensor<const float> items, const Parts& parts, const Recall& recall);
  // A view of another with another ef: what the trade between recall and time is made with.
  HnswIndex(const HnswIndex& index, int64_t ef);
  HnswIndex(const HnswIndex&) = delete;

  std::string_view kind() const override { return "hnsw"; }
  int64_t size() const override { return items_ ? items_.rows() : 0; }
  int64_t width() const override { return items_ ? items_.cols() : 0; }
  Recall recall() const override { return recall_; }
  const Parts& parts() const { return parts_; }
  int64_t ef() const { return parts_.ef; }

  // Where a walk would cost what a scan does (few items, a narrow filter, a large k), and where it brings fewer than
  // could be returned, the scan answers: no answer is short. Ties are by smaller row among what was found.
  void search(Tensor<const float> queries, int64_t k, TopItems& out, const RowFilter& filter = {}) const override;

 private:
  struct Walk;

  Tensor<const float> items_;
  std::vector<int32_t> own_ground_, own_level_rows_, own_level_ground_;  // what parts_ views, where it was built here
  std::vector<int64_t> own_level_sizes_;
  Parts parts_;
  Recall recall_;
};

}  // namespace tt
