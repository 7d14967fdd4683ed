// bf16 matrix product on tensor cores (compute capability 8.0 and newer).
#include <cuda_bf16.h>

#include "tensor.cuh"

extern "C" __global__ void gemm_bf16(const __nv_bfloat16 *a, const __nv_bfloat16 *b, float *product,
                                     unsigned n) {
    gemm(a, b, product, n);
}
