// The scan of bytes with VNNI, built apart from the sets' bodies: a machine may have the set and not this.

#include <twotower/tensor/kernels/quantised/scan_loops.h>

namespace tt::kernels::TT_ISA {
namespace {

struct Int8Vnni {
  static constexpr int64_t kBytes = 4 * W, kGroupBytes = 4 * kInBlock, kWords = 1;
  typedef vi Sum;
  struct Rows {
    vi x;
    explicit __attribute__((always_inline)) Rows(const std::byte* p) : x(load_words(p)) {}
  };
  struct Query {
    vi x;
    explicit __attribute__((always_inline)) Query(const int32_t* p) : x(broadcast_word(*p)) {}
  };
  TT_INLINE Sum begin(int32_t x) { return broadcast_word(x); }
  TT_INLINE Sum add(Sum sum, const Rows& rows, const Query& query) {
#if TT_ISA_LEVEL == 2
    return reinterpret_cast<vi>(_mm512_dpbusd_epi32(reinterpret_cast<__m512i>(sum), reinterpret_cast<__m512i>(rows.x),
                                                    reinterpret_cast<__m512i>(query.x)));
#else
    return reinterpret_cast<vi>(_mm256_dpbusd_avx_epi32(
        reinterpret_cast<__m256i>(sum), reinterpret_cast<__m256i>(rows.x), reinterpret_cast<__m256i>(query.x)));
#endif
  }
  TT_INLINE vf value(Sum sum) { return to_float(sum); }
};

}  // namespace

extern const CoarseTable int8_vnni_table = {kMostQueries, Int8Vnni::kWords, scan_queries<Int8Vnni>};

}  // namespace tt::kernels::TT_ISA
