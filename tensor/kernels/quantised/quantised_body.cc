#include <twotower/tensor/kernels/quantised/scan_loops.h>
#if TT_ISA_LEVEL == 0 && defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace tt::kernels::TT_ISA {
namespace {

// Sums of the products of 16-bit neighbours.
TT_INLINE vi multiply_pairs(vi a, vi b) {
#if TT_ISA_LEVEL == 2
  return reinterpret_cast<vi>(_mm512_madd_epi16(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
#elif TT_ISA_LEVEL == 1
  return reinterpret_cast<vi>(_mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<vi>(_mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  return (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}

// Bytes 0 .. 255 of rows times -127 .. 127 of a query. As 16-bit pairs nothing saturates.
struct Int8 {
  static constexpr int64_t kBytes = 4 * W, kGroupBytes = 4 * kInBlock, kWords = 2;
  typedef vi Sum;
  struct Rows {
    vi even, odd;
    explicit __attribute__((always_inline)) Rows(const std::byte* p)
        : even(load_words(p) & 0x00ff00ff), odd((load_words(p) >> 8) & 0x00ff00ff) {}
  };
  struct Query {
    vi even, odd;
    explicit __attribute__((always_inline)) Query(const int32_t* p)
        : even(broadcast_word(p[0])), odd(broadcast_word(p[1])) {}
  };
  TT_INLINE Sum begin(int32_t x) { return broadcast_word(x); }
  TT_INLINE Sum add(Sum sum, const Rows& rows, const Query& query) {
    return sum + multiply_pairs(rows.even, query.even) + multiply_pairs(rows.odd, query.odd);
  }
  TT_INLINE vf value(Sum sum) { return to_float(sum); }
};

struct Fp16 {
  static constexpr int64_t kBytes = 2 * W, kGroupBytes = 2 * kInBlock, kWords = 1;
  typedef vf Sum;
  struct Rows {
    vf x;
    explicit __attribute__((always_inline)) Rows(const std::byte* p) {
#if TT_ISA_LEVEL == 2
      x = reinterpret_cast<vf>(_mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif TT_ISA_LEVEL == 1
      x = reinterpret_cast<vf>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
      typedef uint16_t halves __attribute__((vector_size(2 * TT_LANES), aligned(1), may_alias));
      const vi h = __builtin_convertvector(*reinterpret_cast<const halves*>(p), vi);
      x = floats((h & 0x7fff) << 13) * 0x1p112f;  // the exponent's bias; finite numbers only
      x = floats(bits(x) | (h & 0x8000) << 16);
#endif
    }
  };
  struct Query {
    vf x;
    explicit __attribute__((always_inline)) Query(const int32_t* p)
        : x(broadcast(*reinterpret_cast<const float_in_word*>(p))) {}
    typedef float float_in_word __attribute__((may_alias));
  };
  TT_INLINE Sum begin(int32_t) { return Sum{}; }
  TT_INLINE Sum add(Sum sum, const Rows& rows, const Query& query) { return fma(rows.x, query.x, sum); }
  TT_INLINE vf value(Sum sum) { return sum; }
};

}  // namespace

extern const CoarseTable int8_table = {kMostQueries, Int8::kWords, scan_queries<Int8>};
extern const CoarseTable fp16_table = {kMostQueries, Fp16::kWords, scan_queries<Fp16>};

}  // namespace tt::kernels::TT_ISA
