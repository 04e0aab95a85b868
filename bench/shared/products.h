#pragma once
// The matrix products of a training step as its ops really ask for them: block by block, with their strides. What the
// fused kernels (attention, in-batch losses) multiply inside is ours always and not among them.

#include <twotower/tensor/gemm.h>

#include <functional>
#include <vector>

namespace tt::bench {

struct Product {
  GemmCall call;
  bool inside;    // asked for by a worker of a parallel region, so that several run side by side, a thread each
  int64_t count;  // how often
  double flops() const { return 2.0 * static_cast<double>(call.multiply_adds()) * static_cast<double>(count); }
};

// All products that `step` asks for, those with the most FLOPs first.
std::vector<Product> products_of(const std::function<void()>& step);

// FLOPs of those that `backend` served.
double flops_by(const std::vector<Product>& products, GemmBackend backend);

}  // namespace tt::bench
