/* libcuda.so.1 as it answers on a machine without a usable GPU. */
#include <stddef.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, NOT_INITIALIZED = 3, NO_DEVICE = 100 };

int cuInit(unsigned flags) { return flags ? INVALID_VALUE : NO_DEVICE; }

int cuDriverGetVersion(int *version) {
    if (version == NULL) return INVALID_VALUE;
    *version = CUDA_VERSION;
    return SUCCESS;
}

int cuDeviceGetCount(int *count) { (void)count; return NOT_INITIALIZED; }

int cuDeviceGet(int *device, int ordinal) { (void)device; (void)ordinal; return NOT_INITIALIZED; }

int cuGetErrorName(int error, const char **text) {
    if (text == NULL) return INVALID_VALUE;
    switch (error) {
    case SUCCESS: *text = "CUDA_SUCCESS"; return SUCCESS;
    case INVALID_VALUE: *text = "CUDA_ERROR_INVALID_VALUE"; return SUCCESS;
    case NOT_INITIALIZED: *text = "CUDA_ERROR_NOT_INITIALIZED"; return SUCCESS;
    case NO_DEVICE: *text = "CUDA_ERROR_NO_DEVICE"; return SUCCESS;
    default: *text = NULL; return INVALID_VALUE;
    }
}

int cuGetErrorString(int error, const char **text) {
    if (text == NULL) return INVALID_VALUE;
    switch (error) {
    case SUCCESS: *text = "no error"; return SUCCESS;
    case INVALID_VALUE: *text = "invalid argument"; return SUCCESS;
    case NOT_INITIALIZED: *text = "initialization error"; return SUCCESS;
    case NO_DEVICE: *text = "no CUDA-capable device is detected"; return SUCCESS;
    default: *text = NULL; return INVALID_VALUE;
    }
}
