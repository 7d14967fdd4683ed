/* libnvidia-ml.so.1 as it answers while no NVIDIA kernel module is loaded. */
#include <stddef.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, DRIVER_NOT_LOADED = 9 };

int nvmlInit(void) { return DRIVER_NOT_LOADED; }
int nvmlInit_v2(void) { return DRIVER_NOT_LOADED; }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return DRIVER_NOT_LOADED; }
int nvmlShutdown(void) { return UNINITIALIZED; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    (void)text; (void)length;
    return UNINITIALIZED;
}

int nvmlSystemGetNVMLVersion(char *text, unsigned length) {
    (void)text; (void)length;
    return UNINITIALIZED;
}

int nvmlDeviceGetCount(unsigned *count) { (void)count; return UNINITIALIZED; }
int nvmlDeviceGetCount_v2(unsigned *count) { (void)count; return UNINITIALIZED; }

const char *nvmlErrorString(int error) {
    switch (error) {
    case SUCCESS: return "Success";
    case UNINITIALIZED: return "Uninitialized";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    default: return "Unknown Error";
    }
}
