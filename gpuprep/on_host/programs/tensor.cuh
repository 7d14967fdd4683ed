// Matrix product on tensor cores: 16-bit inputs, fp32 sums. Included once per input type.

#include <mma.h>

// product = a * b, square, row-major; n a multiple of 64. A block of 4 warps makes a tile of 64 x 64,
// each warp 32 x 32 of it.
template <typename Input>
__device__ void gemm(const Input *a, const Input *b, float *product, unsigned n) {
    using namespace nvcuda::wmma;
    const unsigned warp = threadIdx.x / 32;
    const unsigned row = blockIdx.y * 64 + warp / 2 * 32, column = blockIdx.x * 64 + warp % 2 * 32;
    fragment<accumulator, 16, 16, 16, float> sum[2][2];
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j) fill_fragment(sum[i][j], 0.0f);
    for (unsigned k = 0; k < n; k += 16) {
        fragment<matrix_a, 16, 16, 16, Input, row_major> left[2];
        fragment<matrix_b, 16, 16, 16, Input, row_major> right[2];
        for (int i = 0; i < 2; ++i) {
            load_matrix_sync(left[i], a + size_t(row + 16 * i) * n + k, n);
            load_matrix_sync(right[i], b + size_t(k) * n + column + 16 * i, n);
        }
        for (int i = 0; i < 2; ++i)
            for (int j = 0; j < 2; ++j) mma_sync(sum[i][j], left[i], right[j], sum[i][j]);
    }
    for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j)
            store_matrix_sync(product + size_t(row + 16 * i) * n + column + 16 * j, sum[i][j], n,
                              mem_row_major);
}
