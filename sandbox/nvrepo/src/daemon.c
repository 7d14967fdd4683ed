/* A service that says its version when asked and otherwise stays up until it is stopped. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-v") == 0) {
            printf("%s%s\n", GREETING, VERSION);
            return 0;
        }
    }
    for (;;) pause();
}
