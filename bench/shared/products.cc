#include "bench/shared/products.h"

#include <twotower/tensor/threads/parallel.h>

#include <algorithm>
#include <mutex>
#include <tuple>

namespace tt::bench {
namespace {

std::mutex lock;
std::vector<Product> seen;

auto identity(const Product& p) {
  const GemmCall& c = p.call;
  return std::tuple(p.inside, c.backend, c.transpose_a, c.transpose_b, c.m, c.n, c.k, c.lda, c.ldb, c.ldc, c.adds,
                    c.bias, c.relu);
}

}  // namespace

std::vector<Product> products_of(const std::function<void()>& step) {
  seen.clear();
  const int threads = num_threads();
  {
    const ThreadScope two(std::max(threads, 2));  // with one, inside and outside a region would look the same
    observe_gemm([](const GemmCall& call) {
      Product product{call, num_threads() == 1, 1};
      const std::lock_guard<std::mutex> hold(lock);
      for (Product& other : seen)
        if (identity(other) == identity(product)) {
          ++other.count;
          return;
        }
      seen.push_back(product);
    });
    step();
    observe_gemm(nullptr);
  }
  std::vector<Product> products = std::move(seen);
  std::stable_sort(products.begin(), products.end(),
                   [](const Product& a, const Product& b) { return a.flops() > b.flops(); });
  return products;
}

double flops_by(const std::vector<Product>& products, GemmBackend backend) {
  double flops = 0;
  for (const Product& p : products)
    if (p.call.backend == backend) flops += p.flops();
  return flops;
}

}  // namespace tt::bench
