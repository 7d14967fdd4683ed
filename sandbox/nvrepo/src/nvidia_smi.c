/* nvidia-smi as it behaves while no NVIDIA kernel module is loaded. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
        printf("NVIDIA System Management Interface -- v" VERSION "\n");
        return 0;
    }
    printf("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
           "Make sure that the latest NVIDIA driver is installed and running.\n\n");
    return 9;
}
