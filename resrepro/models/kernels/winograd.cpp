// The 3x3 convolution (stride 1, padding 1) of a residual net on the CPU in fp32, by minimal filtering F(4x4, 3x3): 36
// multiplications make 4x4 outputs, where the definition takes 144 (Winograd 1980; Lavin and Gray 2016, arXiv
// 1509.09308). oneDNN has this only for other CPUs.
//
// A tile of 4x4 outputs depends on a patch of 6x6 inputs. Input and weights are taken to 36 points (polynomials at 0, ±1,
// ±2, infinity), multiplied there, as one matrix product for each point over tiles and channels, and the products are
// taken back to 4x4 outputs. The input's gradient is the same convolution with the weights turned around, and the weights'
// gradient goes through the same points backwards. Sums of a chunk of tiles do not depend on the number of threads,
// nor does the order in which chunks are added.
#ifdef __AVX2__
#include <ATen/Parallel.h>
#include <torch/library.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace winograd {

#ifdef __AVX512F__
constexpr int kLanes = 16;
#else
constexpr int kLanes = 8;
#endif
constexpr int kSide = 4, kPatch = 6, kPoints = kPatch * kPatch;
constexpr int kGroup = 24;         // tiles that are multiplied at a time, so that they stay in the cache
constexpr int64_t kChunks = 8;        // parts of the weights' gradient
constexpr int kAccumulators = 12;  // of a matrix product; with two weights and an input they fill 16 registers

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));

inline Vec load(const float* from) {
  Vec v;
  std::memcpy(&v, from, sizeof v);
  return v;
}
inline void store(Vec v, float* to) { std::memcpy(to, &v, sizeof v); }

// The three transforms in one dimension; in two they are applied to the columns, then to the rows.
struct Inputs {  // 6 inputs -> 6 points
  static constexpr int kFrom = 6, kTo = 6;
  static void apply(const Vec* d, Vec* out) {
    const Vec even = d[4] - 4 * d[2], odd = d[3] - 4 * d[1], even2 = d[4] - d[2], odd2 = 2 * (d[3] - d[1]);
    out[0] = 4 * d[0] - 5 * d[2] + d[4];
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = even2 + odd2;
    out[4] = even2 - odd2;
    out[5] = 4 * d[1] - 5 * d[3] + d[5];
  }
};
struct Outputs {  // 6 points -> 4 outputs
  static constexpr int kFrom = 6, kTo = 4;
  static void apply(const Vec* m, Vec* out) {
    const Vec sum = m[1] + m[2], difference = m[1] - m[2], sum2 = m[3] + m[4], difference2 = m[3] - m[4];
    out[0] = m[0] + sum + sum2;
    out[1] = difference + 2 * difference2;
    out[2] = sum + 4 * sum2;
    out[3] = difference + 8 * difference2 + m[5];
  }
};
struct Gradients {  // 4 gradients of outputs -> 6 points: the transpose of Outputs
  static constexpr int kFrom = 4, kTo = 6;
  static void apply(const Vec* g, Vec* out) {
    const Vec even = g[0] + g[2], odd = g[1] + g[3], even2 = g[0] + 4 * g[2], odd2 = 2 * g[1] + 8 * g[3];
    out[0] = g[0];
    out[1] = even + odd;
    out[2] = even - odd;
    out[3] = even2 + odd2;
    out[4] = even2 - odd2;
    out[5] = g[3];
  }
};

// from(row, column) -> Vec; to(row, column, Vec).
template <class Transform, class From, class To>
inline void transform(const From& from, const To& to) {
  constexpr int n = Transform::kFrom, m = Transform::kTo;
  Vec half[m][n];
#pragma GCC unroll 6
  for (int j = 0; j < n; ++j) {
    Vec in[n], out[m];
#pragma GCC unroll 6
    for (int i = 0; i < n; ++i) in[i] = from(i, j);
    Transform::apply(in, out);
#pragma GCC unroll 6
    for (int i = 0; i < m; ++i) half[i][j] = out[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < m; ++i) {
    Vec out[m];
    Transform::apply(half[i], out);
#pragma GCC unroll 6
    for (int j = 0; j < m; ++j) to(i, j, out[j]);
  }
}

// The tiles of a mini-batch of maps (N, H, W, C), counted over all images.
template <int C>
struct Tiles {
  int64_t height, width, across, in_image, count;
  explicit Tiles(const at::Tensor& x)
      : height(x.size(2)), width(x.size(3)), across(width / kSide), in_image(height / kSide * across),
        count(x.size(0) * in_image) {}
  int64_t groups() const { return (count + kGroup - 1) / kGroup; }

  // Takes the patches of a group to (36, kGroup, C). Patches of neighbors overlap, so columns are transformed once.
  void inputs(const float* x, int64_t group, float* points) const {
    const int64_t begin = group * kGroup, end = std::min(begin + kGroup, count);
    for (int64_t tile = begin, last; tile < end; tile = last) {
      last = std::min(end, (tile / across + 1) * across);  // of this row of tiles
      const int64_t image = tile / in_image, top = tile % in_image / across * kSide - 1;
      const int64_t left = tile % across * kSide - 1, columns = (last - tile) * kSide + 2;
      for (int c = 0; c < C; c += kLanes) {
        Vec transformed[kGroup * kSide + 2][kPatch];
        for (int64_t j = 0; j < columns; ++j) {
          Vec in[kPatch] = {};
          if (left + j >= 0 && left + j < width)
            for (int i = 0; i < kPatch; ++i)
              if (top + i >= 0 && top + i < height)
                in[i] = load(x + ((image * height + top + i) * width + left + j) * C + c);
          Inputs::apply(in, transformed[j]);
        }
        for (int64_t t = 0; t < last - tile; ++t)
          for (int i = 0; i < kPatch; ++i) {
            Vec in[kPatch], out[kPatch];
            for (int j = 0; j < kPatch; ++j) in[j] = transformed[t * kSide + j][i];
            Inputs::apply(in, out);
            for (int j = 0; j < kPatch; ++j)
              store(out[j], points + ((i * kPatch + j) * kGroup + tile - begin + t) * C + c);
          }
      }
    }
  }
  // Takes the gradients of a group's outputs to (36, kGroup, C); tiles past the last one are zero.
  void gradients(const float* g, int64_t group, float* points) const {
    if ((group + 1) * kGroup > count) std::fill_n(points, kPoints * kGroup * C, 0.0f);
    for (int t = 0; t < kGroup && group * kGroup + t < count; ++t) {
      const float* first = g + first_pixel(group * kGroup + t);
      for (int c = 0; c < C; c += kLanes)
        transform<Gradients>([&](int i, int j) { return load(first + (i * width + j) * C + c); },
                             [&](int i, int j, Vec v) { store(v, points + ((i * kPatch + j) * kGroup + t) * C + c); });
    }
  }
  // Takes a group's products (36, kGroup, C) to its outputs.
  void outputs(const float* points, int64_t group, float* y) const {
    for (int t = 0; t < kGroup && group * kGroup + t < count; ++t) {
      float* first = y + first_pixel(group * kGroup + t);
      for (int c = 0; c < C; c += kLanes)
        transform<Outputs>([&](int i, int j) { return load(points + ((i * kPatch + j) * kGroup + t) * C + c); },
                           [&](int i, int j, Vec v) { store(v, first + (i * width + j) * C + c); });
    }
  }

 private:
  int64_t first_pixel(int64_t tile) const {
    const int64_t image = tile / in_image, top = tile % in_image / across * kSide, left = tile % across * kSide;
    return ((image * height + top) * width + left) * C;
  }
};

// out (kGroup, C) = x (kGroup, C) w (C, C).
template <int C>
void multiply(const float* x, const float* w, float* out) {
  constexpr int kColumns = std::min(2, C / kLanes), kRows = kAccumulators / kColumns;
  static_assert(kGroup % kRows == 0);
  for (int c = 0; c < C; c += kColumns * kLanes)
    for (int t = 0; t < kGroup; t += kRows) {
      Vec sums[kRows][kColumns] = {};
      for (int k = 0; k < C; ++k) {
        Vec weights[kColumns];
        for (int j = 0; j < kColumns; ++j) weights[j] = load(w + k * C + c + j * kLanes);
        for (int i = 0; i < kRows; ++i)
          for (int j = 0; j < kColumns; ++j) sums[i][j] += x[(t + i) * C + k] * weights[j];
      }
      for (int i = 0; i < kRows; ++i)
        for (int j = 0; j < kColumns; ++j) store(sums[i][j], out + (t + i) * C + c + j * kLanes);
    }
}

// out (C, C) = x^T g, with x and g of (kGroup, C), or out += x^T g.
template <int C>
void multiply_transposed(const float* x, const float* g, float* out, bool add) {
  constexpr int kColumns = std::min(2, C / kLanes), kRows = 8 / kColumns;
  for (int first = 0; first < C; first += kRows)
    for (int c = 0; c < C; c += kColumns * kLanes) {
      Vec sums[kRows][kColumns];
      for (int i = 0; i < kRows; ++i)
        for (int j = 0; j < kColumns; ++j) sums[i][j] = add ? load(out + (first + i) * C + c + j * kLanes) : Vec{};
      for (int t = 0; t < kGroup; ++t) {
        Vec gradients[kColumns];
        for (int j = 0; j < kColumns; ++j) {
          gradients[j] = load(g + t * C + c + j * kLanes);
          asm("" : "+v"(gradients[j]));  // it stays in its register: the compiler would load it for each row
        }
        for (int i = 0; i < kRows; ++i)
          for (int j = 0; j < kColumns; ++j) sums[i][j] += x[t * C + first + i] * gradients[j];
      }
      for (int i = 0; i < kRows; ++i)
        for (int j = 0; j < kColumns; ++j) store(sums[i][j], out + (first + i) * C + c + j * kLanes);
    }
}

// The transform of weights in both dimensions: (36, 9).
at::Tensor to_points() {
  static const at::Tensor points = [] {
    const at::Tensor g = at::tensor({1. / 4, 0., 0., -1. / 6, -1. / 6, -1. / 6, -1. / 6, 1. / 6, -1. / 6,
                                     1. / 24, 1. / 12, 1. / 6, 1. / 24, -1. / 12, 1. / 6, 0., 0., 1.}).reshape({6, 3});
    return at::kron(g, g).to(at::kFloat);
  }();
  return points;
}

// matrix (m, k) times rows (k, n) in the order of k, whatever the number of threads; a library's product depends on it.
at::Tensor product(const at::Tensor& matrix, const at::Tensor& rows) {
  const at::Tensor a = matrix.contiguous(), b = rows.contiguous();
  const int64_t k = b.size(0), n = b.size(1);
  at::Tensor out = at::zeros({a.size(0), n}, b.options());
  const float *pa = a.const_data_ptr<float>(), *pb = b.const_data_ptr<float>();
  float* po = out.mutable_data_ptr<float>();
  at::parallel_for(0, a.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < k; ++j)
        for (int64_t c = 0; c < n; ++c) po[i * n + c] += pa[i * k + j] * pb[j * n + c];
  });
  return out;
}

// x (N, C, H, W) and weights by (ky, kx, input channel, output channel) -> (N, C, H, W).
template <int C>
at::Tensor convolve(const at::Tensor& x, const at::Tensor& weights) {
  const at::Tensor points = product(to_points(), weights.reshape({9, C * C}));
  at::Tensor y = at::empty_like(x);
  const Tiles<C> tiles(x);
  const float *px = x.const_data_ptr<float>(), *pw = points.const_data_ptr<float>();
  float* py = y.mutable_data_ptr<float>();
  at::parallel_for(0, tiles.groups(), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> inputs(kPoints * kGroup * C), products(kPoints * kGroup * C);
    for (int64_t group = begin; group < end; ++group) {
      tiles.inputs(px, group, inputs.data());
      for (int p = 0; p < kPoints; ++p)
        multiply<C>(&inputs[p * kGroup * C], pw + p * C * C, &products[p * kGroup * C]);
      tiles.outputs(products.data(), group, py);
    }
  });
  return y;
}

// (C, C, 3, 3): output channel, input channel, ky, kx.
template <int C>
at::Tensor weight_gradient(const at::Tensor& x, const at::Tensor& g) {
  const Tiles<C> tiles(x);
  const int64_t chunks = std::min(kChunks, tiles.groups());
  at::Tensor parts = at::empty({chunks, kPoints, C * C}, x.options());
  const float *px = x.const_data_ptr<float>(), *pg = g.const_data_ptr<float>();
  float* out = parts.mutable_data_ptr<float>();
  at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> inputs(kPoints * kGroup * C), gradients(kPoints * kGroup * C);
    for (int64_t chunk = begin; chunk < end; ++chunk) {
      const int64_t first = chunk * tiles.groups() / chunks, last = (chunk + 1) * tiles.groups() / chunks;
      for (int64_t group = first; group < last; ++group) {
        tiles.inputs(px, group, inputs.data());
        tiles.gradients(pg, group, gradients.data());
        for (int p = 0; p < kPoints; ++p)
          multiply_transposed<C>(&inputs[p * kGroup * C], &gradients[p * kGroup * C], out + (chunk * kPoints + p) * C * C,
                                 group > first);
      }
    }
  });
  return product(to_points().t(), parts.sum(0)).reshape({3, 3, C, C}).permute({3, 2, 0, 1});
}

// What is called for so many channels: one of the templates for 16, 32 and 64.
template <class Kernel>
Kernel of_channels(const at::Tensor& x, Kernel for_16, Kernel for_32, Kernel for_64) {
  return x.size(1) == 16 ? for_16 : x.size(1) == 32 ? for_32 : for_64;
}
at::Tensor convolve(const at::Tensor& x, const at::Tensor& weights) {
  return of_channels(x, convolve<16>, convolve<32>, convolve<64>)(x, weights);
}
at::Tensor weight_gradient(const at::Tensor& x, const at::Tensor& g) {
  return of_channels(x, weight_gradient<16>, weight_gradient<32>, weight_gradient<64>)(x, g);
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Conv3x3Winograd : torch::autograd::Function<Conv3x3Winograd> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight) {
    at::AutoDispatchBelowADInplaceOrView guard;
    ctx->save_for_backward({x, weight});
    return convolve(x, weight.permute({2, 3, 1, 0}));
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &w = saved[1];
    const at::Tensor g = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    return {convolve(g, w.flip({2, 3}).permute({2, 3, 0, 1})), weight_gradient(x, g)};
  }
};

at::Tensor conv3x3_winograd(const at::Tensor& x, const at::Tensor& weight) { return Conv3x3Winograd::apply(x, weight); }

}  // namespace winograd

TORCH_LIBRARY_FRAGMENT(resrepro, m) {
  m.def("conv3x3_winograd(Tensor x, Tensor weight) -> Tensor", &winograd::conv3x3_winograd);
}
#endif
