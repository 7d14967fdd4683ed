/* libcudnn as it answers where no GPU can be used: it knows its version, a handle is refused. */
#include <stddef.h>

enum { SUCCESS = 0, NOT_INITIALIZED = CUDNN_MAJOR >= 9 ? 1001 : 1 };

size_t cudnnGetVersion(void) { return CUDNN_NUMBER; }
size_t cudnnGetCudartVersion(void) { return CUDART_VERSION; }

const char *cudnnGetErrorString(int status) {
    switch (status) {
    case SUCCESS: return "CUDNN_STATUS_SUCCESS";
    case NOT_INITIALIZED: return "CUDNN_STATUS_NOT_INITIALIZED";
    default: return "CUDNN_UNKNOWN_STATUS";
    }
}

#define REFUSE(name) \
    int name(void) { return NOT_INITIALIZED; }

REFUSE(cudnnCreate)
REFUSE(cudnnDestroy)
REFUSE(cudnnCreateTensorDescriptor)
REFUSE(cudnnSetTensor4dDescriptor)
REFUSE(cudnnDestroyTensorDescriptor)
REFUSE(cudnnCreateFilterDescriptor)
REFUSE(cudnnSetFilter4dDescriptor)
REFUSE(cudnnDestroyFilterDescriptor)
REFUSE(cudnnCreateConvolutionDescriptor)
REFUSE(cudnnSetConvolution2dDescriptor)
REFUSE(cudnnDestroyConvolutionDescriptor)
REFUSE(cudnnConvolutionForward)
