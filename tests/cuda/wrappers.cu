// Each wrapper of cuda/device.cuh on the bits that it is given: a warp for each round.
#include "wrappers.h"

#include "cuda/launch.cuh"

namespace gptq::cuda {
namespace {

/// A number from -8 to 7, so that sums of products are exact in whatever order.
GPTQ_DEVICE float small(uint32_t bits) { return static_cast<float>(static_cast<int>(bits & 15) - 8); }

template <class T>
GPTQ_DEVICE uint32_t small_pair(uint32_t bits) {
  return pack2<T>(small(bits), small(bits >> 4));
}

/// Where the results of a wrapper go.
struct Results {
  uint32_t* lane;  // of the first wrapper
  GPTQ_DEVICE uint32_t* of(Wrapper w) const {
    return lane + static_cast<int>(w) * kWrapperLanes * kWrapperResults;
  }
  GPTQ_DEVICE void put(Wrapper w, uint32_t a, uint32_t b = 0, uint32_t c = 0, uint32_t d = 0) const {
    uint32_t* const to = of(w);
    to[0] = a;
    to[1] = b;
    to[2] = c;
    to[3] = d;
  }
};

GPTQ_DEVICE void run_bits(const uint32_t* in, const Results& out) {
  out.put(Wrapper::lop3_mask, lop3<0xEA>(in[0], in[1], in[2]));
  out.put(Wrapper::lop3_parity, lop3<0x96>(in[0], in[1], in[2]));
  out.put(Wrapper::permute_bytes, permute_bytes(in[0], in[1], in[2] & 0x7777));
  out.put(Wrapper::count_bits, static_cast<uint32_t>(count_bits(in[0])),
          static_cast<uint32_t>(count_bits(in[0] & in[1] & in[2])));
  out.put(Wrapper::lowest_bit, static_cast<uint32_t>(lowest_bit(in[0] | 1u << 31)),
          static_cast<uint32_t>(lowest_bit(in[0] << in[1] % 32 | 1u << 31)));
}

GPTQ_DEVICE void run_numbers(const uint32_t* in, const Results& out) {
  out.put(Wrapper::half_to_float, as_bits(to_float(Half{static_cast<uint16_t>(in[0])})),
          as_bits(to_float(Half{static_cast<uint16_t>(in[0] >> 16)})));
  out.put(Wrapper::bfloat_to_float, as_bits(to_float(BFloat{static_cast<uint16_t>(in[0])})),
          as_bits(to_float(BFloat{static_cast<uint16_t>(in[0] >> 16)})));
  // of any bits, and of numbers that fp16 has about: 2^-17 to 2^15
  const float any = as_float(in[3]),
              near = as_float((in[4] & 0x807FFFFFu) | (110 + (in[4] >> 23) % 33) << 23);
  out.put(Wrapper::half_from_float, from_float<Half>(any).bits, from_float<Half>(near).bits);
  out.put(Wrapper::bfloat_from_float, from_float<BFloat>(any).bits, from_float<BFloat>(near).bits);
  out.put(Wrapper::pack_half, pack2<Half>(any, near), pack2<Half>(near, 1.0f));
  out.put(Wrapper::pack_bfloat, pack2<BFloat>(any, near), pack2<BFloat>(near, 1.0f));
  // codes as kernels have them: 1024 + q and 128 + q, less the zero point
  out.put(Wrapper::sub_half,
          sub2<Half>(0x64006400u | (in[5] & 0x00FF00FFu), 0x64006400u | (in[6] & 0x00FF00FFu)));
  out.put(Wrapper::sub_bfloat,
          sub2<BFloat>(0x43004300u | (in[5] & 0x000F000Fu), 0x43004300u | (in[6] & 0x000F000Fu)));
  const float x = as_float((in[7] & 0x807FFFFFu) | (120 + (in[7] >> 23) % 13) << 23);
  out.put(Wrapper::exp2, as_bits(fast_exp2(x)), as_bits(x));
}

GPTQ_DEVICE void run_warp(const uint32_t* in, const Results& out, int round) {
  out.put(Wrapper::shuffle_xor, shuffle_xor(in[0], 1 << round % 5),
          as_bits(shuffle_xor(small(in[1]), 31 - round)));
  out.put(Wrapper::shuffle, shuffle(in[0], round * 5 % 32), as_bits(shuffle(small(in[1]), round)));
  out.put(Wrapper::shuffle_up, shuffle_up(in[0], 1 << round % 5));
  const double number = 1.0 + static_cast<double>(in[0]) * 0x1p-40;
  out.put(Wrapper::shuffle_doubles, static_cast<uint32_t>((shuffle_xor(number, 1 + round) - 1.0) * 0x1p40));
  out.put(Wrapper::ballot, ballot((in[0] & 1) != 0), ballot(in[0] > in[1]));
}

template <class T>
GPTQ_DEVICE void run_product(const uint32_t* in, uint32_t* out) {
  const uint32_t a[4] = {small_pair<T>(in[0]), small_pair<T>(in[1]), small_pair<T>(in[2]),
                         small_pair<T>(in[3])},
                 b[2] = {small_pair<T>(in[4]), small_pair<T>(in[5])};
  float d[4] = {small(in[6]), small(in[6] >> 8), small(in[7]), small(in[7] >> 8)};
  multiply_16816<T>(d, a, b);
  for (int i = 0; i < 4; ++i) out[i] = as_bits(d[i]);
}

/// Shared: 512 bytes of matrices, then 16 for each lane.
GPTQ_DEVICE void run_copies(const uint32_t* in, const Results& out, int round) {
  const int lane = lane_of_thread();
  unsigned char* const mine = shared_memory() + 512 + lane * 16;
  store16(shared_memory() + lane * 16, {in[0], in[1], in[2], in[3]});
  sync_warp();
  uint32_t d[4];
  const int row = (lane * 5 + round) % 32;
  load_matrices(d, shared_memory() + row * 16);
  out.put(Wrapper::load_matrices, d[0], d[1], d[2], d[3]);
  load_matrices_transposed(d, shared_memory() + row * 16);
  out.put(Wrapper::load_matrices_transposed, d[0], d[1], d[2], d[3]);
  const auto copied = [&](Wrapper w) {
    copies_commit();
    copies_wait<0>();
    const Words4 words = load_shared16(mine);
    out.put(w, words.x, words.y, words.z, words.w);
    sync_warp();
  };
  copy_async16(mine, in);
  copied(Wrapper::copy_whole);
  copy_async16(mine, in, static_cast<int>(in[0] % 2 * 16));
  copied(Wrapper::copy_or_not);
  copy_async16_once(mine, in + 4);
  copied(Wrapper::copy_once);
  const Words4 four = load16_once(in);
  const Words2 two = load8_once(in + 4);
  out.put(Wrapper::load_once, four.x ^ four.z, four.y ^ four.w, two.x ^ two.y, load4_once(in + 6));
}

/// Lanes add to the first lane's result.
GPTQ_DEVICE void run_sums(const uint32_t* in, const Results& out) {
  const int lane = lane_of_thread();
  uint32_t* const sum = out.of(Wrapper::add_release) - lane * kWrapperResults;
  add_release(sum, in[0]);
  uint32_t* const other = out.of(Wrapper::add_acquire_release) - lane * kWrapperResults;
  const uint32_t before = add_acquire_release(other, in[1] & 0xFFFF);
  // in whatever order they come, some lane finds it as it was
  const uint32_t first = ballot(before == 0);
  sync_warp();
  if (lane == 0) {
    sum[1] = load_acquire(sum);
    other[1] = first != 0 ? 1 : 0;
  }
}

__global__ void __launch_bounds__(kWrapperLanes) each_wrapper(const uint32_t* in, uint32_t* out) {
  let_next_kernel_begin();
  wait_for_earlier_kernels();
  const int round = block_x(), lane = lane_of_thread();
  const uint32_t* const mine = in + (round * kWrapperLanes + lane) * kWrapperInputs;
  const Results results{out + (round * kWrappers * kWrapperLanes + lane) * kWrapperResults};
  run_bits(mine, results);
  run_numbers(mine, results);
  run_warp(mine, results, round);
  run_product<Half>(mine, results.of(Wrapper::multiply_half));
  run_product<BFloat>(mine, results.of(Wrapper::multiply_bfloat));
  run_copies(mine, results, round);
  run_sums(mine, results);
}

}  // namespace

void run_wrappers(const Queue& queue, const uint32_t* in, uint32_t* out) {
  launch(queue, each_wrapper,
         {.x = kWrapperRounds, .threads = kWrapperLanes, .shared_bytes = 512 + size_t{kWrapperLanes} * 16},
         in, out);
}

}  // namespace gptq::cuda
