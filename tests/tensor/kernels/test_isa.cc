#include <doctest/doctest.h>
#include <twotower/tensor/error.h>
#include <twotower/tensor/kernels/isa.h>

#include <algorithm>
#include <vector>

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

TEST_CASE("isa: TWOTOWER_ISA names a set that the machine has, else it is refused in one line") {
  const std::vector<Isa> narrow{Isa::scalar, Isa::avx2}, all{Isa::scalar, Isa::avx2, Isa::avx512};
  CHECK(choose_isa(nullptr, narrow) == Isa::avx2);
  CHECK(choose_isa("", all) == Isa::avx512);
  CHECK(choose_isa("scalar", all) == Isa::scalar);
  CHECK(choose_isa("avx2", narrow) == Isa::avx2);
  CHECK_THROWS_WITH_AS(choose_isa("avx512", narrow),
                       "[TWOTOWER_ISA] this machine does not support avx512; its widest is avx2", tt::Error);
  CHECK_THROWS_WITH_AS(choose_isa("avx2", {Isa::scalar}),
                       "[TWOTOWER_ISA] this machine does not support avx2; its widest is scalar", tt::Error);
  CHECK_THROWS_WITH_AS(choose_isa("AVX2", all), "[TWOTOWER_ISA] unknown value \"AVX2\"; give scalar, avx2 or avx512",
                       tt::Error);
}

TEST_CASE("isa: a set that this machine lacks cannot be switched on") {
  const std::vector<Isa> supported = supported_isas();
  const Isa before = active_isa();
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (std::find(supported.begin(), supported.end(), isa) == supported.end())
      CHECK_THROWS_AS(set_isa(isa), tt::Error);
    else
      set_isa(isa);
  }
  set_isa(before);
}
