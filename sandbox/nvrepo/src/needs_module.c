/* A helper that cannot do its work, because no NVIDIA kernel module can be loaded. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf(NAME ":  version " VERSION "\n");
        return 0;
    }
    fprintf(stderr, NAME ": the NVIDIA kernel module is not loaded\n");
    return 1;
}
