// fp16 matrix product on tensor cores (compute capability 7.0 and newer).
#include "tensor.cuh"

extern "C" __global__ void gemm_fp16(const half *a, const half *b, float *product, unsigned n) {
    gemm(a, b, product, n);
}
