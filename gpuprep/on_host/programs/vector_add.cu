// Adds two vectors on every GPU and compares each element with the CPU's sum.
// Prints one JSON line per GPU; exit code 0 when every GPU was right.

#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>

static const int count = 1 << 20;

__global__ void add(const float *a, const float *b, float *sum, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) sum[i] = a[i] + b[i];
}

static bool report(int gpu, const char *step, cudaError_t error) {
    if (error == cudaSuccess) return true;
    printf("{\"gpu\": %d, \"error\": \"%s: %s (%d)\"}\n", gpu, step, cudaGetErrorString(error),
           int(error));
    return false;
}

static bool run(int gpu, const float *a, const float *b, float *sum) {
    const size_t bytes = count * sizeof(float);
    float *buffer[3] = {};
    char slot[32] = "";
    if (!report(gpu, "cudaSetDevice", cudaSetDevice(gpu))) return false;
    cudaDeviceGetPCIBusId(slot, sizeof slot, gpu);
    for (float *&b : buffer)
        if (!report(gpu, "cudaMalloc", cudaMalloc(&b, bytes))) return false;
    cudaMemcpy(buffer[0], a, bytes, cudaMemcpyHostToDevice);
    cudaMemcpy(buffer[1], b, bytes, cudaMemcpyHostToDevice);
    add<<<(count + 255) / 256, 256>>>(buffer[0], buffer[1], buffer[2], count);
    if (!report(gpu, "launch", cudaGetLastError())) return false;
    if (!report(gpu, "run", cudaDeviceSynchronize())) return false;
    if (!report(gpu, "copy back", cudaMemcpy(sum, buffer[2], bytes, cudaMemcpyDeviceToHost)))
        return false;
    for (float *b : buffer) cudaFree(b);
    int wrong = 0;
    for (int i = 0; i < count; ++i) wrong += sum[i] != a[i] + b[i];
    printf("{\"gpu\": %d, \"slot\": \"%s\", \"elements\": %d, \"wrong\": %d}\n", gpu, slot, count,
           wrong);
    return wrong == 0;
}

int main() {
    int gpus = 0;
    if (!report(-1, "cudaGetDeviceCount", cudaGetDeviceCount(&gpus))) return 1;
    const size_t bytes = count * sizeof(float);
    float *a = (float *)malloc(bytes), *b = (float *)malloc(bytes), *sum = (float *)malloc(bytes);
    if (!a || !b || !sum) return 1;
    for (int i = 0; i < count; ++i) {
        a[i] = i * 0.5f;
        b[i] = (count - i) * 0.25f;
    }
    bool good = gpus > 0;
    for (int gpu = 0; gpu < gpus; ++gpu) good = run(gpu, a, b, sum) && good;
    return good ? 0 : 1;
}
