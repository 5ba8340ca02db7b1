// y = relu(BN(x) [+ shortcut]) in training mode, forward and backward, for channels-last tensors on the CPU.
//
// A tensor is read as a flat array of 64-element lines: with 16 channels a line holds 4 pixels, with 128 channels a
// pixel holds 2 lines. Sums run in fp32 within a chunk and in fp64 over the chunks, whose number does not
// depend on the number of threads: neither does any result.
#include <ATen/Parallel.h>
#include <torch/library.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kChunkLines = 512;

// bf16 travels as its 16 bits: shifts and adds on them are what the compiler turns into vector code.
inline float wide(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
inline float wide(float value) { return value; }

template <class T>
inline T narrow(float value) {  // rounds to nearest even, as torch does
  if constexpr (std::is_same_v<T, float>) return value;
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<T>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float relu(float v) { return v < 0 ? 0.0f : v; }  // NaN stays NaN

// A tensor's elements as the kernels see them.
template <class T>
const T* elements(const at::Tensor& x) { return static_cast<const T*>(x.const_data_ptr()); }
template <class T>
T* elements_to_write(const at::Tensor& x) { return static_cast<T*>(x.mutable_data_ptr()); }

// Where line l of chunk c starts, and which channel its first element is.
struct Lines {
  int64_t channels, blocks, per_block, chunks;
  Lines(const at::Tensor& x)
      : channels(x.size(1)),
        blocks(std::max<int64_t>(1, channels / kLine)),
        per_block(x.numel() / kLine / blocks),
        chunks((per_block + kChunkLines - 1) / kChunkLines) {}
  int64_t stride() const { return blocks * kLine; }
  int64_t at(int64_t line, int64_t block) const { return line * stride() + block * kLine; }
};

// Calls f(block, chunk, first line, last line) for all chunks, in parallel.
template <class F>
void for_chunks(const Lines& lines, const F& f) {
  at::parallel_for(0, lines.chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk)
      for (int64_t block = 0; block < lines.blocks; ++block)
        f(block, chunk, chunk * kChunkLines, std::min((chunk + 1) * kChunkLines, lines.per_block));
  });
}

// Two sums per channel, in fp64, from the chunks' sums per element of a line.
std::pair<std::vector<double>, std::vector<double>> fold(const Lines& lines, const std::vector<float>& parts) {
  std::vector<double> a(lines.channels), b(lines.channels);
  for (int64_t chunk = 0; chunk < lines.chunks; ++chunk)
    for (int64_t block = 0; block < lines.blocks; ++block)
      for (int64_t i = 0; i < kLine; ++i) {
        const int64_t channel = (block * kLine + i) % lines.channels;
        const float* part = &parts[(chunk * lines.blocks + block) * 2 * kLine];
        a[channel] += part[i];
        b[channel] += part[kLine + i];
      }
  return {a, b};
}

// Coefficients of each element of a line, from those of each channel.
std::vector<float> spread(const Lines& lines, const std::vector<double>& per_channel) {
  std::vector<float> out(lines.stride());
  for (int64_t i = 0; i < lines.stride(); ++i) out[i] = static_cast<float>(per_channel[i % lines.channels]);
  return out;
}

// Sums of x and x^2, both from a pivot near the mean: without it x^2 loses what tells a small variance.
template <class T>
void sum_line(const T* __restrict__ x, const float* __restrict__ pivot, float* __restrict__ sum,
              float* __restrict__ square) {
  for (int i = 0; i < kLine; ++i) {
    const float v = wide(x[i]) - pivot[i];
    sum[i] += v;
    square[i] += v * v;
  }
}

template <class T>
void apply_line(const T* __restrict__ x, const float* __restrict__ scale, const float* __restrict__ shift,
                T* __restrict__ y) {
  for (int i = 0; i < kLine; ++i) y[i] = narrow<T>(relu(wide(x[i]) * scale[i] + shift[i]));
}

template <class T>
void apply_line(const T* __restrict__ x, const float* __restrict__ scale, const float* __restrict__ shift,
                const T* __restrict__ shortcut, T* __restrict__ y) {
  for (int i = 0; i < kLine; ++i) y[i] = narrow<T>(relu(wide(x[i]) * scale[i] + shift[i] + wide(shortcut[i])));
}

// The gradient where ReLU let through: g where what it was given is positive (NaN passes, as in torch).
template <class T>
inline float through(T g, float given) { return given <= 0 ? 0.0f : wide(g); }

// Without a shortcut ReLU was given x scale + shift, which takes less time to compute again than to read.
template <class T>
void sum_gradient_line(const T* __restrict__ g, const T* __restrict__ x, const float* __restrict__ scale,
                       const float* __restrict__ shift, float* __restrict__ sum, float* __restrict__ dot) {
  for (int i = 0; i < kLine; ++i) {
    const float d = through(g[i], wide(x[i]) * scale[i] + shift[i]);
    sum[i] += d;
    dot[i] += d * wide(x[i]);
  }
}

// With one the sign of y says the same; the gradient that is let through is the shortcut's.
template <class T>
void sum_gradient_line(const T* __restrict__ g, const T* __restrict__ x, const T* __restrict__ y,
                       T* __restrict__ dshortcut, float* __restrict__ sum, float* __restrict__ dot) {
  for (int i = 0; i < kLine; ++i) {
    const float d = through(g[i], wide(y[i]));
    sum[i] += d;
    dot[i] += d * wide(x[i]);
    dshortcut[i] = wide(y[i]) <= 0 ? T(0) : g[i];
  }
}

// dx = a d + k x + c, with d the gradient that ReLU let through.
template <class T>
void gradient_line(const T* __restrict__ g, const T* __restrict__ x, const float* __restrict__ scale,
                   const float* __restrict__ shift, const float* __restrict__ a, const float* __restrict__ k,
                   const float* __restrict__ c, T* __restrict__ dx) {
  for (int i = 0; i < kLine; ++i) {
    const float d = through(g[i], wide(x[i]) * scale[i] + shift[i]);
    dx[i] = narrow<T>(d * a[i] + wide(x[i]) * k[i] + c[i]);
  }
}

template <class T>
void gradient_line(const T* __restrict__ d, const T* __restrict__ x, const float* __restrict__ a,
                   const float* __restrict__ k, const float* __restrict__ c, T* __restrict__ dx) {
  for (int i = 0; i < kLine; ++i) dx[i] = narrow<T>(wide(d[i]) * a[i] + wide(x[i]) * k[i] + c[i]);
}

template <class T>
at::Tensor forward_kernel(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b, const at::Tensor& shortcut,
                          at::Tensor& mean, at::Tensor& invstd, at::Tensor& scale_shift, at::Tensor& running_mean,
                          at::Tensor& running_var, double momentum, double eps) {
  const Lines lines(x);
  const T* px = elements<T>(x);
  std::vector<double> first_pixel(lines.channels);
  for (int64_t c = 0; c < lines.channels; ++c) first_pixel[c] = wide(px[c]);
  const auto pivot = spread(lines, first_pixel);
  std::vector<float> parts(lines.chunks * lines.blocks * 2 * kLine);
  for_chunks(lines, [&](int64_t block, int64_t chunk, int64_t first, int64_t last) {
    float* part = &parts[(chunk * lines.blocks + block) * 2 * kLine];
    float sum[kLine] = {}, square[kLine] = {};
    for (int64_t l = first; l < last; ++l) sum_line(px + lines.at(l, block), &pivot[block * kLine], sum, square);
    std::copy_n(sum, kLine, part);
    std::copy_n(square, kLine, part + kLine);
  });
  const auto [sum, square] = fold(lines, parts);
  const double n = static_cast<double>(x.numel() / lines.channels);
  std::vector<double> scale(lines.channels), shift(lines.channels);
  float *rm = running_mean.mutable_data_ptr<float>(), *rv = running_var.mutable_data_ptr<float>();
  for (int64_t c = 0; c < lines.channels; ++c) {
    const double from_pivot = sum[c] / n, m = first_pixel[c] + from_pivot;
    const double spread_out = square[c] / n - from_pivot * from_pivot;
    const double variance = spread_out < 0 ? 0.0 : spread_out;  // NaN stays NaN
    const double inverse = 1.0 / std::sqrt(variance + eps);
    mean.mutable_data_ptr<float>()[c] = m;
    invstd.mutable_data_ptr<float>()[c] = inverse;
    rm[c] = (1 - momentum) * rm[c] + momentum * m;
    rv[c] = (1 - momentum) * rv[c] + momentum * variance * n / (n - 1);
    scale[c] = w.const_data_ptr<float>()[c] * inverse;
    shift[c] = b.const_data_ptr<float>()[c] - m * scale[c];
    scale_shift.mutable_data_ptr<float>()[c] = scale[c];
    scale_shift.mutable_data_ptr<float>()[lines.channels + c] = shift[c];
  }
  const auto s = spread(lines, scale), t = spread(lines, shift);
  at::Tensor y = at::empty_like(x);
  T* py = elements_to_write<T>(y);
  const T* pk = shortcut.defined() ? elements<T>(shortcut) : nullptr;
  for_chunks(lines, [&](int64_t block, int64_t, int64_t first, int64_t last) {
    const float *ps = &s[block * kLine], *pt = &t[block * kLine];
    for (int64_t l = first; l < last; ++l) {
      const int64_t at = lines.at(l, block);
      if (pk)
        apply_line(px + at, ps, pt, pk + at, py + at);
      else
        apply_line(px + at, ps, pt, py + at);
    }
  });
  return y;
}

// Returns dx; fills dw, db and, with a shortcut, its gradient.
template <class T>
at::Tensor backward_kernel(const at::Tensor& g, const at::Tensor& y, const at::Tensor& x, const at::Tensor& w,
                           const at::Tensor& mean, const at::Tensor& invstd, const at::Tensor& scale_shift,
                           at::Tensor& dw, at::Tensor& db, at::Tensor& dshortcut) {
  const Lines lines(x);
  const T *pg = elements<T>(g), *py = elements<T>(y), *px = elements<T>(x);
  const float* per_channel = scale_shift.const_data_ptr<float>();
  const auto scale = spread(lines, {per_channel, per_channel + lines.channels});
  const auto shift = spread(lines, {per_channel + lines.channels, per_channel + 2 * lines.channels});
  T* pk = dshortcut.defined() ? elements_to_write<T>(dshortcut) : nullptr;
  std::vector<float> parts(lines.chunks * lines.blocks * 2 * kLine);
  for_chunks(lines, [&](int64_t block, int64_t chunk, int64_t first, int64_t last) {
    float* part = &parts[(chunk * lines.blocks + block) * 2 * kLine];
    float sum[kLine] = {}, dot[kLine] = {};
    for (int64_t l = first; l < last; ++l) {
      const int64_t at = lines.at(l, block);
      if (pk)
        sum_gradient_line(pg + at, px + at, py + at, pk + at, sum, dot);
      else
        sum_gradient_line(pg + at, px + at, &scale[block * kLine], &shift[block * kLine], sum, dot);
    }
    std::copy_n(sum, kLine, part);
    std::copy_n(dot, kLine, part + kLine);
  });
  const auto [sum, dot] = fold(lines, parts);
  const double n = static_cast<double>(x.numel() / lines.channels);
  std::vector<double> a(lines.channels), k(lines.channels), c(lines.channels);
  for (int64_t i = 0; i < lines.channels; ++i) {
    const double m = mean.const_data_ptr<float>()[i], inverse = invstd.const_data_ptr<float>()[i];
    const double gamma = inverse * (dot[i] - m * sum[i]);
    dw.mutable_data_ptr<float>()[i] = gamma;
    db.mutable_data_ptr<float>()[i] = sum[i];
    a[i] = w.const_data_ptr<float>()[i] * inverse;
    k[i] = -a[i] * inverse * gamma / n;
    c[i] = -a[i] * sum[i] / n - k[i] * m;
  }
  const auto va = spread(lines, a), vk = spread(lines, k), vc = spread(lines, c);
  at::Tensor dx = at::empty_like(x);
  T* pd = elements_to_write<T>(dx);
  for_chunks(lines, [&](int64_t block, int64_t, int64_t first, int64_t last) {
    const float *qa = &va[block * kLine], *qk = &vk[block * kLine], *qc = &vc[block * kLine];
    for (int64_t l = first; l < last; ++l) {
      const int64_t at = lines.at(l, block);
      if (pk)  // the gradient that ReLU let through is there already
        gradient_line(pk + at, px + at, qa, qk, qc, pd + at);
      else
        gradient_line(pg + at, px + at, &scale[block * kLine], &shift[block * kLine], qa, qk, qc, pd + at);
    }
  });
  return dx;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct BnRelu : torch::autograd::Function<BnRelu> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& w, const at::Tensor& b,
                            const std::optional<at::Tensor>& shortcut, at::Tensor running_mean, at::Tensor running_var,
                            double momentum, double eps) {
    at::AutoDispatchBelowADInplaceOrView guard;
    const at::Tensor k = shortcut ? shortcut->contiguous(at::MemoryFormat::ChannelsLast) : at::Tensor();
    at::Tensor mean = at::empty_like(w), invstd = at::empty_like(w), scale_shift = at::empty({2, w.numel()}, w.options());
    const auto run = x.scalar_type() == at::kFloat ? forward_kernel<float> : forward_kernel<uint16_t>;
    at::Tensor y = run(x, w, b, k, mean, invstd, scale_shift, running_mean, running_var, momentum, eps);
    // detached: saved as it is, y would hold the node that holds y, where recomputation stops in the middle of saving
    ctx->save_for_backward({x, y.detach(), w, mean, invstd, scale_shift});
    ctx->saved_data["shortcut"] = shortcut.has_value();
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &y = saved[1], &w = saved[2];
    const at::Tensor g = grads[0].contiguous(at::MemoryFormat::ChannelsLast);
    at::Tensor dw = at::empty_like(w), db = at::empty_like(w), dk;
    if (ctx->saved_data["shortcut"].toBool()) dk = at::empty_like(x);
    const auto run = x.scalar_type() == at::kFloat ? backward_kernel<float> : backward_kernel<uint16_t>;
    at::Tensor dx = run(g, y, x, w, saved[3], saved[4], saved[5], dw, db, dk);
    return {dx, dw, db, dk, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

at::Tensor bn_relu(const at::Tensor& x, const at::Tensor& w, const at::Tensor& b,
                   const std::optional<at::Tensor>& shortcut, at::Tensor running_mean, at::Tensor running_var,
                   double momentum, double eps) {
  return BnRelu::apply(x, w, b, shortcut, running_mean, running_var, momentum, eps);
}

}  // namespace

TORCH_LIBRARY(resrepro, m) {
  m.def(
      "bn_relu(Tensor x, Tensor weight, Tensor bias, Tensor? shortcut, Tensor(a!) running_mean, "
      "Tensor(b!) running_var, float momentum, float eps) -> Tensor",
      &bn_relu);
}
