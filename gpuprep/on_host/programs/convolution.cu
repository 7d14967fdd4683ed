// Runs a cuDNN convolution and compares every element with the CPU's; prints one JSON line.
// With the argument --version it only says which cuDNN it was compiled for and which one was loaded;
// that needs no GPU.

#include <cuda_runtime.h>
#include <cudnn.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { batch = 2, in = 8, out = 16, side = 32, kernel = 3, pad = 1 };
enum { inputs = batch * in * side * side, weights = out * in * kernel * kernel,
       outputs = batch * out * side * side };

static float x[inputs], w[weights], y[outputs];

static int fail(const char *step, const char *why) {
    printf("{\"error\": \"%s: %s\"}\n", step, why);
    return 1;
}

#define CUDA(call)                                                              \
    do {                                                                        \
        cudaError_t e = call;                                                   \
        if (e != cudaSuccess) return fail(#call, cudaGetErrorString(e));        \
    } while (0)
#define CUDNN(call)                                                             \
    do {                                                                        \
        cudnnStatus_t e = call;                                                 \
        if (e != CUDNN_STATUS_SUCCESS) return fail(#call, cudnnGetErrorString(e)); \
    } while (0)

// Inputs are small multiples of powers of two, so that the sums are exact in any order.
static float value(unsigned i) { return (int(i * 2654435761u >> 16 & 15) - 8) * 0.125f; }

static float expected(int n, int o, int row, int column) {
    float sum = 0;
    for (int i = 0; i < in; ++i)
        for (int r = 0; r < kernel; ++r)
            for (int c = 0; c < kernel; ++c) {
                int yy = row + r - pad, xx = column + c - pad;
                if (yy < 0 || xx < 0 || yy >= side || xx >= side) continue;
                sum += x[((n * in + i) * side + yy) * side + xx] *
                       w[((o * in + i) * kernel + r) * kernel + c];
            }
    return sum;
}

static int convolve() {
    cudnnHandle_t handle;
    cudnnTensorDescriptor_t from, to;
    cudnnFilterDescriptor_t filter;
    cudnnConvolutionDescriptor_t convolution;
    CUDNN(cudnnCreate(&handle));
    CUDNN(cudnnCreateTensorDescriptor(&from));
    CUDNN(cudnnCreateTensorDescriptor(&to));
    CUDNN(cudnnCreateFilterDescriptor(&filter));
    CUDNN(cudnnCreateConvolutionDescriptor(&convolution));
    CUDNN(cudnnSetTensor4dDescriptor(from, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, batch, in, side, side));
    CUDNN(cudnnSetTensor4dDescriptor(to, CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT, batch, out, side, side));
    CUDNN(cudnnSetFilter4dDescriptor(filter, CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW, out, in, kernel, kernel));
    CUDNN(cudnnSetConvolution2dDescriptor(convolution, pad, pad, 1, 1, 1, 1, CUDNN_CROSS_CORRELATION,
                                          CUDNN_DATA_FLOAT));
    float *gx, *gw, *gy;
    CUDA(cudaMalloc(&gx, sizeof x));
    CUDA(cudaMalloc(&gw, sizeof w));
    CUDA(cudaMalloc(&gy, sizeof y));
    CUDA(cudaMemcpy(gx, x, sizeof x, cudaMemcpyHostToDevice));
    CUDA(cudaMemcpy(gw, w, sizeof w, cudaMemcpyHostToDevice));
    const float one = 1, zero = 0;
    CUDNN(cudnnConvolutionForward(handle, &one, from, gx, filter, gw, convolution,
                                  CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, nullptr, 0, &zero, to, gy));
    CUDA(cudaDeviceSynchronize());
    CUDA(cudaMemcpy(y, gy, sizeof y, cudaMemcpyDeviceToHost));
    return 0;
}

int main(int argc, char **argv) {
    // CUDNN_VERSION counts 1000 a major up to cuDNN 8 and 10000 from 9 on; so does cudnnGetVersion.
    const unsigned long header = CUDNN_VERSION, runtime = cudnnGetVersion();
    if (argc > 1 && !strcmp(argv[1], "--version")) {
        printf("{\"header\": %lu, \"runtime\": %lu}\n", header, runtime);
        return header == runtime ? 0 : 1;
    }
    for (int i = 0; i < inputs; ++i) x[i] = value(i);
    for (int i = 0; i < weights; ++i) w[i] = value(i + inputs);
    if (int status = convolve()) return status;
    int wrong = 0;
    for (int i = 0; i < outputs; ++i)
        wrong += y[i] != expected(i / side / side / out, i / side / side % out, i / side % side, i % side);
    printf("{\"elements\": %d, \"wrong\": %d, \"header\": %lu, \"runtime\": %lu}\n", int(outputs), wrong,
           header, runtime);
    return wrong ? 1 : 0;
}
