// Kernels of the verification ladder that every GPU can run.
//
// All inputs are multiples of 1/8 between -1 and 1, made by the same hash on GPU and CPU. Products
// are multiples of 1/64, and sums of up to 2^17 of them are exact in fp32, in any order: results are
// compared bit by bit, with no tolerance to hide behind.

#include <cuda_fp16.h>

__device__ float value(unsigned index, unsigned seed) {
    unsigned x = index * 2654435761u + seed * 40503u + 1u;
    x ^= x >> 16;
    x *= 2246822519u;
    x ^= x >> 13;
    return (int(x % 17u) - 8) * 0.125f;
}

__device__ size_t global_index() { return size_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ size_t global_stride() { return size_t(gridDim.x) * blockDim.x; }

extern "C" __global__ void fill_fp32(float *out, unsigned count, unsigned seed) {
    for (size_t i = global_index(); i < count; i += global_stride()) out[i] = value(i, seed);
}

extern "C" __global__ void fill_fp16(unsigned short *out, unsigned count, unsigned seed) {
    for (size_t i = global_index(); i < count; i += global_stride())
        out[i] = __half_as_ushort(__float2half_rn(value(i, seed)));
}

// The values fit bf16 exactly: the upper half of their fp32 pattern.
extern "C" __global__ void fill_bf16(unsigned short *out, unsigned count, unsigned seed) {
    for (size_t i = global_index(); i < count; i += global_stride())
        out[i] = __float_as_uint(value(i, seed)) >> 16;
}

extern "C" __global__ void vector_add(const float *a, const float *b, float *sum, unsigned count) {
    for (size_t i = global_index(); i < count; i += global_stride()) sum[i] = a[i] + b[i];
}

extern "C" __global__ void copy(const uint4 *from, uint4 *to, unsigned count) {
    for (size_t i = global_index(); i < count; i += global_stride()) to[i] = from[i];
}

// Counts the words in which two buffers differ.
extern "C" __global__ void differ(const unsigned *one, const unsigned *other, unsigned count,
                                  unsigned *differences) {
    unsigned mine = 0;
    for (size_t i = global_index(); i < count; i += global_stride()) mine += one[i] != other[i];
    if (mine) atomicAdd(differences, mine);
}

// product = a * b, square, row-major; n a multiple of 32. Blocks of 32 x 8 threads make tiles of 32 x 32.
extern "C" __global__ void gemm_fp32(const float *a, const float *b, float *product, unsigned n) {
    __shared__ float tile_a[32][33], tile_b[32][33];
    const unsigned column = blockIdx.x * 32 + threadIdx.x, row = blockIdx.y * 32 + threadIdx.y;
    float sum[4] = {0, 0, 0, 0};
    for (unsigned k = 0; k < n; k += 32) {
        for (unsigned i = 0; i < 32; i += 8) {
            tile_a[threadIdx.y + i][threadIdx.x] = a[size_t(row + i) * n + k + threadIdx.x];
            tile_b[threadIdx.y + i][threadIdx.x] = b[size_t(k + threadIdx.y + i) * n + column];
        }
        __syncthreads();
        for (unsigned j = 0; j < 32; ++j)
            for (unsigned i = 0; i < 4; ++i)
                sum[i] += tile_a[threadIdx.y + 8 * i][j] * tile_b[j][threadIdx.x];
        __syncthreads();
    }
    for (unsigned i = 0; i < 4; ++i) product[size_t(row + 8 * i) * n + column] = sum[i];
}
