#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void check_failed(const char *file, int line, const char *condition) {
    char text[512];
    int n = snprintf(text, sizeof text, "zkfs: broken invariant, please report: %s:%d: %s\n", file,
                     line, condition);
    if (n >= (int)sizeof text) {
        n = (int)sizeof text - 1;
        text[n - 1] = '\n';
    }
    /* The process ends either way, so a failed write has nobody left to tell. */
    ssize_t written = write(STDERR_FILENO, text, (size_t)n);
    (void)written;
    abort();
}
