#include <doctest/doctest.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/kernels/isa.h>

using namespace tt::kernels;

TEST_CASE("isa: scalar is always there and the switch holds") {
  const Isa before = active_isa();
  REQUIRE(supported_isas().front() == Isa::scalar);
  for (const Isa isa : supported_isas()) {
    set_isa(isa);
    CHECK(active_isa() == isa);
  }
  set_isa(before);
}

TEST_CASE("isa: an unsupported set is refused in one line") {
  if (supported_isas().back() == Isa::avx512) return;
  CHECK_THROWS_AS(set_isa(Isa::avx512), tt::Error);
}
