// The 3x3 convolution (stride 1, padding 1) of a residual net on the CPU in bf16. Forward and the input's gradient
// are oneDNN's; the weights' gradient is ours, in fp32, for oneDNN's takes as long as both together. With AMX it takes a
// quarter of ours, so fused.py leaves it to oneDNN there.
//
// dW[ky, kx, ci, co] = sum over pixels of x[h + ky - 1, w + kx - 1, ci] g[h, w, co]. The instruction multiplies pairs
// of bf16 and adds up in fp32; the pair here is two neighbors in a row. So rows of x and g are first written as
// pairs, a band of rows at a time, which stays in the cache for all nine (ky, kx). Sums of a chunk of images
// do not depend on the number of threads, nor does the order in which chunks are added.
#ifdef __AVX512BF16__
#include <ATen/Parallel.h>
#include <immintrin.h>
#include <torch/library.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t kChunkImages = 16;
constexpr int64_t kBandRows = 8;
constexpr int kLanes = 16;

// 16 channels of two pixels -> 16 pairs.
inline void write_pairs(const uint16_t* first, const uint16_t* second, uint16_t* out) {
  const __m512i a = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(first)));
  const __m512i b = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(second)));
  _mm512_storeu_si512(out, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
}

// Pairs (j - 1, j) of a row of x, j = 0 ... width, with a zero on either side; all zero where the row is outside.
template <int C>
void write_x_row(const uint16_t* row, int64_t width, uint16_t* out) {
  static const uint16_t zero[C] = {};
  for (int64_t j = 0; j <= width; ++j)
    for (int c = 0; c < C; c += kLanes)
      write_pairs(row && j > 0 ? row + (j - 1) * C + c : zero, row && j < width ? row + j * C + c : zero,
                  out + (j * C + c) * 2);
}

// Adds a band's part of one (ky, kx): kIn input channels by all C output channels at a time, held in registers.
template <int C, int kIn>
void add_tap(const uint16_t* x, const uint16_t* g, int64_t rows, int64_t width, float* dw) {
  constexpr int kOut = C / kLanes;
  for (int first = 0; first < C; first += kIn) {
    __m512 sums[kIn][kOut];
    for (int i = 0; i < kIn; ++i)
      for (int o = 0; o < kOut; ++o) sums[i][o] = _mm512_loadu_ps(dw + (first + i) * C + o * kLanes);
    for (int64_t h = 0; h < rows; ++h) {
      const uint16_t* px = x + (h * (width + 1) * C + first) * 2;
      const uint16_t* pg = g + h * width * C;
      for (int64_t w = 0; w < width; w += 2, px += 4 * C, pg += 2 * C) {
        __m512bh gradient[kOut];
        for (int o = 0; o < kOut; ++o) gradient[o] = (__m512bh)_mm512_loadu_si512(pg + o * 2 * kLanes);
        for (int i = 0; i < kIn; ++i) {
          int32_t pair;
          std::memcpy(&pair, px + 2 * i, sizeof pair);
          const __m512bh input = (__m512bh)_mm512_set1_epi32(pair);
          for (int o = 0; o < kOut; ++o) sums[i][o] = _mm512_dpbf16_ps(sums[i][o], input, gradient[o]);
        }
      }
    }
    for (int i = 0; i < kIn; ++i)
      for (int o = 0; o < kOut; ++o) _mm512_storeu_ps(dw + (first + i) * C + o * kLanes, sums[i][o]);
  }
}

// (3, 3, C, C) fp32: ky, kx, input channel, output channel.
template <int C, int kIn>
at::Tensor weight_gradient(const at::Tensor& x, const at::Tensor& g) {
  const int64_t images = x.size(0), height = x.size(2), width = x.size(3);
  const int64_t chunks = (images + kChunkImages - 1) / kChunkImages;
  at::Tensor parts = at::zeros({chunks, 3, 3, C, C}, x.options().dtype(at::kFloat));
  const auto *px = static_cast<const uint16_t*>(x.const_data_ptr()), *pg = static_cast<const uint16_t*>(g.const_data_ptr());
  float* out = parts.mutable_data_ptr<float>();
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    std::vector<uint16_t> x_pairs((kBandRows + 2) * (width + 1) * C * 2), g_pairs(kBandRows * width * C);
    for (int64_t n = begin * kChunkImages; n < std::min(end * kChunkImages, images); ++n)
      for (int64_t top = 0; top < height; top += kBandRows) {
        const int64_t rows = std::min(kBandRows, height - top), row = width * C;
        for (int64_t h = 0; h < rows + 2; ++h) {
          const int64_t from = top + h - 1;
          const bool inside = from >= 0 && from < height;
          write_x_row<C>(inside ? px + (n * height + from) * row : nullptr, width, &x_pairs[h * (width + 1) * C * 2]);
        }
        for (int64_t h = 0; h < rows; ++h)
          for (int64_t w = 0; w < width; w += 2)
            for (int c = 0; c < C; c += kLanes) {
              const uint16_t* pixel = pg + (n * height + top + h) * row + w * C + c;
              write_pairs(pixel, pixel + C, &g_pairs[h * row + (w * C) + 2 * c]);
            }
        for (int ky = 0; ky < 3; ++ky)
          for (int kx = 0; kx < 3; ++kx)
            add_tap<C, kIn>(&x_pairs[(ky * (width + 1) + kx) * C * 2], g_pairs.data(), rows, width,
                            out + ((n / kChunkImages * 3 + ky) * 3 + kx) * C * C);
      }
  });
  return parts.sum(0);
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Conv3x3 : torch::autograd::Function<Conv3x3> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor w = weight.to(at::kBFloat16);
    ctx->save_for_backward({x, w});
    return at::conv2d(x, w, {}, 1, 1);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &w = saved[1];
    const at::Tensor g = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    const at::Tensor dx = std::get<0>(
        at::convolution_backward(g, x, w, std::nullopt, 1, 1, 1, false, 0, 1, {true, false, false}));
    const auto run = x.size(1) == 16 ? weight_gradient<16, 16> : x.size(1) == 32 ? weight_gradient<32, 8> : weight_gradient<64, 4>;
    return {dx, run(x, g).permute({3, 2, 0, 1})};
  }
};

at::Tensor conv3x3(const at::Tensor& x, const at::Tensor& weight) { return Conv3x3::apply(x, weight); }

}  // namespace

TORCH_LIBRARY_FRAGMENT(resrepro, m) { m.def("conv3x3(Tensor x, Tensor weight) -> Tensor", &conv3x3); }
#endif
